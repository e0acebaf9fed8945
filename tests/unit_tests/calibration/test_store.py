from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from langchain_avengers.calibration.datasets import question_from
from langchain_avengers.calibration.store import FILE, Store, StoredSample
from langchain_avengers.errors import CalibrationError

QUESTIONS = [question_from({"query": f"q{i}", "answer": i, "task": "t"}) for i in range(5)]


def sample(index: int, answer: str = "x", cost: float | None = 0.5) -> StoredSample:
    return StoredSample(index, answer, "stop", 10, 2, cost, 0.1)


async def claim(store: Store, run: int, model: int, **more: Any) -> list[Any]:
    return await store.claim(run, model, **{"after": 0, "last": 5, "samples": 2, "batch": 10, **more})


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store(tmp_path / "s") as store:
        store.add_questions(QUESTIONS)
        yield store


async def test_a_cell_is_claimed_once_and_asked_for_what_it_lacks(store: Store) -> None:
    model = store.add_models({"m": (1.0, 2.0)})["m"]
    run = store.begin_run()
    first = await claim(store, run, model, batch=2)
    assert [cell.question_id for cell in first] == [1, 2]
    assert first[0].missing == (0, 1)
    assert first[0].question == QUESTIONS[0]
    assert [cell.question_id for cell in await claim(store, run, model)] == [3, 4, 5]
    attempt = await store.begin_attempt(run, model, 1, 2)
    await store.answer(attempt, model, 1, [sample(1)], tokens=(10, 2), cost=0.5)
    store.fail_samples(model, 1, [0], "server error 500", retryable=True)
    store.release(model, [1])
    (again,) = await claim(store, run, model)
    assert again.missing == (0,)
    assert again.ungraded == ((1, "x"),)
    store.grade(model, 1, 1, 1.0, None)
    store.fail_samples(model, 1, [0], "refused (400)", retryable=False)
    store.release(model, [1])
    assert await claim(store, run, model) == []
    assert [cell.missing for cell in await claim(store, run, model, retry=True)] == [(0,)]


async def test_claims_and_requests_of_a_dead_runner_are_given_back(tmp_path: Path, store: Store) -> None:
    model = store.add_models({"m": None})["m"]
    run = store.begin_run()
    await claim(store, run, model)
    await store.begin_attempt(run, model, 1, 1)
    with Store(tmp_path / "s") as other:
        mine = other.begin_run()
        assert other.recover(mine) == 1  # alive: nothing is touched
        assert await claim(other, mine, model) == []
        assert other.running()
        for lock in store._locks:  # what the system does when a process dies
            lock.release()
        assert other.recover(mine) == 0
        assert len(await claim(other, mine, model)) == 5
        assert other.status()[0].attempts == {"lost": 1}
        other.end_run(mine, "complete")


def test_a_dataset_may_grow_but_not_change(store: Store) -> None:
    assert store.add_questions([*QUESTIONS, question_from({"query": "new"})]) == 6
    changed = [QUESTIONS[0], question_from({"query": "other"}), *QUESTIONS[2:]]
    with pytest.raises(CalibrationError, match="question 2 differs"):
        store.add_questions(changed)


async def test_table_and_exports(tmp_path: Path, store: Store) -> None:
    pytest.importorskip("pyarrow")
    models = store.add_models({"a": (1.0, 1.0), "b": None})
    run = store.begin_run()
    for name, model in models.items():
        for question in (1, 2) if name == "a" else (2,):
            attempt = await store.begin_attempt(run, model, question, 2)
            cost = 0.5 if name == "a" else None
            await store.answer(attempt, model, question, [sample(0, "yes", cost), sample(1, "no", cost)],
                               tokens=(20, 4), cost=cost)  # fmt: skip
            store.grade(model, question, 0, 1.0, None)
            store.grade(model, question, 1, 0.5, "half")
    store.end_run(run, "complete")
    drawn = [{"answer": "yes", "score": 1.0}, {"answer": "no", "score": 0.5}]
    assert list(store.rows()) == [
        {"query": "q0", "task": "t", "scores": {"a": 0.75}, "costs": {"a": 0.5}, "answers": {"a": "yes"},
         "samples": {"a": drawn}},
        {"query": "q1", "task": "t", "scores": {"a": 0.75, "b": 0.75}, "costs": {"a": 0.5},
         "answers": {"a": "yes", "b": "yes"}, "samples": {"a": drawn, "b": drawn}},
    ]  # fmt: skip
    assert list(store.rows(chunk=1)) == list(store.rows())
    table = store.table()
    assert table.models == ["a", "b"]
    assert store.cost() == 1.0
    for name in ("table.jsonl", "table.parquet", "samples.jsonl", "samples.parquet"):
        store.export(tmp_path / name)
    assert type(table).read(tmp_path / "table.parquet").scores.tobytes() == table.scores.tobytes()
    lines = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert len(lines) == 6
    assert lines[1]["note"] == "half"
    assert lines[0]["input_tokens"] == 10
    with pytest.raises(CalibrationError, match=r"\.jsonl or \.parquet"):
        store.export(tmp_path / "table.csv")
    assert not list(tmp_path.glob(".*part*"))


def test_an_empty_store_has_no_table(store: Store) -> None:
    with pytest.raises(CalibrationError, match="no answer was graded"):
        store.table()


def test_foreign_damaged_newer_and_missing_stores(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="holds no calibration store"):
        Store(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / FILE).write_bytes(b"not a database" * 100)
    with pytest.raises(CalibrationError, match="is not a calibration store"):
        Store(tmp_path / "junk")
    Store(tmp_path / "new").close()
    with closing(sqlite3.connect(tmp_path / "new" / FILE)) as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(CalibrationError, match="has schema 99"):
        Store(tmp_path / "new")
    (tmp_path / "other").mkdir()
    with closing(sqlite3.connect(tmp_path / "other" / FILE)) as connection:
        connection.execute("CREATE TABLE t (x)")
    with pytest.raises(CalibrationError, match="some other SQLite file"):
        Store(tmp_path / "other")


def test_one_bad_write_does_not_spoil_its_neighbours(store: Store) -> None:
    def bad(connection: sqlite3.Connection) -> None:
        raise ValueError("mine")

    store.post(lambda connection: connection.execute("INSERT INTO meta VALUES ('a', '1')") and None)
    with pytest.raises(ValueError, match="mine"):
        store.write(bad)
    store.write(lambda connection: connection.execute("INSERT INTO meta VALUES ('b', '2')") and None)
    assert dict(store.read("SELECT key, value FROM meta")) == {"a": "1", "b": "2"}
