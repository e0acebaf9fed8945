"""What a router is compared with: single models, Random, Best Single, learned routers, Max Expert, Oracle.

Learned baselines (kNN, ridge, strong/weak) see the calibration rows only, and choose what they have to choose there.

A `Policy` is the outcome of answering every row in some way: the score and cost of the answer given.
Scores are (n, M) arrays with NaN for "not measured", costs the same or `None`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from langchain_avengers._arrays import known_mean, ratio, unit_rows
from langchain_avengers.errors import RouterError
from langchain_avengers.evaluation.stats import over_tasks

if TYPE_CHECKING:
    from langchain_avengers.routing.router import ClusterRouter
    from langchain_avengers.routing.table import ScoreTable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Kind = Literal["router", "baseline", "model", "oracle"]

NEIGHBOURS = (3, 5, 10, 20, 30, 50, 100, 200, 400)
"""The numbers of neighbours among which the kNN baseline chooses."""


@dataclass(frozen=True, eq=False)
class Policy:
    """The outcome of one way of answering every row.

    Attributes:
        name: As printed: `"Router"`, `"Random"`, a model's name...
        kind: `"oracle"` marks what no router could do, since it looks at the scores of the rows it is
            judged on.
        scores: Shape (n,). Score of each row's answer; NaN where it was not measured.
        costs: Shape (n,). US dollars of each row's answer, or `None` when the table holds no costs.
        choices: Shape (n,). Index of the model that answered, or `None` when that is not one model.
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
    return best_index(np.array([over_tasks(column, tasks) for column in scores.T]), names)


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


def best_first(scores: Floats, tasks: NDArray[Any], names: list[str]) -> Ints:
    """Model indices by falling AvgAcc, of equal ones by name: the order in which learned baselines break ties."""
    means = [over_tasks(column, tasks) for column in scores.T]
    return np.array(sorted(range(len(names)), key=lambda i: (-np.nan_to_num(means[i], nan=-1), names[i])))


def nearest_neighbours(
    vectors: NDArray[Any],
    calibration: NDArray[Any],
    calibration_scores: Floats,
    order: Ints,
    *,
    ks: Sequence[int],
    aside: int = 0,
) -> Ints:
    """For each vector the model with the best mean score on its k nearest calibration rows, for several k.

    Args:
        vectors: Shape (n, d).
        calibration: Shape (c, d). The calibration rows' vectors.
        calibration_scores: Shape (c, M); NaN is left out. A model measured on none of the k rows has its
            mean over all rows.
        order: Shape (M,). Model indices; the first of equally good models is taken (`best_first`).
        ks: Numbers of neighbours; at most c are used.
        aside: Nearest neighbours left out: 1 when the vectors are the calibration rows themselves.

    Returns:
        Shape (ks, n). Model indices.
    """
    from sklearn.neighbors import NearestNeighbors

    scores = calibration_scores[:, order]
    measured = ~np.isnan(scores)
    filled, everywhere = np.where(measured, scores, 0.0), known_mean(scores, axis=0)
    # on unit rows the Euclidean order is that of the cosine
    most = min(max(ks) + aside, len(calibration))
    index = NearestNeighbors(n_neighbors=most, algorithm="brute").fit(unit_rows(calibration))
    choices = np.empty((len(ks), len(vectors)), np.int64)
    for start in range(0, len(vectors), 1024):
        near = index.kneighbors(unit_rows(vectors[start : start + 1024]), return_distance=False)[:, aside:]
        for row, k in enumerate(ks):
            count = measured[near[:, :k]].sum(axis=1)
            total = filled[near[:, :k]].sum(axis=1)
            mean = np.where(count > 0, ratio(total, count), everywhere)
            best = np.argmax(np.round(np.nan_to_num(mean, nan=-np.inf), 12), axis=1)
            choices[row, start : start + 1024] = order[best]
    return choices


@dataclass(frozen=True, eq=False)
class CalibrationRows:
    """The rows that a learned baseline may look at: those the router was fitted on.

    Attributes:
        vectors: Shape (c, d).
        scores: Shape (c, M); NaN is "not measured".
        tasks: Shape (c,).
        names: The M models' names.
    """

    vectors: NDArray[Any]
    scores: Floats
    tasks: Ints
    names: list[str]

    @property
    def order(self) -> Ints:
        """`best_first` of these rows."""
        return best_first(self.scores, self.tasks, self.names)


def knn(rows: CalibrationRows, vectors: NDArray[Any], k: int | None = None) -> tuple[Ints, str]:
    """kNN router: choices (n,) and what it is; k by leave-one-out on the calibration rows when not given."""
    if k is None:
        n = len(rows.vectors)
        ks = [number for number in NEIGHBOURS if number < n] or [max(1, n - 1)]
        tried = nearest_neighbours(rows.vectors, rows.vectors, rows.scores, rows.order, ks=ks, aside=1)
        each = np.arange(n)
        k = ks[int(np.argmax([over_tasks(rows.scores[each, chosen], rows.tasks) for chosen in tried]))]
    k = min(k, len(rows.vectors))
    return nearest_neighbours(vectors, rows.vectors, rows.scores, rows.order, ks=[k])[0], f"k={k}"


def ridge(rows: CalibrationRows, vectors: NDArray[Any]) -> tuple[Ints, str]:
    """Ridge router: each model's score is a linear function of the embedding; its penalty by leave-one-out."""
    from sklearn.linear_model import RidgeCV

    expected = np.full((len(vectors), len(rows.names)), -np.inf)
    x, unknown = unit_rows(rows.vectors, np.float64), unit_rows(vectors, np.float64)
    for model in range(len(rows.names)):
        known = ~np.isnan(rows.scores[:, model])
        if known.sum() > 1:
            fitted = RidgeCV(alphas=np.logspace(-2, 3, 11)).fit(x[known], rows.scores[known, model])
            expected[:, model] = fitted.predict(unknown)
    order = rows.order
    return order[np.argmax(expected[:, order], axis=1)], "linear in the embedding"


def strong_weak(rows: CalibrationRows, vectors: NDArray[Any]) -> tuple[Ints, str] | None:
    """Two models, as RouteLLM (arXiv 2406.18665) has it: a logistic regression says when the strong one wins.

    `None` unless there are two models, and calibration rows on which either of them is better.
    """
    from sklearn.linear_model import LogisticRegression

    if len(rows.names) != 2:
        return None
    strong, weak = rows.order
    lead = rows.scores[:, strong] - rows.scores[:, weak]
    differ = np.nan_to_num(lead) != 0
    if len(np.unique(lead[differ] > 0)) < 2:
        return None
    wins = LogisticRegression(max_iter=1000).fit(
        unit_rows(rows.vectors, np.float64)[differ], lead[differ] > 0, sample_weight=np.abs(lead[differ])
    )
    choices = np.where(wins.predict(unit_rows(vectors, np.float64)), strong, weak)
    return choices, f"strong: {rows.names[strong]}"
