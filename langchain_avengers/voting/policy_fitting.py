"""Fitting the learned vote to recorded answers: weights, calibration, and the plans of whom to ask."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from langchain_avengers._arrays import ratio
from langchain_avengers.voting.policy import (
    N_NOTHING,
    N_SHARED,
    NEVER,
    Ballots,
    Floats,
    Integers,
    Plan,
    VotePolicy,
    Weights,
    calibrated,
    rounds,
)

MIN_ROWS = 60
"""Fewer rows teach no vote."""

_RIDGE = 10.0  # in rows: a few dozen rows hardly move a weight, thousands do
_PREFIXES = (1, 2, 3, 5, 8, 13)  # numbers of answers that the weights are fitted for, beside all of them
_STOPS = (*(round(0.4 + 0.025 * step, 3) for step in range(22)), 0.96, 0.97, 0.98, 0.99, NEVER)
_REPEATS = (0.0, 0.05, 0.2)
_THRIFTS = (0.1, 1.0, 3.0)
_CHEAP_FIRST = (1, 2, 3, 4, 6)
_PLAN_ROWS = 6_000  # by which plans are compared
_NO_LOSS = 0.001  # a plan that scores so much less than the best is as good
_SURE = 1.96  # standard errors that a vote has to be ahead of the best single model


@dataclass(frozen=True, eq=False)
class RecordedAnswers:
    """The recorded answers to n queries by M models, at most J each.

    Attributes:
        labels: Shape (n, M, J): the class of each answer, -1 where it could not be read, -2 where there is none.
        scores: Shape (n, M, J), in [0, 1]; NaN where not graded.
        expected: Shape (n, M): the router's expected score of each model, by a router that has not seen the row.
        costs: Shape (n, M), of one answer; None when not known.
    """

    labels: Integers
    scores: Floats
    expected: Floats
    costs: Floats | None = None

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.labels)

    def take(self, rows: Integers) -> RecordedAnswers:
        """Those of the rows given."""
        costs = None if self.costs is None else self.costs[rows]
        return RecordedAnswers(self.labels[rows], self.scores[rows], self.expected[rows], costs)

    def first(self, ranks: Integers, n: int) -> RecordedAnswers:
        """The n answers that come first by `ranks`, shape (n, M, J), of each query."""
        return replace(self, labels=np.where(ranks < n, self.labels, -2))

    @property
    def single_scores(self) -> Floats:
        """Mean score of each model on each query, shape (n, M); NaN where not graded."""
        graded = ~np.isnan(self.scores)
        total = np.where(graded, self.scores, 0.0).sum(axis=2)
        counts = graded.sum(axis=2)
        return ratio(total, counts)


def fit_policy(models: Sequence[str], answers: RecordedAnswers, folds: Integers) -> VotePolicy | None:
    """Learn a vote.

    Everything that is compared (calibration, plans) is judged out of fold, on rows that neither the weights nor the
    router's expected scores were fitted on.

    Args:
        models: Names of the M models.
        answers: The recorded answers.
        folds: Fold of each row, shape (n,), from 0 on; rows of the same query are in one.

    Returns:
        The policy; None when there are too few rows, or none has answers that could be voted on.
    """
    held = np.flatnonzero((answers.labels >= 0).any(axis=(1, 2)) & ~np.isnan(answers.scores).all(axis=(1, 2)))
    if len(held) < MIN_ROWS:
        return None
    answers, folds = answers.take(held), folds[held]
    usual = _ranks(answers, Plan(most=answers.labels[0].size))
    weights = _fit_weights(answers, usual)
    by_fold = {
        fold: _fit_weights(answers.take(rows), usual[rows])
        for fold in np.unique(folds).tolist()
        if len(rows := np.flatnonzero(folds != fold))
    }
    course = _follow(answers, usual, folds, by_fold)
    calibration = _fit_calibration(course)
    policy = VotePolicy(
        tuple(models),
        weights,
        calibration,
        (),
        tuple((answers.labels > -2).sum(axis=2).max(axis=0).tolist()),
        *_best_single(models, answers),
        len(held),
    )
    plans = _choose_plans(policy, answers, folds, by_fold)
    return replace(policy, plans=plans, summary=_summary(policy, plans[0]))


# --- weights ------------------------------------------------------------------------------------------------


def _fit_weights(answers: RecordedAnswers, ranks: Integers) -> Weights:
    """Weights by penalised maximum likelihood, for the first few answers of each query and for all of them.

    The loss is convex. A class has the mean score of its answers as its share of being right; what no class has goes to
    "none of them".
    """
    from scipy.optimize import minimize

    sizes = [n for n in _PREFIXES if n < answers.labels[0].size] + [answers.labels[0].size]
    parts = [answers.first(ranks, n) for n in sizes]
    labels = np.concatenate([part.labels for part in parts])
    ballots = Ballots.of(labels, np.tile(answers.expected, (len(sizes), 1)))
    wanted = _shares(_class_scores(labels, np.tile(answers.scores, (len(sizes), 1, 1)), ballots.n_labels))
    odds, features = ballots.features()
    nothing, place = ballots.nothing(), ballots.place
    n, m = len(answers), answers.labels.shape[1]
    cuts = (m, 2 * m, 2 * m + N_SHARED)
    penalty = np.repeat([1.0, 5.0, 0.1, 0.1], [m, m, N_SHARED, N_NOTHING]) * _RIDGE / n
    penalty[cuts[2]] = 0.0  # the intercept of "none of them"

    def loss(theta: Floats) -> tuple[float, Floats]:
        chances = Weights(*np.split(theta, cuts)).chances(ballots)
        value = -float(np.log(np.maximum(chances, 1e-300))[wanted > 0] @ wanted[wanted > 0]) / len(chances)
        error = (chances - wanted) / len(chances)
        voted = error[:, :-1].ravel()[place]
        own = features[0] * voted
        gradient = np.concatenate(
            [
                np.bincount(ballots.model, own, m),
                np.bincount(ballots.model, own * odds, m),
                features @ voted,
                error[:, -1] @ nothing,
            ]
        )
        return value + 0.5 * float(penalty @ theta**2), gradient + penalty * theta

    start = np.zeros(len(penalty))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300})
    return Weights(*np.split(np.asarray(found.x, dtype=np.float64), cuts))


def _class_scores(labels: Integers, scores: Floats, n_labels: int) -> Floats:
    """Mean score of the answers of each class, shape (n, n_labels); 0 where there is none."""
    at = np.nonzero((labels >= 0) & ~np.isnan(scores))
    place = at[0] * n_labels + labels[at]
    size = len(labels) * n_labels
    total = np.bincount(place, scores[at], size)
    return (total / np.maximum(np.bincount(place, minlength=size), 1)).reshape(len(labels), n_labels)


def _shares(scores: Floats) -> Floats:
    """How the classes share being right, with "none of them" in the last column; each row sums to 1."""
    total = scores.sum(axis=1, keepdims=True)
    return np.concatenate([scores / np.maximum(total, 1), np.maximum(1 - total, 0)], axis=1)


# --- out of fold ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Course:
    """What voting gives after each round of an order, out of fold; arrays of shape (n, number of rounds)."""

    sizes: tuple[int, ...]
    scores: Floats
    chances: Floats
    answers: Floats
    costs: Floats


def _ranks(answers: RecordedAnswers, plan: Plan) -> Integers:
    """The place of each answer in the order of a plan, shape (n, M, J); answers that are not there come last."""
    n, models, draws = answers.labels.shape
    use = answers.expected[:, :, None] - plan.repeat * np.arange(draws)
    # of equals the model's earlier answer, then the earlier model
    use = (use - 1e-9 * np.arange(draws)).reshape(n, -1)
    missing = (answers.labels == -2).reshape(n, -1)
    places = _places(np.where(missing, -np.inf, use))
    costs = _relative(answers)
    if plan.thrift and costs is not None:
        cheap = use - plan.thrift * np.repeat(costs, draws, axis=1)
        head = _places(np.where(missing, -np.inf, cheap))
        places = _places(np.where(head < plan.first, 1e6 - head, -places.astype(float)))
    return places.reshape(n, models, draws)


def _places(values: Floats) -> Integers:
    """Place of each value in its row, from the highest, 0, down."""
    return np.argsort(np.argsort(-values, axis=1, kind="stable"), axis=1)


def _relative(answers: RecordedAnswers) -> Floats | None:
    """Each model's mean cost on every row, 1 for the dearest, shape (n, M); None when a cost is not known."""
    if answers.costs is None:
        return None
    counts = (~np.isnan(answers.costs)).sum(axis=0)
    if not counts.all():
        return None
    means = np.nansum(answers.costs, axis=0) / counts
    if means.max() <= 0:
        return None
    return np.tile(means / means.max(), (len(answers), 1))


def _follow(
    answers: RecordedAnswers, ranks: Integers, folds: Integers, by_fold: dict[int, Weights]
) -> _Course:
    n, _, draws = answers.labels.shape
    sizes = rounds(answers.labels[0].size)
    relative = _relative(answers)
    each = (
        np.ones(answers.labels.shape) if relative is None else np.repeat(relative[:, :, None], draws, axis=2)
    )
    course = _Course(sizes, *(np.zeros((n, len(sizes))) for _ in range(4)))
    drawn = answers.labels > -2
    for number, size in enumerate(sizes):
        part = answers.first(ranks, size)
        taken = drawn & (ranks < size)
        course.answers[:, number] = taken.sum(axis=(1, 2))
        course.costs[:, number] = np.where(taken, each, 0.0).sum(axis=(1, 2))
        for fold, weights in by_fold.items():
            rows = np.flatnonzero(folds == fold)
            labels, scores = part.labels[rows], part.scores[rows]
            ballots = Ballots.of(labels, part.expected[rows])
            if not ballots.n_labels:
                continue
            chances = weights.chances(ballots)[:, :-1]
            winner = chances.argmax(axis=1)
            every = np.arange(len(rows))
            course.chances[rows, number] = chances[every, winner]
            course.scores[rows, number] = _class_scores(labels, scores, ballots.n_labels)[every, winner]
    return course


def _fit_calibration(course: _Course) -> tuple[float, float, float]:
    """Platt's map, with the number of answers: logistic regression of the winner's score on its log-odds."""
    from scipy.optimize import minimize

    voted = course.chances > 0
    held = np.clip(course.chances[voted], 1e-6, 1 - 1e-6)
    inputs = np.stack([np.log(held / (1 - held)), np.log(course.answers[voted]), np.ones(held.size)], axis=1)
    wanted = course.scores[voted]

    def loss(theta: Floats) -> tuple[float, Floats]:
        logit = inputs @ theta
        off = 1 / (1 + np.exp(-logit)) - wanted
        pull = np.array([theta[0] - 1, theta[1], theta[2]]) / len(wanted)  # towards the identity
        value = float((np.logaddexp(0, logit) - wanted * logit).mean()) + 0.5 * float(pull @ pull) * len(
            wanted
        )
        return value, off @ inputs / len(wanted) + pull

    found = minimize(
        loss,
        np.array([1.0, 0.0, 0.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.05, None)] + 2 * [(None, None)],
    )
    slope, more, intercept = (float(x) for x in found.x)
    return slope, more, intercept


# --- plans ----------------------------------------------------------------------------------------------------


def _best_single(models: Sequence[str], answers: RecordedAnswers) -> tuple[str, float]:
    scores = answers.single_scores
    counts = (~np.isnan(scores)).sum(axis=0)
    means = np.where(counts > 0, np.nansum(scores, axis=0) / np.maximum(counts, 1), -1.0)
    best = int(means.argmax())
    return models[best], float(means[best])


def _choose_plans(
    policy: VotePolicy, answers: RecordedAnswers, folds: Integers, by_fold: dict[int, Weights]
) -> tuple[Plan, ...]:
    """The plan when the cost does not count, and those on the upper hull of score against cost that cost less.

    The first is the one that asks most of those as good as the best, if it beats the best single model for sure; else
    it is the router's choice alone, if that does; else the best single model alone.
    """
    if len(answers) > _PLAN_ROWS:
        some = np.linspace(0, len(answers) - 1, _PLAN_ROWS).astype(np.intp)
        answers, folds = answers.take(some), folds[some]
    single = answers.single_scores[:, policy.models.index(policy.single)]
    relative = _relative(answers)
    alone_cost = 1.0 if relative is None else float(relative[0, policy.models.index(policy.single)])
    alone = Plan(only=policy.single, score=policy.single_score, cost=alone_cost)
    judged = [
        plan for part in _orders(answers) for plan in _judge(policy, part, answers, folds, by_fold, single)
    ]
    best = max(judged, key=lambda plan: plan.score)
    as_good = [plan for plan in judged if plan.score >= best.score - _NO_LOSS]
    routed = max((plan for plan in judged if plan.most == 1), key=lambda plan: plan.score)
    choices = [max(as_good, key=lambda plan: (plan.answers, plan.first, plan.score)), routed]
    first = next((plan for plan in choices if plan.gain > _SURE * plan.stderr), alone)
    return first, *_hull([plan for plan in judged if plan.cost < first.cost])


def _orders(answers: RecordedAnswers) -> Iterator[Plan]:
    """The orders that are tried; of `first` only that of a thrifty one counts."""
    size, draws = answers.labels[0].size, answers.labels.shape[2]
    repeats = _REPEATS if draws > 1 else (0.0,)
    for repeat in repeats:
        yield Plan(first=0, most=size, repeat=repeat)
    if _relative(answers) is not None:
        for thrift in _THRIFTS:
            for first in _CHEAP_FIRST:
                if first < size:
                    yield Plan(first=first, most=size, thrift=thrift, repeat=repeats[len(repeats) // 2])


def _judge(
    policy: VotePolicy,
    order: Plan,
    answers: RecordedAnswers,
    folds: Integers,
    by_fold: dict[int, Weights],
    single: Floats,
) -> Iterator[Plan]:
    """Every plan of an order, with its score and cost out of fold."""
    course = _follow(answers, _ranks(answers, order), folds, by_fold)
    sure = calibrated(policy.calibration, course.chances, course.answers)
    every = np.arange(len(answers))
    known = ~np.isnan(single)
    starts = [course.sizes.index(order.first)] if order.first in course.sizes else range(len(course.sizes))
    for start in starts:
        for stop in _STOPS:
            # the round after which each row stops, if it may go on to the last
            stopped = sure[:, start:] >= stop
            stopped[:, -1] = True
            when = start + stopped.argmax(axis=1)
            for last in range(start, len(course.sizes)):
                if last == start and stop != NEVER:
                    continue
                at = np.minimum(when, last)
                scores = course.scores[every, at]
                gains = (scores - single)[known]
                yield replace(
                    order,
                    first=course.sizes[start],
                    most=course.sizes[last],
                    stop=stop,
                    score=float(scores.mean()),
                    cost=float(course.costs[every, at].mean()),
                    answers=float(course.answers[every, at].mean()),
                    gain=float(gains.mean()),
                    stderr=float(gains.std(ddof=1) / math.sqrt(len(gains))),
                )


def _hull(plans: Sequence[Plan]) -> tuple[Plan, ...]:
    """The plans that are best for some weight of cost against score, dearest first."""
    hull: list[Plan] = []
    for plan in sorted(plans, key=lambda plan: (plan.cost, -plan.score, -plan.first)):
        if hull and plan.score <= hull[-1].score:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-1], plan):
            hull.pop()
        hull.append(plan)
    return tuple(reversed(hull))


def _slope(one: Plan, other: Plan) -> float:
    return (other.score - one.score) / max(other.cost - one.cost, 1e-12)


def _summary(policy: VotePolicy, plan: Plan) -> str:
    """What was learned, for people."""
    single = f"{100 * policy.single_score:.1f} for the best single model, {policy.single}"
    against = f"expected {100 * plan.score:.1f} against {single}"
    if plan.only is not None:
        return f"asks {plan.only} alone: on {policy.n_rows:,} rows no vote was shown to beat it"
    if plan.most == 1:
        return f"asks the routed model alone: no vote was shown to beat it; {against}"
    answers = "one answer" if plan.first == 1 else f"{plan.first} answers"
    return f"asks for {answers} first, for {plan.answers:.1f} on average, {plan.most} at most; {against}"
