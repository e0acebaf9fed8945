"""The package's end of one jail: start it, run one program in it after another, end it."""

from __future__ import annotations

import base64
import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from typing import Any

from langchain_avengers.errors import SandboxError
from langchain_avengers.sandbox import filter, isolation
from langchain_avengers.sandbox.inside.values import Channel, NotPlain

START, STOP = 20.0, 10.0  # seconds the keeper may take to start, and to end a program
_count = itertools.count()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program's process ended.

    Attributes:
        status: Exit status; of a signal, its negative number.
        full: It was ended because it had made too many files.
        lost: The jail ended with it; that is the program's doing, for the jail had started.
    """

    status: int
    full: bool = False
    lost: bool = False

    def __str__(self) -> str:
        if self.lost:
            return "ended the sandbox"
        if self.full:
            return "made too many files"
        if self.status < 0:
            return f"killed by {signal.Signals(-self.status).name}"
        return f"ended with exit status {self.status}"


class Jail:
    """A jail and its keeper. Not for two threads at once.

    Args:
        way: How it is built; see `isolation.ways`.
        limits: Names of `resource` and their values.
        disk: Bytes of the scratch folder.

    Raises:
        SandboxError: It does not start.
    """

    def __init__(self, way: str, limits: dict[str, int], disk: int) -> None:
        self._running = False
        self._folder = tempfile.mkdtemp(prefix="avengers-code-")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the jail
        ours, theirs = socket.socketpair()
        ours.settimeout(START)
        self._connection, self._control = ours, Channel(ours)
        uid = _new_uid() if os.geteuid() == 0 else None
        if way == "uid" and uid is not None:
            os.chown(self._folder, uid, uid)
        settings = {
            "uid": uid, "limits": limits, "filter": base64.b64encode(filter.build()).decode(),
            "scratch": self._folder if way == "uid" else isolation.SCRATCH, "own_scratch": way != "uid",
        }  # fmt: skip
        try:
            self._process = subprocess.Popen(
                isolation.command(way, disk=disk, folder=self._folder),
                stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=self._errors, cwd="/",
                env=isolation.environment(way), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._connection.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise SandboxError(f"the sandbox did not start: {error}") from None
        finally:
            theirs.close()
        try:
            self._control.send(settings)
            self._control.receive()
        except (EOFError, OSError, NotPlain):
            said = self._said()
            self.close()
            raise SandboxError(f"the sandbox did not start: {said}") from None

    @property
    def usable(self) -> bool:
        """Whether another program may be started in it."""
        return not self._running and self._process.poll() is None

    def start(self, job: dict[str, Any], descriptors: list[int]) -> None:
        """Start a program with these descriptors.

        Raises:
            SandboxError: The jail has ended.
        """
        try:
            socket.send_fds(self._connection, [b"J"], descriptors)
            self._control.send(job)
        except (OSError, NotPlain) as error:
            self.close()
            raise SandboxError(f"the sandbox cannot run this program: {error}") from None
        self._running = True

    def stop(self, patience: float = 0.0) -> Ended:
        """End the program, unless it ends by itself within `patience` seconds, and say how it ended.

        A program that left a file behind was the last one of its jail.
        """
        if patience:
            with contextlib.suppress(TimeoutError):
                return self.wait(patience)
        try:
            self._connection.sendall(b"S")
            self._control.send({"stop": True})
            return self.wait(STOP)
        except OSError:
            return self._lost()

    def wait(self, timeout: float) -> Ended:
        """How the program ended, when it ends by itself in time.

        Raises:
            TimeoutError: It has not; it runs on.
        """
        try:
            self._connection.settimeout(max(0.001, timeout))
            ended = self._control.receive()
            self._connection.settimeout(START)
        except TimeoutError:
            raise
        except (EOFError, OSError, NotPlain):
            return self._lost()
        self._running = False
        if not ended["clean"]:
            self.close()
        return Ended(os.waitstatus_to_exitcode(ended["status"]), ended["full"])

    def _lost(self) -> Ended:
        self.close()
        return Ended(-signal.SIGKILL, lost=True)

    def close(self) -> None:
        """End the jail and all that runs in it."""
        with contextlib.suppress(OSError):  # a fork of this process may hold the connection as well
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()  # the keeper ends itself and what it holds
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._errors.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _said(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else f"exit status {self._process.poll()}"


def works(way: str) -> bool:
    """Whether a jail can be built in this way, and a program run in it."""
    from langchain_avengers.sandbox.sandbox import Sandbox

    try:
        with Sandbox(timeout=START).open(way) as session:
            return session.test("import colorsys, math, threading").passed
    except SandboxError:
        return False


def _new_uid() -> int:
    """A user that nobody else has: from a million on, or of the upper end of those this root may become."""
    with open("/proc/self/uid_map") as file:
        last = max(int(start) + int(size) - 1 for start, _, size in map(str.split, file))
    number = os.getpid() % 100_000 * 1_000 + next(_count) % 1_000
    return 1_000_000 + number if last > 200_000_000 else max(1, last - 10 - number % max(1, last // 4))
