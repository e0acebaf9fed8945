"""Comparing expressions with math-verify, in a few worker processes that can be killed.

Whoever has used the workers least comes next, so that votes on hostile expressions do not hold up the others.
"""

from __future__ import annotations

import atexit
import contextlib
import heapq
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from importlib.util import find_spec

_WORKERS = max(3, min(4, os.cpu_count() or 1))
_COMPARE_SECONDS = 3.0  # for one comparison, after which its worker is killed
_VOTE_SECONDS = 10.0  # for all comparisons of one vote
_MAX_OVERRUNS = 2  # comparisons of one vote that may overrun their time; the rest is then given up
_WAIT_SECONDS = 20.0  # for a worker, in all comparisons of one vote
_START_SECONDS = 60.0
_SLOW_SECONDS = 300.0  # for which a pair that took too long is not tried again
_MAX_KNOWN = 4096  # pairs whose result is kept


@dataclass
class MathTime:
    """The time that one vote has spent on comparing expressions.

    Attributes:
        used: Seconds in which workers compared for it.
        waited: Seconds in which it waited for a worker.
        finished: Comparisons that were finished.
        overruns: Comparisons that a worker was killed for.
        given_up: Comparisons that took too long, or that no time was left for: they count as different.
    """

    used: float = 0.0
    waited: float = 0.0
    finished: int = 0
    overruns: int = 0
    given_up: int = 0

    @property
    def priority(self) -> tuple[int, int, bool]:
        """Who comes next, the smallest first: few overruns, few seconds used, and a comparison finished already."""
        return self.overruns, int(self.used), not self.finished

    @property
    def note(self) -> str:
        """What the reader of a vote should know; empty when every comparison was finished."""
        if not self.given_up:
            return ""
        pairs = "1 pair of expressions" if self.given_up == 1 else f"{self.given_up} pairs of expressions"
        return f"{pairs} took too long to compare and count as different"


def math_verify_installed() -> bool:
    """Whether the extra `math` is installed."""
    return find_spec("math_verify") is not None


class MathPool:
    """Worker processes for comparisons; started when needed, killed when they overrun their time.

    Args:
        workers: The most processes at a time.
        seconds: The most time for one comparison.
    """

    def __init__(self, workers: int = _WORKERS, seconds: float = _COMPARE_SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._idle = [_MathProcess() for _ in range(workers)]
        self._waiting: list[tuple[tuple[int, int, bool], int, queue.SimpleQueue[_MathProcess]]] = []
        self._turns = itertools.count()
        self._known: dict[tuple[str, str], bool] = {}
        self._slow: dict[tuple[str, str], float] = {}
        self._workers = tuple(self._idle)
        atexit.register(self.stop)

    def equal(self, a: str, b: str, spent: MathTime) -> bool:
        """Whether two LaTeX texts are equal.

        `False`, counted in `spent`, when the comparison overruns its time or the vote has none left.
        """
        pair = (a, b) if a <= b else (b, a)
        if (known := self._known.get(pair)) is not None:
            return known
        if time.monotonic() - self._slow.get(pair, -_SLOW_SECONDS) < _SLOW_SECONDS:
            spent.given_up += 1
            return False
        spent_all = spent.used >= _VOTE_SECONDS or spent.overruns >= _MAX_OVERRUNS
        if spent_all or (worker := self._take(spent)) is None:
            spent.given_up += 1
            return False
        try:
            worker.start()
            started = time.monotonic()
            result = worker.compare(*pair, self._seconds)
            spent.used += time.monotonic() - started
        except OSError:
            result = None
        finally:
            self._give_back(worker)
        if result is None:
            spent.given_up += 1
            spent.overruns += 1
            if len(self._slow) >= _MAX_KNOWN:
                self._slow.clear()
            self._slow[pair] = time.monotonic()
            return False
        spent.finished += 1
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[pair] = result
        return result

    def stop(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.stop()

    def _take(self, spent: MathTime) -> _MathProcess | None:
        """An idle worker, or the next that is free, when no vote that waits has used less time."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
            slot: queue.SimpleQueue[_MathProcess] = queue.SimpleQueue()
            entry = (spent.priority, next(self._turns), slot)
            heapq.heappush(self._waiting, entry)
        started = time.monotonic()
        try:
            return slot.get(timeout=max(0.0, _WAIT_SECONDS - spent.waited))
        except queue.Empty:
            with self._lock:
                if entry in self._waiting:
                    self._waiting.remove(entry)
                    heapq.heapify(self._waiting)
                    return None
            return slot.get()  # it was handed over at the last moment
        finally:
            spent.waited += time.monotonic() - started

    def _give_back(self, worker: _MathProcess) -> None:
        with self._lock:
            if self._waiting:
                heapq.heappop(self._waiting)[2].put(worker)
            else:
                self._idle.append(worker)


class _MathProcess:
    """One process that runs math-verify. Only one thread uses it at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()
        self._child = 0  # the fork that compares
        self._owner = 0

    def start(self) -> None:
        """Start the process unless it runs.

        Raises:
            OSError: If it does not start.
        """
        if self._process is not None and self._process.poll() is None and self._owner == os.getpid():
            return
        self.stop()
        self._owner = os.getpid()
        self._lines = queue.Queue()
        command = [sys.executable, "-m", "langchain_avengers.voting.math_worker"]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        threading.Thread(target=_pump, args=(process, self._lines), daemon=True).start()
        self._process = process
        self._await_ready()

    def compare(self, a: str, b: str, seconds: float) -> bool | None:
        """Whether the two are equal; `None`, and the process is killed, when that takes longer than `seconds`."""
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps([a, b]) + "\n")
            self._process.stdin.flush()
            line = self._lines.get(timeout=seconds)
        except (queue.Empty, OSError, ValueError):
            line = ""
        if line not in ("true\n", "false\n"):
            self._replace()
            return None
        return line == "true\n"

    def _await_ready(self) -> None:
        try:
            ready, _, child = self._lines.get(timeout=_START_SECONDS).partition(" ")
        except queue.Empty:
            ready = child = ""
        if ready != "ready":
            self.stop()
            raise OSError("the math-verify process did not start")
        self._child = int(child)

    def _replace(self) -> None:
        """Kill the fork that compares; its parent makes another."""
        if self._process is None or self._process.pid == self._child:
            self.stop()
            return
        try:
            os.kill(self._child, signal.SIGKILL)
            while (line := self._lines.get(timeout=_START_SECONDS)) in ("true\n", "false\n"):
                pass  # it finished at the last moment
            self._child = int(line.partition(" ")[2])
        except (OSError, ValueError, queue.Empty):
            self.stop()

    def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            if self._child not in (0, process.pid):
                with contextlib.suppress(OSError):
                    os.kill(self._child, signal.SIGKILL)
            self._child = 0
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _pump(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    assert process.stdout is not None
    try:
        for line in process.stdout:
            lines.put(line)
    except ValueError:  # closed by `stop`
        pass
    lines.put("")


POOL = MathPool()
"""The pool of this process."""
