"""Which models answer: a circuit breaker for each, across queries."""

from __future__ import annotations

import logging
import time
from typing import Literal

from typing_extensions import TypedDict

logger = logging.getLogger("langchain_avengers")
_LONGEST = 20
"""A pause doubles each time it did not help, up to so many times the first one."""


class ModelHealth(TypedDict):
    """How a model of the pool is doing.

    `state`: `"closed"`: it is asked; `"open"`: it has failed too often and rests; `"half_open"`: the next query
    tries it again. `failures_in_a_row` and `last_error` are of queries it gave no answer to; `asked_again_in` is in
    seconds.
    """

    state: Literal["closed", "open", "half_open"]
    failures_in_a_row: int
    answered: int
    failed: int
    last_error: str | None
    asked_again_in: float


class CircuitBreaker:
    """Lets a model rest that has failed to answer several queries in a row.

    After a pause one query tries it again; when that fails too, the pause is twice as long. Without a lock: a race
    costs one more query to a model that is down, no more.
    """

    def __init__(self, name: str, failures: int | None = 3, pause: float = 30.0) -> None:
        """Begin closed.

        Args:
            name: The model's name, for the log.
            failures: Queries in a row without an answer until the model rests; None: never.
            pause: Seconds of the first rest.
        """
        self._name, self._limit, self._pause = name, failures, pause
        self._in_a_row = self._answered = self._failed = 0
        self._again_at = 0.0
        self._next_pause = pause
        self._last_error: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether the model rests, or has rested and not been tried again."""
        return self._limit is not None and self._in_a_row >= self._limit

    @property
    def asked_again_in(self) -> float:
        """Seconds until the model is tried again; 0 when it may be asked now."""
        return max(0.0, self._again_at - time.monotonic()) if self.is_open else 0.0

    def admits(self) -> bool:
        """Whether this query may ask the model; of several queries after a pause the first one tries it."""
        if not self.is_open:
            return True
        if self.asked_again_in:
            return False
        self._again_at = time.monotonic() + self._next_pause  # others wait for what the trial says
        return True

    def answered(self) -> None:
        """Note that the model answered a query."""
        if self.is_open:
            logger.info("%s answers again", self._name)
        self._answered += 1
        self._in_a_row, self._next_pause = 0, self._pause

    def failed(self, cause: str) -> None:
        """Note that the model gave a query no answer."""
        self._failed += 1
        self._in_a_row += 1
        self._last_error = cause
        if self._in_a_row == 1:
            logger.warning(
                "%s gave no answer (%s): the next model of the ranking stands in", self._name, cause
            )
        if self.is_open:
            logger.warning(
                "%s has given no answer to %d queries in a row (%s): not asked for %.0f s",
                self._name, self._in_a_row, cause, self._next_pause,
            )  # fmt: skip
            self._again_at = time.monotonic() + self._next_pause
            self._next_pause = min(2 * self._next_pause, _LONGEST * self._pause)

    @property
    def health(self) -> ModelHealth:
        """How the model is doing."""
        state: Literal["closed", "open", "half_open"] = "closed"
        if self.is_open:
            state = "open" if self.asked_again_in else "half_open"
        return {
            "state": state,
            "failures_in_a_row": self._in_a_row,
            "answered": self._answered,
            "failed": self._failed,
            "last_error": self._last_error,
            "asked_again_in": round(self.asked_again_in, 1),
        }
