"""The circuit breaker of one model: when requests are held back, and when the model is given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from langchain_avengers.calibration.errors import Failure, ModelDeadError

RATE_LIMITED_TIMES = 5
"""How many times longer a model is waited for that only asks for fewer requests."""

_LONGEST_PAUSE = 30.0


class CircuitBreaker:
    """After failures in a row only one probe at a time goes through; it closes when a probe succeeds.

    A model without an answer for too long is given up. A rate limit holds every request back, as long as the server
    asks; without a word from it, longer each time.

    Args:
        threshold: Failures in a row that open it.
        give_up_after: Seconds of failing after which the model is given up; of rate limits, five times as long.
        cooldown: Seconds to the first probe. Doubles with each that fails, up to an eighth of `give_up_after`.
        sleep: How to wait.
    """

    def __init__(
        self,
        *,
        threshold: int = 8,
        give_up_after: float = 60.0,
        cooldown: float = 0.5,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Start closed."""
        self.threshold, self.give_up_after, self.cooldown = threshold, give_up_after, cooldown
        self.cause: str | None = None
        self._sleep = sleep
        self._failures = 0
        self._opened: float | None = None
        self._wait = cooldown
        self._next_probe = 0.0
        self._probing = False
        self._paused_until = 0.0
        self._limited_since: float | None = None
        self._pauses = 0

    @property
    def open(self) -> bool:
        """Whether requests are held back."""
        return self._opened is not None

    async def admit(self) -> None:
        """Wait until a request may be sent.

        Raises:
            ModelDeadError: The model was given up.
        """
        while True:
            if self.cause:
                raise ModelDeadError(self.cause)
            now = time.monotonic()
            if now < self._paused_until:
                await self._sleep(min(self._paused_until - now, 1.0))
            elif not self.open:
                return
            elif not self._probing and now >= self._next_probe:
                self._probing = True
                return
            else:
                await self._sleep(0.05 if self._probing else max(0.01, min(self._next_probe - now, 0.25)))

    def succeed(self) -> None:
        """A request was answered."""
        self._failures, self._opened, self._wait, self._probing = 0, None, self.cooldown, False
        self._limited_since, self._pauses = None, 0

    def release(self) -> None:
        """A request ended without a verdict on the model."""
        self._probing = False

    def fail(self, failure: Failure) -> None:
        """A request failed."""
        now = time.monotonic()
        self._probing = False
        if failure.fatal:
            self.cause = failure.cause
        elif failure.rate_limited:
            self._limit(failure, now)
        else:
            if failure.retry_after:
                self._pause(min(failure.retry_after, self.give_up_after), now)
            self._count(failure, now)

    def _limit(self, failure: Failure, now: float) -> None:
        """The model is alive, so the breaker stays as it is; only its clock counts."""
        bound = RATE_LIMITED_TIMES * self.give_up_after
        self._limited_since = now if self._limited_since is None else self._limited_since
        waited, asked = now - self._limited_since, failure.retry_after
        if asked is not None and waited + asked > bound:
            self.cause = f"{failure.cause}: the server asks to wait {asked:.0f} s; run again later"
        elif waited > bound:
            self.cause = f"{failure.cause}: no answer for {waited:.0f} s; run again later"
        elif asked is not None:
            self._pause(asked, now)
        elif now >= self._paused_until:  # one of several that were on their way counts for all
            self._pause(min(_LONGEST_PAUSE, self.cooldown / 4 * 2**self._pauses), now)
            self._pauses = min(self._pauses + 1, 10)

    def _pause(self, seconds: float, now: float) -> None:
        self._paused_until = max(self._paused_until, now + seconds)

    def _count(self, failure: Failure, now: float) -> None:
        self._failures += 1
        if not self.open and self._failures >= self.threshold:
            self._opened, self._next_probe = now, now + self._wait
        elif self._opened is not None and now >= self._next_probe:  # a probe, not one sent before it opened
            self._wait = min(self._wait * 2, max(1.0, self.give_up_after / 8))
            self._next_probe = now + self._wait
            if now - self._opened + self._wait > self.give_up_after:
                self.cause = f"model given up after {now - self._opened:.0f} s: {failure.cause}"
