"""From calibration rows to a fitted router: cluster the rows, sum up the scores."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from langchain_avengers._text import well_formed
from langchain_avengers.errors import RouterError
from langchain_avengers.routing.clusterers import cluster, without_warnings
from langchain_avengers.routing.pairing import correlations
from langchain_avengers.routing.parameters import Parameters
from langchain_avengers.routing.resolutions import (
    CurvePoint,
    blend,
    coarsest_of_the_best,
    fit_weights,
    ladder,
    leave_one_out,
    leave_one_out_means,
    routed_scores,
    score_curve,
)
from langchain_avengers.routing.scoring import ClusterStats, fit_linear
from langchain_avengers.routing.state import Calibration, Clustering, FittedRouter, Linear
from langchain_avengers.routing.table import ScoreTable
from langchain_avengers.routing.tuning import Rows, tune
from langchain_avengers.routing.vectors import Vectors

LINEAR_STRENGTH = 30.0
"""Ridge penalty of the linear part, in rows: a few dozen rows hardly bend it, thousands do."""

NOVELTY_QUANTILE = 0.97
"""Share of the calibration rows that are nearer than a novel query: kinds of questions left out of calibration lie
beyond it, and the rows beyond it gain little from routing (docs/routing.md)."""

_ROWS_THAT_TELL = 20
"""Rows of a cluster from which on its own spread is known."""

_STARTS = 5
"""Starts of K-means at the coarsest resolution, fewer at finer ones."""

_EXAMPLES = 3
_MAX_DIGESTS = 250_000

Labelled = tuple[NDArray[np.intp], Vectors]
"""Labels of rows, shape (n,), and centroids, shape (K, d)."""


def fit(parameters: Parameters, table: ScoreTable, X: Vectors) -> FittedRouter:
    """Fit a router to calibration rows.

    Args:
        parameters: Checked parameters.
        table: The n rows. Their order does not matter.
        X: Their unit vectors, shape (n, d).

    Raises:
        RouterError: A model has no score at all, or there are fewer rows than clusters.
    """
    check_rows(parameters, table)
    with without_warnings():
        return _fit_sorted(parameters, *canonical(table, X))


def check_rows(parameters: Parameters, table: ScoreTable) -> None:
    """Refuse rows that cannot be fitted to: a model without a score, fewer rows than clusters, half a character."""
    check_names("model", table.models)
    check_names("task", table.tasks or ())
    unmeasured = [
        name for name, n in zip(table.models, (~np.isnan(table.scores)).sum(0), strict=True) if n == 0
    ]
    if unmeasured:
        raise RouterError(
            f"no score is known of {', '.join(map(repr, unmeasured))}: measure some, or leave them out"
        )
    if parameters.n_clusters != "auto" and parameters.n_clusters > len(table):
        raise RouterError(f"n_clusters is {parameters.n_clusters}, more than the table's {len(table)} rows")


def refit(state: FittedRouter, table: ScoreTable, X: Vectors) -> FittedRouter:
    """A router like this one on other rows: as many clusters and the same weights, which are not fitted again.

    It makes out-of-fold estimates, so each resolution is clustered once, and a single one at most three times, from
    one start each.
    """
    parameters = state.parameters
    weights: dict[int, float] = {}
    for part in state.clusterings:
        size = min(len(part.centroids), len(X))
        weights[size] = weights.get(size, 0.0) + part.weight
    repeats = min(len(state.clusterings), 3) if len(weights) == 1 else 1
    finest = max(weights)
    clusterings: list[Clustering] = []
    apart: NDArray[np.floating[Any]] = np.empty(0)
    finest_labels: NDArray[np.intp] = np.empty(0, dtype=np.intp)
    with without_warnings():
        for size, weight in weights.items():
            for number in range(repeats):
                seed = parameters.random_state + 1000 * number
                labels, centroids = cluster(X, size, clusterer=parameters.clusterer, seed=seed, n_init=1)
                stats = ClusterStats.of(table, labels, len(centroids))
                clusterings.append(Clustering(centroids, stats, weight / repeats))
                if size == finest and number == 0:
                    apart, finest_labels = _apart(X, labels, centroids), labels
    linear = None
    if state.linear is not None:
        ridge = fit_linear(X, table.scores, LINEAR_STRENGTH)
        linear = Linear(ridge.weights, ridge.intercepts, state.linear.share)
    tasks, by_task = task_sums(table, table.models)
    return FittedRouter(
        parameters=parameters,
        models=tuple(table.models),
        clusterings=tuple(clusterings),
        linear=linear,
        novelty_quantile=state.novelty_quantile,
        novelty_distance=_novelty_distance(apart, state.novelty_quantile),
        novelty_reach=_novelty_reach(apart, finest_labels, state.novelty_quantile),
        calibration=Calibration(len(table), (), (), (), tasks, by_task),
    )


def _fit_sorted(parameters: Parameters, table: ScoreTable, X: Vectors) -> FittedRouter:
    if parameters.n_clusters == "auto":
        fitted = _at_resolutions(parameters, table, X)
    else:
        fitted = _at_one_resolution(parameters, table, X, parameters.n_clusters)
        if (found := len(fitted.shown[1])) < parameters.n_clusters:
            warnings.warn(
                f"{found} clusters instead of {parameters.n_clusters}: there are not more different vectors, "
                f"or {parameters.clusterer} left some empty",
                stacklevel=4,
            )
    labels, centroids = fitted.shown
    apart = _apart(X, *fitted.finest)
    quantile = parameters.novelty_quantile
    if quantile == "auto":
        quantile = _trusted_quantile(apart, fitted.expected, table.scores)
    tasks, by_task = task_sums(table, table.models)
    state = FittedRouter(
        parameters=parameters,
        models=tuple(table.models),
        clusterings=fitted.clusterings,
        linear=fitted.linear,
        novelty_quantile=quantile,
        novelty_distance=_novelty_distance(apart, quantile),
        novelty_reach=_novelty_reach(apart, fitted.finest[0], quantile),
        calibration=Calibration(
            n_rows=len(table),
            curve=fitted.curve,
            cluster_tasks=count_tasks(
                Counter(zip(labels.tolist(), table.tasks or (), strict=False)), len(centroids)
            ),
            examples=_examples(table.queries, _distances(X, labels, centroids), labels, len(centroids)),
            tasks=tasks,
            by_task=by_task,
            query_digests=np.unique(query_digests(table.queries)) if len(table) <= _MAX_DIGESTS else None,
            correlations=correlations(table.scores, labels),
        ),
    )
    by_score = replace(state, parameters=replace(parameters, cost_weight=0.0))

    def fit_part(inside: Rows) -> FittedRouter:
        return refit(by_score, table.select_rows(inside), X[inside])

    subsets, advice = tune(table, X, fit_part, len(centroids), parameters.random_state)
    return replace(state, calibration=replace(state.calibration, subsets=subsets, cost_advice=advice))


class _Fit(NamedTuple):
    """What is fitted to the rows: weighed clusterings and a linear part, and the labels that describe them.

    `expected` are the models' expected scores on each row, shape (n, M), by what the other rows say.
    """

    clusterings: tuple[Clustering, ...]
    linear: Linear | None
    shown: Labelled
    finest: Labelled
    expected: NDArray[np.float64]
    curve: tuple[CurvePoint, ...] = ()


def _at_one_resolution(parameters: Parameters, table: ScoreTable, X: Vectors, n_clusters: int) -> _Fit:
    """Clusterings of one K, which count alike."""
    share = parameters.linear_share or 0.0
    ridge = fit_linear(X, table.scores, LINEAR_STRENGTH) if share else None
    labelled = [
        cluster(
            X,
            n_clusters,
            clusterer=parameters.clusterer,
            seed=parameters.random_state + 1000 * number,
            # the first clustering is the one shown, so a good one; of many rows, where starts are dear and
            # matter less, the average makes up for the others
            n_init=None if number == 0 else max(1, min(5, 10_000 // len(X))),
        )
        for number in range(parameters.clusterings)
    ]
    weight = (1 - share) / len(labelled)
    expected = (1 - share) * _left_out(parameters, table, labelled)
    if ridge is not None:
        expected += share * ridge.left_out
    return _Fit(
        tuple(
            Clustering(centroids, ClusterStats.of(table, labels, len(centroids)), weight)
            for labels, centroids in labelled
        ),
        None if ridge is None else Linear(ridge.weights, ridge.intercepts, share),
        labelled[0],
        labelled[0],
        expected,
    )


def _left_out(parameters: Parameters, table: ScoreTable, labelled: Sequence[Labelled]) -> NDArray[np.float64]:
    """The mean over clusterings of what the other rows say of each row, shape (n, M)."""
    total = np.zeros(table.scores.shape)
    for labels, centroids in labelled:
        stats = ClusterStats.of(table, labels, len(centroids))
        total += leave_one_out(stats, labels, table.scores, parameters.prior_strength)
    return total / len(labelled)


def _at_resolutions(parameters: Parameters, table: ScoreTable, X: Vectors) -> _Fit:
    """Clusterings of several K, weighed by what the rows show."""
    levels: list[list[Labelled]] = []
    estimates = []
    sizes = ladder(len(table))
    coarsest = sizes[0]
    for n_clusters in sizes:
        levels.append(
            [
                cluster(
                    X,
                    n_clusters,
                    clusterer=parameters.clusterer,
                    seed=parameters.random_state + 1000 * number,
                    # a coarse clustering from one start may lose a small kind of question
                    n_init=max(1, min(_STARTS, _STARTS * 2 * coarsest // n_clusters)),
                )
                for number in range(parameters.clusterings)
            ]
        )
        estimates.append(_left_out(parameters, table, levels[-1]))
    share = parameters.linear_share
    ridge = None if share == 0 else fit_linear(X, table.scores, LINEAR_STRENGTH)
    left_out = None if ridge is None or share else ridge.left_out
    weights, blends = [], []
    for used in range(1, len(levels) + 1):
        weights.append(fit_weights(table.scores, estimates[:used], left_out))
        blends.append(blend(table.scores, weights[-1], estimates[:used], left_out))
    curve = score_curve([len(level[0][1]) for level in levels], blends, table.scores, table.tasks)
    finest = coarsest_of_the_best(curve)
    if not parameters.blended:  # the other scoring rules have one clustering
        return _at_one_resolution(parameters, table, X, curve[finest]["n_clusters"])._replace(curve=curve)
    chosen, expected = weights[finest], blends[finest]
    if share:
        overall = leave_one_out_means(table.scores)
        chosen, expected = chosen * (1 - share), overall + (1 - share) * (expected - overall)
        expected += share * (ridge.left_out - overall) if ridge is not None else 0.0
    elif ridge is not None:
        share = float(chosen[-1])
    levels = levels[: finest + 1]
    # the middle one is shown: fine enough to tell kinds of questions apart, coarse enough to be read
    middle = len(levels) // 2
    order = [middle, *(level for level in range(len(levels)) if level != middle)]
    return _Fit(
        tuple(
            Clustering(
                centroids,
                ClusterStats.of(table, labels, len(centroids)),
                float(chosen[level]) / parameters.clusterings,
            )
            for level in order
            for labels, centroids in levels[level]
        ),
        Linear(ridge.weights, ridge.intercepts, share) if ridge is not None and share else None,
        levels[middle][0],
        levels[finest][0],
        expected,
        curve,
    )


def _distances(X: Vectors, labels: NDArray[np.intp], centroids: Vectors) -> NDArray[np.floating[Any]]:
    """Distance of each row to the centroid of its cluster, shape (n,)."""
    squared = 1 + (centroids**2).sum(1)[labels] - 2 * np.einsum("nd,nd->n", X, centroids[labels])
    return np.asarray(np.sqrt(np.maximum(squared, 0)))


def _apart(X: Vectors, labels: NDArray[np.intp], centroids: Vectors) -> NDArray[np.floating[Any]]:
    """How far a new query in its place would be, shape (n,): the distance to the mean of the cluster's other rows.

    NaN for a row that has its cluster for itself.
    """
    counts = np.bincount(labels)[labels]
    return np.where(counts > 1, _distances(X, labels, centroids) * counts / np.maximum(counts - 1, 1), np.nan)


def _trusted_quantile(
    apart: NDArray[np.floating[Any]], expected: NDArray[np.float64], scores: NDArray[np.float32]
) -> float:
    """0.97; 1 when routing helps the rows farther than that by more than two standard errors."""
    if np.isnan(apart).all():
        return 1.0
    far = apart > np.nanquantile(apart, NOVELTY_QUANTILE)
    gain = routed_scores(scores, expected) - routed_scores(scores, leave_one_out_means(scores))
    gain = gain[far & ~np.isnan(gain)]
    helps = len(gain) > 1 and gain.mean() > 2 * gain.std(ddof=1) / math.sqrt(len(gain))
    return 1.0 if helps else NOVELTY_QUANTILE


def _novelty_distance(apart: NDArray[np.floating[Any]], quantile: float | None) -> float:
    if quantile is None or np.isnan(apart).all():
        return math.inf
    return float(np.nanquantile(apart, quantile))


def _novelty_reach(
    apart: NDArray[np.floating[Any]], labels: NDArray[np.intp], quantile: float | None
) -> Vectors:
    """The quantile of each cluster's own rows, shape (K,); 0 for a cluster of few rows."""
    counts = np.bincount(labels)
    reach = np.zeros(len(counts), dtype=np.float32)
    if quantile is not None:
        for place in np.flatnonzero(counts >= _ROWS_THAT_TELL):
            reach[place] = np.nanquantile(apart[labels == place], quantile)
    return reach


def count_tasks(counted: Counter[tuple[int, str]], n_clusters: int) -> tuple[dict[str, int], ...]:
    """For each cluster its rows by task, from counts of (cluster, task)."""
    by_cluster: tuple[dict[str, int], ...] = tuple({} for _ in range(n_clusters))
    for (label, task), n in sorted(counted.items()):
        by_cluster[label][task] = n
    return by_cluster


def _examples(
    queries: Sequence[str], distances: NDArray[np.floating[Any]], labels: NDArray[np.intp], n_clusters: int
) -> tuple[tuple[str, ...], ...]:
    """For each cluster up to three different queries, the nearest to the centroid first."""
    order = np.argsort(distances, kind="stable")
    by_cluster = order[np.argsort(labels[order], kind="stable")]
    ends = np.cumsum(np.bincount(labels, minlength=n_clusters))[:-1]
    return tuple(
        tuple(dict.fromkeys(well_formed(queries[row]) for row in rows[: 4 * _EXAMPLES].tolist()))[:_EXAMPLES]
        for rows in np.split(by_cluster, ends)
    )


def task_sums(
    table: ScoreTable,
    models: Sequence[str],
    before: tuple[Sequence[str], ClusterStats] | None = None,
) -> tuple[tuple[str, ...], ClusterStats]:
    """The tasks and the models' sums in each, added to those before; rows without tasks are one task without a name.

    Args:
        table: Rows with the columns `models`.
        models: The M models.
        before: Tasks and sums to add to.
    """
    known, sums = before or ((), ClusterStats.zeros(0, len(models)))
    tasks = table.tasks or [""] * len(table)
    names = sorted({*known, *tasks})
    check_names("task", names)
    place = {name: row for row, name in enumerate(names)}
    labels = np.array([place[task] for task in tasks], dtype=np.intp)
    earlier = sums.at_rows([place[name] for name in known], len(names))
    return tuple(names), earlier + ClusterStats.of(table, labels, len(names))


def check_names(kind: str, names: Iterable[str]) -> None:
    """Refuse names of models or tasks that hold half a character: no file could keep them."""
    for name in dict.fromkeys(names):
        if well_formed(name) != name:
            raise RouterError(f"the {kind} {name!r} holds half a character (a lone surrogate): rename it")


def query_digests(queries: Sequence[str]) -> NDArray[np.uint64]:
    """A 64-bit digest of each query, shape (n,)."""
    digests = b"".join(blake2b(_bytes(query), digest_size=8).digest() for query in queries)
    return np.frombuffer(digests, dtype="<u8")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def canonical(table: ScoreTable, X: Vectors) -> tuple[ScoreTable, Vectors]:
    """The rows in an order that does not depend on the one they came in."""
    tasks = table.tasks or [""] * len(table)
    costs = table.costs if table.costs is not None else np.empty((len(table), 0), dtype=np.float32)
    keys = [
        blake2b(
            b"\0".join((_bytes(query), _bytes(task))) + x.tobytes() + scores.tobytes() + cost.tobytes(),
            digest_size=16,
        ).digest()
        for query, task, x, scores, cost in zip(table.queries, tasks, X, table.scores, costs, strict=True)
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return table.select_rows(order), np.ascontiguousarray(X[order])
