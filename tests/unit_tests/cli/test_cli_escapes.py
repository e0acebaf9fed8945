"""Control characters of models and tables never reach the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.cli import output
from tests.fakes import HashEmbeddings, says
from tests.unit_tests.cli.conftest import Run

EVIL = "\x1b]0;owned\x07\x1b[2J\u202e\x9b"
MODELS = [f"calc{EVIL}", "read"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table that has them everywhere: queries, tasks, model names."""
    queries = [f"What is {i} plus {EVIL}?" for i in range(12)] + [f"Who wrote {EVIL} {i}?" for i in range(12)]
    path = tmp_path / "table.jsonl"
    ScoreTable(
        queries, MODELS, [[1, 0]] * 12 + [[0, 1]] * 12, tasks=[f"sums{EVIL}"] * 12 + ["facts"] * 12
    ).write(path)
    return path


@pytest.fixture
def evil_router(table: Path, tmp_path: Path, embedder: HashEmbeddings) -> Path:
    path = tmp_path / "router"
    ClusterRouter(n_clusters=2).fit(ScoreTable.read(table), embedder).save(path)
    return path


@pytest.mark.parametrize("json_", [False, True])
@pytest.mark.parametrize("command", ["inspect", "route", "routes", "explain", "evaluate", "ask"])
def test_nothing_is_obeyed(
    run: Run, evil_router: Path, table: Path, monkeypatch: pytest.MonkeyPatch, command: str, json_: bool
) -> None:
    monkeypatch.setattr("langchain_avengers.cli.ask.chat_model", lambda name, address: says(f"{EVIL} 12"))
    query = f"What is 2 plus {EVIL}?"
    arguments = {
        "inspect": ["inspect", evil_router],
        "route": ["route", evil_router, query],
        "routes": ["route", evil_router, query, query],
        "explain": ["route", evil_router, query, "--explain"],
        "evaluate": ["evaluate", evil_router, table],
        "ask": ["ask", evil_router, query, *(part for name in MODELS for part in ("--model", f"{name}=a:b"))],
    }[command]
    outcome = run(*arguments, *(["--json"] if json_ else []))
    assert outcome.code == 0, outcome.err
    printed = outcome.out + outcome.err
    assert not set(printed) & {"\x1b", "\x07", "\u202e", "\x9b"}
    if json_:
        for line in [outcome.out] if command != "routes" else outcome.out.splitlines():
            json.loads(line)
    else:
        assert "\\x1b" in printed


def test_an_error_is_escaped(run: Run, tmp_path: Path) -> None:
    outcome = run("inspect", tmp_path / EVIL.replace("/", ""))
    assert outcome.code == 1
    assert "\x1b" not in outcome.err
    assert "\\x1b" in outcome.err


def test_half_an_emoji_is_printed_and_json_gives_it_back(capsys: pytest.CaptureFixture[str]) -> None:
    text = "half \ud83d, whole \U0001f600, gr\u00fc\u00df"
    output.print_json({"text": text})
    printed = capsys.readouterr().out
    assert json.loads(printed)["text"] == text
    assert "gr\u00fc\u00df" in printed
    output.say(text)
    assert "\\ud83d" in capsys.readouterr().out
