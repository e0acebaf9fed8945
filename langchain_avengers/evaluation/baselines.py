"""What a router is compared with: single models, Random, Best Single, Max Expert, kNN, per-query Oracle.

A `Policy` is the outcome of answering every row in some way: the score and cost of the answer given.
Scores are (n, M) arrays with NaN for "not measured", costs the same or `None`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from langchain_avengers._arrays import known_mean, unit_rows
from langchain_avengers.errors import RouterError

if TYPE_CHECKING:
    from langchain_avengers.routing.router import ClusterRouter
    from langchain_avengers.routing.table import ScoreTable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Kind = Literal["router", "baseline", "model", "oracle"]


@dataclass(frozen=True, eq=False)
class Policy:
    """The outcome of one way of answering every row.

    Attributes:
        name: As printed: `"Router"`, `"Random"`, a model's name...
        kind: `"oracle"` marks what no router could do, since it looks at the scores of the rows it is
            judged on.
        scores: Shape (n,). Score of each row's answer; NaN where it was not measured.
        costs: Shape (n,). US dollars of each row's answer, or `None` where the table holds no costs.
        choices: Shape (n,). Index of the model that answered, or `None` where that is not one model.
        detail: What a reader needs beside the name, such as the model that Best Single is.
    """

    name: str
    kind: Kind
    scores: Floats
    costs: Floats | None
    choices: Ints | None = None
    detail: str = ""


def chosen(
    name: str, kind: Kind, choices: Ints, scores: Floats, costs: Floats | None, detail: str = ""
) -> Policy:
    """The policy that answers row i with model `choices[i]`."""
    rows = np.arange(len(choices))
    return Policy(
        name, kind, scores[rows, choices], None if costs is None else costs[rows, choices], choices, detail
    )


def single(name: str, model: int, scores: Floats, costs: Floats | None) -> Policy:
    """One model answers everything."""
    return chosen(name, "model", np.full(len(scores), model), scores, costs)


def best_index(scores: Floats, names: list[str]) -> int:
    """The model with the highest score; of equal ones the first by name: column order never decides."""
    if np.isnan(scores).all():
        raise RouterError("no model has a score here: nothing to choose the best single model from")
    top = np.flatnonzero(np.isclose(scores, np.nanmax(scores), rtol=0, atol=1e-12))
    return int(min(top, key=lambda index: names[index]))


def best_single(router: ClusterRouter) -> int:
    """Best Single: the model with the highest AvgAcc on the router's calibration rows, the first by name of equal."""
    return best_index(known_mean(router.task_scores_, axis=0), list(router.models_))


def best_of_table(table: ScoreTable, names: list[str]) -> int:
    """The model with the highest AvgAcc on a table's rows."""
    scores = np.asarray(table.scores[:, [table.models.index(name) for name in names]], float)
    tasks = np.asarray(table.tasks or [""] * len(table))
    means = np.array([known_mean(scores[tasks == task], axis=0) for task in np.unique(tasks)])
    return best_index(known_mean(means, axis=0), names)


def random_choice(scores: Floats, costs: Floats | None) -> Policy:
    """A model drawn evenly for each row: its expectation, the mean over the models measured on the row."""
    return Policy(
        "Random", "baseline", known_mean(scores, axis=1), None if costs is None else known_mean(costs, axis=1)
    )


def max_expert(scores: Floats, costs: Floats | None, tasks: Ints, names: list[str]) -> Policy:
    """The best model of each task answers its rows: it reads the scores it is judged on."""
    choices = np.zeros(len(scores), np.int64)
    for task in np.unique(tasks):
        rows = tasks == task
        choices[rows] = best_index(known_mean(scores[rows], axis=0), names)
    return chosen("Max Expert", "oracle", choices, scores, costs, "best model of each task, in hindsight")


def oracle(scores: Floats, costs: Floats | None) -> Policy:
    """The best model of each row; of equally good ones the cheapest."""
    best = np.where(np.isnan(scores), -np.inf, scores)
    tied = best >= best.max(axis=1, keepdims=True)
    price = np.zeros_like(scores) if costs is None else np.where(np.isnan(costs), np.inf, costs)
    choices = np.argmin(np.where(tied, np.minimum(price, np.finfo(float).max), np.inf), axis=1)
    return chosen("Oracle", "oracle", choices, scores, costs, "best model of each query, in hindsight")


def nearest_neighbours(
    vectors: NDArray[Any],
    calibration: NDArray[Any],
    calibration_scores: Floats,
    names: list[str],
    *,
    k: int = 100,
) -> Ints:
    """For each vector the model with the best mean score on its k nearest calibration rows.

    Args:
        vectors: Shape (n, d).
        calibration: Shape (c, d). The calibration rows' vectors.
        calibration_scores: Shape (c, M); NaN is left out. A model measured on none of the k rows has its
            mean over all rows.
        names: The models' names: ties go to the first by name.
        k: Neighbours, at most c.

    Returns:
        Shape (n,). Model indices.
    """
    order = np.argsort(np.asarray(names))
    scores = calibration_scores[:, order]
    measured = ~np.isnan(scores)
    filled, everywhere = np.where(measured, scores, 0.0), known_mean(scores, axis=0)
    unit = unit_rows(calibration)
    k = min(k, len(unit))
    choices = np.empty(len(vectors), np.int64)
    for start in range(0, len(vectors), 1024):
        similarity = unit_rows(vectors[start : start + 1024]) @ unit.T
        near = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        count = measured[near].sum(axis=1)
        mean = np.divide(
            filled[near].sum(axis=1), count, out=np.tile(everywhere, (len(near), 1)), where=count > 0
        )
        choices[start : start + 1024] = order[np.argmax(np.nan_to_num(mean, nan=-np.inf), axis=1)]
    return choices
