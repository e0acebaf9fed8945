"""The sections of the report: what `evaluate` found, what the router is, and what it does with the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from langchain_avengers._arrays import row_norms, unit_rows
from langchain_avengers._text import shorten
from langchain_avengers.evaluation import figures
from langchain_avengers.evaluation.arrays import Floats, Ints, arrays, task_names
from langchain_avengers.evaluation.drift import Drift, measure_drift
from langchain_avengers.evaluation.evaluate import Evaluation, Part, Result
from langchain_avengers.evaluation.reliability import reliability
from langchain_avengers.evaluation.report_parts import (
    Block,
    Bullets,
    Cell,
    Example,
    Examples,
    Pair,
    Picture,
    Section,
    Table,
    Text,
    dollars,
    named,
    number,
    score,
    short_names,
    shortened,
    signed,
)
from langchain_avengers.evaluation.stats import difference_estimate, over_tasks
from langchain_avengers.routing.ranking import Ranker

if TYPE_CHECKING:
    from langchain_avengers.routing.router import ClusterRouter
    from langchain_avengers.routing.table import ScoreTable


_EXAMPLES = 4  # of questions won, and of questions lost


@dataclass(frozen=True)
class Judged:
    """A router with the rows it is judged on, as arrays, and names as the page shows them.

    Attributes:
        router: The router.
        found: Its evaluation.
        table: The rows, without those of no score at all.
        where: Their vectors, shape (n, d).
        scores: Shape (n, M), NaN when not measured.
        tasks: Task codes, shape (n,).
        choices: Index of the model chosen for each row, shape (n,).
        clusters: Names of the clusters.
        rows_of_clusters: Calibration rows of each cluster, shape (K,).
    """

    router: ClusterRouter
    found: Evaluation
    table: ScoreTable
    where: NDArray[Any]
    scores: Floats
    tasks: Ints
    choices: Ints
    clusters: list[str]
    rows_of_clusters: Floats

    @property
    def short(self) -> dict[str, str]:
        """Short names of the models."""
        return short_names(self.router.models_)

    @property
    def best(self) -> int:
        """Index of Best Single."""
        return self.router.models_.index(self.found.best_single)

    @property
    def level(self) -> str:
        """The confidence of the intervals, such as `"95 %"`."""
        return f"{100 * self.found.confidence:g} %"


def standings(judged: Judged) -> Section:
    """The router beside baselines and single models."""
    found, short = judged.found, judged.short
    # Best Single stands for the model it is
    shown = [r for r in found.results if not (r.kind == "model" and r.name == found.best_single)]
    ranked = sorted(shown, key=lambda result: -result.avg_acc.value)
    picture = Picture(
        "standings",
        "AvgAcc of the router, baselines and single models",
        f"AvgAcc with {judged.level} intervals. Diamond: the router. Squares: baselines that could replace it. "
        "Triangles: Max Expert and Oracle, which look at the scores and cannot be had in use. Circles: single models.",
        partial(figures.standings, [(_label(r, short), r.kind, r.avg_acc) for r in ranked]),
    )
    priced = found["Router"].cost is not None
    header = ("", "AvgAcc, %", "router minus it, points") + (("$ per 1,000 queries",) if priced else ())
    rows = []
    for result in ranked:
        cells = [
            Cell(shorten(_label(result, short), 44), full=_label(result, {})),
            score(result.avg_acc),
            signed(result.difference) if result.difference else Cell(""),
        ]
        if priced:
            cost = result.cost.value if result.cost else float("nan")
            cells.append(number(1000 * cost, dollars(1000 * cost)))
        rows.append(tuple(cells))
    classes = tuple(r.kind if r.kind in ("router", "oracle") else "" for r in ranked)
    caption = f"AvgAcc and differences with {judged.level} intervals; differences are paired by row."
    table = Table("standings", caption, header, tuple(rows), classes)
    return Section("standings", "Router against baselines and single models", (Pair(picture, table),))


def _label(result: Result, short: Mapping[str, str]) -> str:
    if result.kind != "baseline" or not result.detail:
        return short.get(result.name, result.name)
    return f"{result.name}: {short.get(result.detail, result.detail)}"


def by_task(judged: Judged) -> Section:
    """Differences by task, and every model's score in every task."""
    found, short = judged.found, judged.short
    ahead = [part.name for part in found.tasks if part.difference.sign > 0]
    behind = [part.name for part in found.tasks if part.difference.sign < 0]
    text = f"Ahead of Best Single beyond the interval in {len(ahead)} of {len(found.tasks)} tasks"
    text += f" ({', '.join(ahead[:8])})" if ahead else ""
    text += f"; behind in {len(behind)} ({', '.join(behind[:8])})." if behind else "; behind in none."
    parts: list[Block | Pair] = [Text(text)]
    table = parts_table("tasks", "Tasks", found.tasks, short)
    if len(found.tasks) > 1:
        picture = Picture(
            "tasks",
            "Router minus Best Single by task",
            f"Difference in points with {judged.level} intervals; coloured when the interval excludes zero.",
            partial(figures.differences, [(part.name, part.difference) for part in found.tasks][:60]),
        )
        parts.append(Pair(picture, table))
        parts.append(_matrix(found, short))
    else:
        parts.append(table)
    return Section("tasks", "Router by task", tuple(parts))


def _matrix(found: Evaluation, short: Mapping[str, str]) -> Table:
    """Every task by the router and every model."""
    columns = [found["Router"], *(r for r in found.results if r.kind == "model")]
    tasks = list(columns[0].tasks)
    known = [value for column in columns for value in column.tasks.values() if value == value]
    low, span = min(known), max(max(known) - min(known), 1e-9)

    def cell(value: float) -> Cell:
        return number(value, share=None if value != value else (value - low) / span)

    return Table(
        "matrix",
        "Score in percent of the router and of every model in every task; the darker the higher.",
        ("", *(short.get(column.name, column.name) for column in columns)),
        tuple((named(task), *(cell(column.tasks[task]) for column in columns)) for task in tasks),
        folded="Every task by every model",
    )


def parts_table(name: str, what: str, parts: Sequence[Part], short: Mapping[str, str]) -> Table:
    """Tasks or clusters: mean scores, the paired difference, the model chosen most."""
    header = (
        "",
        "rows",
        "router, %",
        "Best Single, %",
        "difference, points",
        "best in hindsight",
        "chosen most",
    )
    rows = tuple(
        (
            named(part.name),
            number(part.n, f"{part.n:,}"),
            number(part.router),
            number(part.best_single),
            signed(part.difference),
            named(part.best, f"{short[part.best]} {100 * part.best_score:.0f} %"),
            named(part.chosen, f"{short[part.chosen]} {part.chosen_share:.0%}"),
        )
        for part in parts
    )
    return Table(name, f"{what}: mean scores and paired differences.", header, rows)


def answers(judged: Judged) -> Section | None:
    """Questions won and lost against Best Single, with the answers given."""
    rows = np.arange(len(judged.table))
    lead = judged.scores[rows, judged.choices] - judged.scores[:, judged.best]
    won, lost = np.flatnonzero(lead > 0), np.flatnonzero(lead < 0)
    if not (won.size or lost.size):
        return None
    spread = np.random.default_rng(0)
    parts: list[Block | Pair] = [
        Text(
            f"The router's model scores higher than Best Single on {won.size:,} of {len(rows):,} questions, lower on "
            f"{lost.size:,}, and the same on the others. Examples drawn at random:"
        )
    ]
    shown = [
        Examples(
            tuple(_answered(judged, int(row)) for row in np.sort(spread.permutation(found)[:_EXAMPLES])),
            title,
        )
        for title, found in (("Won", won), ("Lost", lost))
        if found.size
    ]
    parts += [Pair(*shown)] if len(shown) == 2 else shown
    return Section("answers", "Questions won and lost", tuple(parts))


def _answered(judged: Judged, row: int) -> Example:
    router, table, short = judged.router, judged.table, judged.short
    task = f"{table.tasks[row]} · " if table.tasks else ""
    models = (router.models_[judged.choices[row]], judged.found.best_single)
    about, quotes = [], [("", shorten(table.queries[row], 300))]
    for who, name in zip(("router", "Best Single"), models, strict=True):
        right = judged.scores[row, router.models_.index(name)]
        about.append(f"{who} {short[name]} {100 * right:.0f} %")
        if table.answers is not None and (said := table.answers[row][table.models.index(name)]) is not None:
            quotes.append((short[name], shorten(str(said), 200)))
    return Example("", task + " · ".join(about), tuple(quotes))


def k_curve(router: ClusterRouter) -> Section:
    """How the number of clusters was found."""
    title = "Number of clusters"
    curve = [(point["n_clusters"], point["score"], point["stderr"]) for point in router.curve_]
    if len(curve) < 2:
        text = f"Not shown: the number of clusters, {router.n_clusters_}, was given, not found from the data."
        return Section("k", title, (Text(text),))
    picture = Picture(
        "k",
        "Cross-validated score by number of clusters",
        "Mean score over folds of the calibration rows. Band: standard error of the difference from the best. "
        "Dashed: the number of clusters that this page shows.",
        partial(figures.k_curve, curve, router.n_clusters_),
    )
    return Section("k", title, (picture,))


def pareto(judged: Judged) -> Section:
    """Accuracy against cost."""
    found, short = judged.found, judged.short
    title = "Accuracy and cost"
    if found.pareto is None:
        return Section("front", title, (Text("Not shown: the table holds no costs."),))
    front = found.pareto
    beside = [
        (result.name, result.cost.value, result.avg_acc.value)
        for result in found.results
        if result.name in ("Random", "Oracle") and result.kind != "model" and result.cost is not None
    ]
    router = found["Router"]
    assert router.cost is not None
    picture = Picture(
        "front",
        "Accuracy by cost",
        "Steps: the best that the router reaches for at most that cost, over all values of cost_weight (dots). "
        f"Diamond: the router as it is, with {judged.level} intervals. Circles: single models; the square and the "
        "dashed line: Best Single. Triangles: Random and Oracle. Ring: the advised cost_weight.",
        partial(
            figures.front,
            [(point.cost, point.avg_acc) for point in front.points],
            (router.cost, router.avg_acc),
            [(short[model.name], model.cost, model.avg_acc) for model in front.models],
            beside,
            short[front.best_single],
            (front.advised.cost, front.advised.avg_acc) if front.advised else None,
        ),
    )
    distinct = {(point.cost, point.avg_acc): point for point in reversed(front.points)}
    rows = tuple(
        (
            Cell(f"{point.cost_weight:g}", point.cost_weight),
            number(point.avg_acc),
            number(1000 * point.cost, dollars(1000 * point.cost)),
            signed(point.difference),
            Cell(point.saving.points(signed=True), point.saving.value),
            Cell("yes" if point.on_front else ""),
        )
        for point in sorted(distinct.values(), key=lambda point: point.cost_weight)
    )
    header = (
        "cost_weight",
        "AvgAcc, %",
        "$ per 1,000 queries",
        "minus Best Single, points",
        "saved, % of its cost",
        "on the front",
    )
    caption = "The router at every weight of cost that changes a choice."
    folded = "" if len(rows) <= 14 else "Every point as a table"
    table = Table("front", caption, header, rows, folded=folded)
    note = "A weight to use is chosen on calibration rows: avengers tune shows the one that fit advises."
    return Section(
        "front",
        title,
        (Text(shortened(front.sentence(), found.traffic)), Pair(picture, table), Text(note, "note")),
    )


def traffic(judged: Judged) -> Section:
    """Which models are chosen, and what following the router on part of the queries gives."""
    found, short, router = judged.found, judged.short, judged.router
    top = np.nanmax(judged.scores, axis=1)
    best = {name: float((judged.scores[:, i] >= top).mean()) for i, name in enumerate(router.models_)}
    rows = [(short[name], n / found.n, best[name]) for name, n in found.traffic.items()]
    never = [name for name, n in found.traffic.items() if n == 0]
    bars = Picture(
        "traffic",
        "Which models are chosen",
        "Bars: share of the queries a model is chosen for. Diamonds: share of the queries on which no model scores "
        "higher.",
        partial(figures.traffic, sorted(rows, key=lambda row: -row[1])),
    )
    text = "Every model is chosen at least once."
    if never:
        text = f"Never chosen: {', '.join(never)}. They could be left out of the pool."
    curve = _calls(judged)
    if curve is None:
        return Section("traffic", "Which models are chosen", (bars, Text(text)))
    away = Picture(
        "calls",
        "Accuracy by share of the queries that leave Best Single",
        "From left to right, queries leave Best Single for the router's choice, those with the largest expected gain "
        "first. The right end is the router.",
        partial(figures.calls, curve),
    )
    return Section("traffic", "Which models are chosen", (Pair(bars, away), Text(text)))


def _calls(judged: Judged) -> list[tuple[float, float]] | None:
    """(share of queries away from Best Single, AvgAcc), by falling expected gain; `None` when none leaves."""
    away = np.flatnonzero(judged.choices != judged.best)
    if not away.size:
        return None
    expected = Ranker(judged.router.fitted_).expected(judged.where[away])
    gain = expected[np.arange(len(away)), judged.choices[away]] - expected[:, judged.best]
    order = away[np.argsort(-gain, kind="stable")]
    answered = judged.scores[:, judged.best].copy()
    curve = [(0.0, over_tasks(answered, judged.tasks))]
    for rows in np.array_split(order, min(40, len(order))):
        answered[rows] = judged.scores[rows, judged.choices[rows]]
        left = curve[-1][0] + len(rows) / len(judged.table)
        curve.append((left, over_tasks(answered, judged.tasks)))
    return curve


def votes(judged: Judged, given: tuple[NDArray[Any], NDArray[Any]] | None) -> Section:
    """How far the confidence of the vote can be trusted."""
    title, found = "Confidence of the vote", judged.found
    measured = [("votes", "the votes given", reliability(*given))] if given is not None else []
    if given is None and (voted := found.voted) is not None:
        source = f"strategy {voted.strategy}, {voted.answers:.1f} answers a query"
        measured = [
            ("votes", source, voted.confidence),
            ("shares", f"{source}; before calibration: the share of answers that agree", voted.share),
        ]
    if not measured or not measured[0][2].n:
        text = (
            "Not shown: no answers are recorded that the router learned a vote of, and no votes were given."
        )
        return Section("votes", title, (Text(text),))
    blocks: list[Block | Pair] = []
    pictures = []
    for name, source, trust in measured:
        text = f"Expected calibration error {100 * trust.error:.1f} points ({source})."
        if trust.auroc is not None:
            text += f" A right answer has a higher confidence than a wrong one {trust.auroc:.0%} of the time."
        blocks.append(Text(text))
        bins = [(part.confidence, part.accuracy, part.stderr, part.n) for part in trust.bins]
        pictures.append(
            Picture(
                name,
                "Accuracy by confidence of the vote",
                f"Share of right answers by confidence, with standard errors, of {trust.n:,} votes ({source}). On the "
                "dashed line confidence is accuracy; area grows with the votes behind a point.",
                partial(figures.reliability, bins),
            )
        )
    blocks += [Pair(*pictures)] if len(pictures) == 2 else pictures
    return Section("votes", title, tuple(blocks))


def drift(judged: Judged, vectors: NDArray[Any], seed: int) -> Section:
    """New queries against calibration."""
    measured = router_drift(judged.router, vectors, seed=seed)
    picture = Picture(
        "drift",
        "Clusters of calibration rows and of new queries",
        "Share of the queries in each cluster. Bars that differ say that traffic is not what the router was fitted on.",
        partial(figures.drift, np.array(measured.expected), np.array(measured.observed), judged.clusters),
    )
    return Section("drift", "Drift since calibration", (Text(measured.sentence()), picture))


def router_drift(router: ClusterRouter, vectors: NDArray[Any], *, seed: int = 0) -> Drift:
    """Drift of new queries, given as vectors (n, d), against a router's calibration rows."""
    places = np.asarray(router.assign(vectors))
    far = row_norms(unit_rows(vectors) - router.centroids_[places])
    quantile = router.fitted_.novelty_quantile
    return measure_drift(
        rows_of_clusters(router),
        places,
        novel=float((far > router.novelty_distance_).mean()),
        novel_expected=None if quantile is None else 1 - quantile,
        seed=seed,
    )


def rows_of_clusters(router: ClusterRouter) -> Floats:
    """Calibration rows of each cluster: those of its most measured model."""
    rows: Floats = np.asarray(router.cluster_counts_, float).max(axis=1)
    return rows


def comparison(judged: Judged, other: ClusterRouter, vectors: NDArray[Any], name: str) -> Section:
    """Another router on the same rows."""
    scores, _, _ = arrays(other, judged.table)
    theirs = scores[np.arange(len(scores)), np.asarray(other.choose(vectors), np.int64)]
    ours = judged.scores[np.arange(len(scores)), judged.choices]
    level = judged.found.confidence

    def row(label: str, rows: NDArray[np.bool_]) -> tuple[Cell, ...]:
        mine, yours, codes = ours[rows], theirs[rows], judged.tasks[rows]
        return (
            named(label),
            number(int(rows.sum()), f"{int(rows.sum()):,}"),
            number(over_tasks(mine, codes)),
            number(over_tasks(yours, codes)),
            signed(difference_estimate(mine, yours, codes, level)),
        )

    labels = task_names(judged.table)
    rows = [row("all", np.ones(len(scores), bool))]
    rows += [row(label, judged.tasks == code) for code, label in enumerate(labels)] if len(labels) > 1 else []
    header = ("", "rows", "this router, %", f"{shorten(name, 30)}, %", "difference, points")
    same = float((np.array(judged.router.models_)[judged.choices] == _chosen_names(other, vectors)).mean())
    text = f"Both routers choose the same model on {same:.0%} of the rows."
    table = Table(
        "comparison", f"This router and {name}, with paired {judged.level} intervals.", header, tuple(rows)
    )
    return Section("comparison", "Against another router", (Text(text), table))


def _chosen_names(router: ClusterRouter, vectors: NDArray[Any]) -> NDArray[Any]:
    return np.array(router.models_)[np.asarray(router.choose(vectors))]


def method(judged: Judged) -> Section:
    """How the figures were made."""
    found, router = judged.found, judged.router
    items = (
        "AvgAcc is the mean over tasks, unweighted, of the mean score of a task's rows. Costs are averaged so too.",
        f"Best Single ({found.best_single}) has the highest AvgAcc on calibration rows: these rows have no part in it.",
        "Max Expert takes the best model of each task and Oracle the best of each query, both in hindsight.",
        "Gain@R and Gain@B are relative gains over Random and Best Single. Gap@O is the share of the Oracle's AvgAcc "
        "that is missing.",
        "PerfGain is the gain over Best Single at the router's most accurate point. CostSave is the largest share of "
        "Best Single's cost saved at no loss of AvgAcc. ParetoDist is the mean normalised L1 distance to the Pareto "
        "front of router and single models.",
        f"Intervals are {judged.level} intervals for rows drawn at random within tasks; differences are paired by row.",
    )
    metrics = tuple(
        (
            named(name),
            Cell(f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]", metric.value)
            if name == "ParetoDist"
            else Cell(metric.points(signed=name not in ("AvgAcc", "Gap@O")) + " %", metric.value),
        )
        for name, metric in found.metrics.items()
        if metric is not None and metric.known
    )
    parameters = ", ".join(f"{name}={value!r}" for name, value in router.get_params().items())
    return Section(
        "method",
        "How this was measured",
        (
            Table("metrics", "LLMRouterBench's metrics.", ("", "value"), metrics),
            Bullets((*found.notes, *items)),
            Text(f"Models: {', '.join(router.models_)}.", "note"),
            Text(f"Router: {parameters}.", "note"),
        ),
    )
