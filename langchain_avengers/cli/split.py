"""`avengers split`: rows to fit a router, and rows held out to evaluate it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from langchain_avengers.cli import common, output


def command(
    tables: common.Tables,
    train: Annotated[Path, typer.Option(help="File for the rows to fit with, .jsonl or .parquet.")] = Path(
        "train.jsonl"
    ),
    test: Annotated[Path, typer.Option(help="File for the rows held out.")] = Path("held_out.jsonl"),
    test_size: Annotated[float, typer.Option(help="Share of the queries that are held out.")] = 0.3,
    seed: Annotated[int, typer.Option(min=0, help="Seed; another one gives another split.")] = 0,
    overwrite: common.Overwrite = False,
    format: common.Format = "auto",
    task: common.Task = None,
    json: common.Json = False,
) -> None:
    """Split score tables in two files, the same share of each task in both.

    Fit with one and evaluate with the other. A query that stands in several rows is in one file only.
    """
    for path in (train, test):
        common.keep_existing(path, path, overwrite)
    parts = common.read_table(tables, format=format, task=task).split(test_size, seed=seed)
    for path, part in zip((train, test), parts, strict=True):
        part.write(path)
    if json:
        output.print_json(
            {"train": train, "test": test, "train_rows": len(parts[0]), "test_rows": len(parts[1])}
        )
        return
    output.print_table(["file", "rows"], [[str(train), len(parts[0])], [str(test), len(parts[1])]])
    output.note(f"next: avengers fit {train} --out router/, then avengers evaluate router/ {test}")
