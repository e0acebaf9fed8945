"""The sandbox's first process: it starts one program at a time, each in a process of its own, and ends it.

It talks to the package over the socket on its standard input: first its settings, then one job after another,
each with the descriptors that its program gets. It holds no secret: all that a program could find in the memory
it inherits is the source of programs before it.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import os
import resource
import select
import signal
import socket
from typing import Any

from langchain_avengers.sandbox.inside import answer, judge
from langchain_avengers.sandbox.inside.values import Channel

# Answers import these all the time: loaded once, every program has them.
import bisect, collections, copy, datetime, functools, heapq, itertools, math, operator, random, re, string, typing  # noqa: E401, F401  # isort: skip

PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 4, 38, 22, 2
MAX_FILES = 4096  # in the scratch folder: the size limit of a tmpfs does not count empty files
WATCH = 0.05  # seconds between two looks at the scratch folder

Job = dict[str, Any]

libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def main() -> None:
    """Serve until the other side ends."""
    connection = socket.socket(fileno=0)
    control = Channel(connection)
    settings = control.receive()
    if settings["uid"] is not None:
        os.setgroups([])
        os.setresgid(*[settings["uid"]] * 3)
        os.setresuid(*[settings["uid"]] * 3)
    # No program may look into this process or be traced: changing the user has made it dumpable again.
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    os.chdir(settings["scratch"])
    os.environ.clear()
    os.environ.update({"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": settings["scratch"]})
    os.environ.update(dict.fromkeys(("TMPDIR", "TMP", "TEMP"), settings["scratch"]))
    control.send({"ready": True})
    while True:
        try:
            job, descriptors = _next(connection)
        except (EOFError, ConnectionError):
            os._exit(0)
        if "stop" in job:  # its program has ended by itself
            continue
        child = os.fork()
        if child == 0:
            _program(job, descriptors, settings)
        for descriptor in descriptors:
            os.close(descriptor)
        status, full = _wait(child, connection, settings["own_scratch"])
        control.send({"status": status, "full": full, "clean": _is_clean()})


def _next(connection: socket.socket) -> tuple[Job, list[int]]:
    """The next job and its descriptors, which come along with its first byte."""
    data, descriptors, _, _ = socket.recv_fds(connection, 1, 4)
    if not data:
        raise EOFError
    return Channel(connection).receive(), descriptors


def _wait(child: int, connection: socket.socket, own_scratch: bool) -> tuple[int, bool]:
    """Wait for a program; end it when the other side says so, or has ended, or too many files are there."""
    ended, full = os.pidfd_open(child), False
    watched: list[Any] = [ended, connection]
    while not full:
        if select.select(watched, [], [], WATCH)[0]:
            break
        files = os.statvfs(".")
        full = own_scratch and files.f_files - files.f_ffree > MAX_FILES
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.close(ended)
    return os.waitpid(child, 0)[1], full


def _is_clean() -> bool:
    try:
        return not os.listdir(".") and os.stat(".").st_mode & 0o700 == 0o700
    except OSError:
        return False


def _program(job: Job, descriptors: list[int], settings: Job) -> None:
    """Become a program: its descriptors, its limits, its filter of system calls, its code. Never returns."""
    try:
        os.setsid()
        _arrange(descriptors, first=1 if job["kind"] == "script" else 3)
        _limit(settings["limits"])
        _filter(base64.b64decode(settings["filter"]))
        {"script": answer.script, "answer": answer.serve, "judge": judge.judge}[job["kind"]](job)
    except BaseException:
        os._exit(70)
    os._exit(0)


def _arrange(descriptors: list[int], first: int) -> None:
    """Give a program these descriptors, from number `first` on, nothing else and no way to the keeper."""
    high = [os.dup2(descriptor, 100 + place) for place, descriptor in enumerate(descriptors)]
    nothing = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.closerange(3, 100)
    for place, descriptor in enumerate(high):
        os.dup2(descriptor, first + place)
    os.closerange(max(3, first + len(high)), 200)


def _limit(limits: dict[str, int]) -> None:
    for name, value in limits.items():
        if hasattr(resource, name):
            resource.setrlimit(getattr(resource, name), (value, value))


def _filter(code: bytes) -> None:
    """Let the kernel refuse the system calls that no answer needs. See `filter.py` for which."""
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    program = _Program(len(code) // 8, code)
    if libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.byref(program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")
