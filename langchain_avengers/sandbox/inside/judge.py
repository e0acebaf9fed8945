"""Tests and their verdict, in a process that the answer never shares.

The tests' names that they do not define themselves stand for the answer's: calling one sends plain arguments to
the answer's process and brings plain values back, so that every comparison happens here, between values that the
answer has no hand in. An object that is not plain comes as a `Remote`: it can be called, indexed, iterated, and
its attributes read, and what that gives is judged again; it equals only itself, whatever it claims.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import os
import socket
import sys
import time
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from langchain_avengers.sandbox.inside.answer import described
from langchain_avengers.sandbox.inside.values import Channel, NotPlain, decode, encode

LATE = "took too long"
MAX_LATE = 3  # calls that take too long before the rest is given up
MAX_SHOWN = 500  # characters of a value; what a longer one has more is told by its hash


class Unsuited(Exception):
    """The tests do what cannot be done from outside, whatever the answer."""


class Late(BaseException):
    """One call took longer than one call may."""


class AnswerError(Exception):
    """The answer raised what no built-in exception stands for."""


def judge(job: dict[str, Any]) -> None:
    """Run probes and send what each gave, or why they cannot be run.

    A probe is a `test`, statements that pass unless they raise, or a `call`, an expression whose value is told and
    compared with that of `expected`, when it has one. The verdict has for each `failure` (None: it passed) and, for a
    call, `shown` (see `show`). `end` is said of every probe that the answer did not live to see.
    """
    verdicts = Channel(socket.socket(fileno=3))
    results: list[dict[str, Any]] = []

    def end(failure: str) -> NoReturn:
        """The answer has ended or broken the protocol: no probe that follows can pass."""
        left = len(job["probes"]) - len(results)
        verdicts.send({"results": results + [{"failure": failure, "shown": failure}] * left})
        os._exit(0)

    connection = socket.socket(fileno=4)
    link = _Link(connection, end, time.monotonic() + job["seconds"])
    link.wait_until_loaded()
    late = 0
    for probe in job["probes"]:
        try:
            results.append(_probed(probe, link))
        except Unsuited as error:
            verdicts.send({"unsuited": str(error)})
            os._exit(0)
        except Late:
            results.append({"failure": LATE, "shown": LATE})
            late += 1
            if late == MAX_LATE:
                end(LATE)
        except BaseException as error:  # SystemExit too: tests that were left have not passed
            results.append({"failure": described(error), "shown": f"raises {type(error).__name__}"})
    verdicts.send({"results": results})


def _probed(probe: dict[str, Any], link: _Link) -> dict[str, Any]:
    if "test" in probe:
        code = compile(probe["test"], "<tests>", "exec")
        exec(code, link.namespace(code, probe["test"]))
        return {"failure": None}
    code = compile(probe["call"], "<call>", "eval")
    names = link.namespace(code, probe["call"])
    link.left = None
    value = eval(code, names)
    failure = None
    if probe.get("expected") is not None and not bool(value == eval(probe["expected"], names)):
        failure = "another value"
    shown = show(value) + (f", leaving {show(link.left)}" if link.left else "")
    if len(shown) > MAX_SHOWN:
        shown = f"{shown[:MAX_SHOWN]}... ({hashlib.blake2b(shown.encode(errors='replace'), digest_size=8).hexdigest()})"
    return {"failure": failure, "shown": shown}


def show(value: Any) -> str:
    """A value as a text that is the same for values that are equal."""
    if isinstance(value, bool | int) and abs(value) < 1 << 53:
        return str(int(value)) if not isinstance(value, bool) else str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1 << 53 else f"{value:.9g}"
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{show(key)}: {show(item)}" for key, item in value.items())) + "}"
    if isinstance(value, set | frozenset):
        return f"set({', '.join(sorted(map(show, value)))})"
    if isinstance(value, list):
        return f"[{', '.join(map(show, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(show, value))})"
    return repr(value)


def _mentioned(code: types.CodeType) -> set[str]:
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*map(_mentioned, inner))


def _modules(source: str) -> dict[str, Any]:
    """The standard library's modules that tests use without importing them: never what the answer calls so."""
    bases = {
        node.value.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    return {name: importlib.import_module(name) for name in bases & sys.stdlib_module_names}


class _Link:
    """The judge's end of the line to the answer."""

    def __init__(self, connection: socket.socket, end: Callable[[str], NoReturn], deadline: float) -> None:
        self._connection = connection
        self._channel = Channel(connection)
        self._end = end
        self._deadline = deadline
        self._found: dict[frozenset[str], dict[str, Any]] = {}
        self.left: list[Any] | None = None
        self._callbacks: list[Any] = []
        self._errors: dict[str, type[Exception]] = {}

    def wait_until_loaded(self) -> None:
        first = self._receive()
        if "loaded" not in first:
            self._end(str(first.get("failed"))[:300])

    def namespace(self, code: types.CodeType, source: str) -> dict[str, Any]:
        """Names for tests: what they mention and the answer defines.

        A built-in name stands for the built-in: an `abs` of the answer's own must not judge it. Only tests that
        mention nothing else of the answer's can be about it.
        """
        mentioned = frozenset(_mentioned(code))
        if mentioned not in self._found:
            found = self.request({"names": sorted(mentioned)})
            if not isinstance(found, dict):
                self._end("broke the protocol")
            # Only names that were asked for: an answer that brings others, such as `__builtins__`, is not heard.
            asked = {name: found[name] for name in mentioned if name in found and not name.startswith("__")}
            own = {name: value for name, value in asked.items() if not hasattr(builtins, name)}
            shadowing = {name: value for name, value in asked.items() if name not in own}
            self._found[mentioned] = own or (shadowing if len(shadowing) == 1 else {})
        own_modules = _modules(source)
        return {"__name__": "__tests__", "__builtins__": builtins, **self._found[mentioned], **own_modules}

    def request(self, request: dict[str, Any], arguments: tuple[Any, ...] = ()) -> Any:
        """Have the answer do something; its exceptions are raised here."""
        try:
            self._channel.send(request)
        except NotPlain as error:
            self._end(f"was given an argument {error}")
        except OSError:
            self._end("ended before its tests did")
        while "callback" in (reply := self._receive()):
            self._call_back(reply)
        if "raised" in reply:
            raise self._error(reply)
        if "unsendable" in reply:
            self._end(f"returned a value that cannot be sent: {str(reply['unsendable'])[:200]}")
        if "late" in reply:
            raise Late
        if "left" in reply:
            self.left = self._decode(["list", reply["left"]])
            for argument, left in zip(arguments, self.left or (), strict=False):
                _put_back(argument, left)
        return self._decode(reply.get("value"))

    def operate(self, on: str | int, do: str, *args: Any, **named: Any) -> Any:
        """Do one of `answer.OPERATIONS` with a name of the answer's or with an object of its."""
        try:
            request: dict[str, Any] = {
                "on": on,
                "do": do,
                "args": [encode(item, self._refer) for item in args],
            }
            if named:
                request["named"] = {key: encode(item, self._refer) for key, item in named.items()}
        except NotPlain as error:
            raise Unsuited(f"the tests pass what cannot be sent to the answer: {error}") from None
        return self.request(request, args)

    def _receive(self) -> dict[str, Any]:
        self._connection.settimeout(max(0.001, self._deadline - time.monotonic()))
        try:
            reply = self._channel.receive()
        except TimeoutError:
            self._end(LATE)
        except (EOFError, OSError):
            self._end("ended before its tests did")
        except NotPlain as error:
            self._end(f"sent what is no plain value: {error}")
        return reply if isinstance(reply, dict) else self._end("sent what is no plain value")

    def _decode(self, data: Any) -> Any:
        try:
            return decode(data, self._resolve)
        except NotPlain as error:
            self._end(f"sent what is no plain value: {error}")

    def _resolve(self, data: list[Any]) -> Any:
        tag, content = data
        if tag == "reference":
            return Remote(self, int(content[0]), str(content[1]))
        if tag == "error":
            return self._errors.setdefault(str(content[0]), type(str(content[0]), (_base(content),), {}))
        raise NotPlain(f"no value: {tag}")

    def _refer(self, value: Any) -> list[Any]:
        if isinstance(value, Remote):
            return ["reference", [object.__getattribute__(value, "_on"), ""]]
        if isinstance(value, types.FunctionType | types.BuiltinFunctionType | type):
            self._callbacks.append(value)
            return ["callback", len(self._callbacks) - 1]
        raise NotPlain(f"{type(value).__name__} is no plain value")

    def _call_back(self, request: dict[str, Any]) -> None:
        """Call a function that the tests passed in; when it fails, the answer only learns that it did."""
        try:
            function = self._callbacks[request["callback"]]
            result: list[Any] | None = [encode(function(*map(self._decode, request["args"])), self._refer)]
        except Exception:
            result = None
        try:
            self._channel.send({"returned": result})
        except (NotPlain, OSError):
            self._end("ended before its tests did")

    def _error(self, reply: dict[str, Any]) -> Exception:
        names = [str(name) for name in reply["raised"]] if isinstance(reply["raised"], list) else []
        kind = next((self._errors[name] for name in names if name in self._errors), None) or _base(names)
        text = str(reply.get("text", ""))[:300]
        if kind is AnswerError:
            text = f"{names[0] if names else 'error'}: {text}"
        try:
            return kind(text)
        except TypeError:  # UnicodeDecodeError and its like take more than a text
            return AnswerError(f"{kind.__name__}: {text}")


def _base(names: list[Any]) -> type[Exception]:
    """The first of these names that is a built-in exception; never one that could leave or skip the tests."""
    for name in names[: names.index("Exception")] if "Exception" in names else ():
        kind = getattr(builtins, str(name), None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            return kind
    return AnswerError


def _put_back(argument: Any, left: Any) -> None:
    """Give a mutable argument the content that the call left in the answer's copy of it."""
    if type(argument) is not type(left):
        return
    if isinstance(argument, list | bytearray):
        argument[:] = left
    elif isinstance(argument, dict | set):
        argument.clear()
        argument.update(left)


_TELLING = {
    name
    for kind in (str, bytes, int, float, set)
    for name in dir(kind)
    if name.startswith("is") or name in ("startswith", "endswith")
}
"""Methods by which built-in values tell the truth of a test; an object of the answer's own could say anything."""


class Remote:
    """An object in the answer's process."""

    def __init__(self, link: _Link, on: int, kind: str) -> None:
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_on", on)
        object.__setattr__(self, "_kind", kind)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in _TELLING:
            raise AttributeError(f"{name}: only a value of a built-in type is asked that")
        return self._link.operate(self._on, "get", name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._link.operate(self._on, "set", name, value)

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Call it with these arguments."""
        return self._link.operate(self._on, "call", *args, **named)

    def __getitem__(self, key: Any) -> Any:
        return self._link.operate(self._on, "item", key)

    def __len__(self) -> int:
        length = self._link.operate(self._on, "length")
        return length if isinstance(length, int) else 0

    def __bool__(self) -> bool:
        return self._link.operate(self._on, "truth") is True

    def __iter__(self) -> Iterator[Any]:
        iterator = self._link.operate(self._on, "iterate")
        while isinstance(iterator, Remote):
            try:
                yield iterator._link.operate(iterator._on, "next")
            except StopIteration:
                return

    def __next__(self) -> Any:
        return self._link.operate(self._on, "next")

    def __str__(self) -> str:
        return str(self._link.operate(self._on, "text"))

    def __repr__(self) -> str:
        return f"<{self._kind} of the answer's>"
