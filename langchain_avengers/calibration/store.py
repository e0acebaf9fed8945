"""The store of a calibration run: one SQLite file that survives kill -9 and takes several runners at once.

Every request is written down before it is sent, and every answer when it arrives, before anything else is
done with it. Writes that come together share a transaction (group commit), so durability costs little. WAL
with `synchronous=NORMAL` keeps every committed answer when the process is killed; a crash of the machine
itself may lose the last ones.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from filelock import FileLock, Timeout

from langchain_avengers.calibration.datasets import Question
from langchain_avengers.errors import CalibrationError

if TYPE_CHECKING:
    from langchain_avengers.routing.table import ScoreTable

T = TypeVar("T")

SCHEMA_VERSION = 1
FILE = "calibration.sqlite"

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, owner TEXT NOT NULL, started REAL NOT NULL, ended REAL, outcome TEXT);
CREATE TABLE models (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, input_price REAL, output_price REAL);
CREATE TABLE questions (id INTEGER PRIMARY KEY, digest BLOB NOT NULL, body TEXT NOT NULL);
-- A cell (model, question) someone works on right now; void when the run that holds it is dead.
CREATE TABLE claims (
    model_id INTEGER NOT NULL, question_id INTEGER NOT NULL, run_id INTEGER NOT NULL,
    PRIMARY KEY (model_id, question_id)) WITHOUT ROWID;
-- Every request, written just before it is sent. status: sent, answered, failed, lost (on its way when its runner
-- died), unreached (there was no connection, so nothing was sent).
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL, model_id INTEGER NOT NULL, question_id INTEGER NOT NULL,
    n INTEGER NOT NULL, sent REAL NOT NULL, status TEXT NOT NULL, cause TEXT, latency REAL,
    input_tokens INTEGER, output_tokens INTEGER, cost REAL);
-- One answer, or the reason there is none. status: answered (not graded yet), graded, failed.
-- Tokens and cost are the sample's share of its request's.
CREATE TABLE samples (
    model_id INTEGER NOT NULL, question_id INTEGER NOT NULL, sample_index INTEGER NOT NULL,
    status TEXT NOT NULL, answer TEXT, finish_reason TEXT, score REAL, note TEXT, cause TEXT,
    retryable INTEGER NOT NULL DEFAULT 0,
    input_tokens REAL, output_tokens REAL, cost REAL, grading_cost REAL, latency REAL, attempt_id INTEGER,
    PRIMARY KEY (model_id, question_id, sample_index)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class StoredSample:
    """An answer on its way into the store.

    Attributes:
        index: Which of the cell's samples.
        answer: Its text.
        finish_reason: As the provider gave it.
        input_tokens, output_tokens, cost: Its share of the request's; None where not known.
        latency: Seconds the request took.
    """

    index: int
    answer: str
    finish_reason: str | None
    input_tokens: float | None
    output_tokens: float | None
    cost: float | None
    latency: float


@dataclass(frozen=True, slots=True)
class Cell:
    """A claimed (model, question) with what is still to do.

    Attributes:
        missing: Sample indices to ask.
        ungraded: `(sample index, answer)` stored but not graded.
    """

    question_id: int
    question: Question
    missing: tuple[int, ...]
    ungraded: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Where one model stands in a store.

    Attributes:
        graded: Samples answered and graded.
        ungraded: Samples answered, not graded yet.
        failed: Samples without an answer, by cause.
        pending: Samples not asked yet.
        attempts: Requests, by status; those `unreached` were not sent.
        cost: US dollars; None where the price is not known.
        score: Mean score of the graded samples; None where there are none.
        latency: Mean seconds per answered request.
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


class Store:
    """A calibration store in a folder.

    Args:
        folder: Made where missing (unless `create` is False).
        create: Whether an absent store is made, or an error.

    Raises:
        CalibrationError: The store is absent, damaged, or of a newer schema.
    """

    def __init__(self, folder: str | os.PathLike[str], *, create: bool = True) -> None:
        """Open the store; a writer thread starts with the first write."""
        self.folder = Path(folder)
        self.path = self.folder / FILE
        if not create and not self.path.is_file():
            raise CalibrationError(f"{self.folder}: holds no calibration store ({FILE})")
        if self.folder.exists() and not self.folder.is_dir():
            raise CalibrationError(f"{self.folder}: is a file; name a folder")
        self._writer: _Writer | None = None
        self._locks: list[FileLock] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".open.lock"), closing(self._connect()) as connection:
                self._check_schema(connection)
        except OSError as error:
            raise CalibrationError(f"{self.folder}: cannot be written: {error.strerror}") from None
        except sqlite3.OperationalError as error:
            raise CalibrationError(f"{self.path}: cannot be written: {error}") from None
        except sqlite3.DatabaseError as error:
            raise CalibrationError(f"{self.path}: is not a calibration store: {error}") from None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_schema(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise CalibrationError(
                f"{self.path}: has schema {version}, newer than {SCHEMA_VERSION}; upgrade langchain-avengers"
            )
        if version == 0:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise CalibrationError(f"{self.path}: is some other SQLite file")
            connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={SCHEMA_VERSION};COMMIT;")

    def __enter__(self) -> Self:
        """The store itself; closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Write what is queued and let go of the run's lock."""
        if self._writer:
            self._writer.close()
            self._writer = None
        for lock in self._locks:
            lock.release()
        self._locks.clear()

    # Writing: a function of the connection, run in the writer thread inside a transaction shared with others.

    def _queue(self) -> _Writer:
        if self._writer is None:
            self._writer = _Writer(self._connect, self.path)
        return self._writer

    def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run `job` in a transaction; return when it is committed."""
        future: Future[T] = Future()
        self._queue().put(job, _settle_now(future))
        return future.result()

    async def awrite(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """As `write`, without blocking the loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue().put(job, (loop, future))
        return await future

    def post(self, job: Callable[[sqlite3.Connection], None]) -> None:
        """Queue a write nobody waits for; it is written before any later one."""
        self._queue().put(job, None)

    # What is measured

    def setting(self, key: str, value: str, *, replace: bool = False) -> str:
        """Remember a setting of the calibration at first sight; the value it has."""

        def job(connection: sqlite3.Connection) -> str:
            verb = "INSERT OR REPLACE" if replace else "INSERT OR IGNORE"
            connection.execute(f"{verb} INTO meta VALUES (?, ?)", (key, value))
            return str(connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0])

        return self.write(job)

    def add_models(self, prices: Mapping[str, tuple[float, float] | None]) -> dict[str, int]:
        """Enter models with their prices (dollars per million input and output tokens); their ids by name."""

        def job(connection: sqlite3.Connection) -> dict[str, int]:
            for name, price in prices.items():
                connection.execute(
                    "INSERT INTO models (name, input_price, output_price) VALUES (?, ?, ?) "
                    "ON CONFLICT (name) DO UPDATE "
                    "SET input_price = excluded.input_price, output_price = excluded.output_price",
                    (name, *(price or (None, None))),
                )
            return {
                name: id_ for id_, name in connection.execute("SELECT id, name FROM models") if name in prices
            }

        return self.write(job)

    def add_questions(self, questions: Iterable[Question], *, batch: int = 1000) -> int:
        """Enter a dataset, or check it against the one entered before; how many questions it has.

        Raises:
            CalibrationError: A question differs from the one stored at its place.
        """
        source, position = iter(questions), 0
        while rows := [(question.digest(), question.to_json()) for question in islice(source, batch)]:
            first = position + 1

            def job(
                connection: sqlite3.Connection, first: int = first, rows: list[tuple[bytes, str]] = rows
            ) -> None:
                known = connection.execute(
                    "SELECT digest FROM questions WHERE id >= ? AND id < ? ORDER BY id",
                    (first, first + len(rows)),
                ).fetchall()
                for number, ((old,), (new, _)) in enumerate(zip(known, rows, strict=False), first):
                    if old != new:
                        raise CalibrationError(
                            f"{self.folder}: question {number} differs from the one calibrated before; "
                            "give the same dataset (it may have grown at its end) or another folder"
                        )
                connection.executemany(
                    "INSERT INTO questions VALUES (?, ?, ?)",
                    [(first + i, *row) for i, row in enumerate(rows) if i >= len(known)],
                )

            self.write(job)
            position += len(rows)
        return position

    # Runners

    def begin_run(self) -> int:
        """Enter a runner and hold its lock; the run's id.

        The system lets go of the lock when the process dies: so other runners know whether this one is alive.
        """
        owner = uuid.uuid4().hex
        lock = FileLock(self._lock_file(owner), thread_local=False)
        lock.acquire()
        self._locks.append(lock)

        def job(connection: sqlite3.Connection) -> int:
            cursor = connection.execute(
                "INSERT INTO runs (owner, started) VALUES (?, ?)", (owner, time.time())
            )
            return int(cursor.lastrowid or 0)

        return self.write(job)

    def _lock_file(self, owner: str) -> Path:
        return self.folder / f".run-{owner}.lock"

    def end_run(self, run_id: int, outcome: str) -> None:
        """Enter how a run ended and give back what it held."""

        def job(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE runs SET ended = ?, outcome = ? WHERE id = ?", (time.time(), outcome, run_id)
            )
            _forget(connection, run_id)

        self.write(job)
        while self._locks:
            lock = self._locks.pop()
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)

    def recover(self, run_id: int) -> int:
        """Give back the claims of runners that died, and mark their requests on the way as lost.

        Returns:
            How many other runners are alive.
        """

        def job(connection: sqlite3.Connection) -> int:
            alive = 0
            runs = connection.execute("SELECT id, owner FROM runs WHERE ended IS NULL AND id != ?", (run_id,))
            for other, owner in runs.fetchall():
                lock = FileLock(self._lock_file(owner), thread_local=False)
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    alive += 1
                    continue
                connection.execute(
                    "UPDATE runs SET ended = ?, outcome = 'died' WHERE id = ?", (time.time(), other)
                )
                _forget(connection, other)
                lock.release()
                self._lock_file(owner).unlink(missing_ok=True)
            return alive

        return self.write(job)

    async def claim(
        self,
        run_id: int,
        model_id: int,
        *,
        after: int,
        last: int,
        samples: int,
        batch: int,
        retry: bool = False,
    ) -> list[Cell]:
        """Claim the next unfinished cells of a model that nobody holds.

        Args:
            after: Questions up to this id are passed over.
            last: And those beyond this.
            samples: Answers a cell needs.
            retry: Ask again what failed for good before, too.
        """
        settled = (
            "status = 'graded'" if retry else "(status = 'graded' OR status = 'failed' AND NOT retryable)"
        )

        def job(connection: sqlite3.Connection) -> list[Cell]:
            rows = connection.execute(
                f"""SELECT id, body FROM questions AS q WHERE id > ? AND id <= ?
                AND NOT EXISTS (SELECT 1 FROM claims WHERE model_id = ? AND question_id = q.id)
                AND (SELECT count(*) FROM samples WHERE model_id = ? AND question_id = q.id
                     AND sample_index < ? AND {settled}) < ?
                ORDER BY id LIMIT ?""",
                (after, last, model_id, model_id, samples, samples, batch),
            ).fetchall()
            connection.executemany(
                "INSERT INTO claims VALUES (?, ?, ?)",
                [(model_id, question_id, run_id) for question_id, _ in rows],
            )
            cells = []
            for question_id, body in rows:
                known = connection.execute(
                    f"SELECT sample_index, status, answer, {settled} FROM samples "
                    "WHERE model_id = ? AND question_id = ?",
                    (model_id, question_id),
                ).fetchall()
                done = {index for index, status, _, settled_ in known if settled_ or status == "answered"}
                cells.append(
                    Cell(
                        question_id,
                        Question.from_json(body),
                        tuple(index for index in range(samples) if index not in done),
                        tuple((index, answer) for index, status, answer, _ in known if status == "answered"),
                    )
                )
            return cells

        return await self.awrite(job)

    def release(self, model_id: int, question_ids: Sequence[int]) -> None:
        """Give claimed cells back."""
        self.post(
            lambda connection: _drop(
                connection.executemany(
                    "DELETE FROM claims WHERE model_id = ? AND question_id = ?",
                    [(model_id, question_id) for question_id in question_ids],
                )
            )
        )

    async def begin_attempt(self, run_id: int, model_id: int, question_id: int, n: int) -> int:
        """Enter a request that leaves as soon as this returns; the attempt's id."""

        def job(connection: sqlite3.Connection) -> int:
            cursor = connection.execute(
                "INSERT INTO attempts (run_id, model_id, question_id, n, sent, status) "
                "VALUES (?, ?, ?, ?, ?, 'sent')",
                (run_id, model_id, question_id, n, time.time()),
            )
            return int(cursor.lastrowid or 0)

        return await self.awrite(job)

    def fail_attempt(self, attempt_id: int, cause: str, latency: float, *, unreached: bool = False) -> None:
        """Enter that a request failed, or never left."""
        status = "unreached" if unreached else "failed"
        self.post(
            lambda connection: _drop(
                connection.execute(
                    "UPDATE attempts SET status = ?, cause = ?, latency = ? WHERE id = ?",
                    (status, cause, latency, attempt_id),
                )
            )
        )

    def unreached(self, run_id: int, model_id: int, question_id: int, n: int, cause: str) -> None:
        """Enter a request that found no connection."""
        self.post(
            lambda connection: _drop(
                connection.execute(
                    "INSERT INTO attempts (run_id, model_id, question_id, n, sent, status, cause) "
                    "VALUES (?, ?, ?, ?, ?, 'unreached', ?)",
                    (run_id, model_id, question_id, n, time.time(), cause),
                )
            )
        )

    async def answer(
        self,
        attempt_id: int,
        model_id: int,
        question_id: int,
        samples: Sequence[StoredSample],
        *,
        tokens: tuple[int | None, int | None],
        cost: float | None,
    ) -> None:
        """Enter a request's answers; on return they are safe."""

        def job(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE attempts SET status = 'answered', latency = ?, input_tokens = ?, output_tokens = ?, "
                "cost = ? WHERE id = ?",
                (samples[0].latency, *tokens, cost, attempt_id),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO samples (model_id, question_id, sample_index, status, answer, "
                "finish_reason, input_tokens, output_tokens, cost, latency, attempt_id) "
                "VALUES (?, ?, ?, 'answered', ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        model_id,
                        question_id,
                        s.index,
                        s.answer,
                        s.finish_reason,
                        s.input_tokens,
                        s.output_tokens,
                        s.cost,
                        s.latency,
                        attempt_id,
                    )
                    for s in samples
                ],
            )

        await self.awrite(job)

    def grade(
        self, model_id: int, question_id: int, index: int, score: float, note: str | None, cost: float = 0.0
    ) -> None:
        """Enter an answer's score."""
        self.post(
            lambda connection: _drop(
                connection.execute(
                    "UPDATE samples SET status = 'graded', score = ?, note = ?, cause = NULL, "
                    "grading_cost = coalesce(grading_cost, 0) + ? "
                    "WHERE model_id = ? AND question_id = ? AND sample_index = ?",
                    (score, note, cost, model_id, question_id, index),
                )
            )
        )

    def fail_grade(self, model_id: int, question_id: int, index: int, cause: str) -> None:
        """Enter why an answer could not be graded; the next run tries again."""
        self.post(
            lambda connection: _drop(
                connection.execute(
                    "UPDATE samples SET cause = ? "
                    "WHERE model_id = ? AND question_id = ? AND sample_index = ?",
                    (cause, model_id, question_id, index),
                )
            )
        )

    def fail_samples(
        self, model_id: int, question_id: int, indices: Sequence[int], cause: str, *, retryable: bool
    ) -> None:
        """Enter why samples have no answer."""
        rows = [(model_id, question_id, index, cause, retryable) for index in indices]
        self.post(
            lambda connection: _drop(
                connection.executemany(
                    "INSERT OR REPLACE INTO samples "
                    "(model_id, question_id, sample_index, status, cause, retryable) "
                    "VALUES (?, ?, ?, 'failed', ?, ?)",
                    rows,
                )
            )
        )

    async def give_up(self, model_id: int, *, last: int, samples: int, cause: str) -> None:
        """Mark every sample a model still lacks with the cause; the next run asks for them again."""

        def job(connection: sqlite3.Connection) -> None:
            for index in range(samples):
                connection.execute(
                    "INSERT INTO samples (model_id, question_id, sample_index, status, cause, retryable) "
                    "SELECT ?, q.id, ?, 'failed', ?, 1 FROM questions AS q WHERE q.id <= ? AND NOT EXISTS "
                    "(SELECT 1 FROM claims WHERE model_id = ? AND question_id = q.id) "
                    "ON CONFLICT DO UPDATE SET cause = excluded.cause WHERE status = 'failed' AND retryable",
                    (model_id, index, cause, last, model_id),
                )

        await self.awrite(job)

    def forget_grades(self) -> None:
        """Take every score back, so that the next run grades the stored answers anew."""
        self.write(
            lambda connection: _drop(
                connection.execute(
                    "UPDATE samples SET status = 'answered', score = NULL WHERE status = 'graded'"
                )
            )
        )

    # Reading

    def read(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query, on a connection of its own."""
        with self._reading() as connection:
            return connection.execute(query, parameters).fetchall()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own, whose errors are the store's."""
        try:
            with closing(self._connect()) as connection:
                yield connection
        except sqlite3.Error as error:
            raise CalibrationError(f"{self.path}: cannot be read: {error}") from None

    def models(self) -> list[str]:
        """Model names in order of entry."""
        return [name for (name,) in self.read("SELECT name FROM models ORDER BY id")]

    def cost(self) -> float:
        """US dollars of every request so far whose cost is known, grading included."""
        query = "SELECT (SELECT total(cost) FROM attempts) + (SELECT total(grading_cost) FROM samples)"
        return float(self.read(query)[0][0])

    def others_at_work(self, run_id: int) -> bool:
        """Whether any other run was at work since this one began."""
        query = (
            "SELECT EXISTS (SELECT 1 FROM runs WHERE id != ? AND "
            "(ended IS NULL OR ended > (SELECT started FROM runs WHERE id = ?)))"
        )
        return bool(self.read(query, (run_id, run_id))[0][0])

    def spent_by_others(self, run_id: int) -> tuple[float, int]:
        """US dollars of other runs' requests and of all grading, and other runs' requests on their way."""
        query = (
            "SELECT total(cost) + (SELECT total(grading_cost) FROM samples), total(status = 'sent') "
            "FROM attempts WHERE run_id != ?"
        )
        ((cost, on_their_way),) = self.read(query, (run_id,))
        return float(cost), int(on_their_way)

    def running(self) -> bool:
        """Whether a runner is at work on the store."""
        for (owner,) in self.read("SELECT owner FROM runs WHERE ended IS NULL"):
            lock = FileLock(self._lock_file(owner), thread_local=False)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                return True
            lock.release()
        return False

    def status(self) -> list[ModelStatus]:
        """Where every model stands."""
        wanted = int((self.read("SELECT value FROM meta WHERE key = 'samples'") or [("1",)])[0][0])
        limit = int((self.read("SELECT value FROM meta WHERE key = 'limit'") or [("0",)])[0][0])
        questions = self.read("SELECT count(*) FROM questions")[0][0]
        total = wanted * (min(limit, questions) if limit else questions)
        result = []
        for id_, name in self.read("SELECT id, name FROM models ORDER BY id"):
            counts = self.read(
                "SELECT status, cause, count(*), avg(score) FROM samples WHERE model_id = ? GROUP BY status, "
                "CASE status WHEN 'failed' THEN cause END",
                (id_,),
            )
            by_status = dict.fromkeys(("graded", "answered", "failed"), 0)
            for status, _, count, _ in counts:
                by_status[status] += count
            attempts = self.read(
                "SELECT status, count(*), total(input_tokens), total(output_tokens), sum(cost), avg(latency) "
                "FROM attempts WHERE model_id = ? GROUP BY status",
                (id_,),
            )
            answered = next((row for row in attempts if row[0] == "answered"), None)
            result.append(
                ModelStatus(
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
            )
        return result

    def rows(self, *, chunk: int = 1000) -> Iterator[dict[str, Any]]:
        """The measured questions as a score table's native rows, streamed in the dataset's order.

        A cell's score and cost are the means over its graded samples; its answer is the first one's. A cell of
        several samples has them all.
        """
        return (row for _, row in self.measured(chunk=chunk))

    def measured(self, *, chunk: int = 1000) -> Iterator[tuple[Question, dict[str, Any]]]:
        """The measured questions as they were asked, each with its row of the table."""
        models = self.read("SELECT id, name FROM models ORDER BY id")
        # Where code was run at less than full isolation, every row says so.
        lowered = dict(self.read("SELECT key, value FROM meta WHERE key = 'code_isolation'"))
        with self._reading() as connection:
            (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM questions").fetchone()
            for first in range(1, last + 1, chunk):
                span = (first, first + chunk - 1)
                cells: dict[int, list[tuple[str, float, float | None, str]]] = {}
                drawn: dict[int, dict[str, list[dict[str, Any]]]] = {}
                for model_id, name in models:
                    for question_id, samples in _grouped(connection, model_id, span):
                        costs = [cost for _, cost, _ in samples]
                        known = None if None in costs else sum(c or 0.0 for c in costs) / len(costs)
                        score = sum(score for score, _, _ in samples) / len(samples)
                        cells.setdefault(question_id, []).append((name, score, known, samples[0][2]))
                        if len(samples) > 1:
                            drawn.setdefault(question_id, {})[name] = [
                                {"answer": answer, "score": one} for one, _, answer in samples
                            ]
                questions = connection.execute(
                    "SELECT id, body FROM questions WHERE id BETWEEN ? AND ?", span
                )
                for question_id, body in questions:
                    if question_id not in cells:
                        continue
                    question = Question.from_json(body)
                    row: dict[str, Any] = {"query": question.query}
                    if question.task is not None:
                        row["task"] = question.task
                    measured = cells[question_id]
                    row["scores"] = {name: score for name, score, _, _ in measured}
                    if costs_ := {name: cost for name, _, cost, _ in measured if cost is not None}:
                        row["costs"] = costs_
                    row["answers"] = {name: answer for name, _, _, answer in measured}
                    if question_id in drawn:
                        row["samples"] = drawn[question_id]
                    if lowered:
                        row["metadata"] = lowered
                    yield question, row

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

    def causes(self) -> str:
        """Every cause of a failure, with its model and count, in one line."""
        return "; ".join(
            f"{status.name}: {cause} ({count})"
            for status in self.status()
            for cause, count in status.failed.items()
        )

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
        whole = path.with_name(f".{path.name}.{os.getpid()}.part")
        rows = self.samples() if path.stem == "samples" else self.rows()
        try:
            if path.suffix == ".jsonl":
                with whole.open("w", encoding="utf-8") as file:
                    for row in rows:
                        file.write(json.dumps(row, ensure_ascii=False) + "\n")
            elif path.suffix == ".parquet" and path.stem == "samples":
                _write_parquet(rows, whole)
            elif path.suffix == ".parquet":
                whole = whole.with_suffix(".parquet")
                self.table().write(whole)
            else:
                raise CalibrationError(f"{path}: a table is exported as .jsonl or .parquet")
            whole.replace(path)
        finally:
            whole.unlink(missing_ok=True)


class _Writer:
    """One thread, one connection: writes what is queued in one transaction, then tells who waits."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], path: Path) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._connect, self._path = connect, path
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="calibration-store", daemon=True)
        self._thread.start()

    def put(self, job: Callable[[sqlite3.Connection], Any], waiter: _Waiter | None) -> None:
        if self._failure:
            raise self._failure
        self._jobs.put((job, waiter))

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join()
        if self._failure:
            raise self._failure

    def _run(self) -> None:
        with closing(self._connect()) as connection:
            going = True
            while going:
                first = self._jobs.get()
                batch = [] if first is None else [first]
                going = first is not None
                while going and len(batch) < 2000:
                    try:
                        job = self._jobs.get_nowait()
                    except queue.Empty:
                        break
                    if job is None:
                        going = False
                    else:
                        batch.append(job)
                if batch:
                    self._write(connection, batch)

    def _write(self, connection: sqlite3.Connection, batch: list[_Job]) -> None:
        """All in one transaction; if one job fails, each in its own, so that only its owner hears of it."""
        results: list[tuple[_Waiter | None, Any, BaseException | None]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job, waiter in batch:
                results.append((waiter, job(connection), None))
            connection.execute("COMMIT")
        except Exception as caught:
            error: Exception = caught
            if isinstance(caught, sqlite3.Error):
                error = CalibrationError(f"{self._path}: cannot be written: {caught}")
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if len(batch) > 1:
                for single in batch:
                    self._write(connection, [single])
                return
            results = [(batch[0][1], None, error)]
            if batch[0][1] is None:  # nobody waits: the next write tells
                self._failure = error
        _tell(results)


_Waiter = tuple[asyncio.AbstractEventLoop | None, "asyncio.Future[Any] | Future[Any]"]
_Job = tuple[Callable[[sqlite3.Connection], Any], _Waiter | None]


def _settle_now(future: Future[Any]) -> _Waiter:
    return (None, future)


def _tell(results: list[tuple[_Waiter | None, Any, BaseException | None]]) -> None:
    """Settle the futures, with one wake-up a loop for the whole batch."""
    by_loop: dict[asyncio.AbstractEventLoop | None, list[tuple[Any, Any, BaseException | None]]] = {}
    for waiter, value, error in results:
        if waiter:
            by_loop.setdefault(waiter[0], []).append((waiter[1], value, error))

    def settle(items: list[tuple[Any, Any, BaseException | None]]) -> None:
        for future, value, error in items:
            if future.cancelled():
                continue
            if error:
                future.set_exception(error)
            else:
                future.set_result(value)

    for loop, items in by_loop.items():
        if loop is None:
            settle(items)
        elif not loop.is_closed():
            loop.call_soon_threadsafe(settle, items)


def _drop(_: object) -> None:
    """A job's result nobody wants."""


def _forget(connection: sqlite3.Connection, run_id: int) -> None:
    connection.execute("DELETE FROM claims WHERE run_id = ?", (run_id,))
    connection.execute("UPDATE attempts SET status = 'lost' WHERE run_id = ? AND status = 'sent'", (run_id,))


def _grouped(
    connection: sqlite3.Connection, model_id: int, span: tuple[int, int]
) -> Iterator[tuple[int, list[tuple[float, float | None, str]]]]:
    """A model's graded samples question by question, in order of their index."""
    current, samples = 0, list[tuple[float, float | None, str]]()
    rows = connection.execute(
        "SELECT question_id, score, cost, answer FROM samples "
        "WHERE model_id = ? AND question_id BETWEEN ? AND ? AND status = 'graded' "
        "ORDER BY question_id, sample_index",
        (model_id, *span),
    )
    for question_id, score, cost, answer in rows:
        if question_id != current and samples:
            yield current, samples
            samples = []
        current = question_id
        samples.append((score, cost, answer))
    if samples:
        yield current, samples


def _write_parquet(rows: Iterator[dict[str, Any]], path: Path) -> None:
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
    with pq.ParquetWriter(path, schema) as writer:
        while part := list(islice(rows, 10_000)):
            writer.write_table(pa.Table.from_pylist(part, schema=schema))
