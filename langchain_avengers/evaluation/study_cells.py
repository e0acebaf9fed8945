"""Finished runs of studies on disk, under the hash of all that decides their result; embeddings kept between runs."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from langchain_avengers._arrays import unit_rows
from langchain_avengers._files import replacing, write_whole
from langchain_avengers.evaluation.stats import jsonable

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from langchain_avengers.routing.table import ScoreTable

Vectors = NDArray[np.float32]


class CellStore:
    """Finished cells, one JSON line each. A half-written last line, left by a stop, is not a cell."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.found: dict[str, dict[str, float]] = {}
        if path is None or not path.exists():
            return
        whole, broken = [], False
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                row = json.loads(line)
                self.found[str(row["key"])] = {
                    name: float("nan") if value is None else float(value)
                    for name, value in row["result"].items()
                }
                whole.append(line)
            except (ValueError, KeyError, TypeError, AttributeError):
                warnings.warn(f"{path}, line {number}: not a finished cell; it is run again", stacklevel=4)
                broken = True
        if broken:
            write_whole(path, "".join(line + "\n" for line in whole))

    def add(self, key: str, cell: dict[str, Any], result: dict[str, float]) -> None:
        """Append a finished cell to the file, when there is one."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, **cell, "result": jsonable(result)}) + "\n")


def cell_key(fingerprint: str, setting: Any, seed: int) -> str:
    """The hash of all that decides a cell's result; `setting` is a dataclass."""
    content = json.dumps([fingerprint, asdict(setting), seed], sort_keys=True, default=str)
    return sha256(content.encode()).hexdigest()[:20]


def fingerprint_of_rows(table: ScoreTable, test: ScoreTable | None, test_size: float) -> str:
    """The hash of what all cells have in common: the rows, the split and the package's version."""
    from langchain_avengers import __version__

    digest = sha256(f"{__version__} {test_size if test is None else 'test'}".encode())
    for part in (table, test):
        if part is None:
            continue
        digest.update(json.dumps([part.queries, part.models, part.tasks]).encode())
        for array in (part.scores, part.costs):
            digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        if part.answers is not None:
            digest.update(json.dumps(part.answers.tolist()).encode())
    return digest.hexdigest()


def fingerprint_of_vectors(vectors: Iterable[Vectors | None]) -> str:
    """The hash of arrays, one of which may be missing."""
    digest = sha256()
    for array in vectors:
        digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def embed_once(
    embeddings: Embeddings | None, name: str, texts: Sequence[str], cache_dir: str | os.PathLike[str] | None
) -> Vectors:
    """Embed texts, or read what an earlier run embedded under this name."""
    key = sha256(json.dumps([name, _identity(embeddings), list(texts)]).encode()).hexdigest()[:20]
    path = None if cache_dir is None else Path(cache_dir) / f"vectors-{key}.npy"
    if path is not None and path.exists():
        return np.asarray(np.load(path, allow_pickle=False), np.float32)
    vectors: Vectors = unit_rows((embeddings or _default()).embed_documents(list(texts)))
    if path is not None:
        with replacing(path) as file:
            np.save(file, vectors, allow_pickle=False)
    return vectors


def _identity(embeddings: Embeddings | None) -> str:
    if embeddings is None:
        return "default"
    named = getattr(embeddings, "model_name", None) or getattr(embeddings, "model", None)
    return f"{type(embeddings).__qualname__} {named if isinstance(named, str) else ''}"


@cache
def _default() -> Embeddings:
    from langchain_avengers.routing.embeddings import default_embeddings

    return default_embeddings()
