"""A fitted router after models joined or left, or after further graded rows. Clusters stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from langchain_avengers.errors import RouterError
from langchain_avengers.routing.clusterers import nearest
from langchain_avengers.routing.fitting import LINEAR_STRENGTH, check_names, query_digests, task_sums
from langchain_avengers.routing.scoring import ClusterStats, fit_linear
from langchain_avengers.routing.state import Calibration, FittedRouter, Linear
from langchain_avengers.routing.table import ScoreTable
from langchain_avengers.routing.vectors import Vectors


def add_model(state: FittedRouter, name: str, table: ScoreTable, X: Vectors) -> FittedRouter:
    """The router with one model more, known by the rows on which it was scored.

    Args:
        state: The router as it is.
        name: The model, a column of the table.
        table: The rows.
        X: Their unit vectors, shape (n, d).

    Raises:
        RouterError: The router has the model, or the table has no score of it.
    """
    check_joins(state, name, table)
    column = table.select_models([name])
    known = np.flatnonzero(~np.isnan(column.scores[:, 0]))
    column, X = column.select_rows(known), X[known]
    clusterings = []
    for part in state.clusterings:
        joining = ClusterStats.of(column, nearest(X, part.centroids), len(part.centroids))
        clusterings.append(replace(part, stats=part.stats.append_model(part.stats.prior_from_pool(joining))))
    models = (*state.models, name)
    linear = state.linear
    if linear is not None:
        # what sets it apart from the pool's mean: of few rows little, and then it is expected to be like that
        usual, level = linear.weights.mean(axis=0), linear.intercepts.mean()
        apart = column.scores - (X @ usual + np.float32(level))[:, None]
        step = fit_linear(X, apart, LINEAR_STRENGTH)
        linear = Linear(
            np.vstack([linear.weights, usual + step.weights]),
            np.concatenate([linear.intercepts, level + step.intercepts]),
            linear.share,
        )
    widened = state.calibration.by_task.append_model(ClusterStats.zeros(len(state.calibration.tasks), 1))
    calibration = replace(state.calibration, by_task=widened)
    rows = ScoreTable(
        column.queries, list(models), _columns(column.scores, {name: 0}, models), tasks=column.tasks
    )
    return replace(
        state,
        models=models,
        clusterings=tuple(clusterings),
        linear=linear,
        calibration=_untuned(_with_rows(calibration, rows, models), [*range(len(state.models)), None]),
    )


def check_joins(state: FittedRouter, name: str, table: ScoreTable) -> None:
    """Refuse a model that the router has, or of which the table has no score."""
    check_names("model", [name])
    if name in state.models:
        raise RouterError(f"the router has {name!r} already; update() folds further rows in")
    if name not in table.models or np.isnan(table.scores[:, table.models.index(name)]).all():
        raise RouterError(f"the table has no score of {name!r}")


def update(state: FittedRouter, table: ScoreTable, X: Vectors) -> FittedRouter:
    """The router with further graded rows of some or all of its models.

    Args:
        state: The router as it is.
        table: The rows; every column is a model of the router.
        X: Their unit vectors, shape (n, d).
    """
    place = {name: m for m, name in enumerate(table.models)}
    rows = ScoreTable(
        table.queries,
        list(state.models),
        _columns(table.scores, place, state.models),
        tasks=table.tasks,
        costs=None if table.costs is None else _columns(table.costs, place, state.models),
    )
    return replace(
        state,
        clusterings=tuple(
            replace(
                part,
                stats=part.stats + ClusterStats.of(rows, nearest(X, part.centroids), len(part.centroids)),
            )
            for part in state.clusterings
        ),
        linear=None
        if state.linear is None
        else _moved(state.linear, rows, X, state.stats.counts.sum(axis=0)),
        calibration=_with_rows(state.calibration, rows, state.models),
    )


def _moved(linear: Linear, rows: ScoreTable, X: Vectors, old: NDArray[np.float64]) -> Linear:
    """The linear part moved toward new rows, as far as their number warrants beside the old rows of each model."""
    weights, intercepts = linear.weights.copy(), linear.intercepts.copy()
    residuals = rows.scores - (X @ weights.T + intercepts.astype(np.float32))
    for m, new in enumerate((~np.isnan(residuals)).sum(axis=0).tolist()):
        if not new:
            continue
        # the old rows counted as spread evenly over all directions
        step = fit_linear(X, residuals[:, [m]], LINEAR_STRENGTH + old[m] / X.shape[1])
        weights[m] += step.weights[0]
        intercepts[m] += step.intercepts[0] * new / (old[m] + new)
    return Linear(weights, intercepts, linear.share)


def remove_model(state: FittedRouter, name: str) -> FittedRouter:
    """The router without one of its models.

    Raises:
        RouterError: The router does not know it, or it is the last one.
    """
    state.check_models([name])
    if len(state.models) == 1:
        raise RouterError(f"{name!r} is the router's only model and cannot be removed")
    keep = [m for m, other in enumerate(state.models) if other != name]
    linear = state.linear
    return replace(
        state,
        models=tuple(state.models[m] for m in keep),
        clusterings=tuple(replace(part, stats=part.stats.take_models(keep)) for part in state.clusterings),
        linear=linear and Linear(linear.weights[keep], linear.intercepts[keep], linear.share),
        calibration=_untuned(
            replace(state.calibration, by_task=state.calibration.by_task.take_models(keep)), keep
        ),
    )


def _untuned(calibration: Calibration, keep: Sequence[int | None]) -> Calibration:
    """Without what cross-validation said of another pool; `keep` are the former models in it, None a new one."""
    known = calibration.correlations
    if known is not None:
        moved = np.eye(len(keep))  # nothing is known of how a new model moves with the others
        old = [place for place, model in enumerate(keep) if model is not None]
        former = [model for model in keep if model is not None]
        moved[np.ix_(old, old)] = known[np.ix_(former, former)]
        known = moved
    return replace(calibration, subsets=(), cost_advice=None, correlations=known)


def _with_rows(calibration: Calibration, rows: ScoreTable, models: Sequence[str]) -> Calibration:
    tasks, by_task = task_sums(rows, models, (calibration.tasks, calibration.by_task))
    digests = calibration.query_digests
    if digests is not None:
        digests = np.union1d(digests, query_digests(rows.queries))
    return replace(calibration, tasks=tasks, by_task=by_task, query_digests=digests)


def _columns(
    values: NDArray[np.float32], place: Mapping[str, int], models: Sequence[str]
) -> NDArray[np.float32]:
    """The columns of some models, in the order of `models`; NaN for a model that has none."""
    unknown = np.full(len(values), np.nan, dtype=np.float32)
    return np.column_stack([values[:, place[name]] if name in place else unknown for name in models])
