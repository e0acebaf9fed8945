"""Files as text lines and JSON objects, each with its place for errors."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, AnyStr

from langchain_avengers.errors import TableError

UNREADABLE = (OSError, EOFError, zlib.error)
"""What reading a file may raise that is cut off, damaged inside its compression, or not to be had."""


_LONGEST_LINE = 64 << 20
"""Bytes of a line, unpacked: a few kilobytes of gzip can unpack to one line of gigabytes."""


def parquet_library(path: Path) -> Any:
    """`pyarrow.parquet`, to read this file with.

    Raises:
        TableError: It is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        raise TableError(
            f"{path}: Parquet needs pyarrow: pip install 'langchain-avengers[parquet]'"
        ) from None
    return pyarrow.parquet


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, unpacking gzip.

    Raises:
        TableError: It cannot be read, or is something a score table never is.
    """
    try:
        file = path.open("rb")
        start = file.peek(20)
    except OSError as error:
        raise TableError(f"{path}: cannot be read: {error.strerror or error}") from None
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(file)  # type: ignore[return-value]  # a GzipFile reads bytes
    why = None
    if start[:1] == b"\x80" or path.suffix in (".pkl", ".pickle"):
        why = (
            "a pickle can run code when it is read; load it where you trust it and save it as CSV or Parquet"
        )
    elif start.startswith(b"version https://git-lfs"):
        why = "a Git LFS pointer, not the file itself; fetch it with git lfs pull"
    elif start.startswith(b"PK\x03\x04"):
        why = "a zip archive; unpack it first"
    if why:
        file.close()
        raise TableError(f"{path}: {why}")
    return file


def bounded(path: Path, file: IO[AnyStr]) -> Iterator[AnyStr]:
    """The lines of an open file.

    Raises:
        TableError: A line is longer than 64 MiB (characters of a text file); no more of it is read.
    """
    for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE + 1), file.read(0)), start=1):
        if len(line) > _LONGEST_LINE:
            raise TableError(f"{path}, line {number}: longer than {_LONGEST_LINE >> 20} MiB")
        yield line


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 text file, numbered from 1, without a byte order mark.

    Raises:
        TableError: The file cannot be read, is not UTF-8, or has a line of more than 64 MiB.
    """
    number = 0
    try:
        with open_bytes(path) as file:
            for number, line in enumerate(bounded(path, file), start=1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise TableError(f"{path}, line {number}: not UTF-8 text (byte {error.start} of the line)") from None
    except UNREADABLE as error:
        raise TableError(f"{path}, after line {number}: cannot be read: {error}") from None


def json_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """The values of a JSON Lines file (streamed), or the items of a JSON list, with their places."""
    numbered = ((number, line) for number, line in lines(path) if line.strip())
    first = next(numbered, None)
    if first is None:
        return
    number, line = first
    if line.lstrip().startswith("["):
        text = "".join([line, *(line for _, line in numbered)])
        for item, row in enumerate(parse(str(path), text), start=1):
            yield f"{path}, item {item}", row
        return
    yield f"{path}, line {number}", parse(f"{path}, line {number}", line)
    for number, line in numbered:
        yield f"{path}, line {number}", parse(f"{path}, line {number}", line)


def parse(where: str, text: str) -> Any:
    """The JSON value in `text`. A name that stands twice in one object is an error: none is dropped."""
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        raise TableError(f"{where}: not JSON: {error.msg} ({place})") from None
    except (ValueError, RecursionError) as error:
        raise TableError(f"{where}: not readable JSON: {error}") from None


def need(where: str, row: object, *fields: str) -> Mapping[str, Any]:
    """`row` as an object that has the fields.

    Raises:
        TableError: It is not one, or lacks one; names the field.
    """
    if not isinstance(row, Mapping):
        raise TableError(f"{where}: a row is an object, not a {type(row).__name__}")
    for field in fields:
        if field not in row:
            raise TableError(f"{where}: field {field!r} is missing")
    return row


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"{twice!r} stands twice in one object")
    return row
