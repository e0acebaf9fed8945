"""What commands share: options, output, progress, reading tables, vectors, embedders and routers."""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from langchain_avengers.errors import RouterError, TableError

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from rich.console import RenderableType
    from rich.progress import Progress

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
        help="Embedding model: a folder or a hub name; the default is the one the router names, or MiniLM.",
    ),
]
VectorFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--vectors",
        metavar="FILE.npy",
        help="Embeddings of the queries in order, so none are computed: one file a table file, or one.",
    ),
]
Task = Annotated[str | None, typer.Option("--task", help="Task of every row; otherwise as the files say.")]
Format = Annotated[
    str, typer.Option("--format", help="Format of the files; found from their content by default.")
]


def print_json(data: Any) -> None:
    """Print `data` as JSON on stdout; numpy values and dataclasses as plain ones, NaN as null."""
    sys.stdout.write(json.dumps(plain(data), ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def print_json_line(data: Any) -> None:
    """Print `data` as one line of JSON on stdout."""
    sys.stdout.write(json.dumps(plain(data), ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def plain(data: Any) -> Any:
    """`data` with nothing in it that JSON does not know."""
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    if is_dataclass(data) and not isinstance(data, type):
        return plain(asdict(data))
    if isinstance(data, np.ndarray):
        return plain(data.tolist())
    if isinstance(data, np.generic):
        return plain(data.item())
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Path):
        return str(data)
    if isinstance(data, (list, tuple, set, frozenset)):
        return [plain(value) for value in data]
    return data


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None
) -> None:
    """Print a table on stdout: text columns to the left, columns of numbers to the right.

    Args:
        columns: Headings.
        rows: Cells; a float is printed with four digits, None and NaN as a dash.
        title: A line above.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [list(row) for row in rows]
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        values = [row[number] for row in cells]
        numeric = any(isinstance(value, (int, float, np.number)) for value in values)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(_cell(value)) for value in row))
    # a pipe has no width: give it one that folds no ordinary cell
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)


def print_rich(found: RenderableType) -> None:
    """Print what draws itself as tables, such as an evaluation."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 140, highlight=False).print(found)


def print_models(models: Iterable[Mapping[str, Any]]) -> None:
    """Print the models of `describe.describe`."""
    rows = [(m["name"], m["score"], m["rows"], m["cost"], m["clusters_led"]) for m in models]
    print_table(("model", "mean score", "rows", "cost, $", "clusters led"), rows)


@contextmanager
def notes() -> Iterator[None]:
    """Warnings raised inside become notes on stderr, one line each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        finally:
            for message in dict.fromkeys(str(warning.message) for warning in caught):
                note(f"note: {' '.join(message.split())}")


def note(message: str) -> None:
    """Print a line on stderr that is neither a result nor an error."""
    typer.echo(message, err=True)


def progress() -> Progress:
    """A progress bar on stderr, with rate and time left; nothing is drawn where stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Left

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        Left(),
    )
    console = Console(stderr=True)
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


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
    with progress() as bar:
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


def _cell(value: object) -> str:
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return "-" if math.isnan(number) else f"{number:.4f}" if abs(number) >= 0.001 else f"{number:.4g}"
    return "-" if value is None else str(value)
