"""`avengers split`, and what no command replaces without being asked."""

from __future__ import annotations

from pathlib import Path

from langchain_avengers import ScoreTable
from tests.fakes import HashEmbeddings
from tests.unit_tests.cli.conftest import Run


def test_split_writes_two_tables_that_share_no_query(run: Run, tables: list[Path], tmp_path: Path) -> None:
    train, test = tmp_path / "train.jsonl", tmp_path / "held_out.parquet"
    given = ("split", *tables, "--train", train, "--test", test, "--test-size", 0.25)
    outcome = run(*given, "--json")
    assert outcome.code == 0, outcome.err
    first, second = ScoreTable.read(train), ScoreTable.read(test)
    assert outcome.json()["train_rows"] == len(first)
    assert len(first) + len(second) == len(ScoreTable.read(tables))
    assert not set(first.queries) & set(second.queries)
    again = run(*given)
    assert again.code == 1
    assert f"{train}: exists already; --overwrite replaces it" in again.err
    replaced = run(*given, "--overwrite")
    assert replaced.code == 0
    assert "next: avengers fit" in replaced.err


def test_fit_replaces_a_router_only_when_asked(
    run: Run, tables: list[Path], router: Path, embedder: HashEmbeddings
) -> None:
    before = (router / "router.json").read_bytes()
    outcome = run("fit", *tables, "--out", router, "--clusters", 3)
    assert outcome.code == 1
    assert "exists already; --overwrite replaces it" in outcome.err
    assert (router / "router.json").read_bytes() == before
    assert run("fit", *tables, "--out", router, "--clusters", 3, "--overwrite").code == 0
    assert (router / "router.json").read_bytes() != before
