"""What keeps overload from hurting: a gate with a queue, rates by key, breakers by member, bounded bodies."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from langchain_avengers.serving.protocol import ApiError


class Gate:
    """Lets so many requests in at once; the others queue, in order, up to a deadline.

    Args:
        most: Requests at work at once.
        queue: Requests that may wait.
        patience: Seconds that one may wait.
    """

    def __init__(self, most: int, queue: int, patience: float) -> None:
        """Open the gate."""
        self.most, self.queue, self.patience = most, queue, patience
        self.inside = self.waiting = 0
        self._slots = asyncio.Semaphore(most)

    @asynccontextmanager
    async def pass_through(self) -> AsyncIterator[None]:
        """Be at work.

        Raises:
            ApiError: 429: the queue is full, or the wait was too long.
        """
        if self._slots.locked() and self.waiting >= self.queue:
            raise self._overloaded()
        self.waiting += 1
        try:
            async with asyncio.timeout(self.patience):
                await self._slots.acquire()
        except TimeoutError:
            raise self._overloaded() from None
        finally:
            self.waiting -= 1
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1
            self._slots.release()

    def _overloaded(self) -> ApiError:
        return ApiError(
            429,
            "the server has too many requests",
            code="overloaded",
            retry_after=max(1.0, self.patience / 2),
        )


class Rates:
    """Requests a minute by name, over a sliding minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with none."""
        self._clock = clock
        self._times: dict[str, deque[float]] = {}

    def spend(self, name: str, most: float) -> None:
        """Count a request.

        Raises:
            ApiError: 429: there were `most` in the last minute.
        """
        now = self._clock()
        times = self._times.setdefault(name, deque())
        while times and times[0] <= now - 60:
            times.popleft()
        if len(times) >= most:
            raise ApiError(
                429, f"this key may make {most:g} requests a minute", code="rate_limit_exceeded",
                retry_after=times[0] + 60 - now if times else 60,
            )  # fmt: skip
        times.append(now)


class Breakers:
    """Members that keep failing are left out for a while, then one request tries again.

    Args:
        names: The members.
        failures: Failed samples in a row that open a member's breaker.
        seconds: How long it stays open.
        clock: For tests.
    """

    def __init__(
        self,
        names: Sequence[str],
        failures: int = 5,
        seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with all closed."""
        self._failures, self._seconds, self._clock = failures, seconds, clock
        self._failed = dict.fromkeys(names, 0)
        self._until: dict[str, float] = {}

    def watch(self, names: Sequence[str]) -> None:
        """Know further members."""
        self._failed = {**dict.fromkeys(names, 0), **self._failed}

    def admit(self, names: Sequence[str]) -> list[str]:
        """Those of the members to ask. When all are open, all: an error of a member says more than none."""
        now = self._clock()
        closed = []
        for name in names:
            until = self._until.get(name)
            if until is None:
                closed.append(name)
            elif now >= until:  # this request tries; the others wait for what it finds
                self._until[name] = now + self._seconds
                closed.append(name)
        return closed or list(names)

    def succeed(self, name: str) -> None:
        """A member answered."""
        if name in self._failed:
            self._failed[name] = 0
            self._until.pop(name, None)

    def fail(self, name: str) -> None:
        """A sample of a member failed."""
        if name not in self._failed:
            return
        self._failed[name] += 1
        if self._failed[name] >= self._failures:
            self._until[name] = self._clock() + self._seconds

    def states(self) -> dict[str, str]:
        """`"closed"` (asked) or `"open"` (left out) by member."""
        return {name: "open" if name in self._until else "closed" for name in self._failed}


async def read_body(request: Request, most: int, seconds: float) -> bytes:
    """The body of a request.

    Args:
        request: The request.
        most: Bytes it may have.
        seconds: Time the client has to send it.

    Raises:
        ApiError: 413 or 408: it is too long or too slow. 400: the client left.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise ApiError(413, f"the body may have {most} bytes")
    parts, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise ApiError(413, f"the body may have {most} bytes")
                parts.append(part)
    except TimeoutError:
        raise ApiError(408, f"the body did not arrive in {seconds:g} s") from None
    except ClientDisconnect:
        raise ApiError(400, "the client left") from None
    return b"".join(parts)
