"""An answer in its own process: its functions are called from outside, and only plain values leave it."""

from __future__ import annotations

import builtins
import contextlib
import operator
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from langchain_avengers.sandbox.inside.values import Channel, NotPlain, decode, encode

MAX_TEXT = 300  # characters of an error


def script(job: dict[str, Any]) -> None:
    """Run a program that reads standard input and writes standard output; its exit status is the process's."""
    with open("stdin", "w+", encoding="utf-8") as given:
        os.unlink("stdin")
        given.write(job["stdin"])
        given.flush()
        os.lseek(given.fileno(), 0, os.SEEK_SET)
        os.dup2(given.fileno(), 0)
    sys.stdin, sys.stdout = open(0, encoding="utf-8"), open(1, "w", encoding="utf-8")  # noqa: SIM115
    status = 0
    try:
        exec(compile(job["source"], "<answer>", "exec"), _namespace())
    except SystemExit as error:
        status = 0 if error.code is None else error.code if isinstance(error.code, int) else 1
    except BaseException:
        status = 1
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
    os._exit(status & 255)


def serve(job: dict[str, Any]) -> None:
    """Load an answer, say so, and do what is asked until the other side ends."""
    channel = Channel(socket.socket(fileno=3))
    names = _namespace()
    try:
        exec(compile(job["source"], "<answer>", "exec"), names)
    except BaseException as error:  # SystemExit too: who leaves while loading has no functions
        channel.send({"failed": described(error)})
        return
    channel.send({"loaded": True})
    _Server(channel, names, job.get("call_seconds", 0.0)).serve()


def _namespace() -> dict[str, Any]:
    return {"__name__": "__main__", "__builtins__": builtins}


def described(error: BaseException) -> str:
    """An error in one line."""
    try:
        return f"{type(error).__name__}: {error}"[:MAX_TEXT]
    except BaseException:  # an exception of the answer's own may do anything when it is printed
        return type(error).__name__[:MAX_TEXT]


class _Late(BaseException):
    """A call's time is over."""


def _ring(*_: object) -> None:
    raise _Late


class _Server:
    """Does what is asked with an answer's names, and keeps the objects that references stand for."""

    def __init__(self, channel: Channel, names: dict[str, Any], seconds: float) -> None:
        self._channel = channel
        self._seconds = seconds  # that one call may take; 0: no limit but that on the whole
        self._names = names
        self._objects: list[Any] = []

    def serve(self, until: str = "") -> Any:
        """Answer requests; as a callback's caller, until its result comes."""
        while True:
            try:
                request = self._channel.receive()
            except (EOFError, ConnectionError):
                os._exit(0)
            if until and until in request:
                return request[until]
            self._channel.send(self._timed_reply(request))

    def _timed_reply(self, request: dict[str, Any]) -> dict[str, Any]:
        if not self._seconds:
            return self._reply(request)
        signal.signal(signal.SIGALRM, _ring)
        try:
            signal.setitimer(signal.ITIMER_REAL, self._seconds)
            try:
                return self._reply(request)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except _Late:
            return {"late": True}

    def _reply(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            if "names" in request:
                found = [name for name in request["names"] if name in self._names]
                return {"value": ["dict", [[name, self._named(name)] for name in found]]}
            return self._operate(request)
        except StopIteration:
            return {"raised": ["StopIteration", "Exception"], "text": ""}
        except NotPlain as error:
            return {"unsendable": str(error)[:MAX_TEXT]}
        except _Late:
            return {"late": True}
        except BaseException as error:
            return {"raised": [kind.__name__ for kind in type(error).__mro__], "text": _text(error)}

    def _named(self, name: str) -> Any:
        value = self._names[name]
        if isinstance(value, type) and issubclass(value, BaseException):
            return ["error", [kind.__name__ for kind in value.__mro__]]
        return encode(value, self._refer)

    def _operate(self, request: dict[str, Any]) -> dict[str, Any]:
        on = request["on"]
        target = self._names[on] if isinstance(on, str) else self._objects[on]
        given = [decode(item, self._resolve) for item in request["args"]]
        named = {key: decode(item, self._resolve) for key, item in request.get("named", {}).items()}
        value = OPERATIONS[request["do"]](target, *given, **named)
        reply = {"value": encode(value, self._refer)}
        if request["do"] == "call":
            # What the call has left in its arguments, when that differs from what it was given.
            left = [encode(item, self._refer) for item in given]
            if left != request["args"]:
                reply["left"] = left
        return reply

    def _refer(self, value: Any) -> list[Any]:
        self._objects.append(value)
        return ["reference", [len(self._objects) - 1, type(value).__name__]]

    def _resolve(self, data: list[Any]) -> Any:
        tag, content = data
        if tag == "reference":
            return self._objects[content[0]]
        if tag == "callback":
            return self._callback(content)
        raise NotPlain(f"no value: {tag}")

    def _callback(self, number: int) -> Callable[..., Any]:
        def callback(*args: Any) -> Any:
            self._channel.send({"callback": number, "args": [encode(item, self._refer) for item in args]})
            result = self.serve(until="returned")
            if result is None:
                raise RuntimeError("the function that was passed in failed")
            return decode(result[0], self._resolve)

        return callback


def _text(error: BaseException) -> str:
    try:
        return str(error)[:MAX_TEXT]
    except BaseException:
        return ""


OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": lambda target, /, *args, **named: target(*args, **named),
    "get": getattr,
    "set": setattr,
    "item": operator.getitem,
    "length": len,
    "iterate": iter,
    "next": next,
    "text": str,
    "truth": bool,
}
"""What may be done with an answer's functions and objects from outside."""
