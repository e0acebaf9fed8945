"""Plain values as JSON: all that an answer and its judge can hand to each other.

None, truth values, numbers, text, bytes, lists, tuples, sets, mappings, and a few types of the standard library
are copied. A subclass arrives as its plain base: a `Counter` as a `dict`, a text that claims to equal everything
as a text. Every other object stays where it is, and only a reference to it travels; what a reference means is
the business of the two ends.

In JSON a list is a tag and its content: `["tuple", [1, 2]]`.
"""

from __future__ import annotations

import datetime
import json
import struct
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

MAX_BYTES = 4 << 20
MAX_DEPTH = 100
_SMALL = 1 << 63

Refer = Callable[[Any], list[Any]]
Resolve = Callable[[list[Any]], Any]

_SEQUENCES: dict[str, type] = {
    "list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque
}  # fmt: skip
# Types that are rebuilt from one text. A date-time is a date as well: it has to stand before it.
_TEXTS: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "bytearray": (bytearray, bytearray.hex, bytearray.fromhex),
    "complex": (complex, complex.__repr__, complex),
    "Fraction": (Fraction, Fraction.__str__, Fraction),
    "Decimal": (Decimal, Decimal.__str__, Decimal),
    "datetime": (datetime.datetime, datetime.datetime.isoformat, datetime.datetime.fromisoformat),
    "date": (datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    "time": (datetime.time, datetime.time.isoformat, datetime.time.fromisoformat),
}


class NotPlain(Exception):
    """A value that cannot be sent, or bytes that are no value."""


def _refuse(value: Any) -> Any:
    raise NotPlain(f"{type(value).__name__} is no plain value")


def encode(value: Any, refer: Refer = _refuse, depth: int = MAX_DEPTH) -> Any:
    """A value as JSON.

    Args:
        value: Any object.
        refer: Makes the reference that stands for an object that is not plain: a list with a tag of its own.
        depth: How many levels may still follow.

    Raises:
        NotPlain: It nests too deep, or it is not plain and `refer` refuses it.
    """
    if depth <= 0:
        raise NotPlain(f"nested deeper than {MAX_DEPTH} levels")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        number = int.__int__(value)
        return number if -_SMALL <= number < _SMALL else ["int", hex(number)]
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, dict):
        return [
            "dict",
            [[encode(k, refer, depth - 1), encode(v, refer, depth - 1)] for k, v in dict.items(value)],
        ]
    for tag, kind in _SEQUENCES.items():
        if isinstance(value, kind):
            return [tag, [encode(item, refer, depth - 1) for item in kind.__iter__(value)]]  # type: ignore[attr-defined]
    if isinstance(value, range):
        return ["range", [value.start, value.stop, value.step]]
    if isinstance(value, datetime.timedelta):
        return ["timedelta", [value.days, value.seconds, value.microseconds]]
    for tag, (kind, write, _) in _TEXTS.items():
        if isinstance(value, kind):
            return [tag, write(value)]
    return refer(value)


def decode(data: Any, resolve: Resolve = _refuse) -> Any:
    """The value of JSON that `encode` made, built of plain types alone, whoever wrote the JSON.

    Args:
        data: Parsed JSON.
        resolve: Gives the object a reference stands for.

    Raises:
        NotPlain: It is not what `encode` makes.
    """
    try:
        return _decode(data, resolve)
    except NotPlain:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise NotPlain(f"no plain value: {type(error).__name__}") from None


def _decode(data: Any, resolve: Resolve) -> Any:
    if data is None or isinstance(data, bool | int | float | str):
        return data
    tag, *rest = data
    if tag == "dict":
        return {_decode(key, resolve): _decode(value, resolve) for key, value in rest[0]}
    if tag in _SEQUENCES:
        return _SEQUENCES[tag](_decode(item, resolve) for item in rest[0])
    if tag in _TEXTS:
        return _TEXTS[tag][2](rest[0])
    if tag == "int":
        return int(rest[0], 16)
    if tag in ("range", "timedelta"):
        return (range if tag == "range" else datetime.timedelta)(*map(int, rest[0]))
    return resolve(data)


class Channel:
    """JSON messages over a socket, each behind its length.

    Args:
        connection: A stream socket, or what has its `sendall` and `recv`.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def send(self, message: Any) -> None:
        """Send one message.

        Raises:
            NotPlain: It is too large.
        """
        body = json.dumps(message).encode()
        if len(body) > MAX_BYTES:
            raise NotPlain(f"larger than {MAX_BYTES >> 20} MB")
        self._connection.sendall(struct.pack("!I", len(body)) + body)

    def receive(self) -> Any:
        """The next message.

        Raises:
            EOFError: The other side has ended.
            NotPlain: It has sent no message.
        """
        (size,) = struct.unpack("!I", self._exactly(4))
        if size > MAX_BYTES:
            raise NotPlain(f"larger than {MAX_BYTES >> 20} MB")
        try:
            return json.loads(self._exactly(size))
        except (ValueError, RecursionError):
            raise NotPlain("no JSON") from None

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = self._connection.recv(min(size, 1 << 16))
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)
