"""From calibration rows to a fitted router: cluster the rows, sum up the scores."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_avengers.errors import RouterError
from langchain_avengers.routing.choose_k import CurvePoint, Rows, choose_n_clusters
from langchain_avengers.routing.clusterers import cluster, without_warnings
from langchain_avengers.routing.parameters import Parameters
from langchain_avengers.routing.ranking import Ranker
from langchain_avengers.routing.scoring import ClusterStats, fit_linear
from langchain_avengers.routing.state import Calibration, Clustering, FittedRouter, Linear
from langchain_avengers.routing.table import ScoreTable
from langchain_avengers.routing.tuning import tune
from langchain_avengers.routing.vectors import Vectors

LINEAR_STRENGTH = 30.0
"""Ridge penalty of the linear part, in rows: a few dozen rows hardly bend it, thousands do."""

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
    """Refuse rows that cannot be fitted to: a model without a score, fewer rows than clusters."""
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
    """A router like this one on other rows: with as many clusters, which are not searched for again.

    It makes out-of-fold estimates, so it takes at most three of the clusterings, each from one start.
    """
    parameters = state.parameters
    clusterings = [
        cluster(
            X,
            min(len(part.centroids), len(X)),
            clusterer=parameters.clusterer,
            seed=parameters.random_state + 1000 * number,
            n_init=1,
        )
        for number, part in enumerate(state.clusterings[:3])
    ]
    share = 0.0 if state.linear is None else state.linear.share
    with without_warnings():
        return _assemble(parameters, table, X, clusterings, _linear(parameters, table, X, share=share))


def _fit_sorted(parameters: Parameters, table: ScoreTable, X: Vectors) -> FittedRouter:
    curve: list[CurvePoint] = []
    if parameters.n_clusters == "auto":
        n_clusters, curve = _choose_n_clusters(parameters, table, X)
    else:
        n_clusters = parameters.n_clusters
    clusterings = _cluster(parameters, X, n_clusters, parameters.clusterings)
    if parameters.n_clusters != "auto" and (found := len(clusterings[0][1])) < n_clusters:
        warnings.warn(
            f"{found} clusters instead of {n_clusters}: there are not more different vectors, "
            f"or {parameters.clusterer} left some empty",
            stacklevel=4,
        )
    state = _assemble(parameters, table, X, clusterings, _linear(parameters, table, X))
    digests = np.unique(query_digests(table.queries)) if len(table) <= _MAX_DIGESTS else None
    subsets, advice = tune(
        table, X, partial(_fit_part, parameters, table, X, n_clusters), n_clusters, parameters.random_state
    )
    calibration = replace(
        state.calibration,
        curve=tuple(curve),
        query_digests=digests,
        subsets=subsets,
        cost_advice=advice,
    )
    return replace(state, calibration=calibration)


def _fit_part(
    parameters: Parameters, table: ScoreTable, X: Vectors, n_clusters: int, inside: Rows
) -> FittedRouter:
    """The router of some of the rows, for cross-validation: fewer starts, no weight of cost."""
    rows, vectors = table.select_rows(inside), X[inside]
    clusterings = _cluster(parameters, vectors, n_clusters, min(2, parameters.clusterings), trial=True)
    linear = _linear(parameters, rows, vectors, share=parameters.linear_share(len(table)))
    return _assemble(replace(parameters, cost_weight=0.0), rows, vectors, clusterings, linear)


def _choose_n_clusters(parameters: Parameters, table: ScoreTable, X: Vectors) -> tuple[int, list[CurvePoint]]:
    # two clusterings stand for the average: enough that the luck of one start does not decide
    count = min(2, parameters.clusterings)
    by_score = replace(parameters, cost_weight=0.0)

    def routed(inside: Rows, outside: Rows, candidates: Sequence[int]) -> NDArray[np.floating]:
        rows, vectors = table.select_rows(inside), X[inside]
        linear = _linear(parameters, rows, vectors, share=parameters.linear_share(len(table)))
        scores = []
        for n_clusters in candidates:
            clusterings = _cluster(parameters, vectors, n_clusters, count, trial=True)
            trial = Ranker(_assemble(by_score, rows, vectors, clusterings, linear))
            scores.append(table.scores[outside, trial.choose(X[outside])])
        return np.array(scores)

    return choose_n_clusters(len(table), table.tasks, routed, seed=parameters.random_state)


def _cluster(
    parameters: Parameters, X: Vectors, n_clusters: int, count: int, *, trial: bool = False
) -> list[Labelled]:
    """So many clusterings by different seeds."""
    return [
        cluster(
            X,
            n_clusters,
            clusterer=parameters.clusterer,
            seed=parameters.random_state + 1000 * number,
            # the first clustering is the one shown, so a good one; of many rows, where starts are dear and
            # matter less, the average makes up for the others
            n_init=1 if trial else None if number == 0 else max(1, min(5, 10_000 // len(X))),
        )
        for number in range(count)
    ]


def _linear(
    parameters: Parameters, table: ScoreTable, X: Vectors, *, share: float | None = None
) -> Linear | None:
    share = parameters.linear_share(len(table)) if share is None else share
    return Linear(*fit_linear(X, table.scores, LINEAR_STRENGTH), share) if share else None


def _assemble(
    parameters: Parameters,
    table: ScoreTable,
    X: Vectors,
    clusterings: Sequence[Labelled],
    linear: Linear | None,
) -> FittedRouter:
    """Score the models in clusters that are there."""
    labels, centroids = clusterings[0]
    distances = _distances(X, labels, centroids)
    tasks, by_task = task_sums(table, table.models)
    return FittedRouter(
        parameters=parameters,
        models=tuple(table.models),
        clusterings=tuple(
            Clustering(centroids, ClusterStats.of(table, labels, len(centroids)))
            for labels, centroids in clusterings
        ),
        linear=linear,
        novelty_distance=_novelty_distance(distances, labels, parameters.novelty_quantile),
        calibration=Calibration(
            n_rows=len(table),
            curve=(),
            cluster_tasks=count_tasks(
                Counter(zip(labels.tolist(), table.tasks or (), strict=False)), len(centroids)
            ),
            examples=_examples(table.queries, distances, labels, len(centroids)),
            tasks=tasks,
            by_task=by_task,
        ),
    )


def _distances(X: Vectors, labels: NDArray[np.intp], centroids: Vectors) -> NDArray[np.floating[Any]]:
    """Distance of each row to the centroid of its cluster, shape (n,)."""
    squared = 1 + (centroids**2).sum(1)[labels] - 2 * np.einsum("nd,nd->n", X, centroids[labels])
    return np.asarray(np.sqrt(np.maximum(squared, 0)))


def _novelty_distance(
    distances: NDArray[np.floating[Any]], labels: NDArray[np.intp], quantile: float | None
) -> float:
    counts = np.bincount(labels)[labels]
    others = counts > 1
    if quantile is None or not others.any():
        return math.inf
    # the distance to the mean of the OTHER members, n/(n-1) times as far: as a new query would see the cluster
    apart = distances[others] * (counts / np.maximum(counts - 1, 1))[others]
    return float(np.quantile(apart, quantile))


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
        tuple(dict.fromkeys(queries[row] for row in rows[: 4 * _EXAMPLES].tolist()))[:_EXAMPLES]
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
    place = {name: row for row, name in enumerate(names)}
    labels = np.array([place[task] for task in tasks], dtype=np.intp)
    earlier = sums.at_rows([place[name] for name in known], len(names))
    return tuple(names), earlier + ClusterStats.of(table, labels, len(names))


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
