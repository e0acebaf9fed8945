"""One HTML page about a router: should it be deployed, what it wins, where, at what cost, and how sure that is.

The page holds everything it shows, styles and figures included: it opens without a network, in light and
dark, on a phone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from langchain_avengers._files import write_whole
from langchain_avengers.evaluation import figures, report_sections
from langchain_avengers.evaluation.arrays import arrays
from langchain_avengers.evaluation.evaluate import WORTHWHILE, Evaluation, evaluate, held_out_rows
from langchain_avengers.evaluation.report_clusters import SHORT_OF_DATA, clusters
from langchain_avengers.evaluation.report_parts import (
    Picture,
    Section,
    cluster_names,
    count,
    dollars,
    percent,
    short_names,
    shortened,
)
from langchain_avengers.evaluation.report_sections import (
    Judged,
    router_drift,
    rows_of_clusters,
)

if TYPE_CHECKING:
    from langchain_avengers.routing.router import ClusterRouter
    from langchain_avengers.routing.table import ScoreTable

__all__ = ["Picture", "Section", "router_drift", "short_names", "write_report"]


@dataclass(frozen=True)
class Figure:
    """One of the three numbers on top: its name, value, interval and a line about it."""

    name: str
    value: str
    interval: str
    about: str


@dataclass(frozen=True)
class Headline:
    """The first screen.

    Attributes:
        badge: The answer in two or three words.
        tone: `"good"`, `"bad"` or `"open"`.
        sentence: The verdict.
        numbers: Accuracy, cost and rows.
        caveats: What to know before acting on it.
        facts: (name, value) pairs: date, files, calibration rows, embedder.
    """

    badge: str
    tone: Literal["good", "bad", "open"]
    sentence: str
    numbers: tuple[Figure, ...]
    caveats: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


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
    compare: ClusterRouter | None = None,
    compare_vectors: NDArray[Any] | None = None,
    leave_out_seen: bool = False,
    sources: Sequence[str] = (),
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
        calibration: The rows the router was fitted on: adds the baselines that learn.
        calibration_vectors: Shape (c, d). Their embeddings.
        new_queries: Queries to compare with calibration for drift; the table's when not given.
        new_vectors: Shape (q, d). Embeddings of the new queries; enough without the queries.
        votes: (confidence, score) of voted answers, each of shape (v,). When not given, those of the deployed strategy
            on the recorded answers, if there are any.
        compare: Another router, to compare this one with on the same rows.
        compare_vectors: Shape (n, d'). The rows' embeddings for that router; embedded by it when not given.
        leave_out_seen: Leave rows out that the router was fitted on, instead of marking the page.
        sources: Names of the files that the rows come from, as the page shows them.
        title: Title of the page.
        png: Folder into which every figure is also written as a PNG file.
        seed: Seed of bootstrap and samples.

    Returns:
        The evaluation on the page.

    Raises:
        FiguresMissingError: matplotlib or Jinja2 is not installed (extra `plots`).
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
        leave_out_seen=leave_out_seen,
        seed=seed,
    )
    if new_vectors is None:
        new_vectors = where if new_queries is None else router.embed_many(list(new_queries))
    if compare is not None and compare_vectors is None:
        compare_vectors = compare.embed_many(table.queries)
    if leave_out_seen:
        if compare_vectors is not None:
            compare_vectors = held_out_rows(router, table, compare_vectors)[1]
        table, where = held_out_rows(router, table, where)
    scored = ~np.isnan(arrays(router, table)[0]).all(axis=1)
    table, where = table.select_rows(scored), where[scored]
    scores, _, tasks = arrays(router, table)
    counts = rows_of_clusters(router)
    judged = Judged(
        router=router,
        found=found,
        table=table,
        where=where,
        scores=scores,
        tasks=tasks,
        choices=np.asarray(router.choose(where), np.int64),
        clusters=cluster_names(router.cluster_tasks_, router.examples_, counts.tolist()),
        rows_of_clusters=counts,
    )
    sections = [report_sections.standings(judged), report_sections.by_task(judged)]
    if (won := report_sections.answers(judged)) is not None:
        sections.append(won)
    if compare is not None and compare_vectors is not None:
        other = compare_vectors[scored]
        sections.append(report_sections.comparison(judged, compare, other, "the other router"))
    sections += [
        report_sections.pareto(judged),
        report_sections.traffic(judged),
        clusters(judged, seed),
        report_sections.k_curve(router),
        report_sections.votes(judged, votes),
        report_sections.drift(judged, np.asarray(new_vectors), seed),
        report_sections.method(judged),
    ]
    write_whole(Path(out), render(headline(judged, sources), sections, title, router.fingerprint_))
    if png is not None:
        write_pictures(sections, png)
    return found


def write_pictures(sections: Sequence[Section], folder: str | os.PathLike[str]) -> None:
    """Write every figure of the sections as a PNG file into a folder."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for section in sections:
        for picture in section.pictures:
            figures.png(picture.draw, target / f"{picture.name}.png")


def render(top: Headline | None, sections: Sequence[Section], title: str, fingerprint: str) -> str:
    """The page as HTML; without a headline the title heads it.

    Raises:
        FiguresMissingError: Jinja2 is not installed.
    """
    from langchain_avengers import __version__

    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError:
        raise figures.FiguresMissingError(
            "the report needs Jinja2: pip install 'langchain-avengers[plots]'"
        ) from None
    environment = Environment(
        loader=PackageLoader("langchain_avengers.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html")
    return page.render(top=top, sections=sections, title=title, fingerprint=fingerprint, version=__version__)


def headline(judged: Judged, sources: Sequence[str] = ()) -> Headline:
    """What the first screen says."""
    found, router = judged.found, judged.router
    badge, tone = _badge(found)
    return Headline(
        badge=badge,
        tone=tone,
        sentence=shortened(found.verdict.removeprefix(found.mark), router.models_),
        numbers=_numbers(judged),
        caveats=tuple(_caveats(judged)),
        facts=(
            ("Made", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
            ("Rows judged", count(found.n, "row") + (f" of {', '.join(sources)}" if sources else "")),
            (
                "Held out",
                "yes" if found.held_out else f"no, {count(found.in_training_set, 'row')} seen in fitting",
            ),
            ("Calibration rows", f"{router.n_rows_:,}"),
            ("Models", f"{len(router.models_)}"),
            ("Embedder", router.embeddings_name or "not recorded; vectors were given"),
        ),
    )


def _badge(found: Evaluation) -> tuple[str, Literal["good", "bad", "open"]]:
    difference = found["Best Single"].difference
    cost, single = found["Router"].cost, found["Best Single"].cost
    if not found.held_out:
        return "Not held out", "open"
    if found.outcome == "better":
        return "Deploy", "good"
    if found.outcome == "too few rows":
        return "Not enough rows", "open"
    cheaper = cost is not None and single is not None and cost.high < single.low
    if found.outcome == "no better" and cheaper and difference is not None and difference.low > -WORTHWHILE:
        return "Deploy to save cost", "good"
    return "Do not deploy", "bad"


def _numbers(judged: Judged) -> tuple[Figure, ...]:
    found = judged.found
    difference, router, single = found["Best Single"].difference, found["Router"], found["Best Single"]
    assert difference is not None
    numbers = [
        Figure(
            "Accuracy against Best Single",
            f"{100 * difference.value:+.1f} points",
            f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}",
            f"{percent(router.avg_acc.value)} % against {percent(single.avg_acc.value)} %",
        )
    ]
    if router.cost is not None and router.cost.known:
        numbers.append(
            Figure(
                "Cost per 1,000 queries",
                dollars(1000 * router.cost.value),
                f"{dollars(1000 * router.cost.low)} to {dollars(1000 * router.cost.high)}",
                "Best Single " + dollars(1000 * single.cost.value if single.cost else float("nan")),
            )
        )
    else:
        numbers.append(Figure("Cost per 1,000 queries", "not known", "", "the table holds no costs"))
    more = f"about {found.more_rows:,} more to tell" if found.more_rows else "enough to tell"
    numbers.append(Figure("Rows", f"{found.n:,}", more, f"of {count(len(found.tasks), 'task')}"))
    return tuple(numbers)


def _caveats(judged: Judged) -> list[str]:
    found = judged.found
    caveats = []
    if not found.held_out:
        caveats.append(
            f"Not held out. {found.in_training_set} of {found.n} rows were seen in fitting: these numbers flatter the "
            "router. Judge it on other rows."
        )
    for result in found.results:
        lead = result.difference
        if result.kind == "baseline" and result.name != "Best Single" and lead is not None and lead.sign < 0:
            detail = f" ({result.detail})" if result.detail else ""
            caveats.append(f"{result.name}{detail} beats the router by {-100 * lead.value:.1f} points.")
    behind = [part.name for part in found.tasks if part.difference.sign < 0]
    if behind:
        caveats.append(f"Worse than Best Single beyond the interval in {', '.join(behind[:5])}.")
    few = int((judged.rows_of_clusters < SHORT_OF_DATA).sum())
    if few:
        caveats.append(
            f"{few} of {len(judged.clusters)} clusters have fewer than {SHORT_OF_DATA} calibration rows."
        )
    if not any(result.kind == "baseline" and result.name in ("kNN", "Ridge") for result in found.results):
        caveats.append(
            "Not compared with kNN and ridge: the calibration rows were not given (--calibration)."
        )
    return caveats or ["None found."]
