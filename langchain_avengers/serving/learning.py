"""Feedback folded into a router, which replaces the old one only if it is not worse on feedback held back."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from langchain_avengers.errors import RouterError
from langchain_avengers.evaluation.stats import UNKNOWN, Estimate, student
from langchain_avengers.serving.alarm import Change, changes
from langchain_avengers.serving.store import JudgedRequest

if TYPE_CHECKING:
    from langchain_avengers.routing.router import ClusterRouter
    from langchain_avengers.routing.table import ScoreTable

LEAST_HELD_BACK = 20
"""Judged requests below which nothing can be said of a router."""


@dataclass(frozen=True)
class Lesson:
    """What was learned.

    Attributes:
        accepted: Whether the new router replaces the old one.
        verdict: One sentence: why, or what is missing.
        requests: Judged requests that were used.
        held_back: How many of them judged the new router.
        departures: Share of those held back for which the new router chooses another model.
        difference: Expected score of the new router's choices minus that of the old one's, in [-1, 1].
        left_out: Judged requests that could not be used: their query was not kept, or their model is not the router's.
        changed: Models that do not answer as calibration says; see `changes`.
    """

    accepted: bool
    verdict: str
    requests: int
    held_back: int
    departures: float
    difference: Estimate
    left_out: int
    changed: tuple[Change, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The lesson as JSON-safe plain data."""
        return {**asdict(self), "difference": self.difference.to_dict()}


def learn(
    router: ClusterRouter, judged: Sequence[JudgedRequest], *, held_back: float = 0.3, seed: int = 0
) -> tuple[ClusterRouter, Lesson]:
    """Fold judged requests into a router.

    Which model answered was the router's choice, so feedback says nothing of the others. A router with the feedback of
    one part is judged on the other part by the doubly robust estimate (arXiv 1103.4601): the old router's expected
    score of the chosen model, corrected by what feedback says when the same model was asked, over the chance with
    which it was asked. It is accepted unless the whole 95 % interval of its difference to the old one is below 0. The
    router returned has learned from both parts.

    Args:
        router: The router that serves; it stays as it is.
        judged: Judged requests; see `Store.judged`.
        held_back: Share held back to judge the new router, in (0, 1).
        seed: Of the split.

    Returns:
        The new router, or the old one when the new one is not accepted; and what was learned.

    Raises:
        RouterError: `held_back` is not in (0, 1).
    """
    if not 0 < held_back < 1:
        raise RouterError(f"held_back is {held_back}; it is a share between 0 and 1")
    usable = [request for request in judged if request.query is not None and request.model in router.models_]
    left_out = len(judged) - len(usable)
    order = np.random.default_rng(seed).permutation(len(usable))
    most = round(held_back * len(usable))
    if most < LEAST_HELD_BACK:
        needed = int(np.ceil(LEAST_HELD_BACK / held_back))
        text = f"{len(usable)} judged requests can be used, and {needed} are needed"
        if left_out:
            text += f"; {left_out} cannot: their query was not kept (--keep-queries), or the router lacks their model"
        return router, Lesson(False, text, len(usable), most, 0.0, UNKNOWN, left_out)
    test, train = [usable[i] for i in order[:most]], [usable[i] for i in order[most:]]
    candidate = _updated(router, train)
    differences, departs = _doubly_robust(router, candidate, test)
    difference = student(differences)
    accepted = difference.sign >= 0
    told = f"{difference.points(signed=True)} points on {len(test)} judged requests held back"
    verdict = (
        f"The new router is not worse: {told}."
        if accepted
        else f"The new router is worse and is refused: {told}. The old one stays."
    )
    lesson = Lesson(
        accepted, verdict, len(usable), len(test), float(np.mean(departs)), difference, left_out,
        tuple(changes(_expected(router, usable))),
    )  # fmt: skip
    return (_updated(router, usable) if accepted else router), lesson


def _expected(router: ClusterRouter, judged: Sequence[JudgedRequest]) -> Iterator[tuple[str, float, float]]:
    """Each judged request's model, its score, and the score that the router expects of that model."""
    decisions = router.route_many([str(request.query) for request in judged])
    for request, decision in zip(judged, decisions, strict=True):
        (expected,) = (row.score for row in decision.ranking if row.name == request.model)
        yield request.model, request.score, expected


def _updated(router: ClusterRouter, judged: Sequence[JudgedRequest]) -> ClusterRouter:
    """A copy of the router with these rows folded in."""
    learned = copy.copy(router)
    learned.update(_table(judged))
    return learned


def _table(judged: Sequence[JudgedRequest]) -> ScoreTable:
    from langchain_avengers.routing.table import ScoreTable

    return ScoreTable.from_rows(
        {"query": request.query, "scores": {request.model: request.score}} for request in judged
    )


def _doubly_robust(
    old: ClusterRouter, new: ClusterRouter, judged: Sequence[JudgedRequest]
) -> tuple[np.ndarray, np.ndarray]:
    """For each judged request: the estimated score of the new choice minus that of the old one, and if they differ."""
    queries = [str(request.query) for request in judged]
    before, after = old.route_many(queries), new.route_many(queries)
    differences, departs = np.zeros(len(judged)), np.zeros(len(judged), dtype=bool)
    for row, (request, was, now) in enumerate(zip(judged, before, after, strict=True)):
        expected = {each.name: each.score for each in was.ranking}
        surprise = (request.score - expected[request.model]) / request.propensity

        def value(model: str, expected: dict[str, float] = expected, surprise: float = surprise) -> float:
            asked = model == request.model  # noqa: B023 - called within this turn of the loop
            return expected[model] + (surprise if asked else 0.0)

        differences[row] = value(now.chosen[0]) - value(was.chosen[0])
        departs[row] = now.chosen[0] != was.chosen[0]
    return differences, departs
