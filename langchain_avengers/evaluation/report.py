"""One HTML page about a router: what it wins, where, at what cost, how sure that is, and where it is weak.

The page holds everything it shows, styles and figures included: it opens without a network, in light and
dark, on a phone.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from langchain_avengers._arrays import row_norms, unit_rows
from langchain_avengers._files import write_whole
from langchain_avengers._text import shorten
from langchain_avengers.evaluation import figures
from langchain_avengers.evaluation.arrays import arrays
from langchain_avengers.evaluation.drift import Drift, measure_drift
from langchain_avengers.evaluation.evaluate import Evaluation, Part, Result, evaluate
from langchain_avengers.evaluation.reliability import reliability
from langchain_avengers.evaluation.stats import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from langchain_avengers.routing.router import ClusterRouter
    from langchain_avengers.routing.table import ScoreTable

SHORT_OF_DATA = 30
"""A cluster of fewer calibration rows is short of data: a score's standard error is then up to 9 points."""

_POINTS = 1500  # queries drawn on the map; of more, a sample

_METRICS = {
    "AvgAcc": "mean over tasks",
    "Gain@B": "over Best Single",
    "Gain@R": "over Random",
    "Gap@O": "short of the Oracle",
    "PerfGain": "best point over Best Single",
    "CostSave": "at Best Single's accuracy",
    "ParetoDist": "from the front, 0 is on it",
}


@dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Attributes:
        name: Unique on the page; the PNG's file name.
        title: What it is.
        caption: How to read it, printed below; also read out to who cannot see it.
        draw: Given a palette, draws it.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[figures.Palette], Figure]


@dataclass(frozen=True)
class Section:
    """A section of the page: parts are pictures, or HTML as it stands."""

    name: str
    title: str
    parts: tuple[Picture | str, ...]


def write_report(
    router: ClusterRouter,
    table: ScoreTable,
    out: str | os.PathLike[str],
    *,
    vectors: NDArray[Any] | None = None,
    calibration: ScoreTable | None = None,
    calibration_vectors: NDArray[Any] | None = None,
    new_queries: Sequence[str] | None = None,
    new_vectors: NDArray[Any] | None = None,
    votes: tuple[NDArray[Any], NDArray[Any]] | None = None,
    title: str = "Router report",
    png: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> Evaluation:
    """Evaluate a router and write the page.

    Args:
        router: A fitted router.
        table: Held-out rows with scores of all of the router's models.
        out: The HTML file; a folder that is not there is made.
        vectors: Shape (n, d). Embeddings of the table's rows.
        calibration: The rows the router was fitted on: adds the kNN baseline, and questions to know
            clusters by.
        calibration_vectors: Shape (c, d). Their embeddings.
        new_queries: Queries to compare with calibration for drift; the table's when not given.
        new_vectors: Shape (q, d). Embeddings of the new queries; enough without the queries.
        votes: (confidence, score) of voted answers, each of shape (v,). When not given, those of the deployed strategy
            on the recorded answers, if there are any.
        title: Title of the page.
        png: Folder into which every figure is also written as a PNG file.
        seed: Seed of bootstrap and samples.

    Returns:
        The evaluation on the page.

    Raises:
        FiguresMissingError: matplotlib is not installed (extra `plots`).
    """
    where = np.asarray(router.embed_many(table.queries) if vectors is None else vectors)
    if calibration is not None and calibration_vectors is None:
        calibration_vectors = router.embed_many(calibration.queries)
    found = evaluate(
        router,
        table,
        vectors=where,
        calibration=calibration,
        calibration_vectors=calibration_vectors,
        seed=seed,
    )
    if new_vectors is None:
        new_vectors = where if new_queries is None else router.embed_many(list(new_queries))
    sections = [
        _standings(found),
        _by_task(found),
        _clusters(router, found, table, where, seed),
        _k_curve(router),
        _front(found),
        _traffic(router, found, table),
        _votes(found, votes),
        _drift(router, np.asarray(new_vectors), seed),
        _method(router, found, table),
    ]
    page = render(router, found, sections, title)
    target = Path(out)
    write_whole(target, page)
    if png is not None:
        folder = Path(png)
        folder.mkdir(parents=True, exist_ok=True)
        for section in sections:
            for part in section.parts:
                if isinstance(part, Picture):
                    figures.png(part.draw, folder / f"{part.name}.png")
    return found


def render(router: ClusterRouter, found: Evaluation, sections: Sequence[Section], title: str) -> str:
    """The page as HTML."""
    from langchain_avengers import __version__

    warning = ""
    if not found.held_out:
        warning = (
            '<p class="warning" role="note"><strong>Not held out.</strong> '
            f"{found.in_training_set} of {found.n} rows were seen in fitting: these numbers flatter the router.</p>"
        )
    template = Template(files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    return template.substitute(
        version=escape(__version__),
        title=escape(title),
        kicker=escape(
            f"{title} · {_count(found.n, 'row')}, {_count(len(found.tasks), 'task')} · "
            f"{_count(len(router.models_), 'model')}, {_count(router.n_clusters_, 'cluster')}"
        ),
        verdict=escape(_shorten(found.verdict.removeprefix(found.mark), router.models_)),
        warning=warning,
        metrics=_metrics(found),
        contents="\n".join(f'<li><a href="#{s.name}">{escape(s.title)}</a></li>' for s in sections),
        sections="\n".join(_section(section) for section in sections),
        footer=escape(f"Made by langchain-avengers {__version__}. Router {router.fingerprint_}."),
    )


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def _section(section: Section) -> str:
    body = "\n".join(part if isinstance(part, str) else _figure(part) for part in section.parts)
    return (
        f'<section id="{section.name}" aria-labelledby="{section.name}-heading">\n'
        f'<h2 id="{section.name}-heading">{escape(section.title)}</h2>\n{body}\n</section>'
    )


def _figure(picture: Picture) -> str:
    drawn = figures.svg(picture.draw, picture.name, picture.title, picture.caption)
    return (
        f'<figure id="figure-{picture.name}">\n'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(picture.title)}">{drawn}</div>\n'
        f"<figcaption>{escape(picture.caption)}</figcaption>\n</figure>"
    )


def _table(
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Sequence[int],
    classes: Sequence[str] = (),
) -> str:
    """A table in its own scrolling box; the first cell of a row heads it. Cells are HTML."""

    def cell(column: int, content: str) -> str:
        kind = ' class="number"' if column in numbers else ' class="text"' if len(content) > 60 else ""
        return f'<th scope="row">{content}</th>' if column == 0 else f"<td{kind}>{content}</td>"

    head = "".join(
        f'<th scope="col"{" class=number" if column in numbers else ""}>{escape(name)}</th>'
        for column, name in enumerate(header)
    )
    lines = []
    for number, row in enumerate(rows):
        kind = f' class="{classes[number]}"' if classes and classes[number] else ""
        lines.append(f"<tr{kind}>{''.join(cell(column, content) for column, content in enumerate(row))}</tr>")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption><span>{escape(caption)}</span></caption><thead><tr>{head}</tr></thead>"
        f"<tbody>\n{chr(10).join(lines)}\n</tbody></table></div>"
    )


def _paragraph(text: str, kind: str = "") -> str:
    return f"<p{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{escape(text)}</p>"


def _list(items: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def _signed(estimate: Estimate) -> str:
    kind = {1: "up", 0: "", -1: "down"}[estimate.sign]
    return f'<span class="{kind}">{escape(estimate.points(signed=True))}</span>'


def _metrics(found: Evaluation) -> str:
    cells = []
    for name, says in _METRICS.items():
        metric = found.metrics.get(name)
        if metric is None or not metric.known:
            continue
        if name == "ParetoDist":
            value, span = f"{metric.value:.3f}", f"{metric.low:.3f} to {metric.high:.3f}"
        else:
            form, unit = ("+.1f", " %") if name not in ("AvgAcc", "Gap@O") else (".1f", " %")
            value = f"{100 * metric.value:{form}}{unit}"
            span = f"{100 * metric.low:{form}} to {100 * metric.high:{form}}"
        cells.append(
            f'<div><dt>{name}</dt><dd class="value">{value}</dd><dd class="span">{span}</dd>'
            f'<dd class="span">{escape(says)}</dd></div>'
        )
    return f'<dl class="metrics">{"".join(cells)}</dl>'


def _standings(found: Evaluation) -> Section:
    short = short_names(found.traffic)
    # Best Single stands for the model it is
    shown = [r for r in found.results if not (r.kind == "model" and r.name == found.best_single)]
    ranked = sorted(shown, key=lambda result: -result.avg_acc.value)
    rows = [(_label(result, short), result.kind, result.avg_acc) for result in ranked]
    level = f"{100 * found.confidence:g} %"
    picture = Picture(
        "standings",
        "AvgAcc of the router, baselines and single models",
        f"AvgAcc with {level} intervals. Diamond: the router. Squares: baselines it could be replaced by. "
        "Triangles: Max Expert and Oracle, which look at the scores and cannot be had in use. "
        "Circles: single models.",
        partial(figures.standings, rows),
    )
    priced = found["Router"].cost is not None
    header = ["", f"AvgAcc [{level}]", "router minus it", "rows measured"] + (
        ["$ per 1000"] if priced else []
    )
    body, classes = [], []
    for result in ranked:
        cells = [
            escape(_label(result, short)),
            result.avg_acc.points(),
            _signed(result.difference) if result.difference else "",
            f"{result.measured:.0%}",
        ]
        if priced:
            cells.append(f"{1000 * result.cost.value:.4g}" if result.cost and result.cost.known else "-")
        body.append(cells)
        classes.append(result.kind if result.kind in ("router", "oracle") else "")
    caption = f"AvgAcc in percent, with paired bootstrap {level} intervals. Differences are in points."
    return Section(
        "standings",
        "Beside everything else",
        (picture, _table(caption, header, body, numbers=range(1, 5), classes=classes)),
    )


def _label(result: Result, short: Mapping[str, str]) -> str:
    if result.name == "Best Single":
        return f"Best Single: {short.get(result.detail, result.detail)}"
    return f"kNN, {result.detail}" if result.name == "kNN" else short.get(result.name, result.name)


def _by_task(found: Evaluation) -> Section:
    parts: list[Picture | str] = []
    ahead = [part.name for part in found.tasks if part.difference.sign > 0]
    behind = [part.name for part in found.tasks if part.difference.sign < 0]
    text = f"Ahead of Best Single beyond the interval in {len(ahead)} of {len(found.tasks)} tasks"
    text += f" ({', '.join(ahead[:8])})" if ahead else ""
    text += f"; behind in {len(behind)} ({', '.join(behind[:8])})." if behind else "; behind in none."
    parts.append(_paragraph(text))
    if len(found.tasks) > 1:
        rows = [(part.name, part.difference) for part in found.tasks][:60]
        parts.append(
            Picture(
                "tasks",
                "Router minus Best Single by task",
                f"Difference in points with {100 * found.confidence:g} % intervals. Coloured where the "
                "interval does "
                "not cross zero.",
                partial(figures.differences, rows),
            )
        )
    parts.append(_parts_table("Tasks", found.tasks, short_names(found.traffic)))
    return Section("tasks", "By task", tuple(parts))


def _parts_table(caption: str, parts: Sequence[Part], short: Mapping[str, str]) -> str:
    header = ["", "rows", "router", "Best Single", "difference", "best here", "chosen most"]
    body = [
        [
            escape(part.name),
            f"{part.n:,}",
            f"{100 * part.router:.1f}",
            f"{100 * part.best_single:.1f}",
            _signed(part.difference),
            escape(f"{short[part.best]} ({100 * part.best_score:.1f})"),
            escape(f"{short[part.chosen]} ({part.chosen_share:.0%})"),
        ]
        for part in parts
    ]
    return _table(
        f"{caption}: mean scores in percent; best here is in hindsight.", header, body, numbers=range(1, 5)
    )


def _clusters(
    router: ClusterRouter,
    found: Evaluation,
    table: ScoreTable,
    where: NDArray[Any],
    seed: int,
) -> Section:
    counts = _rows_of_clusters(router)
    order = np.argsort(-np.nan_to_num(np.asarray(router.global_scores_, float)), kind="stable")
    short = short_names(router.models_)
    models = [short[router.models_[index]] for index in order]
    scores = np.asarray(router.cluster_scores_, float).T[order]
    errors = router.cluster_stderrs_.T[order]
    labels = [str(number) for number in range(router.n_clusters_)]
    parts: list[Picture | str] = [
        Picture(
            "heat",
            "Score of every model in every cluster",
            "Expected score in percent by the calibration rows, below it its standard error; bold is the "
            "best of a "
            "cluster. Bars on top: calibration rows of the cluster.",
            partial(figures.heat_map, scores, errors, counts, models, labels),
        ),
        "<details><summary>The same as a table</summary>"
        + _table(
            "Expected score in percent ± standard error, by model and cluster",
            ["model", *(f"{label} (n={count:.0f})" for label, count in zip(labels, counts, strict=True))],
            [
                [
                    escape(model),
                    *(
                        "-"
                        if np.isnan(s)
                        else f"{100 * s:.1f}" + ("" if np.isnan(e) else f" ± {100 * e:.1f}")
                        for s, e in zip(scores[row], errors[row], strict=True)
                    ),
                ]
                for row, model in enumerate(models)
            ],
            numbers=range(1, len(labels) + 1),
        )
        + "</details>",
    ]
    few = [f"cluster {k}: {count:.0f} rows" for k, count in enumerate(counts) if count < SHORT_OF_DATA]
    parts.append("<h3>Short of data</h3>")
    if few:
        text = f"Fewer than {SHORT_OF_DATA} calibration rows; more graded rows would help most in:"
        parts += [_paragraph(text), _list(few)]
    else:
        text = f"No cluster has fewer than {SHORT_OF_DATA} calibration rows (smallest: {counts.min():.0f})."
        parts.append(_paragraph(text))
    torn = _torn(scores, errors, models)
    if torn:
        text = "The best two models are within one standard error of each other, so either would do, in:"
        parts += [_paragraph(text), _list(torn)]
    parts += ["<h3>Where they lie</h3>", _map(router, table, where, counts, seed)]
    parts.append(_parts_table("Clusters", found.clusters, short))
    parts.append("<h3>What is in them</h3>")
    parts.append(_paragraph("The calibration questions nearest to each centre."))
    parts.append(_typical(router, found, counts, short))
    return Section("clusters", "Clusters", tuple(parts))


def _rows_of_clusters(router: ClusterRouter) -> NDArray[np.float64]:
    """Calibration rows of each cluster: those of its best measured model."""
    rows: NDArray[np.float64] = np.asarray(router.cluster_counts_, float).max(axis=1)
    return rows


def _torn(scores: NDArray[np.float64], errors: NDArray[np.float64], models: Sequence[str]) -> list[str]:
    torn = []
    for cluster in range(scores.shape[1]):
        if len(models) < 2:
            break
        first, second = np.argsort(-np.nan_to_num(scores[:, cluster], nan=-1))[:2]
        lead = scores[first, cluster] - scores[second, cluster]
        error = np.hypot(errors[first, cluster], errors[second, cluster])
        if lead < error:
            span = f"{100 * lead:.1f} ± {100 * error:.1f} points"
            torn.append(f"cluster {cluster}: {models[first]} before {models[second]} by {span}")
    return torn


def _map(
    router: ClusterRouter, table: ScoreTable, where: NDArray[Any], counts: NDArray[np.float64], seed: int
) -> Picture:
    centroids = np.asarray(router.centroids_, float)
    rows = np.sort(np.random.default_rng(seed).permutation(len(where))[:_POINTS])
    drawn = unit_rows(np.asarray(where)[rows])
    middle = drawn.mean(axis=0)
    _, spread, axes = np.linalg.svd(drawn - middle, full_matrices=False)
    plane = np.zeros((2, drawn.shape[1]))
    plane[: len(axes)] = axes[:2]
    share = float((spread[:2] ** 2).sum() / max(1e-12, float((spread**2).sum())))
    groups = [table.tasks[row] for row in rows] if table.tasks else ["queries"] * len(rows)
    return Picture(
        "map",
        "Map of the clusters",
        "Queries (small, by task) and clusters (numbered; area grows with calibration rows) on the plane "
        "of the two "
        f"main directions of the queries' embeddings. It holds {share:.0%} of their variance: near on the "
        "map need not "
        "be near in fact.",
        partial(
            figures.cluster_map,
            (drawn - middle) @ plane.T,
            groups,
            (centroids - middle) @ plane.T,
            counts,
            variance=share,
        ),
    )


def _typical(
    router: ClusterRouter, found: Evaluation, counts: NDArray[np.float64], short: Mapping[str, str]
) -> str:
    """The clusters, each with the calibration questions nearest to its centroid."""
    judged = {part.name: part for part in found.clusters}
    items = []
    for cluster, examples in enumerate(router.examples_):
        part = judged.get(str(cluster))
        tasks = sorted(router.cluster_tasks_[cluster].items(), key=lambda item: -item[1])
        about = [f"{counts[cluster]:,.0f} calibration rows"]
        about += (
            [", ".join(f"{task} {n / max(1, counts[cluster]):.0%}" for task, n in tasks[:3])] if tasks else []
        )
        about += [f"goes to {short[part.chosen]}"] if part else ["no row here"]
        head = f"<strong>{cluster}</strong> <span>{escape(' · '.join(about))}</span>"
        questions = "".join(
            f"<blockquote>{escape(shorten(question, 150))}</blockquote>" for question in examples[:2]
        )
        items.append(f"<li>{head}{questions}</li>")
    return f'<ul class="clusters">{"".join(items)}</ul>'


def short_names(models: Iterable[str]) -> dict[str, str]:
    """Each model's name without its maker's (`maker/model`), where that is told apart from the others'."""
    names = list(models)
    last = Counter(name.rsplit("/", 1)[-1] for name in names)
    return {name: tail if last[tail := name.rsplit("/", 1)[-1]] == 1 else name for name in names}


def _shorten(text: str, models: Iterable[str]) -> str:
    for name, short in short_names(models).items():
        text = text.replace(f"({name})", f"({short})")
    return text


def _k_curve(router: ClusterRouter) -> Section:
    curve = [(point["n_clusters"], point["score"], point["stderr"]) for point in router.curve_]
    if len(curve) < 2:
        text = f"Not shown: the number of clusters, {router.n_clusters_}, was given, not found from the data."
        return Section("k", "How many clusters", (_paragraph(text),))
    picture = Picture(
        "k",
        "Cross-validated score by number of clusters",
        "Mean score over folds of the calibration rows. Band: standard error of the difference from the "
        "best. "
        "Dashed: the number taken, the smallest that is within it.",
        partial(figures.k_curve, curve, router.n_clusters_),
    )
    return Section("k", "How many clusters", (picture,))


def _front(found: Evaluation) -> Section:
    if found.pareto is None:
        return Section("front", "Cost and quality", (_paragraph("Not shown: the table holds no costs."),))
    front, short = found.pareto, short_names(found.traffic)
    picture = Picture(
        "front",
        "Accuracy by cost",
        "The router at every cost_weight (line), single models (circles), Best Single (square, dashed line). "
        "The ring is the cheapest point as accurate as Best Single.",
        partial(
            figures.front,
            [(point.cost, point.avg_acc) for point in front.points],
            [(short[model.name], model.cost, model.avg_acc) for model in front.models],
            short[front.best_single],
            (front.keeps.cost, front.keeps.avg_acc) if front.keeps else None,
        ),
    )
    distinct = {(point.cost, point.avg_acc): point for point in reversed(front.points)}
    body = [
        [
            f"{point.cost_weight:g}",
            f"{100 * point.avg_acc:.2f}",
            f"{1000 * point.cost:.4g}",
            _signed(point.difference),
            point.saving.points(signed=True),
            "yes" if point.on_front else "",
        ]
        for point in sorted(distinct.values(), key=lambda point: point.cost_weight)
    ]
    header = [
        "cost_weight",
        "AvgAcc",
        "$ per 1000",
        "minus Best Single, points",
        "saved, percent of its cost",
        "on the front",
    ]
    note = "The weight is read off these rows; one to use is chosen on calibration rows (choose_cost_weight)."
    return Section(
        "front",
        "Cost and quality",
        (
            _paragraph(_shorten(front.sentence(), found.traffic)),
            picture,
            "<details><summary>All points</summary>"
            + _table(
                "The router at every weight of cost that changes a choice.", header, body, numbers=range(1, 5)
            )
            + "</details>",
            _paragraph(note, "note"),
        ),
    )


def _traffic(router: ClusterRouter, found: Evaluation, table: ScoreTable) -> Section:
    scores, _, _ = arrays(router, table)
    scores = scores[~np.isnan(scores).all(axis=1)]
    top = np.nanmax(scores, axis=1, keepdims=True)
    best = {name: float((scores[:, i] >= top[:, 0]).mean()) for i, name in enumerate(router.models_)}
    short = short_names(found.traffic)
    rows = [(short[name], count / found.n, best[name]) for name, count in found.traffic.items()]
    rows.sort(key=lambda row: -row[1])
    never = [name for name, count in found.traffic.items() if count == 0]
    parts: list[Picture | str] = [
        Picture(
            "traffic",
            "Which models are chosen",
            "Bars: share of the queries a model is chosen for. Diamonds: share of the queries on which no "
            "model "
            "scores higher.",
            partial(figures.traffic, rows),
        )
    ]
    if never:
        parts.append(_paragraph(f"Never chosen: {', '.join(never)}. They could be left out of the pool."))
    else:
        parts.append(_paragraph("Every model is chosen at least once."))
    return Section("traffic", "Which models are chosen", tuple(parts))


def _votes(found: Evaluation, votes: tuple[NDArray[Any], NDArray[Any]] | None) -> Section:
    title = "Confidence of the vote"
    judged = [("votes", "the votes given", reliability(*votes))] if votes is not None else []
    if votes is None and (voted := found.voted) is not None:
        source = f"strategy {voted.strategy}, {voted.answers:.1f} answers a query"
        judged = [
            ("votes", source, voted.confidence),
            ("shares", f"{source}; before calibration: the share of answers that agree", voted.share),
        ]
    if not judged or not judged[0][2].n:
        text = (
            "Not shown: no answers are recorded that the router learned a vote of, and no votes were given."
        )
        return Section("votes", title, (_paragraph(text),))
    parts: list[str | Picture] = []
    for name, source, measured in judged:
        text = f"Expected calibration error {100 * measured.error:.1f} points ({source})."
        if measured.auroc is not None:
            text += (
                f" A right answer has a higher confidence than a wrong one {measured.auroc:.0%} of the time."
            )
        bins = [(part.confidence, part.accuracy, part.stderr, part.n) for part in measured.bins]
        picture = Picture(
            name,
            "Accuracy by confidence of the vote",
            f"Share of right answers by confidence, with standard errors, of {measured.n:,} votes ({source}). On the "
            "dashed line confidence is accuracy; area grows with the votes behind a point.",
            partial(figures.reliability, bins),
        )
        parts += [_paragraph(text), picture]
    return Section("votes", title, tuple(parts))


def _drift(router: ClusterRouter, vectors: NDArray[Any], seed: int) -> Section:
    measured = router_drift(router, vectors, seed=seed)
    picture = Picture(
        "drift",
        "Clusters of calibration rows and of new queries",
        "Share of the queries in each cluster: where the bars differ, traffic is not what the router was "
        "fitted on.",
        partial(figures.drift, np.array(measured.expected), np.array(measured.observed)),
    )
    return Section("drift", "Drift", (_paragraph(measured.sentence()), picture))


def router_drift(router: ClusterRouter, vectors: NDArray[Any], *, seed: int = 0) -> Drift:
    """Drift of new queries, given as vectors (n, d), against a router's calibration rows."""
    clusters = np.asarray(router.assign(vectors))
    far = row_norms(unit_rows(vectors) - router.centroids_[clusters])
    quantile = router.fitted_.novelty_quantile
    return measure_drift(
        _rows_of_clusters(router),
        clusters,
        novel=float((far > router.novelty_distance_).mean()),
        novel_expected=None if quantile is None else 1 - quantile,
        seed=seed,
    )


def _method(router: ClusterRouter, found: Evaluation, table: ScoreTable) -> Section:
    level = f"{100 * found.confidence:g} %"
    items = [
        "AvgAcc is the mean over tasks, unweighted, of the mean score of a task's rows. Costs are averaged "
        "the same way.",
        f"Best Single ({found.best_single}) has the highest AvgAcc on calibration rows: it is chosen without "
        "these rows.",
        "Max Expert takes the best model of each task and Oracle the best of each query, both in hindsight.",
        "Gain@R and Gain@B are relative gains over Random and Best Single. Gap@O is the share of the "
        "Oracle's AvgAcc "
        "that is missing.",
        "PerfGain is the gain over Best Single at the router's most accurate point. CostSave is the "
        "largest share of "
        "Best Single's cost saved at no loss of AvgAcc. ParetoDist is the mean normalised L1 distance to "
        "the Pareto "
        "front of router and single models.",
        f"Intervals are {level} percentile intervals of a bootstrap that draws rows within tasks, the same "
        "rows for "
        "both sides of a difference.",
    ]
    parameters = ", ".join(f"{name}={value!r}" for name, value in router.get_params().items())
    return Section(
        "method",
        "How this was measured",
        (
            _list([*found.notes, *items]),
            _paragraph(f"Models: {', '.join(router.models_)}.", "note"),
            _paragraph(f"Router: {parameters}.", "note"),
        ),
    )
