"""Now and then another model is asked, so that feedback can tell what the router does not know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DRAWS = 4000
_UNKNOWN = 0.5
"""Standard error of a score of which none is known: that of scores in [0, 1] that could be anything."""


def chances(ranking: Sequence[Mapping[str, Any]], best: str, share: float) -> dict[str, float]:
    """The chance of each model to be asked; they sum to 1.

    `best` has `1 - share`. `share` is divided by posterior sampling (Thompson): each model as often as a draw from its
    score's distribution is the highest. Models shown to be worse than `best`, by two standard errors of the difference,
    have none.

    Args:
        ranking: The models with `name`, `score` in [0, 1] and `stderr`, as a decision has them.
        best: The router's choice, one of them.
        share: Share of requests that explore, in [0, 1].

    Example:
        >>> rows = [{"name": "a", "score": 0.8, "stderr": 0.1}, {"name": "b", "score": 0.2, "stderr": 0.1}]
        >>> chances(rows, "a", 0.1)
        {'a': 1.0, 'b': 0.0}
    """
    scores = np.array([row["score"] for row in ranking], dtype=np.float64)
    errors = np.array([_UNKNOWN if row["stderr"] is None else row["stderr"] for row in ranking])
    names = [str(row["name"]) for row in ranking]
    first = names.index(best)
    worse = scores[first] - scores > 2 * np.hypot(errors[first], errors)
    draws = np.where(worse, -np.inf, scores + errors * _normals(len(names)))
    wins = np.bincount(draws.argmax(axis=1), minlength=len(names)) / _DRAWS
    wins = share * wins
    wins[first] += 1 - share
    return dict(zip(names, wins.tolist(), strict=True))


@cache
def _normals(models: int) -> NDArray[np.float64]:
    """The same draws for every query: a chance is a property of the query, not of the moment."""
    return np.random.default_rng(0).standard_normal((_DRAWS, models))
