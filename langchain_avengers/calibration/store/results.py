"""What is read of a store: where each model stands, the table, every sample, and their files."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock, Timeout

from langchain_avengers._files import replacing
from langchain_avengers.calibration.questions import Question
from langchain_avengers.calibration.store.database import Database
from langchain_avengers.errors import CalibrationError

if TYPE_CHECKING:
    from langchain_avengers.routing.table import ScoreTable


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Where one model stands in a store.

    Attributes:
        graded: Samples answered and graded.
        ungraded: Samples answered, not graded yet.
        failed: Samples without an answer, by cause.
        pending: Samples not asked yet.
        attempts: Requests, by status; those `unreached` were not sent.
        cost: US dollars; None when the price is not known.
        score: Mean score of the graded samples; None when there are none.
        latency: Mean seconds of an answered request.
    """

    name: str
    graded: int
    ungraded: int
    failed: Mapping[str, int]
    pending: int
    attempts: Mapping[str, int]
    input_tokens: int
    output_tokens: int
    cost: float | None
    score: float | None
    latency: float | None

    @property
    def requests(self) -> int:
        """Requests sent."""
        return sum(count for status, count in self.attempts.items() if status != "unreached")

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe plain data."""
        return {**asdict(self), "requests": self.requests}


class GradedSample(NamedTuple):
    """One graded answer; `cost` in US dollars, None when not known."""

    score: float
    cost: float | None
    answer: str


class Results(Database):
    """The reading half of a store."""

    def models(self) -> list[str]:
        """Names of the models that answer, in order of entry."""
        return [name for (name,) in self.read("SELECT name FROM models WHERE NOT judge ORDER BY id")]

    def get_setting(self, key: str, default: str = "") -> str:
        """A setting of the calibration, such as `"grader"` or `"samples"`."""
        rows = self.read("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else default

    def question_keys(self) -> list[bytes]:
        """The keys of the questions in the data set given last, in its order; see `Question.key`."""
        rows = self.read("SELECT key FROM questions WHERE position IS NOT NULL ORDER BY position")
        return [bytes(key) for (key,) in rows]

    def left_out(self) -> int:
        """How many stored questions are not in the data set given last, and so not in the table."""
        return int(self.read("SELECT count(*) FROM questions WHERE position IS NULL")[0][0])

    # How far it is

    def cost(self) -> float:
        """US dollars of every request so far whose cost is known, grading included."""
        query = "SELECT (SELECT total(cost) FROM attempts) + (SELECT total(grading_cost) FROM samples)"
        return float(self.read(query)[0][0])

    def spent_by_others(self, run_id: int) -> tuple[float, int]:
        """US dollars of other runs' requests and of all graders, and other runs' requests on their way."""
        query = (
            "SELECT total(cost) + (SELECT total(grading_cost) FROM samples), total(status = 'sent') "
            "FROM attempts WHERE run_id != ?"
        )
        ((cost, on_their_way),) = self.read(query, (run_id,))
        return float(cost), int(on_their_way)

    def others_at_work(self, run_id: int) -> bool:
        """Whether any other run was at work since this one began."""
        query = (
            "SELECT EXISTS (SELECT 1 FROM runs WHERE id != ? AND "
            "(ended IS NULL OR ended > (SELECT started FROM runs WHERE id = ?)))"
        )
        return bool(self.read(query, (run_id, run_id))[0][0])

    def settled(self, model_id: int, *, last: int, samples: int) -> int:
        """Samples of a model that are graded or refused for good, among the first `last` questions."""
        query = (
            "SELECT count(*) FROM samples AS s JOIN questions AS q ON q.id = s.question_id "
            "WHERE s.model_id = ? AND q.position <= ? AND s.sample_index < ? "
            "AND (s.status = 'graded' OR s.status = 'failed' AND NOT s.retryable)"
        )
        return int(self.read(query, (model_id, last, samples))[0][0])

    def unsettled(self, model_id: int, *, last: int, samples: int) -> bool:
        """Whether a model has samples that failed and may yet succeed, or are not graded yet."""
        query = (
            "SELECT EXISTS (SELECT 1 FROM samples AS s JOIN questions AS q ON q.id = s.question_id "
            "WHERE s.model_id = ? AND q.position <= ? AND s.sample_index < ? "
            "AND (s.status = 'failed' AND s.retryable OR s.status = 'answered'))"
        )
        return bool(self.read(query, (model_id, last, samples))[0][0])

    def held_by_others(self, model_id: int, run_id: int) -> int:
        """Cells of a model that other runs work on."""
        query = "SELECT count(*) FROM claims WHERE model_id = ? AND run_id != ?"
        return int(self.read(query, (model_id, run_id))[0][0])

    def _lock_of(self, owner: str) -> FileLock:
        """The lock that a runner holds as long as it lives; the system lets go of it when the process dies."""
        return FileLock(self.folder / f".run-{owner}.lock", thread_local=False)

    def running(self) -> bool:
        """Whether a runner is at work on the store. In a folder that cannot be written, nobody is."""
        if self.read_only:
            return False
        for (owner,) in self.read("SELECT owner FROM runs WHERE ended IS NULL"):
            lock = self._lock_of(owner)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                return True
            lock.release()
        return False

    def status(self) -> list[ModelStatus]:
        """Where every model stands; models that only judge have requests and no samples."""
        samples, limit = int(self.get_setting("samples", "1")), int(self.get_setting("limit", "0"))
        ((questions,),) = self.read("SELECT count(*) FROM questions WHERE position IS NOT NULL")
        total = samples * (min(limit, questions) if limit else questions)
        return [
            self._status_of(id_, name, 0 if judge else total)
            for id_, name, judge in self.read("SELECT id, name, judge FROM models ORDER BY id")
        ]

    def _status_of(self, model_id: int, name: str, total: int) -> ModelStatus:
        counts = self.read(
            "SELECT s.status, s.cause, count(*), avg(s.score) FROM samples AS s "
            "JOIN questions AS q ON q.id = s.question_id "
            "WHERE s.model_id = ? AND q.position IS NOT NULL "
            "GROUP BY s.status, CASE s.status WHEN 'failed' THEN s.cause END",
            (model_id,),
        )
        by_status = dict.fromkeys(("graded", "answered", "failed"), 0)
        for status, _, count, _ in counts:
            by_status[status] += count
        attempts = self.read(
            "SELECT status, count(*), total(input_tokens), total(output_tokens), sum(cost), avg(latency) "
            "FROM attempts WHERE model_id = ? GROUP BY status",
            (model_id,),
        )
        answered = next((row for row in attempts if row[0] == "answered"), None)
        return ModelStatus(
            name=name,
            graded=by_status["graded"],
            ungraded=by_status["answered"],
            failed={cause: count for status, cause, count, _ in counts if status == "failed"},
            pending=max(0, total - sum(by_status.values())),
            attempts={row[0]: row[1] for row in attempts},
            input_tokens=int(answered[2]) if answered else 0,
            output_tokens=int(answered[3]) if answered else 0,
            cost=answered[4] if answered else None,
            score=next((row[3] for row in counts if row[0] == "graded"), None),
            latency=answered[5] if answered else None,
        )

    def causes(self) -> str:
        """Every cause of a failure, with its model and count, in one line."""
        return "; ".join(
            f"{status.name}: {cause} ({count})"
            for status in self.status()
            for cause, count in status.failed.items()
        )

    # What was measured

    def rows(self, *, chunk: int = 1000) -> Iterator[dict[str, Any]]:
        """The measured questions as a score table's native rows, streamed in the data set's order.

        A cell's score and cost are the means over its graded samples; its answer is the first one's. Cells of
        several samples have them all in the row's `samples`.
        """
        return (row for _, row in self.measured(chunk=chunk))

    def measured(self, *, chunk: int = 1000) -> Iterator[tuple[Question, dict[str, Any]]]:
        """The measured questions as they were asked, each with its row of the table."""
        models = self.read("SELECT id, name FROM models WHERE NOT judge ORDER BY id")
        # When code was run at less than full isolation, every row says so.
        lowered = dict(self.read("SELECT key, value FROM meta WHERE key = 'code_isolation'"))
        with self._reading() as connection:
            (last,) = connection.execute("SELECT coalesce(max(position), 0) FROM questions").fetchone()
            for first in range(1, last + 1, chunk):
                span = (first, first + chunk - 1)
                cells: dict[int, dict[str, list[GradedSample]]] = {}
                for model_id, name in models:
                    for position, sample in _graded(connection, model_id, span):
                        cells.setdefault(position, {}).setdefault(name, []).append(sample)
                questions = connection.execute(
                    "SELECT position, body FROM questions WHERE position BETWEEN ? AND ? ORDER BY position",
                    span,
                )
                for position, body in questions:
                    if position in cells:
                        question = Question.from_json(body)
                        row = native_row(question, cells[position])
                        yield question, {**row, "metadata": lowered} if lowered else row

    def table(self) -> ScoreTable:
        """The score table.

        Raises:
            CalibrationError: Nothing was measured.
        """
        from langchain_avengers.routing.table import ScoreTable

        rows = list(self.rows())
        if not rows:
            raise CalibrationError(
                f"{self.folder}: no answer was graded: {self.causes() or 'nothing was asked'}"
            )
        return ScoreTable.from_rows(rows)

    def samples(self) -> Iterator[dict[str, Any]]:
        """Every sample as a flat row: query, task, question id, model, index, status, answer, score, ..."""
        with self._reading() as connection:
            cursor = connection.execute(
                "SELECT s.question_id, m.name AS model, s.sample_index, s.status, s.answer, s.finish_reason, "
                "s.score, s.note, s.cause, s.input_tokens, s.output_tokens, s.cost, s.latency, q.body "
                "FROM questions AS q CROSS JOIN models AS m "
                "JOIN samples AS s ON s.model_id = m.id AND s.question_id = q.id"
            )
            names = [column[0] for column in cursor.description[:-1]]
            for *values, body in cursor:
                question = Question.from_json(body)
                yield {"query": question.text, "task": question.task, **dict(zip(names, values, strict=True))}

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the score table (`.jsonl`, `.parquet`); a file `samples` of either kind gets every sample.

        Streamed; the file appears when it is whole.

        Raises:
            CalibrationError: Another file type.
        """
        path = Path(path)
        if path.suffix not in (".jsonl", ".parquet"):
            raise CalibrationError(f"{path}: a table is exported as .jsonl or .parquet")
        every_sample = path.stem == "samples"
        if path.suffix == ".parquet" and not every_sample:
            self.table().write(path)
            return
        rows = self.samples() if every_sample else self.rows()
        with replacing(path) as file:
            if path.suffix == ".parquet":
                _write_parquet(rows, file)
                return
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _graded(
    connection: sqlite3.Connection, model_id: int, span: tuple[int, int]
) -> Iterator[tuple[int, GradedSample]]:
    """A model's graded samples with their question's position, each question's in order of their index."""
    rows = connection.execute(
        "SELECT q.position, s.score, s.cost, s.answer FROM questions AS q "
        "JOIN samples AS s ON s.model_id = ? AND s.question_id = q.id "
        "WHERE q.position BETWEEN ? AND ? AND s.status = 'graded' ORDER BY q.position, s.sample_index",
        (model_id, *span),
    )
    for position, *sample in rows:
        yield position, GradedSample(*sample)


def native_row(question: Question, cells: Mapping[str, list[GradedSample]]) -> dict[str, Any]:
    """A score table's row, from each model's graded samples in order of their index."""
    row: dict[str, Any] = {"query": question.query}
    if question.task is not None:
        row["task"] = question.task
    row["scores"] = {name: sum(s.score for s in samples) / len(samples) for name, samples in cells.items()}
    costs = {
        name: sum(s.cost or 0.0 for s in samples) / len(samples)
        for name, samples in cells.items()
        if all(s.cost is not None for s in samples)
    }
    if costs:
        row["costs"] = costs
    row["answers"] = {name: samples[0].answer for name, samples in cells.items()}
    drawn = {
        name: [{"answer": s.answer, "score": s.score} for s in samples]
        for name, samples in cells.items()
        if len(samples) > 1
    }
    if drawn:
        row["samples"] = drawn
    return row


def _write_parquet(rows: Iterator[dict[str, Any]], file: IO[bytes]) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise CalibrationError("Parquet needs the extra: pip install 'langchain-avengers[parquet]'") from None
    text, number, integer = pa.string(), pa.float64(), pa.int64()
    schema = pa.schema(
        [
            ("query", text),
            ("task", text),
            ("question_id", integer),
            ("model", text),
            ("sample_index", integer),
        ]
        + [(name, text) for name in ("status", "answer", "finish_reason")]
        + [("score", number), ("note", text), ("cause", text)]
        + [(name, number) for name in ("input_tokens", "output_tokens", "cost", "latency")]
    )
    with pq.ParquetWriter(file, schema) as writer:
        while part := list(islice(rows, 10_000)):
            writer.write_table(pa.Table.from_pylist(part, schema=schema))
