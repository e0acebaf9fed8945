"""The sandbox: programs in, outcomes out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_avengers.errors import SandboxError
from langchain_avengers.sandbox.inside.values import Channel, NotPlain
from langchain_avengers.sandbox.isolation import Level, require
from langchain_avengers.sandbox.jail import Jail

MAX_OUTPUT = 1 << 20  # bytes of a program's standard output
MAX_OPEN_FILES = 64
MAX_PROGRAM = 300_000  # characters
ENDED, LATE = "ended before its tests did", "took too long"
GRACE = 1.0  # seconds the judge may take to tell that time is over
PATIENCE = 0.5  # seconds a program that has closed its end may take to end, so that we learn how

Case = Mapping[str, Any]
"""A test of a program that reads standard input: `input` and the `output` that it has to write."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended.

    Attributes:
        passed: It ran to its end, and every test passed.
        detail: Why not, in one line.
    """

    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """One look at a program: a test, or a call.

    Attributes:
        test: Statements that raise when the program is wrong.
        call: An expression whose value is told.
        expected: An expression that the call's value has to equal.
    """

    test: str | None = None
    call: str | None = None
    expected: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The probe as the judge takes it."""
        if self.call is None:
            return {"test": self.test}
        return {"call": self.call, "expected": self.expected}


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe gave.

    Attributes:
        failure: Why it failed, or None: it passed, or had nothing to pass.
        shown: Of a call: its value, as a text that is the same for equal values; or how it failed to have one.
    """

    failure: str | None
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program that reads standard input ended.

    Attributes:
        output: What it wrote to standard output, at most 1 MB.
        detail: Why it did not end well; empty when it did.
    """

    output: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Limits under which programs run.

    Attributes:
        timeout: Seconds of wall time for a program and its tests.
        memory: Bytes of address space of a program; it is one process.
        disk: Bytes that it may write, in all.
        processes: Threads at once, the program's own among them.
        level: The least isolation: `"namespaces"`, or `"uid"` where the caller accepts less; see `isolation`.
    """

    timeout: float = 10.0
    memory: int = 512 << 20
    disk: int = 32 << 20
    processes: int = 8
    level: Level = "namespaces"

    def run(self, program: str, tests: str | Sequence[Case] = "") -> Outcome:
        """Run a Python program in a jail, and its tests in another.

        Args:
            program: The source of a module.
            tests: Statements that raise when the program is wrong; names that they do not define themselves stand for
                the program's. Or cases of a program that reads standard input.

        Raises:
            SandboxError: This system cannot isolate it, or the tests cannot be run from outside.
        """
        with self.open() as session:
            return session.test(program, tests)

    async def arun(self, program: str, tests: str | Sequence[Case] = "") -> Outcome:
        """As `run`, without blocking the loop."""
        return await asyncio.to_thread(self.run, program, tests)

    @contextlib.contextmanager
    def open(self, way: str | None = None) -> Iterator[Session]:
        """Jails that serve one program after another, ended with the block. Not for two threads at once.

        Args:
            way: How they are built; else the best way that this system allows.

        Raises:
            SandboxError: This system cannot isolate a program as `level` asks for.
        """
        session = Session(self, way or require(self.level))
        try:
            yield session
        finally:
            session.close()

    def _limits(self) -> dict[str, int]:
        return {
            "RLIMIT_CPU": int(self.timeout) + 1, "RLIMIT_AS": self.memory, "RLIMIT_FSIZE": self.disk,
            "RLIMIT_NOFILE": MAX_OPEN_FILES, "RLIMIT_NPROC": self.processes + 1, "RLIMIT_CORE": 0,
            "RLIMIT_MEMLOCK": 0, "RLIMIT_MSGQUEUE": 0, "RLIMIT_SIGPENDING": 64,
        }  # fmt: skip


class Session:
    """A jail for answers and one for their tests; each starts when it is needed. Made by `Sandbox.open`."""

    def __init__(self, sandbox: Sandbox, way: str) -> None:
        self._sandbox = sandbox
        self._way = way
        self._jails: dict[str, Jail] = {}

    def test(self, program: str, tests: str | Sequence[Case] = "") -> Outcome:
        """Run a program and its tests; see `Sandbox.run`."""
        if isinstance(tests, str):
            failures = self.failures(program, [tests] if tests else [])
            failure = next((failure for failure in failures if failure is not None), None)
            return Outcome(failure is None, failure or "")
        for case in tests:
            ran = self.run_script(program, str(case["input"]))
            if ran.detail or not same_output(ran.output, str(case["output"])):
                return Outcome(
                    False, ran.detail or f"wrote {ran.output[:100]!r} for {str(case['input'])[:100]!r}"
                )
        return Outcome(True)

    def failures(self, program: str, tests: Sequence[str]) -> list[str | None]:
        """Run a program and several tests, each with names of its own.

        Returns:
            For every test why it failed, or None. Without tests: the same of the program itself, as the only item.

        Raises:
            SandboxError: The tests cannot be run from outside, or the sandbox does not start.
        """
        return [result.failure for result in self.probe(program, [Probe(test=test) for test in tests])]

    def probe(
        self, program: str, probes: Sequence[Probe], *, call_seconds: float | None = None
    ) -> list[Probed]:
        """Run a program and see what probes give.

        Args:
            program: The source of a module.
            probes: Tests and calls. Without any, the program itself is the only one.
            call_seconds: Time for one call, beside the limit on the whole. After three calls that took longer, the rest
                are given up as late.

        Raises:
            SandboxError: The probes cannot be run from outside, or the sandbox does not start.
        """
        deadline = time.monotonic() + self._sandbox.timeout
        count = max(1, len(probes))
        if len(program) > MAX_PROGRAM:
            return [Probed(f"longer than {MAX_PROGRAM:,} characters")] * count
        ours, theirs = socket.socketpair()
        job = {"kind": "answer", "source": program, "call_seconds": call_seconds or 0.0}
        answers = self._start("answers", job, theirs)
        results: list[Probed] = []
        try:
            if probes:
                results = self._judge(probes, ours, deadline)
            else:
                reply = _receive(ours, deadline)
                loaded = reply.get("loaded") is True
                results = [Probed(None if loaded else str(reply.get("failed") or ENDED)[:300])]
        except TimeoutError:
            results = [Probed(LATE)] * count
        except EOFError:
            results = [Probed(ENDED)] * count
        except NotPlain as error:
            results = [Probed(f"broke the protocol: {error}")] * count
        finally:
            ours.close()
            ended = answers.stop(PATIENCE if any(result.failure == ENDED for result in results) else 0.0)
        said = {LATE: f"took longer than {self._sandbox.timeout:g} s"}
        if ended.full or ended.lost or ended.status < 0:
            said[ENDED] = str(ended)
        return [replace(result, failure=said.get(result.failure or "", result.failure)) for result in results]

    def _judge(self, probes: Sequence[Probe], answer: socket.socket, deadline: float) -> list[Probed]:
        ours, theirs = socket.socketpair()
        seconds = deadline - time.monotonic()
        job = {"kind": "judge", "probes": [probe.to_dict() for probe in probes], "seconds": seconds}
        judges = self._start("judges", job, theirs, answer)
        answer.close()  # the judge's alone: it sees the answer end
        try:
            verdict = _receive(ours, deadline + GRACE)
        except TimeoutError:
            raise
        except (EOFError, NotPlain):
            # An answer can hand over what takes all of the judge's memory; that is its failure.
            return [Probed("the tests ended without a verdict")] * len(probes)
        finally:
            ours.close()
            judges.stop()
        if "unsuited" in verdict:
            raise SandboxError(verdict["unsuited"])
        return [Probed(result["failure"], result.get("shown", "")) for result in verdict["results"]]

    def run_script(self, program: str, stdin: str) -> Ran:
        """Run a program that reads standard input and writes standard output.

        Raises:
            SandboxError: The sandbox does not start.
        """
        deadline = time.monotonic() + self._sandbox.timeout
        if len(program) > MAX_PROGRAM:
            return Ran("", f"longer than {MAX_PROGRAM:,} characters")
        reading, writing = os.pipe()
        try:
            try:
                jail = self._start("answers", {"kind": "script", "source": program, "stdin": stdin}, writing)
            finally:
                os.close(writing)
            output = bytearray()
            while len(output) <= MAX_OUTPUT:
                ready = select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]
                part = os.read(reading, 1 << 16) if ready else b""
                if not part:
                    break
                output += part
            try:
                detail = "" if len(output) <= MAX_OUTPUT else f"wrote more than {MAX_OUTPUT >> 20} MB"
                ended = jail.stop() if detail else jail.wait(deadline - time.monotonic())
            except TimeoutError:
                jail.stop()
                detail = f"took longer than {self._sandbox.timeout:g} s"
            else:
                detail = detail or ("" if ended.status == 0 and not ended.full else str(ended))
        finally:
            os.close(reading)
        return Ran(output[:MAX_OUTPUT].decode(errors="replace"), detail)

    def close(self) -> None:
        """End the jails."""
        for jail in self._jails.values():
            jail.close()
        self._jails.clear()

    def _start(
        self, role: str, job: dict[str, Any], theirs: socket.socket | int, *more: socket.socket
    ) -> Jail:
        """Start a program in the jail of that role, and give it these descriptors; closes the first if a socket."""
        descriptors = [
            theirs if isinstance(theirs, int) else theirs.fileno(),
            *(one.fileno() for one in more),
        ]
        try:
            jail = self._jail(role)
            jail.start(job, descriptors)
        finally:
            if isinstance(theirs, socket.socket):
                theirs.close()
        return jail

    def _jail(self, role: str) -> Jail:
        jail = self._jails.get(role)
        if jail is None or not jail.usable:
            if jail is not None:
                jail.close()
            jail = self._jails[role] = Jail(self._way, self._sandbox._limits(), self._sandbox.disk)
        return jail


class _Until:
    """A socket that is read until a deadline."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def recv(self, size: int) -> bytes:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv(size)


def _receive(connection: socket.socket, deadline: float) -> dict[str, Any]:
    try:
        message = Channel(_Until(connection, deadline)).receive()
    except ConnectionError:
        raise EOFError from None
    if not isinstance(message, dict):
        raise NotPlain("no message")
    return message


def same_output(output: str, expected: str) -> bool:
    """Whether two outputs are the same but for white space at the ends of lines and empty lines at the end."""
    one, other = ([line.rstrip() for line in text.rstrip().split("\n")] for text in (output, expected))
    return one == other
