"""What commands share: options, and reading tables, vectors, embedders and routers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer
from numpy.typing import NDArray

from langchain_avengers.cli import output
from langchain_avengers.errors import AvengersError, RouterError, TableError

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from langchain_avengers.routing.router import ClusterRouter
    from langchain_avengers.routing.table import ScoreTable

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Tables = Annotated[
    list[Path], typer.Argument(metavar="TABLE", help="Score tables: files or folders.", show_default=False)
]
RouterPath = Annotated[
    Path, typer.Argument(metavar="ROUTER", help="Folder of a saved router.", show_default=False)
]
EmbeddingsName = Annotated[
    str | None,
    typer.Option(
        "--embeddings",
        metavar="NAME",
        help="Embedding model: a folder or a hub name; by default the one that the router names, or MiniLM.",
    ),
]
VectorFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--vectors",
        metavar="FILE.npy",
        help="Embeddings of the queries, in order, instead of computing them: one file, or one for each table file.",
    ),
]
Task = Annotated[str | None, typer.Option("--task", help="Task of every row; by default as the files say.")]
Format = Annotated[
    str, typer.Option("--format", help="Format of the files; by default found from their content.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
CodeIsolation = Annotated[
    Literal["namespaces", "uid"],
    typer.Option(
        help="The least isolation of code that is run: full, or only a user of its own (as root in a container "
        "that allows no namespaces; every row of the table then names it)."
    ),
]


def allow_code(allowed: bool, isolation: Literal["namespaces", "uid"]) -> bool | Literal["uid"]:
    """What `--allow-code` and `--code-isolation` allow together."""
    return "uid" if allowed and isolation == "uid" else allowed


def keep_existing(path: Path, mark: Path, overwrite: bool) -> None:
    """Refuse to replace what a command made before.

    Args:
        path: What the command is about to write.
        mark: The file whose presence shows that it is there.
        overwrite: Whether the caller asked for it.

    Raises:
        AvengersError: It is there.
    """
    if mark.exists() and not overwrite:
        raise AvengersError(f"{path}: exists already; --overwrite replaces it, or give another name")


def read_table(files: Sequence[Path], *, format: str = "auto", task: str | None = None) -> ScoreTable:
    """Read score tables from files and folders and join them."""
    from langchain_avengers.routing.table import ScoreTable

    return ScoreTable.read(list(files) if len(files) > 1 else files[0], format=format, task=task)


def read_vectors(files: Sequence[Path], rows: int | None = None) -> NDArray[np.float32]:
    """Read embeddings from `.npy` files, joined in the order given (a folder's by name); shape (n, d).

    Args:
        files: Files, or folders of them.
        rows: How many there must be.

    Raises:
        TableError: A file is no such array, widths differ, or there are not `rows` of them.
    """
    found = [file for given in files for file in (sorted(given.glob("*.npy")) if given.is_dir() else [given])]
    parts = []
    for file in found:
        try:
            part = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise TableError(f"{file}: not a .npy array of numbers: {error}") from None
        if not isinstance(part, np.ndarray) or part.ndim != 2 or part.dtype.kind not in "fiu":
            raise TableError(f"{file}: not an array of numbers with one row a query")
        parts.append(part.astype(np.float32))
    widths = sorted({part.shape[1] for part in parts})
    if len(widths) != 1:
        raise TableError(
            f"the vectors have the widths {widths}" if widths else "there is no .npy file in the folder"
        )
    vectors = np.concatenate(parts)
    if rows is not None and len(vectors) != rows:
        raise TableError(
            f"{len(vectors)} vectors for {rows} queries; give the files in the order of the tables"
        )
    return vectors


def load_embeddings(name: str | None) -> Embeddings:
    """The embedding model of that name, or the default one."""
    from langchain_avengers.routing.embeddings import default_embeddings

    return default_embeddings(name)


def embed(embeddings: Embeddings, texts: Sequence[str], *, batch: int = 64) -> NDArray[np.float32]:
    """Embed texts under a progress bar, equal ones once; shape (n, d)."""
    distinct = list(dict.fromkeys(texts))
    vectors: list[list[float]] = []
    with output.progress() as bar:
        job = bar.add_task("embedding", total=len(distinct))
        for start in range(0, len(distinct), batch):
            vectors += embeddings.embed_documents(distinct[start : start + batch])
            bar.update(job, completed=len(vectors))
    place = {text: row for row, text in enumerate(distinct)}
    return np.asarray(vectors, dtype=np.float32)[[place[text] for text in texts]]


def load_router(path: Path, *, embeddings: str | None = None) -> ClusterRouter:
    """Load a saved router; `embeddings` names another embedding model than the one it names."""
    from langchain_avengers.routing.router import ClusterRouter

    if not path.exists():
        raise RouterError(f"{path}: no such folder; make a router with avengers fit")
    return ClusterRouter.load(path, embeddings=load_embeddings(embeddings) if embeddings else None)
