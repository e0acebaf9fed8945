"""The Pareto front of cost and accuracy: a router at every weight of cost, and the cost of Best Single's accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from langchain_avengers.errors import RouterError, TableError
from langchain_avengers.evaluation import metrics
from langchain_avengers.evaluation.arrays import arrays, table_arrays
from langchain_avengers.evaluation.baselines import best_of_table, best_single
from langchain_avengers.evaluation.stats import (
    Estimate,
    difference_estimate,
    gain_estimate,
    jsonable,
    over_strata,
    over_tasks,
    saving_estimate,
    stratum_means,
)
from langchain_avengers.routing.tuning import COST_WEIGHTS, stratified_folds

if TYPE_CHECKING:
    from langchain_avengers.routing.router import ClusterRouter
    from langchain_avengers.routing.table import ScoreTable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ParetoPoint:
    """The router at one weight of cost.

    Attributes:
        cost_weight: The weight; 0 is the most accurate choice regardless of cost.
        avg_acc: AvgAcc, in [0, 1].
        cost: Mean US dollars per query, averaged over tasks as AvgAcc is.
        difference: AvgAcc minus Best Single's.
        saving: `1 - cost / cost(Best Single)`.
        on_front: No point of the router and no single model is as cheap and as accurate, and better in one.
    """

    cost_weight: float
    avg_acc: float
    cost: float
    difference: Estimate
    saving: Estimate
    on_front: bool


@dataclass(frozen=True)
class ModelPoint:
    """A single model's place beside the front."""

    name: str
    avg_acc: float
    cost: float
    on_front: bool


@dataclass(frozen=True)
class ParetoFront:
    """A router's Pareto front of cost and accuracy.

    Attributes:
        points: One per weight of cost, in the order swept.
        models: The single models.
        best_single: The name of Best Single.
        keeps: The cheapest point at least as accurate as Best Single, `None` when none is. It is found on
            these rows: to *use* a weight, choose it on calibration rows (`advised`, `choose_cost_weight`).
        advised: The point of the weight that the router advises, which was found on its calibration rows by
            cross-validation; `None` when it advises none.
        perf_gain: `metrics.perf_gain`; the interval is that of the most accurate point.
        cost_save: `metrics.cost_save`; the interval is that of `keeps`. `None` when there is no such point.
        pareto_dist: `metrics.pareto_dist` against the single models, with a percentile bootstrap interval.
    """

    points: tuple[ParetoPoint, ...]
    models: tuple[ModelPoint, ...]
    best_single: str
    keeps: ParetoPoint | None
    advised: ParetoPoint | None
    perf_gain: Estimate
    cost_save: Estimate | None
    pareto_dist: Estimate

    def to_dict(self) -> dict[str, Any]:
        """The front as JSON-safe plain data."""
        data: dict[str, Any] = jsonable(asdict(self))
        return data

    def sentence(self) -> str:
        """What the front says about Best Single's cost."""
        if self.advised is not None:
            saving = self.advised.saving
            return (
                f"With cost_weight={self.advised.cost_weight:g}, advised by the calibration rows, the router is "
                f"{self.advised.difference.points(signed=True)} points from Best Single ({self.best_single}) and saves "
                f"{100 * saving.value:.1f} % of its cost [{100 * saving.low:.1f}, {100 * saving.high:.1f}]."
            )
        if self.keeps is None:
            return f"No point of the front is as accurate as Best Single ({self.best_single})."
        saving = self.keeps.saving
        return (
            f"On these rows, cost_weight={self.keeps.cost_weight:g} holds the accuracy of Best Single "
            f"({self.best_single}): {self.keeps.difference.points(signed=True)} points; and it saves "
            f"{100 * saving.value:.1f} % of its cost [{100 * saving.low:.1f}, {100 * saving.high:.1f}]. "
            "That weight is read off these rows, so it is no advice."
        )


def sweep_costs(
    router: ClusterRouter,
    table: ScoreTable,
    *,
    vectors: NDArray[Any] | None = None,
    best: int | None = None,
    cost_weights: Sequence[float] | None = None,
    n_boot: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> ParetoFront:
    """Sweep the weight of cost and measure the router at every value.

    Args:
        router: A fitted router.
        table: Held-out rows, with costs, with all of the router's models.
        vectors: Shape (n, d). The rows' embeddings; embedded by the router when not given.
        best: Index of Best Single; `baselines.best_single` of the router when not given.
        cost_weights: Weights to sweep; `COST_WEIGHTS` when not given.
        n_boot: Bootstrap resamples behind the interval of ParetoDist; at most 500 are drawn.
        confidence: Of the intervals.
        seed: Seed of the resampling.

    Raises:
        TableError: The table holds no costs.
    """
    scores, costs, tasks = arrays(router, table)
    if costs is None:
        raise TableError("the table holds no costs: a cost-quality front needs them in the rows' `costs`")
    where = router.embed_many(table.queries) if vectors is None else vectors
    names = list(router.models_)
    best = best_single(router) if best is None else best
    weights = [float(weight) for weight in (COST_WEIGHTS if cost_weights is None else cost_weights)]
    advice = router.cost_advice_
    if advice is not None and advice.cost_weight not in weights:
        weights.append(advice.cost_weight)
    sweep = [np.asarray(router.choose(where, cost_weight=weight), np.int64) for weight in weights]
    singles = np.array(
        [(over_tasks(costs[:, i], tasks), over_tasks(scores[:, i], tasks)) for i in range(len(names))]
    )
    fixed = np.full(len(table), best)
    points = _points(weights, sweep, fixed, scores, costs, tasks, confidence, singles)
    place = np.array([(point.cost, point.avg_acc) for point in points])
    single_on_front = metrics.pareto_front(np.vstack([singles, place]))[: len(names)]
    holding = [point for point in points if point.difference.value >= -1e-12]
    keeps = min(holding, key=lambda point: (point.cost, -point.avg_acc)) if holding else None
    rows = np.arange(len(table))
    top = sweep[int(np.argmax(place[:, 1]))]
    answered = [np.full(len(table), i) for i in range(len(names))] + sweep
    _, draws = stratum_means(
        np.column_stack([array[rows, choice] for choice in answered for array in (costs, scores)]),
        tasks,
        n_boot=min(n_boot, 500),
        seed=seed,
    )
    drawn = over_strata(draws).reshape(len(draws[0]), -1, 2)
    return ParetoFront(
        points=points,
        models=tuple(
            ModelPoint(name, float(singles[i, 1]), float(singles[i, 0]), bool(single_on_front[i]))
            for i, name in enumerate(names)
        ),
        best_single=names[best],
        keeps=keeps,
        advised=None if advice is None else points[weights.index(advice.cost_weight)],
        perf_gain=gain_estimate(scores[rows, top], scores[:, best], tasks, confidence),
        cost_save=keeps.saving if keeps is not None and singles[best, 0] > 0 else None,
        pareto_dist=Estimate.of(
            metrics.pareto_dist(place, singles),
            [metrics.pareto_dist(draw[len(names) :], draw[: len(names)]) for draw in drawn],
            confidence,
        ),
    )


def choose_cost_weight(
    router: ClusterRouter,
    table: ScoreTable,
    *,
    vectors: NDArray[Any],
    cost_weights: Sequence[float] | None = None,
    within_interval: bool = False,
    folds: int = 5,
    seed: int = 0,
) -> tuple[float, tuple[ParetoPoint, ...]]:
    """Choose the weight of cost on calibration rows, by cross-validation.

    A router with the same parameters is fitted on all folds but one and chooses on that one, for every
    weight. The weight with the lowest cost is chosen among those whose held-out accuracy is no lower than
    that of Best Single, found on the same folds.

    Args:
        router: A router whose parameters are used; fitted or not, it is left alone.
        table: Calibration rows, with costs.
        vectors: Shape (n, d). The rows' embeddings.
        cost_weights: Weights to try; `COST_WEIGHTS` when not given.
        within_interval: Also take weights whose held-out accuracy is lower, as long as the 95 % interval of the
            difference reaches 0: saves more, and risks a loss too small for these rows to show.
        folds: Folds, stratified by task.
        seed: Seed of the folds.

    Returns:
        The weight, and every weight's held-out point.

    Raises:
        TableError: The table holds no costs, or fewer rows than folds.
        RouterError: Fewer than two folds.
    """
    if folds < 2:
        raise RouterError(f"folds={folds}: cross-validation needs at least 2")
    if table.costs is None:
        raise TableError("the table holds no costs: a weight of cost needs them in the rows' `costs`")
    if len(table) < folds:
        raise TableError(f"{len(table)} rows are fewer than {folds} folds")
    weights = [float(weight) for weight in (COST_WEIGHTS if cost_weights is None else cost_weights)]
    scores, costs, tasks = table_arrays(table, list(table.models))
    assert costs is not None
    fold = stratified_folds(tasks, folds, seed)
    params = router.get_params()
    if params["n_clusters"] == "auto":
        # the search for K is done once, on all calibration rows, not again in every fold
        whole = router
        if not hasattr(router, "n_clusters_"):
            whole = type(router)(**params).fit(table, vectors=vectors, learn_vote=False)
        params |= {
            "n_clusters": min(whole.n_clusters_, int((fold != 0).sum())),
            "n_clusterings": whole.n_clusterings_,
            "linear_weight": whole.linear_share_,
        }
    choices = np.zeros((len(weights) + 1, len(table)), np.int64)
    for number in range(folds):
        held = fold == number
        part = type(router)(**params)
        part.fit(table.select_rows(~held), None, vectors=vectors[~held], learn_vote=False)
        column = np.array([table.models.index(name) for name in part.models_])
        for row, weight in enumerate(weights):
            choices[row, held] = column[np.asarray(part.choose(vectors[held], cost_weight=weight))]
        choices[-1, held] = column[best_of_table(table.select_rows(~held), list(part.models_))]
    points = _points(weights, list(choices[:-1]), choices[-1], scores, costs, tasks, 0.95, np.empty((0, 2)))
    holding = [p for p in points if (p.difference.high if within_interval else p.difference.value) >= -1e-12]
    if not holding:
        return max(points, key=lambda p: p.avg_acc).cost_weight, points
    return min(holding, key=lambda p: (p.cost, p.cost_weight)).cost_weight, points


def _points(
    weights: Sequence[float],
    sweep: Sequence[Ints],
    best: Ints,
    scores: Floats,
    costs: Floats,
    tasks: Ints,
    confidence: float,
    beside: Floats,
) -> tuple[ParetoPoint, ...]:
    """One point per weight, its choices (n,) against those of `best`; `beside` (q, 2) are other (cost, accuracy)."""
    rows = np.arange(len(scores))
    score, cost = scores[rows, best], costs[rows, best]
    place = [(over_tasks(costs[rows, c], tasks), over_tasks(scores[rows, c], tasks)) for c in sweep]
    on_front = metrics.pareto_front(np.vstack([place, beside]))
    return tuple(
        ParetoPoint(
            cost_weight=weight,
            avg_acc=place[i][1],
            cost=place[i][0],
            difference=difference_estimate(scores[rows, choice], score, tasks, confidence),
            saving=saving_estimate(costs[rows, choice], cost, tasks, confidence),
            on_front=bool(on_front[i]),
        )
        for i, (weight, choice) in enumerate(zip(weights, sweep, strict=True))
    )
