"""What the benchmarks share: where the data are, how a result is kept, how a table is printed."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from langchain_avengers import ScoreTable

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
console = Console(width=120)


class DataMissingError(SystemExit):
    """The data a benchmark reads are not there; says which, and where they are looked for."""


def data(*parts: str) -> Path:
    """A folder of the benchmark data: below AVENGERS_DATA, or shared/data beside the project."""
    base = Path(os.environ.get("AVENGERS_DATA", ROOT / ".." / "shared" / "data"))
    path = base.joinpath(*parts)
    if not path.exists():
        raise DataMissingError(
            f"the benchmark data are missing: {'/'.join(parts)} of the recorded data; "
            "put them into a folder and set AVENGERS_DATA to it"
        )
    return path


def routerdc(split: str) -> tuple[ScoreTable, np.ndarray]:
    """The RouterDC split, "train" or "test": table with tasks, and MiniLM vectors (n, 384)."""
    files = sorted(data("routerdc", split).glob("*.json"))
    vectors = [np.load(file.with_suffix(".minilm-f16.npy")) for file in files]
    return ScoreTable.read(files), np.vstack(vectors).astype(np.float32)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in _read("/proc/cpuinfo").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    packages = ("langchain-core", "langgraph", "scikit-learn", "numpy")
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def save_result(name: str, content: Any) -> Path:
    """Keep a result as benchmarks/results/NAME.json with the machine, the commit and the date."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    record = {
        "machine": machine(),
        "commit": commit.stdout.strip() or None,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "result": content,
    }
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows; the first column is text, the others numbers."""
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    for row in rows:
        table.add_row(*(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(table)


def side_by_side(
    calls: dict[str, Callable[[], Any]], *, rounds: int = 15, repeat: int = 1
) -> dict[str, float]:
    """Median seconds of one call of each, measured in turn A B C A B C … so that a drift of the machine hits all."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(repeat):
                call()
            times[name].append((time.perf_counter() - start) / repeat)
    return {name: statistics.median(values) for name, values in times.items()}
