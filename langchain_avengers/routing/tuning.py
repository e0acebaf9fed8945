"""What the calibration rows say about a smaller pool and about a weight of cost, by cross-validation.

A router is fitted to four fifths of the rows and chooses on the last fifth, five times over. What is read off these
choices is not read off rows that any of them was fitted to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from langchain_avengers._arrays import known_mean
from langchain_avengers.routing.ranking import Ranker
from langchain_avengers.routing.state import CostAdvice, FittedRouter, Subset
from langchain_avengers.routing.table import ScoreTable
from langchain_avengers.routing.vectors import Vectors

FOLDS = 5
FEWEST_ROWS = 50
"""Fewer calibration rows are not divided any further: nothing is advised."""

COST_WEIGHTS = (*(step / 200 for step in range(40)), *(step / 20 for step in range(4, 21)))
"""The weights of cost tried: steps of 0.005 below 0.2, where most choices change, then of 0.05."""

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Held:
    """One fold: a router fitted to the other folds, and the rows it was not fitted to."""

    rows: Rows
    ranker: Ranker
    best_single: int


def stratified_folds(strata: NDArray[np.integer], folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each row, shape (n,), even within every stratum; strata may be smaller than the folds."""
    rng = np.random.default_rng(seed)
    fold = np.zeros(len(strata), np.int64)
    start = 0
    for stratum in np.unique(strata):
        rows = rng.permutation(np.flatnonzero(strata == stratum))
        fold[rows] = (np.arange(len(rows)) + start) % folds
        start += len(rows)  # small strata do not all begin with fold 0
    return fold


def tune(
    table: ScoreTable, X: Vectors, fit: Callable[[Rows], FittedRouter], n_clusters: int, seed: int
) -> tuple[tuple[Subset, ...], CostAdvice | None]:
    """The best subset of every number of models, and the weight of cost that loses nothing.

    Args:
        table: Calibration rows.
        X: Their unit vectors, shape (n, d).
        fit: A router fitted to some of the rows, with its weight of cost at 0.
        n_clusters: Clusters of such a router.
        seed: Of the folds.

    Returns:
        Nothing, and no advice, when there are fewer than `FEWEST_ROWS` rows or fewer than clusters.
    """
    if len(table) < FEWEST_ROWS or len(table) * (FOLDS - 1) // FOLDS < n_clusters:
        return (), None
    tasks = np.unique(np.asarray(table.tasks or [""] * len(table)), return_inverse=True)[1]
    fold = stratified_folds(tasks, FOLDS, seed)
    held = []
    for number in range(FOLDS):
        inside = np.flatnonzero(fold != number)
        best = np.argmax(
            [np.nan_to_num(_over_tasks(column, tasks[inside])) for column in table.scores[inside].T]
        )
        held.append(Held(np.flatnonzero(fold == number), Ranker(fit(inside)), int(best)))
    return _cross_validated_subsets(table, X, tasks, held), _cost_advice(table, X, tasks, held)


def _cross_validated_subsets(
    table: ScoreTable, X: Vectors, tasks: NDArray[np.int64], held: Sequence[Held]
) -> tuple[Subset, ...]:
    expected = np.empty(table.scores.shape)
    for fold in held:
        expected[fold.rows] = fold.ranker.expected(X[fold.rows])

    def score(models: Sequence[int]) -> float:
        columns = np.array(models)
        choice = columns[expected[:, columns].argmax(axis=1)]
        return _over_tasks(table.scores[np.arange(len(table)), choice], tasks)

    names = np.array(table.models, dtype=object)
    return tuple(Subset(tuple(names[models]), found) for models, found in _grow(range(len(names)), score))


def _grow(
    models: Sequence[int], score: Callable[[Sequence[int]], float]
) -> Iterator[tuple[list[int], float]]:
    """The subset of every size with its score: greedy forward selection, exchanging as long as that helps.

    `models` is in the order that decides ties.
    """
    alone = {model: _known(score([model])) for model in models}
    ranked = sorted(models, key=lambda model: -alone[model])
    kept: list[int] = []
    reached = 0.0
    while len(kept) < len(ranked):
        rest = [model for model in ranked if model not in kept]
        trials = [[*kept, model] for model in rest]
        found = [_known(score(trial)) for trial in trials]
        kept, reached = trials[int(np.argmax(found))], max(found)
        while better := _exchange(kept, ranked, score, reached):
            kept, reached = better
        yield sorted(kept, key=ranked.index), reached


def _exchange(
    kept: list[int], models: Sequence[int], score: Callable[[Sequence[int]], float], reached: float
) -> tuple[list[int], float] | None:
    """The best subset that differs in one model; None when no such subset is better."""
    trials = [
        [other if model == old else model for model in kept]
        for old in kept
        for other in models
        if other not in kept
    ]
    found = [_known(score(trial)) for trial in trials]
    if not found or max(found) <= reached + 1e-9:
        return None
    return trials[int(np.argmax(found))], max(found)


def _known(score: float) -> float:
    """The score rounded, so that the order of sums decides nothing; -1 when it is not known."""
    return -1.0 if np.isnan(score) else round(score, 9)


def _cost_advice(
    table: ScoreTable, X: Vectors, tasks: NDArray[np.int64], held: Sequence[Held]
) -> CostAdvice | None:
    """The cheapest weight whose held-out score is above Best Single's by a standard error at least."""
    scoring = held[0].ranker.state.parameters.scoring
    if table.costs is None or scoring == "rank":
        return None
    if any(np.isnan(fold.ranker.state.stats.global_costs).any() for fold in held):
        return None
    score, cost = (_single(values, held) for values in (table.scores, table.costs))
    price = _over_tasks(cost, tasks)
    found: CostAdvice | None = None
    for weight in COST_WEIGHTS if price > 0 else ():
        lead = _chosen(table.scores, X, held, weight) - score
        saving = 1 - _over_tasks(_chosen(table.costs, X, held, weight), tasks) / price
        mean, stderr = _over_tasks(lead, tasks), _stderr(lead, tasks)
        if mean >= stderr and saving > max(0.0, found.saving if found else 0.0):
            found = CostAdvice(weight, mean, stderr, saving)
    return found


def _chosen(
    values: NDArray[np.floating],
    X: Vectors,
    held: Sequence[Held],
    cost_weight: float,
) -> NDArray[np.float64]:
    """The value, of (n, M), of the model that each row's fold chooses for it; shape (n,)."""
    found = np.full(len(values), np.nan)
    for fold in held:
        choice = fold.ranker.choose(X[fold.rows], cost_weight=cost_weight)
        found[fold.rows] = values[fold.rows, choice]
    return found


def _single(values: NDArray[np.floating], held: Sequence[Held]) -> NDArray[np.float64]:
    found = np.full(len(values), np.nan)
    for fold in held:
        found[fold.rows] = values[fold.rows, fold.best_single]
    return found


def _over_tasks(values: NDArray[np.floating], tasks: NDArray[np.int64]) -> float:
    return float(known_mean([known_mean(values[tasks == task]) for task in np.unique(tasks)]))


def _stderr(values: NDArray[np.floating], tasks: NDArray[np.int64]) -> float:
    """Standard error of the mean over tasks; a task of one row counts with the spread of all rows."""
    known = ~np.isnan(values)
    values, codes = values[known], np.unique(tasks[known], return_inverse=True)[1]
    n = np.bincount(codes)
    apart = values - (np.bincount(codes, values) / n)[codes]
    spread = (apart**2).sum() / max(1, len(values) - len(n))
    variance = (np.bincount(codes, apart**2) + spread) / n
    return float(np.sqrt((variance / n).sum()) / len(n))


def best_subset(state: FittedRouter, n: int) -> tuple[str, ...]:
    """The n models found by greedy selection: cross-validated at `fit`, else by the clusters' scores."""
    if state.calibration.subsets:
        return state.calibration.subsets[n - 1].models
    rows = state.stats.counts.max(axis=1)

    def score(models: Sequence[int]) -> float:
        return float(rows @ state.cluster_scores[:, list(models)].max(axis=1) / rows.sum())

    found = list(_grow([int(m) for m in state.order], score))
    return tuple(state.models[m] for m in found[n - 1][0])
