"""An alarm for each model: has what stands behind its name changed?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

_BETS = np.array([0.05, 0.1, 0.2, 0.4, 0.8])
"""Shares of its wealth that a test stakes on each answer: small ones find small changes, large ones large ones."""


@dataclass(frozen=True)
class Change:
    """A model that does not answer as it did.

    Attributes:
        model: Its name.
        after: Judged answers of the model until the alarm.
        since: The answer from which on it has changed, about: where the evidence begins.
        better: Whether it scores higher than expected now.
        shift: Mean score since then minus the expected one, in [-1, 1].
    """

    model: str
    after: int
    since: int
    better: bool
    shift: float


def changes(
    answers: Iterable[tuple[str, float, float]], *, monthly: int = 100_000, tolerated: float = 0.05
) -> list[Change]:
    """Models whose scores depart from what the router expects, by a sequential test of each.

    A Shiryaev-Roberts sum of betting martingales (e-detectors, arXiv 2203.03532). As long as a model's expected score
    is right within `tolerated`, the chance of a false alarm within `monthly` of its judged answers is below 1 %,
    whatever the distribution of scores. The two sides, up and down, share that.

    Args:
        answers: (model, score, expected score), oldest first; scores in [0, 1].
        monthly: Judged answers of a model in a month.
        tolerated: How far an expected score may be wrong without being a change.
    """
    surprises: dict[str, list[float]] = {}
    for model, score, expected in answers:
        surprises.setdefault(model, []).append(score - expected)
    found = []
    for model, values in surprises.items():
        alarms = [
            (alarm, sign)
            for sign in (1, -1)
            if (alarm := _alarm(sign * np.array(values), monthly, tolerated))
        ]
        if alarms:
            (after, since), sign = min(alarms)
            shift = float(np.mean(values[since:after]))
            found.append(Change(model, after, since, sign > 0, shift))
    return found


def _alarm(surprises: Sequence[float] | np.ndarray, monthly: int, tolerated: float) -> tuple[int, int] | None:
    """After how many values their mean is shown to be above `tolerated`, and where the evidence began."""
    threshold = 2 * monthly / 0.01
    # (x - tolerated) is at least -(1 + tolerated): a stake of a share below 1 of its inverse never loses everything.
    stakes = _BETS / (1 + tolerated)
    detectors = np.zeros(len(stakes))
    evidence, lowest, since = 0.0, 0.0, 0
    for number, value in enumerate(np.asarray(surprises, dtype=float), 1):
        detectors = (detectors + 1) * (1 + stakes * (value - tolerated))
        evidence += value - tolerated
        if evidence <= lowest:
            lowest, since = evidence, number
        if detectors.mean() >= threshold:
            return number, min(since, number - 1)
    return None
