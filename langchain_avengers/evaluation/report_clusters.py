"""The report's section on clusters: scores, rows, where the best two models are alike, typical questions."""

from __future__ import annotations

from functools import partial

import numpy as np

from langchain_avengers._arrays import unit_rows
from langchain_avengers._text import shorten
from langchain_avengers.evaluation import figures
from langchain_avengers.evaluation.evaluate import Part
from langchain_avengers.evaluation.report_parts import (
    Block,
    Bullets,
    Example,
    Examples,
    Heading,
    Pair,
    Picture,
    Section,
    Table,
    Text,
    named,
    number,
)
from langchain_avengers.evaluation.report_sections import Judged, parts_table
from langchain_avengers.routing.summary import summarise

SHORT_OF_DATA = 30
"""A cluster of fewer calibration rows is short of data: a score's standard error is then up to 9 points."""

_POINTS = 1500  # queries drawn on the map; of more, a sample


def clusters(judged: Judged, seed: int) -> Section:
    """The clusters: scores, rows, where the best two models are alike, typical questions."""
    router, short, counts = judged.router, judged.short, judged.rows_of_clusters
    order = np.argsort(-np.nan_to_num(np.asarray(router.global_scores_, float)), kind="stable")
    models = [short[router.models_[index]] for index in order]
    values = np.asarray(router.cluster_scores_, float).T[order]
    errors = router.cluster_stderrs_.T[order]
    heat = Picture(
        "heat",
        "Score of every model in every cluster",
        "Expected score in percent by the calibration rows, below it its standard error; bold is the best of a "
        "cluster. Bars on the right: calibration rows of the cluster.",
        partial(figures.heat_map, values, errors, counts, models, judged.clusters),
    )
    where = _map(judged, seed)
    parts: list[Block | Pair] = [
        *((Pair(heat, where),) if len(models) <= 8 else (heat, where)),
        Table(
            "clusters-scores",
            "Expected score in percent and its standard error, by cluster and model.",
            ("", "rows", *models),
            tuple(
                (
                    named(label),
                    number(counts[k], f"{counts[k]:,.0f}"),
                    *(
                        number(
                            values[m, k],
                            "-"
                            if np.isnan(values[m, k])
                            else f"{100 * values[m, k]:.1f}"
                            + ("" if np.isnan(errors[m, k]) else f" ± {100 * errors[m, k]:.1f}"),
                        )
                        for m in range(len(models))
                    ),
                )
                for k, label in enumerate(judged.clusters)
            ),
            folded="The same as a table",
        ),
        Heading("Clusters short of data"),
    ]
    few = [k for k in np.argsort(counts, kind="stable").tolist() if counts[k] < SHORT_OF_DATA]
    if few:
        text = (
            f"{len(few)} of {len(counts)} clusters have fewer than {SHORT_OF_DATA} calibration rows; more graded rows "
            "would help most in:"
        )
        parts += [Text(text), Bullets(tuple(f"{judged.clusters[k]}: {counts[k]:.0f} rows" for k in few[:6]))]
    else:
        text = f"No cluster has fewer than {SHORT_OF_DATA} calibration rows (smallest: {counts.min():.0f})."
        parts.append(Text(text))
    parts += _either(judged)
    judged_parts = [
        Part(
            judged.clusters[int(part.name)],
            *(getattr(part, field) for field in list(Part.__annotations__)[1:]),
        )
        for part in judged.found.clusters
    ]
    parts.append(parts_table("clusters", "Clusters, on the rows judged", judged_parts, short))
    parts += [
        Heading("Typical questions"),
        Text("The calibration questions nearest to each centre."),
        _typical(judged),
    ]
    return Section("clusters", "Clusters", tuple(parts))


def _either(judged: Judged) -> list[Block | Pair]:
    """The clusters in which the best two models are not told apart: by the rule of `inspect` and of explanations."""
    close = [c for c in summarise(judged.router.fitted_).clusters if c.lead is not None and not c.sure]
    if not close:
        return []
    text = (
        f"In {len(close)} of {len(judged.clusters)} clusters the best model leads by no more than two standard errors, "
        "paired by row: either of the best two would do. The largest:"
    )
    lines = [
        f"{judged.clusters[c.id]}: {judged.short[c.model]} leads by {100 * (c.lead or 0):.1f} points"
        for c in close[:6]
    ]
    return [Heading("Clusters in which either of two models would do"), Text(text), Bullets(tuple(lines))]


def _map(judged: Judged, seed: int) -> Picture:
    centroids = np.asarray(judged.router.centroids_, float)
    rows = np.sort(np.random.default_rng(seed).permutation(len(judged.where))[:_POINTS])
    drawn = unit_rows(np.asarray(judged.where)[rows])
    middle = drawn.mean(axis=0)
    _, spread, axes = np.linalg.svd(drawn - middle, full_matrices=False)
    plane = np.zeros((2, drawn.shape[1]))
    plane[: len(axes)] = axes[:2]
    share = float((spread[:2] ** 2).sum() / max(1e-12, float((spread**2).sum())))
    tasks = judged.table.tasks
    return Picture(
        "map",
        "Map of the clusters",
        "Queries (small, by task) and centres of clusters (numbered) on the plane of the two main directions of the "
        f"queries' embeddings. It holds {share:.0%} of their variance: near on the map need not be near in fact.",
        partial(
            figures.cluster_map,
            (drawn - middle) @ plane.T,
            [tasks[row] for row in rows] if tasks else ["queries"] * len(rows),
            (centroids - middle) @ plane.T,
            variance=share,
        ),
    )


def _typical(judged: Judged) -> Examples:
    by_name = {part.name: part for part in judged.found.clusters}
    items = []
    for k, questions in enumerate(judged.router.examples_):
        part = by_name.get(str(k))
        goes = f"goes to {judged.short[part.chosen]}" if part else "no row judged here"
        about = f"{judged.rows_of_clusters[k]:,.0f} calibration rows · {goes}"
        items.append(Example(judged.clusters[k], about, tuple(("", shorten(q, 150)) for q in questions[:2])))
    return Examples(tuple(items))
