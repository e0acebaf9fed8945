"""No answer that was paid for is lost: labels, tasks, fields, order and budgets may change afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.calibration.store import Store
from langchain_avengers.cli import app
from tests.fakes import HashEmbeddings
from tests.openai_server import Fault, OpenAIServer, graded

Start = Callable[..., OpenAIServer]
SUMS = {f"What is {i} + 3?": str(i + 3) for i in range(8)}


@pytest.fixture
def server(tmp_path: Path, openai_server: Start) -> OpenAIServer:
    """A server that knows sums, and a pool file of its one model."""
    server = openai_server(graded(SUMS, {}), faults=[Fault("error", status=404, models=["mistyped"])])
    write_pool(tmp_path, server, "m")
    return server


def write_pool(folder: Path, server: OpenAIServer, *names: str) -> None:
    (folder / "pool.yaml").write_text(
        yaml.safe_dump({"models": {name: {"base_url": server.url} for name in names}})
    )


def write(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def calibrate(folder: Path, *more: str) -> Result:
    command = [
        "calibrate",
        str(folder / "pool.yaml"),
        str(folder / "q.jsonl"),
        "--out",
        str(folder / "table"),
    ]
    return CliRunner().invoke(app, [*command, "--grader", "number", *more])


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "table" / "table.jsonl").read_text().splitlines()]


def test_a_missing_reference_is_told_before_the_first_request(tmp_path: Path, server: OpenAIServer) -> None:
    write(tmp_path, [{"query": query, "gold": answer} for query, answer in SUMS.items()])
    for more in ([], ["--dry-run"]):
        done = calibrate(tmp_path, *more)
        assert done.exit_code == 1
        assert "question 1: the question has no reference answer" in done.stderr
        assert "--field reference=NAME (further fields: gold)" in done.stderr
    assert server.counts.requests == 0
    assert calibrate(tmp_path, "--field", "reference=gold").exit_code == 0
    assert server.counts.requests == len(SUMS)


def test_a_reference_that_is_no_number_is_told_before_the_first_request(
    tmp_path: Path, server: OpenAIServer
) -> None:
    write(tmp_path, [{"query": "What is 1 + 3?", "answer": 4}, {"query": "q", "answer": "blue"}])
    done = calibrate(tmp_path)
    assert done.exit_code == 1
    assert "question 2: the reference 'blue' is not a number" in done.stderr
    assert server.counts.requests == 0


def test_another_field_holds_the_right_answers_after_all(tmp_path: Path, server: OpenAIServer) -> None:
    write(tmp_path, [{"query": query, "answer": 0, "gold": answer} for query, answer in SUMS.items()])
    assert calibrate(tmp_path).exit_code == 0
    assert {row["scores"]["m"] for row in rows(tmp_path)} == {0.0}
    refused = calibrate(tmp_path, "--field", "reference=gold")
    assert refused.exit_code == 1
    assert "--regrade" in refused.stderr
    assert calibrate(tmp_path, "--field", "reference=gold", "--regrade").exit_code == 0
    assert {row["scores"]["m"] for row in rows(tmp_path)} == {1.0}
    assert server.counts.requests == len(SUMS)


def test_a_label_a_task_and_the_order_are_corrected(tmp_path: Path, server: OpenAIServer) -> None:
    questions = [{"query": query, "answer": answer, "task": "sums"} for query, answer in SUMS.items()]
    write(tmp_path, [{**questions[0], "answer": "99"}, *questions[1:]])
    assert calibrate(tmp_path).exit_code == 0
    assert rows(tmp_path)[0]["scores"]["m"] == 0.0
    corrected = [{**question, "task": "addition"} for question in reversed(questions)]
    write(tmp_path, corrected)
    done = calibrate(tmp_path, "--regrade")
    assert done.exit_code == 0, done.stderr
    assert [row["query"] for row in rows(tmp_path)] == [row["query"] for row in corrected]
    assert {row["task"] for row in rows(tmp_path)} == {"addition"}
    assert {row["scores"]["m"] for row in rows(tmp_path)} == {1.0}
    write(tmp_path, [*corrected[:2], {"query": "What is 50 + 1?", "answer": 51}])
    done = calibrate(tmp_path)
    assert "6 stored questions are not in the dataset" in done.stderr or len(rows(tmp_path)) == 3
    assert server.counts.requests == len(SUMS) + 1


def test_a_model_of_which_nothing_was_measured_is_a_failure(tmp_path: Path, server: OpenAIServer) -> None:
    write(tmp_path, [{"query": query, "answer": answer} for query, answer in SUMS.items()])
    write_pool(tmp_path, server, "m", "mistyped")
    done = calibrate(tmp_path)
    assert done.exit_code == 1
    assert "no answer was graded of mistyped: refused (404)" in done.stderr.splitlines()[-1]
    assert len(rows(tmp_path)) == len(SUMS)  # what the other gave is there


def test_every_sample_is_in_the_table(tmp_path: Path, server: OpenAIServer) -> None:
    write(tmp_path, [{"query": query, "answer": answer} for query, answer in SUMS.items()])
    assert calibrate(tmp_path, "--samples", "3").exit_code == 0
    for row in rows(tmp_path):
        drawn = row["samples"]["m"]
        assert len(drawn) == 3
        assert sum(sample["score"] for sample in drawn) / 3 == row["scores"]["m"]
    table = ScoreTable.read(tmp_path / "table" / "table.jsonl")
    assert table.samples is not None
    assert [sample.answer for sample in table.samples[0, 0]] == [
        s["answer"] for s in rows(tmp_path)[0]["samples"]["m"]
    ]


def test_a_larger_budget_adds_to_a_model_that_the_router_has(
    tmp_path: Path, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "langchain_avengers.routing.embeddings.default_embeddings", lambda name=None: HashEmbeddings()
    )
    monkeypatch.setenv("AVENGERS_EMBEDDINGS", "HashEmbeddings")  # which its routers name
    write(tmp_path, [{"query": query, "answer": answer} for query, answer in SUMS.items()])
    assert calibrate(tmp_path).exit_code == 0
    table = ScoreTable.read(tmp_path / "table" / "table.jsonl")
    ClusterRouter(n_clusters=2).fit(table, HashEmbeddings()).save(tmp_path / "router")
    write_pool(tmp_path, server, "m", "second")
    command = ["add-model", "second", "--router", str(tmp_path / "router"), "--pool", str(tmp_path / "pool.yaml"),
               "--table", str(tmp_path / "table"), "--json"]  # fmt: skip
    for budget, questions in (("3", 3), ("7", 7)):
        done = CliRunner().invoke(app, [*command, "--budget", budget])
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["questions"] == questions
    assert server.counts.requests == len(SUMS) + 7
    same = CliRunner().invoke(app, [*command, "--budget", "7"])
    assert same.exit_code == 1
    assert "has 'second' already, by 7 questions; a budget of more adds to them" in same.stderr
    with Store(tmp_path / "table" / "add-second", create=False) as store:
        assert store.status()[0].graded == 7


def test_patience_is_still_an_option(tmp_path: Path, server: OpenAIServer) -> None:
    write(tmp_path, [{"query": query, "answer": answer} for query, answer in SUMS.items()])
    done = calibrate(tmp_path, "--patience", "5")
    assert done.exit_code == 0
    assert "--patience is now --give-up-after" in done.stderr
