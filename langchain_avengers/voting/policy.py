"""The learned vote: how probable each answer is, whom to ask next, and when to stop. Plain arrays and JSON.

A conditional logit over the classes of equal answers to a query, with one class more for "none of them": the
probability of a class is the softmax of the weights of the votes for it. A model's weight moves with its expected
score on the query. All weights are fitted together (`policy_fitting`), because models err together: a weight says what
a vote adds to the others. A second answer of the same model counts less than another model's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

N_SHARED = 6
"""Number of weights that all models share; `Ballots.features` says which."""
N_NOTHING = 5
"""Number of weights of the class "none of them"; `Ballots.nothing` says which."""
NEVER = 2.0
"""A chance that no answer reaches: as `Plan.stop`, asking goes on to `Plan.most`."""

_ROUNDS = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, 64)
_LOWEST, _HIGHEST = 0.02, 0.98  # expected scores are held between them, so that their log-odds are finite


def rounds(n: int) -> tuple[int, ...]:
    """Numbers of answers after which a policy looks at the vote, when at most n are drawn."""
    return (*(size for size in _ROUNDS if size < n), n)


def log_odds(chance: Any) -> Any:
    """log(p / (1 - p)), with p held in [0.02, 0.98]."""
    held = np.clip(np.asarray(chance, dtype=np.float64), _LOWEST, _HIGHEST)
    return np.log(held / (1 - held))


@dataclass(frozen=True, eq=False)
class Ballots:
    """The votes on n queries: which model gave which class of equal answers, how often.

    Attributes:
        expected: Expected score of each model on each query, shape (n, M), in [0, 1].
        drawn: Answers drawn from each model, those that could not be read too, shape (n, M).
        row: The query of each vote, shape (v,). A vote is all the answers of one model to one query in one class.
        model: The model of each vote, shape (v,).
        label: Its class, numbered from 0 in each query, shape (v,).
        count: How many of the model's answers are in the class, shape (v,).
        n_labels: Greatest number of classes of a query.
    """

    expected: Floats
    drawn: Integers
    row: Integers
    model: Integers
    label: Integers
    count: Integers
    n_labels: int

    @classmethod
    def of(cls, labels: Integers, expected: Floats) -> Self:
        """The votes in an array of classes.

        Args:
            labels: Shape (n, M, J): the class of each answer, -1 where it could not be read, -2 where none was drawn.
            expected: Shape (n, M).
        """
        n_models = labels.shape[1]
        row, model, draw = np.nonzero(labels >= 0)
        width = int(labels.max(initial=-1)) + 1
        keys, count = np.unique(
            (row * n_models + model) * width + labels[row, model, draw], return_counts=True
        )
        cells = keys // max(width, 1)
        return cls(
            np.asarray(expected, dtype=np.float64),
            (labels > -2).sum(axis=2),
            cells // n_models,
            cells % n_models,
            keys % max(width, 1),
            count,
            width,
        )

    @property
    def place(self) -> Integers:
        """Where each vote's class stands among the classes of all queries, shape (v,)."""
        return self.row * self.n_labels + self.label

    def features(self) -> tuple[Floats, Floats]:
        """What a vote weighs by: its model's log-odds, shape (v,), and the shared features, shape (N_SHARED, v).

        These are the share s of its model's answers, s², and s · log(number of its model's answers); each alone and
        times the log-odds.
        """
        odds = log_odds(self.expected[self.row, self.model])
        drawn = self.drawn[self.row, self.model]
        share = self.count / drawn
        squared, more = share * share, share * np.log(drawn)
        return odds, np.stack([share, share * odds, squared, squared * odds, more, more * odds])

    def nothing(self) -> Floats:
        """What speaks for "none of them", shape (n, N_NOTHING).

        1, the best and the mean log-odds of the models asked, log(number of models asked), and the share of answers
        that could not be read.
        """
        asked = self.drawn > 0
        n_asked = np.maximum(asked.sum(axis=1), 1)
        odds = log_odds(self.expected)
        best = np.where(asked, odds, log_odds(0.0)).max(axis=1)
        mean = np.where(asked, odds, 0.0).sum(axis=1) / n_asked
        read = np.bincount(self.row, self.count, len(self.drawn))
        unread = 1 - read / np.maximum(self.drawn.sum(axis=1), 1)
        return np.stack([np.ones(len(self.drawn)), best, mean, np.log(n_asked), unread], axis=1)


@dataclass(frozen=True, eq=False)
class Weights:
    """The fitted weights.

    Attributes:
        intercepts: What a vote of each model adds, shape (M,).
        slopes: The same for each unit of its log-odds on the query, shape (M,).
        shared: What all models share, shape (N_SHARED,).
        nothing: What speaks for "none of them", shape (N_NOTHING,).
    """

    intercepts: Floats
    slopes: Floats
    shared: Floats
    nothing: Floats

    def utilities(self, ballots: Ballots) -> Floats:
        """The utility of each class and, in the last column, of "none of them", shape (n, n_labels + 1).

        A class that nobody voted for has -inf.
        """
        n, width = len(ballots.drawn), ballots.n_labels
        odds, features = ballots.features()
        own = self.intercepts[ballots.model] + self.slopes[ballots.model] * odds
        weight = features[0] * own + self.shared @ features
        utilities = np.full((n, width + 1), -np.inf)
        voted = np.bincount(ballots.place, minlength=n * width).reshape(n, width) > 0
        total = np.bincount(ballots.place, weight, n * width).reshape(n, width)
        utilities[:, :width][voted] = total[voted]
        utilities[:, width] = ballots.nothing() @ self.nothing
        return utilities

    def chances(self, ballots: Ballots) -> Floats:
        """The chance of each class and, in the last column, of "none of them", shape (n, n_labels + 1)."""
        utilities = self.utilities(ballots)
        grown = np.exp(utilities - utilities.max(axis=1, keepdims=True))
        chances: Floats = grown / grown.sum(axis=1, keepdims=True)
        return chances


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom to ask, in which order, and when to stop.

    Answers are ordered by their model's expected score on the query; `repeat` is taken off for each earlier answer of
    the same model, and in the first round `thrift` times the model's cost (1 is the dearest model's).

    Attributes:
        first: Answers drawn in the first round.
        most: Answers drawn at most.
        stop: The chance of the leading answer, in [0, 1], from which on no further answer is drawn.
        thrift: Weight of the cost in the first round.
        repeat: Discount of a further answer of a model that was asked.
        only: The only model that is asked; None for all.
        score: Mean score on the calibration rows, out of fold.
        cost: Mean cost of a query there, in answers of the dearest model; in answers when costs are not known.
        answers: Mean number of answers there.
        gain: `score` minus that of the best single model, paired by row.
        stderr: Standard error of `gain`.
    """

    first: int = 1
    most: int = 1
    stop: float = NEVER
    thrift: float = 0.0
    repeat: float = 0.05
    only: str | None = None
    score: float = 0.0
    cost: float = 1.0
    answers: float = 1.0
    gain: float = 0.0
    stderr: float = 0.0

    def order(self, expected: Floats, available: Integers, costs: Floats | None = None) -> list[int]:
        """The models to ask, one entry an answer.

        Args:
            expected: Expected score of each model, shape (M,).
            available: How many answers each model may give, shape (M,).
            costs: Cost of an answer of each model, 1 for the dearest, shape (M,); None when not known.
        """
        # of equals the model's earlier answer, then the earlier model
        draws = sorted(
            (self.repeat * k - expected[m], k, m) for m, n in enumerate(available.tolist()) for k in range(n)
        )
        if self.thrift and costs is not None:
            cheap = sorted((use + self.thrift * costs[m], k, m) for use, k, m in draws)[: self.first]
            head = [(k, m) for _, k, m in cheap]
            return [m for _, m in head] + [m for _, k, m in draws if (k, m) not in head]
        return [m for _, _, m in draws]

    def next_size(self, drawn: int) -> int:
        """How many answers shall be there after the next round; no more than `drawn` when it is the end."""
        if drawn < self.first:
            return self.first
        return next((size for size in rounds(self.most) if size > drawn), drawn)


@dataclass(frozen=True, eq=False)
class VotePolicy:
    """A learned vote, fitted by `policy_fitting.fit_policy`.

    Attributes:
        models: Names of the M models it was fitted with. A model that joined later votes by the shared weights.
        weights: What votes weigh.
        calibration: Slope, weight of log(number of answers), and intercept of the map from the softmax's log-odds to
            those of being right.
        plans: The plan when the cost does not count, then those that are best for some weight of cost against score,
            dearest first.
        draws: Answers that each model gave to a query at most in calibration, M numbers.
        single: The best single model.
        single_score: Its mean score on the calibration rows.
        n_rows: Number of calibration rows.
        summary: One sentence for people: what was learned.
    """

    models: tuple[str, ...]
    weights: Weights
    calibration: tuple[float, float, float]
    plans: tuple[Plan, ...]
    draws: tuple[int, ...]
    single: str
    single_score: float
    n_rows: int
    summary: str = ""

    def plan(self, cost_weight: float = 0.0) -> Plan:
        """The plan with the greatest (1 - w) · score - w · cost; where the cost does not count (w = 0), the first."""
        if not cost_weight:
            return self.plans[0]
        return max(self.plans, key=lambda plan: (1 - cost_weight) * plan.score - cost_weight * plan.cost)

    def cost_weight_for(self, answers: float) -> float:
        """The smallest weight of the cost at which at most so many answers are expected on average.

        1.0 when even that asks for more.
        """
        weights = (0.0, *np.geomspace(1e-6, 1.0, 600).tolist())
        return next((weight for weight in weights if self.plan(weight).answers <= answers), 1.0)

    def available(self, name: str) -> int:
        """How many answers a model may be asked for: as many as calibration had, one of a model that joined later."""
        return dict(zip(self.models, self.draws, strict=True)).get(name, 1)

    def chances(self, expected: Mapping[str, float], answers: Sequence[tuple[str, int]]) -> list[float]:
        """How probable the classes of a query's answers are.

        Args:
            expected: Expected score of each model on the query.
            answers: For each answer drawn the name of its model, and its class from 0 on, -1 when it could not be read.

        Returns:
            The chance of each class by the softmax; `calibrated` makes a chance of being right of it.
        """
        names = list(dict.fromkeys(name for name, _ in answers))
        column = {name: number for number, name in enumerate(names)}
        known = {name: number for number, name in enumerate(self.models)}
        votes: dict[tuple[int, int], int] = {}
        drawn = np.zeros((1, len(names)), dtype=np.intp)
        for name, label in answers:
            drawn[0, column[name]] += 1
            if label >= 0:
                key = (column[name], label)
                votes[key] = votes.get(key, 0) + 1
        if not votes:
            return []
        keys = np.array(list(votes), dtype=np.intp)
        own = np.array([known.get(name, -1) for name in names])
        ballots = Ballots(
            np.array([[expected.get(name, 0.5) for name in names]]),
            drawn,
            np.zeros(len(keys), dtype=np.intp),
            keys[:, 0],
            keys[:, 1],
            np.array(list(votes.values())),
            int(keys[:, 1].max()) + 1,
        )
        weights = Weights(
            np.where(own >= 0, self.weights.intercepts[own], 0.0),
            np.where(own >= 0, self.weights.slopes[own], 0.0),
            self.weights.shared,
            self.weights.nothing,
        )
        chances: list[float] = weights.chances(ballots)[0, :-1].tolist()
        return chances

    def calibrated(self, chance: float, n_answers: int) -> float:
        """The chance of being right that stands behind a chance of the softmax."""
        return float(calibrated(self.calibration, np.array([chance]), np.array([n_answers]))[0])

    def to_dict(self) -> dict[str, Any]:
        """As JSON-safe plain data."""
        return {
            "models": list(self.models),
            "weights": {f.name: getattr(self.weights, f.name).tolist() for f in fields(Weights)},
            "calibration": list(self.calibration),
            "plans": [asdict(plan) for plan in self.plans],
            "draws": list(self.draws),
            "single": self.single,
            "single_score": self.single_score,
            "n_rows": self.n_rows,
            "summary": self.summary,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: The data are not those of a policy.
        """
        parts = {f.name: np.array(data["weights"][f.name], dtype=np.float64) for f in fields(Weights)}
        sizes = {"intercepts": len(data["models"]), "slopes": len(data["models"])}
        sizes |= {"shared": N_SHARED, "nothing": N_NOTHING}
        for name, values in parts.items():
            if values.shape != (sizes[name],) or not np.isfinite(values).all():
                raise ValueError(f"the vote's weights {name!r} are not {sizes[name]} numbers")
        slope, more, intercept = (float(value) for value in data["calibration"])
        return cls(
            tuple(data["models"]),
            Weights(**parts),
            (slope, more, intercept),
            tuple(Plan(**plan) for plan in data["plans"]),
            tuple(int(n) for n in data["draws"]),
            str(data["single"]),
            float(data["single_score"]),
            int(data["n_rows"]),
            str(data["summary"]),
        )


def calibrated(calibration: Sequence[float], chance: Floats, n_answers: Any) -> Floats:
    """Chances of being right, shape (n,); `VotePolicy.calibration` has the map."""
    held = np.clip(chance, 1e-6, 1 - 1e-6)
    slope, more, intercept = calibration
    logit = slope * np.log(held / (1 - held)) + more * np.log(np.maximum(n_answers, 1)) + intercept
    right: Floats = np.where(np.asarray(chance) > 0, 1 / (1 + np.exp(-logit)), 0.0)
    return right
