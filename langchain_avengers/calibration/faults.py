"""What goes wrong between a runner and a model, and whether to wait, give up the cell, or the model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

from langchain_avengers.errors import AvengersError
from langchain_avengers.providers import one_line, retry_after, status_of


@dataclass(slots=True)
class Failure(Exception):
    """A request that brought no answer.

    Attributes:
        cause: What it was, in one line without secrets.
        retryable: The same request may succeed later.
        fatal: No request to this model will succeed (wrong key, no such model).
        retry_after: Seconds the server asked to wait.
        refused: The server refused the request's form; with several answers asked at once, perhaps for that.
        unreached: Nothing was sent: there was no connection.
    """

    cause: str
    retryable: bool = True
    fatal: bool = False
    retry_after: float | None = None
    refused: bool = False
    unreached: bool = False

    @property
    def rate_limited(self) -> bool:
        """The server is well and asks for patience."""
        return self.cause.startswith("rate limited")


class ModelDeadError(AvengersError, RuntimeError):
    """A model failed for so long that it was given up."""


# Errors of httpx, aiohttp and asyncio by name, so that none of them need be imported.
_NO_CONNECTION = {
    "ConnectError", "ConnectTimeout", "PoolTimeout", "ConnectionRefusedError", "gaierror",
    "ClientConnectorError", "ConnectionTimeoutError", "ClientConnectionResetError",
}  # fmt: skip
_LOST = {"APIConnectionError", "ConnectionError", "ClientConnectionError", "ClientPayloadError"}
_LATE = {"TimeoutError", "APITimeoutError", "TimeoutException"}


def as_failure(error: BaseException) -> Failure:
    """Read any error of a chat model as a failure."""
    if isinstance(error, Failure):
        return error
    text, status = one_line(error, 200), status_of(error)
    links = list(_chain(error))
    kinds = {kind.__name__ for link in links for kind in type(link).__mro__}
    if kinds & _NO_CONNECTION:
        why = one_line(links[-1], 100)
        return Failure(f"unreachable: no connection{why and f' ({why})'}", unreached=True)
    if kinds & _LATE:
        return Failure("timeout: no answer in time")
    if status is not None and status >= 400:
        wait = retry_after(error)
        if status == 429 and getattr(error, "code", None) == "insufficient_quota":
            return Failure(f"no quota: {text}", fatal=True)
        if status == 429:
            return Failure("rate limited (429)", retry_after=wait)
        if status in (408, 409, 425) or status >= 500:
            return Failure(f"server error {status}", retry_after=wait)
        if status in (401, 403, 404):
            return Failure(f"refused ({status}): {text}", fatal=True)
        return Failure(f"refused ({status}): {text}", retryable=False, refused=True)
    if kinds & _LOST:
        return Failure("connection lost")
    return Failure(f"not an answer: {type(error).__name__}: {text}")


def _chain(error: BaseException) -> Iterable[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


class Breaker:
    """A circuit breaker: after failures in a row only one probe at a time goes through.

    It closes when a probe succeeds; when patience ends, the model is given up.

    Args:
        threshold: Failures in a row that open it.
        patience: Seconds without a success after which the model is given up.
        cooldown: Seconds to the first probe; doubles with each that fails, to an eighth of the patience.
    """

    def __init__(self, *, threshold: int = 8, patience: float = 60.0, cooldown: float = 0.5) -> None:
        """Start closed."""
        self.threshold, self.patience, self.cooldown = threshold, patience, cooldown
        self.cause: str | None = None
        self._failures = 0
        self._opened: float | None = None
        self._wait = cooldown
        self._next_probe = 0.0
        self._probing = False
        self._paused_until = 0.0

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
                await asyncio.sleep(min(self._paused_until - now, 1.0))
            elif not self.open:
                return
            elif not self._probing and now >= self._next_probe:
                self._probing = True
                return
            else:
                await asyncio.sleep(0.05 if self._probing else max(0.01, min(self._next_probe - now, 0.25)))

    def succeed(self) -> None:
        """A request was answered."""
        self._failures, self._opened, self._wait, self._probing = 0, None, self.cooldown, False

    def release(self) -> None:
        """A request ended without a verdict on the model."""
        self._probing = False

    def fail(self, failure: Failure) -> None:
        """A request failed."""
        now = time.monotonic()
        self._probing = False
        if failure.retry_after:
            self._paused_until = max(self._paused_until, now + min(failure.retry_after, 600.0))
        if failure.rate_limited:
            return  # alive; only its clock counts
        if failure.fatal:
            self.cause = failure.cause
            return
        self._failures += 1
        if not self.open and self._failures >= self.threshold:
            self._opened, self._next_probe = now, now + self._wait
        elif self._opened is not None and now >= self._next_probe:  # a probe, not one sent before it opened
            self._wait = min(self._wait * 2, max(1.0, self.patience / 8))
            self._next_probe = now + self._wait
            if now - self._opened + self._wait > self.patience:
                self.cause = f"model given up after {now - self._opened:.0f} s: {failure.cause}"
