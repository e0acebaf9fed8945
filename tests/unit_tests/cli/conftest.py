"""A small pool, tables and an embedder for the commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from langchain_avengers import ScoreTable
from tests.fakes import HashEmbeddings

SUMS = [f"What is {i} plus {i + 1}?" for i in range(20)]
FACTS = [f"Who wrote book number {i}?" for i in range(20)]


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> HashEmbeddings:
    """Stands where the default embedding model is loaded."""
    embedder = HashEmbeddings()
    monkeypatch.setattr(
        "langchain_avengers.routing.embeddings.default_embeddings", lambda name=None: embedder
    )
    monkeypatch.setenv("AVENGERS_EMBEDDINGS", "HashEmbeddings")  # which its routers name
    return embedder


@pytest.fixture
def tables(tmp_path: Path) -> list[Path]:
    """Two files: sums, which model `calc` can do, and facts, which `read` can."""
    paths = []
    for task, queries, scores in (("sums", SUMS, [1, 0]), ("facts", FACTS, [0.1, 0.9])):
        path = tmp_path / f"{task}_train.jsonl"
        table = ScoreTable(
            queries, ["calc", "read"], [scores] * len(queries), costs=[[0.001, 0.002]] * len(queries)
        )
        table.write(path)
        paths.append(path)
    return paths


@pytest.fixture
def vectors(tables: list[Path], tmp_path: Path) -> list[Path]:
    """The embeddings of both files."""
    paths = []
    for queries, name in ((SUMS, "sums"), (FACTS, "facts")):
        path = tmp_path / f"{name}.npy"
        np.save(path, np.array(HashEmbeddings().embed_documents(queries), dtype=np.float16))
        paths.append(path)
    return paths


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    def json(self) -> dict:  # type: ignore[type-arg]
        return json.loads(self.out)  # type: ignore[no-any-return]

    def lines(self) -> list[dict]:  # type: ignore[type-arg]
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Outcome]


@pytest.fixture
def run() -> Run:
    """Runs `avengers` in this process."""
    from langchain_avengers.cli import app

    def run(*args: object, input: str | None = None) -> Outcome:
        result = CliRunner().invoke(app, [str(arg) for arg in args], input=input, prog_name="avengers")
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def router(run: Run, tables: list[Path], embedder: HashEmbeddings, tmp_path: Path) -> Path:
    """A saved router of two clusters."""
    path = tmp_path / "router"
    outcome = run("fit", *tables, "--out", path, "--clusters", 2)
    assert outcome.code == 0, outcome.err
    return path
