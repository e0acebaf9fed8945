from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from langchain_avengers.calibration.questions import Question, question_from
from langchain_avengers.calibration.store import FILE, Store, StoredSample
from langchain_avengers.calibration.store.database import Database
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
    await store.answer_attempt(attempt, 0.1, (10, 2), 0.5, model_id=model, question_id=1, samples=[sample(1)])
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


def bodies(store: Store) -> list[str]:
    return [question.text for question in stored(store)]


def stored(store: Store) -> list[Question]:
    rows = store.read("SELECT body FROM questions WHERE position IS NOT NULL ORDER BY position")
    return [Question.from_json(body) for (body,) in rows]


async def graded(store: Store, *questions: int) -> int:
    model = store.add_models({"m": None})["m"]
    for question in questions:
        attempt = await store.begin_attempt(0, model, question, 1)
        await store.answer_attempt(
            attempt, 0.1, (1, 1), None, model_id=model, question_id=question, samples=[sample(0)]
        )
        store.grade(model, question, 0, 1.0, None)
    store.write(lambda connection: None)  # what is queued is written before it
    return model


async def test_a_dataset_may_grow_shrink_and_change_its_order(store: Store) -> None:
    new = question_from({"query": "new"})
    assert store.add_questions([new, *QUESTIONS[::-1]]) == 6
    assert bodies(store) == ["new", "q4", "q3", "q2", "q1", "q0"]
    await graded(store, 1, 6)
    assert [row["query"] for row in store.rows()] == ["new", "q0"]
    assert store.add_questions(QUESTIONS[:2]) == 2
    assert store.left_out() == 4
    assert [row["query"] for row in store.rows()] == ["q0"]
    assert store.add_questions(QUESTIONS[:1] * 3) == 3  # a question twice is two
    assert [row["query"] for row in store.rows()] == ["q0"]


async def test_a_changed_label_of_a_graded_question_needs_a_regrading(store: Store) -> None:
    await graded(store, 2)
    tasks = [question_from({"query": f"q{i}", "answer": i, "task": "other"}) for i in range(5)]
    store.add_questions(tasks)
    assert stored(store)[0].task == "other"
    labels = [question_from({"query": f"q{i}", "answer": i + 1}) for i in range(5)]
    with pytest.raises(CalibrationError, match=r"question 2 differs from the one graded before.*--regrade"):
        store.add_questions(labels)
    assert [question.reference for question in stored(store)] == [0, 1, 2, 3, 4]
    store.add_questions(labels, regrade=True)
    assert [question.reference for question in stored(store)] == [1, 2, 3, 4, 5]


async def test_a_store_of_version_0_1_0_is_read_and_goes_on(tmp_path: Path, store: Store) -> None:
    await graded(store, 1, 3)
    store.write(lambda connection: [connection.execute(statement) for statement in TO_VERSION_1])
    store.close()
    frozen = tmp_path / "s"
    with Database(frozen, create=False) as old:  # opened for writing: migrated
        assert old.read("SELECT count(*), count(key) FROM questions WHERE position = id") == [(5, 5)]
    with Store(frozen) as again:
        assert [row["query"] for row in again.rows()] == ["q0", "q2"]
        assert again.add_questions(QUESTIONS) == 5


TO_VERSION_1 = (
    "DROP INDEX questions_by_key", "DROP INDEX questions_by_position",
    "ALTER TABLE questions DROP COLUMN key", "ALTER TABLE questions DROP COLUMN position",
    "ALTER TABLE attempts DROP COLUMN role", "ALTER TABLE models DROP COLUMN judge", "PRAGMA user_version=1",
)  # fmt: skip


@pytest.mark.parametrize("version", [1, 2])
async def test_a_store_that_cannot_be_written_is_read(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    await graded(store, 1)
    if version == 1:
        store.write(lambda connection: [connection.execute(statement) for statement in TO_VERSION_1])
    store.close()
    before = {path: path.read_bytes() for path in (tmp_path / "s").iterdir()}
    monkeypatch.setattr("os.access", lambda path, mode: False)  # tests may run as root
    with Store(tmp_path / "s", create=False) as frozen:
        assert frozen.read_only
        assert frozen.status()[0].graded == 1
        assert not frozen.running()
        with pytest.raises(CalibrationError, match="cannot be written"):
            frozen.add_models({"x": None})
    assert {path: path.read_bytes() for path in (tmp_path / "s").iterdir() if path in before} == before


async def test_table_and_exports(tmp_path: Path, store: Store) -> None:
    pytest.importorskip("pyarrow")
    models = store.add_models({"a": (1.0, 1.0), "b": None})
    run = store.begin_run()
    for name, model in models.items():
        for question in (1, 2) if name == "a" else (2,):
            attempt = await store.begin_attempt(run, model, question, 2)
            cost = 0.5 if name == "a" else None
            await store.answer_attempt(
                attempt, 0.1, (20, 4), cost, model_id=model, question_id=question,
                samples=[sample(0, "yes", cost), sample(1, "no", cost)],
            )  # fmt: skip
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
