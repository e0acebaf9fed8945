"""All that commands print: results on stdout, progress and notes on stderr, control characters shown escaped."""

from __future__ import annotations

import json
import math
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from langchain_avengers._text import escape_controls

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress

_NOT_IN_JSON = re.compile("[\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
"""Control characters, invisible ones and half emoji, which JSON need not escape but a terminal would obey."""


def say(text: str) -> None:
    """Print text on stdout as a result. Models and tables may have written it: control characters are escaped."""
    typer.echo(escape_controls(text, keep="\n\t"))


def print_json(data: Any) -> None:
    """Print `data` as JSON on stdout; numpy values and dataclasses as plain ones, NaN as null."""
    sys.stdout.write(_dump(data, indent=2) + "\n")


def print_json_line(data: Any) -> None:
    """Print `data` as one line of JSON on stdout."""
    sys.stdout.write(_dump(data) + "\n")
    sys.stdout.flush()


def _dump(data: Any, indent: int | None = None) -> str:
    text = json.dumps(plain(data), ensure_ascii=False, indent=indent, allow_nan=False)
    return _NOT_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def plain(data: Any) -> Any:
    """`data` as types that JSON knows."""
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
    console(200).print(table)


def console(width: int) -> Console:
    """A console on stdout that escapes control characters; `width` columns when stdout is no terminal."""
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment

    class Escaping(Console):
        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                safe = segment.text if segment.control else escape_controls(segment.text, keep="\n")
                yield segment._replace(text=safe)

    return Escaping(width=None if sys.stdout.isatty() else width, highlight=False)


def print_rich(found: RenderableType) -> None:
    """Print what draws itself as tables, such as an evaluation."""
    console(140).print(found)


def print_models(models: Iterable[Mapping[str, Any]]) -> None:
    """Print the models of a `RouterSummary`."""
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
    typer.echo(escape_controls(message, keep="\n\t"), err=True)


def progress() -> Progress:
    """A progress bar on stderr, with rate and time left; nothing is drawn when stderr is not a terminal."""
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


def _cell(value: object) -> str:
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return "-" if math.isnan(number) else f"{number:.4f}" if abs(number) >= 0.001 else f"{number:.4g}"
    return "-" if value is None else escape_controls(str(value))
