"""Write a step once, run it on threads or on an event loop.

A step is a generator. When it needs the outside world it yields a batch of jobs and gets their results back, in
order; everything else in it is plain code. It may also yield an `Event`, which goes out to whoever iterates over
the step. `run` and `stream` do a batch with the jobs' synchronous halves, in threads; `arun` and `astream` with
their asynchronous halves, on the caller's loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Job(NamedTuple):
    """One piece of outside work in its two forms."""

    run: Callable[[], Any]
    arun: Callable[[], Awaitable[Any]]


class Event(NamedTuple):
    """Something a step tells while it goes on, such as one chunk of an answer."""

    value: Any


Step = Generator[Sequence[Job] | Event, Any, T]


def job(step: Callable[[], Step[Any]]) -> Job:
    """A whole step as one job, so that steps run beside each other. Its events are not passed on."""
    return Job(lambda: run(step()), lambda: arun(step()))


def pause(seconds: float) -> Job:
    """Wait."""
    return Job(partial(time.sleep, seconds), partial(asyncio.sleep, seconds))


def in_thread(call: Callable[[], Any]) -> Job:
    """Blocking work, kept off the event loop."""
    return Job(call, partial(asyncio.to_thread, call))


def daemon(call: Callable[[], T]) -> Future[T]:
    """Start a call in a thread of its own, which nothing waits for: not the event loop, not the process's end."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=partial(copy_context().run, work), name="avengers-call", daemon=True).start()
    return future


def run(step: Step[T]) -> T:
    """Run a step to its end and return its result. Nobody hears its events."""
    results: list[T] = []
    for _ in stream(step, results.append):
        pass
    return results[0]


async def arun(step: Step[T]) -> T:
    """Run a step to its end and return its result. Nobody hears its events."""
    try:
        asked = next(step)
        while True:
            results = None if isinstance(asked, Event) else await _on_the_loop(asked)
            asked = _resumed(step, results)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # StopIteration is not generic


def stream(step: Step[T], result: Callable[[T], object] = lambda _: None) -> Iterator[Any]:
    """Run a step and pass on the values of its events; the step's result goes to `result`."""
    try:
        asked = next(step)
        while True:
            results = None
            if isinstance(asked, Event):
                yield asked.value
            else:
                results = _in_threads(asked)
            asked = _resumed(step, results)
    except StopIteration as stop:
        result(stop.value)
    finally:
        step.close()


async def astream(step: Step[Any]) -> AsyncIterator[Any]:
    """Run a step and pass on the values of its events."""
    try:
        asked = next(step)
        while True:
            results = None
            if isinstance(asked, Event):
                yield asked.value
            else:
                results = await _on_the_loop(asked)
            asked = _resumed(step, results)
    except StopIteration:
        return
    finally:
        step.close()


def _resumed(step: Step[Any], results: list[Any] | Exception | None) -> Sequence[Job] | Event:
    """Give a step the results of its jobs, or raise in it what the jobs raised."""
    return step.throw(results) if isinstance(results, Exception) else step.send(results)


async def _on_the_loop(jobs: Sequence[Job]) -> list[Any] | Exception:
    """The results of the jobs, or what one of them raised.

    The error is returned: raised again in the step from inside an `except`, it would be the context of every later
    error, and its text would be in their tracebacks.
    """
    try:
        if len(jobs) == 1:
            return [await jobs[0].arun()]
        tasks = [asyncio.ensure_future(job.arun()) for job in jobs]
        try:
            return await asyncio.gather(*tasks)
        except Exception:
            for task in tasks:  # none goes on by itself when another failed
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
    except Exception as error:
        return error


def _in_threads(jobs: Sequence[Job]) -> list[Any] | Exception:
    """The results of the jobs, or what one of them raised."""
    try:
        if len(jobs) < 2:
            return [job.run() for job in jobs]
        with ThreadPoolExecutor(len(jobs), thread_name_prefix="avengers") as pool:
            futures = [pool.submit(copy_context().run, job.run) for job in jobs]
            return [future.result() for future in futures]
    except Exception as error:
        return error
