"""Foreign files as score tables.

- `native`: rows of `ScoreTable.from_rows`, as JSON Lines or a JSON list.
- `avengers`: the repositories of Avengers and Avengers-Pro; `{query, dataset, records: {model: score}, usages?}`.
- `routerdc`: RouterDC; `{question, scores: {model: number}}`.
- `llmrouterbench`: LLMRouterBench's folders; one JSON object a file, the `records` of one model on one data set.
- `routerbench`: RouterBench's CSV; `prompt`, a score column a model, `MODEL|model_response`, `MODEL|total_cost`.
- `embedllm`: EmbedLLM's CSV; `prompt_id`, `model_name`, `prompt`, `label`, `category`.
- `csv`, `parquet`: a wide or long frame; see `read_frame`.

Every reader raises `TableError` with the file, the line and the field; a field that is not kept is named in
its docstring.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from langchain_avengers.errors import TableError
from langchain_avengers.routing.readers.files import UNREADABLE, json_rows, open_bytes
from langchain_avengers.routing.readers.frames import (
    read_csv,
    read_embedllm,
    read_frame,
    read_parquet,
    read_routerbench,
    write_parquet,
)
from langchain_avengers.routing.readers.objects import (
    read_avengers,
    read_llmrouterbench,
    read_native,
    read_routerdc,
)
from langchain_avengers.routing.readers.traces import read_langsmith
from langchain_avengers.routing.rows import TableData, join

__all__ = [
    "ENDINGS",
    "FORMATS",
    "read",
    "read_avengers",
    "read_csv",
    "read_embedllm",
    "read_frame",
    "read_langsmith",
    "read_llmrouterbench",
    "read_native",
    "read_parquet",
    "read_routerbench",
    "read_routerdc",
    "sniff",
    "task_of",
    "write_parquet",
]

PathLike = str | os.PathLike[str]

ENDINGS = (".jsonl", ".json", ".csv", ".parquet")
"""Endings (before `.gz`) of the files of a folder that are read; files of other endings are not tables."""

FORMATS: dict[str, Callable[[Path, str | None], TableData]] = {
    "native": read_native,
    "avengers": read_avengers,
    "routerdc": read_routerdc,
    "llmrouterbench": lambda path, task: read_llmrouterbench([path], task),
    "routerbench": read_routerbench,
    "embedllm": read_embedllm,
    "csv": read_csv,
    "parquet": read_parquet,
}
"""Format name -> reader of one file."""

_OURS = ("native", "csv", "parquet")
"""Formats in which a table without tasks is meant so."""

_HEAD = 1 << 20
"""Bytes of a file that are looked at to find its format."""


def read(
    path: PathLike | Sequence[PathLike],
    *,
    format: str = "auto",
    task: str | None = None,
    probabilities: bool | None = None,
) -> TableData:
    """Read files into one table; `ScoreTable.read` says how."""
    if format != "auto" and format not in FORMATS:
        raise TableError(f"format {format!r} is not known; give one of auto, {', '.join(FORMATS)}")
    files = _files(path)
    formats = [sniff(file) if format == "auto" else format for file in files]
    # one model a file: these make rows only together
    results = [file for file, name in zip(files, formats, strict=True) if name == "llmrouterbench"]
    tables = [read_llmrouterbench(results, task)] if results else []
    for file, name in zip(files, formats, strict=True):
        if name == "llmrouterbench":
            continue
        reader = partial(read_routerdc, probabilities=probabilities) if name == "routerdc" else FORMATS[name]
        table = reader(file, task)
        if table.tasks is None and (len(files) > 1 or name not in _OURS):
            table = table.with_task(task_of(file))
        tables.append(table)
    return tables[0] if len(tables) == 1 else join(tables)


def sniff(path: Path) -> str:
    """The format of a file, found from its content.

    Raises:
        TableError: It cannot be read, is empty, or has the fields of no known format.
    """
    try:
        with open_bytes(path) as file:
            head = file.read(_HEAD)
    except UNREADABLE as error:
        raise TableError(f"{path}: cannot be read: {error}") from None
    if head.startswith(b"PAR1"):
        return "parquet"
    text = head.decode("utf-8-sig", errors="replace").lstrip()
    if not text:
        raise TableError(f"{path}: an empty file; a table has at least one row")
    return _sniff_json(path, text) if text[0] in "{[" else _sniff_csv(path, text)


def task_of(path: PathLike) -> str:
    """A file's task: its name without endings, and without a `train` or `test` at its end."""
    stem = re.sub(r"(?i)(\.(jsonl?|csv|parquet|gz))+$", "", Path(path).name)
    return re.sub(r"(?i)[-_. ]+(train|test|dev|val|valid|validation)$", "", stem) or stem


def _sniff_json(path: Path, text: str) -> str:
    start = text.find("{")
    try:
        row, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        if re.search(r'"records"\s*:\s*\[', text):  # a result file larger than the head
            return "llmrouterbench"
        row = next((row for _, row in json_rows(path)), None)  # says what is wrong, and where
    keys = set(row) if isinstance(row, dict) else set()
    if {"query", "scores"} <= keys or {"query", "samples"} <= keys:
        return "native"
    if {"query", "records"} <= keys:
        return "avengers"
    if {"question", "scores"} <= keys:
        return "routerdc"
    if isinstance(row, dict) and isinstance(row.get("records"), list):
        return "llmrouterbench"
    has = f"has the fields {', '.join(sorted(keys))}" if keys else "holds no object"
    raise TableError(
        f"{path}: its first row {has}, which is no known format; a native row has query and scores"
    )


def _sniff_csv(path: Path, text: str) -> str:
    try:
        names = next(csv.reader(text.splitlines(keepends=True)))
    except csv.Error as error:
        raise TableError(f"{path}, line 1: neither JSON nor CSV: {error}") from None
    if any(name.endswith(("|model_response", "|total_cost")) for name in names):
        return "routerbench"
    if {"prompt_id", "prompt", "label"} <= set(names):
        return "embedllm"
    if len(names) > 1:
        return "csv"
    raise TableError(f"{path}, line 1: neither JSON, Parquet nor a CSV header of several columns")


def _files(path: PathLike | Sequence[PathLike]) -> list[Path]:
    if not isinstance(path, (str, os.PathLike)):
        files = [file for part in path for file in _files(part)]
        if not files:
            raise TableError("no file is given; give at least one")
        return files
    folder = Path(path)
    if not folder.exists():
        raise TableError(f"{folder}: no such file or folder")
    if not folder.is_dir():
        return [folder]
    found = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    files = [file for file in found if file.name.lower().removesuffix(".gz").endswith(ENDINGS)]
    if not files:
        raise TableError(f"{folder}: no file in it ends in {', '.join(ENDINGS)} (or one of them and .gz)")
    return files
