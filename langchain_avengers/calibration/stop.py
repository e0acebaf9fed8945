"""When a run is to end: on request from any thread, by a signal, or at the budget."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from langchain_avengers.calibration.errors import RunStoppedError

T = TypeVar("T")

_LOOK = 0.1
"""Seconds between two looks at an event that another thread sets."""


class Stop:
    """Tells every task of a run when it is to end; all waiting of a run goes through it.

    Args:
        asked: Set by another thread, or a signal, to end the run.

    Attributes:
        reason: `"stopped"` or `"budget"`; empty while the run goes on.
    """

    def __init__(self, asked: threading.Event) -> None:
        """Start going on."""
        self._asked = asked
        self._event = asyncio.Event()
        self.reason = ""

    def __bool__(self) -> bool:
        """Whether the run is to end."""
        if not self.reason and self._asked.is_set():
            self.set("stopped")
        return bool(self.reason)

    def set(self, reason: str) -> None:
        """End the run; the first reason stays."""
        self.reason = self.reason or reason
        self._event.set()

    async def watch(self) -> None:
        """Look at the other threads' event again and again, until the run is to end."""
        while not self:  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(_LOOK)

    async def sleep(self, seconds: float) -> None:
        """Sleep.

        Raises:
            RunStoppedError: The run is to end.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), seconds)
        self.check()

    def check(self) -> None:
        """Go on.

        Raises:
            RunStoppedError: The run is to end.
        """
        if self:
            raise RunStoppedError(self.reason)

    async def unless(self, awaitable: Awaitable[T]) -> T:
        """Wait for something that may take long.

        Raises:
            RunStoppedError: The run is to end before it comes.
        """
        waiting = asyncio.ensure_future(awaitable)
        stopped = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait({waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise RunStoppedError(self.reason)
            return waiting.result()
        finally:
            stopped.cancel()
            waiting.cancel()


@contextlib.contextmanager
def drained_on_signals(
    asked: threading.Event, tell: Callable[[], object] = lambda: None
) -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM set the event, so that requests on their way are waited for; the second one does not wait.

    Only the main thread can take signals; in any other this does nothing.

    Args:
        asked: The event.
        tell: Called at the first signal.

    Yields:
        The signals that came.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def take(number: int, _: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        asked.set()
        tell()

    before = {number: signal.signal(number, take) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set by Python
