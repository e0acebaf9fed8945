"""What keeps overload from hurting: a gate with a queue, rates by key, bounded bodies."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
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
