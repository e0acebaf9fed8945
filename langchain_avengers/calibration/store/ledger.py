"""What a runner writes: the questions, its claims, each request before it is sent, each answer when it arrives."""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from filelock import FileLock, Timeout

from langchain_avengers.calibration.questions import Question
from langchain_avengers.calibration.store.database import logger, storable
from langchain_avengers.calibration.store.results import Results
from langchain_avengers.errors import CalibrationError


@dataclass(frozen=True, slots=True)
class StoredSample:
    """An answer on its way into the store.

    Attributes:
        index: Which of the cell's samples.
        answer: Its text.
        finish_reason: As the provider gave it.
        input_tokens, output_tokens, cost: Its share of the request's; None when not known.
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
        position: Place of the question in the data set.
        missing: Sample indices to ask.
        ungraded: `(sample index, answer)` stored but not graded.
    """

    question_id: int
    position: int
    question: Question
    missing: tuple[int, ...]
    ungraded: tuple[tuple[int, str], ...]


_INCOMING = (
    "DROP TABLE IF EXISTS temp.incoming",
    "DROP TABLE IF EXISTS temp.matched",
    "CREATE TEMP TABLE incoming (position INTEGER PRIMARY KEY, key BLOB, digest BLOB, body TEXT)",
)
_ENTER = "INSERT INTO temp.incoming VALUES (?, ?, ?, ?)"
# The k-th question of a key in the data set is the k-th of that key in the store.
_MATCH = """
CREATE TEMP TABLE matched AS
SELECT i.position, i.key, i.digest, i.body, q.id, q.digest AS old
FROM (SELECT *, row_number() OVER (PARTITION BY key ORDER BY position) AS k FROM temp.incoming) AS i
LEFT JOIN (SELECT id, key, digest, row_number() OVER (PARTITION BY key ORDER BY id) AS k FROM questions) AS q
ON q.key = i.key AND q.k = i.k ORDER BY i.position
"""
_REPLACE = (
    "UPDATE questions SET position = NULL",
    "UPDATE questions SET position = m.position, digest = m.digest, body = m.body "
    "FROM temp.matched AS m WHERE m.id = questions.id",
    "INSERT INTO questions (digest, body, key, position) "
    "SELECT digest, body, key, position FROM temp.matched WHERE id IS NULL ORDER BY position",
    "DROP TABLE temp.matched",
    "DROP TABLE temp.incoming",
)
_UNGRADE = "UPDATE samples SET status = 'answered', score = NULL WHERE status = 'graded'"


class Store(Results):
    """A calibration store in a folder; `Database` says how it is opened.

    Raises:
        CalibrationError: The store is absent, damaged, or of a newer schema.
    """

    def __init__(self, folder: str | os.PathLike[str], *, create: bool = True) -> None:
        """Open the store."""
        super().__init__(folder, create=create)
        self._locks: list[FileLock] = []

    def close(self) -> None:
        """Write what is queued and let go of the run's lock."""
        super().close()
        for lock in self._locks:
            lock.release()
        self._locks.clear()

    # What is measured

    def setting(self, key: str, value: str, *, replace: bool = False) -> str:
        """Remember a setting of the calibration at first sight; the value it has."""

        def job(connection: sqlite3.Connection) -> str:
            verb = "INSERT OR REPLACE" if replace else "INSERT OR IGNORE"
            connection.execute(f"{verb} INTO meta VALUES (?, ?)", (key, value))
            return str(connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0])

        return self.write(job)

    def add_models(
        self, prices: Mapping[str, tuple[float, float] | None], *, judge: bool = False
    ) -> dict[str, int]:
        """Enter models with their prices (dollars per million input and output tokens); their ids by name.

        Args:
            prices: By name; None when not known.
            judge: They only judge answers, unless they are known as models that answer.
        """

        def job(connection: sqlite3.Connection) -> dict[str, int]:
            for name, price in prices.items():
                connection.execute(
                    "INSERT INTO models (name, input_price, output_price, judge) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (name) DO UPDATE SET input_price = excluded.input_price, "
                    "output_price = excluded.output_price, judge = min(judge, excluded.judge)",
                    (name, *(price or (None, None)), judge),
                )
            return {
                name: id_ for id_, name in connection.execute("SELECT id, name FROM models") if name in prices
            }

        return self.write(job)

    def add_questions(
        self, questions: Iterable[Question], *, regrade: bool = False, batch: int = 1000
    ) -> int:
        """Enter a data set; how many questions it has.

        A question is known again by its text, wherever it stands. Its task and what it is graded by may change;
        answers that are graded already are then to be graded anew. Questions that are no longer there stay in the
        store, and out of the table.

        Args:
            questions: The data set.
            regrade: Take every score back, so that the next run grades the stored answers anew.
            batch: Questions read at a time.

        Raises:
            CalibrationError: The data set is empty, or a graded question is now to be graded by something else.
        """
        self.write(lambda connection: [connection.execute(statement) for statement in _INCOMING])
        source, count = iter(questions), 0
        while part := list(islice(source, batch)):
            rows = [
                (count + i, question.key(), question.grading_digest(), question.to_json())
                for i, question in enumerate(part, 1)
            ]
            self.write(lambda connection, rows=rows: connection.executemany(_ENTER, rows))  # type: ignore[misc]
            count += len(rows)
        if not count:
            raise CalibrationError("the dataset holds no questions")

        def job(connection: sqlite3.Connection) -> None:
            connection.execute(_MATCH)
            changed = connection.execute(
                "SELECT position FROM temp.matched AS m WHERE m.old != m.digest AND EXISTS "
                "(SELECT 1 FROM samples WHERE question_id = m.id AND status = 'graded') ORDER BY position"
            ).fetchall()
            if changed and not regrade:
                more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
                raise CalibrationError(
                    f"{self.folder}: question {changed[0][0]}{more} differs from the one graded before in its "
                    "reference or grader; regrade=True (--regrade) grades the stored answers by the new ones, "
                    "and asks none again"
                )
            for statement in _REPLACE:
                connection.execute(statement)
            if regrade:
                connection.execute(_UNGRADE)

        self.write(job)
        if gone := self.left_out():
            logger.warning(
                "%s: %d stored questions are not in the dataset: left out of the table", self.folder, gone
            )
        return count

    # Runners

    def begin_run(self) -> int:
        """Enter a runner and hold its lock, by which other runners know that it is alive; the run's id."""
        owner = uuid.uuid4().hex
        lock = self._lock_of(owner)
        lock.acquire()
        self._locks.append(lock)

        def job(connection: sqlite3.Connection) -> int:
            cursor = connection.execute(
                "INSERT INTO runs (owner, started) VALUES (?, ?)", (owner, time.time())
            )
            return int(cursor.lastrowid or 0)

        return self.write(job)

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
                lock = self._lock_of(owner)
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
                Path(lock.lock_file).unlink(missing_ok=True)
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
            after: Questions up to this position are passed over.
            last: And those beyond this.
            samples: Answers a cell needs.
            retry: Ask again what failed for good before, too.
        """
        settled = (
            "status = 'graded'" if retry else "(status = 'graded' OR status = 'failed' AND NOT retryable)"
        )

        def job(connection: sqlite3.Connection) -> list[Cell]:
            rows = connection.execute(
                f"""SELECT id, position, body FROM questions AS q WHERE position > ? AND position <= ?
                AND NOT EXISTS (SELECT 1 FROM claims WHERE model_id = ? AND question_id = q.id)
                AND (SELECT count(*) FROM samples WHERE model_id = ? AND question_id = q.id
                     AND sample_index < ? AND {settled}) < ?
                ORDER BY position LIMIT ?""",
                (after, last, model_id, model_id, samples, samples, batch),
            ).fetchall()
            connection.executemany(
                "INSERT INTO claims VALUES (?, ?, ?)",
                [(model_id, question_id, run_id) for question_id, _, _ in rows],
            )
            cells = []
            for question_id, position, body in rows:
                known = connection.execute(
                    f"SELECT sample_index, status, answer, {settled} FROM samples "
                    "WHERE model_id = ? AND question_id = ?",
                    (model_id, question_id),
                ).fetchall()
                done = {index for index, status, _, settled_ in known if settled_ or status == "answered"}
                cells.append(
                    Cell(
                        question_id,
                        position,
                        Question.from_json(body),
                        tuple(index for index in range(samples) if index not in done),
                        tuple((index, answer) for index, status, answer, _ in known if status == "answered"),
                    )
                )
            return cells

        return await self.awrite(job)

    def release(self, model_id: int, question_ids: Sequence[int]) -> None:
        """Give claimed cells back."""
        self.post_rows(
            "DELETE FROM claims WHERE model_id = ? AND question_id = ?",
            [(model_id, question_id) for question_id in question_ids],
        )

    # Requests

    async def begin_attempt(
        self, run_id: int, model_id: int, question_id: int, n: int, *, role: str = "answer"
    ) -> int:
        """Enter a request that leaves when this returns; the attempt's id."""

        def job(connection: sqlite3.Connection) -> int:
            cursor = connection.execute(
                "INSERT INTO attempts (run_id, model_id, question_id, n, sent, status, role) "
                "VALUES (?, ?, ?, ?, ?, 'sent', ?)",
                (run_id, model_id, question_id, n, time.time(), role),
            )
            return int(cursor.lastrowid or 0)

        return await self.awrite(job)

    def fail_attempt(self, attempt_id: int, cause: str, latency: float, *, unreached: bool = False) -> None:
        """Enter that a request failed, or never left."""
        self.post_rows(
            "UPDATE attempts SET status = ?, cause = ?, latency = ? WHERE id = ?",
            [("unreached" if unreached else "failed", storable(cause), latency, attempt_id)],
        )

    async def answer_attempt(
        self,
        attempt_id: int,
        latency: float,
        tokens: tuple[int | None, int | None],
        cost: float | None,
        *,
        model_id: int = 0,
        question_id: int = 0,
        samples: Sequence[StoredSample] = (),
    ) -> None:
        """Enter that a request was answered, and its samples; on return they are safe."""
        rows = [
            (
                model_id, question_id, s.index, storable(s.answer),
                None if s.finish_reason is None else storable(s.finish_reason),
                s.input_tokens, s.output_tokens, s.cost, s.latency, attempt_id,
            )
            for s in samples
        ]  # fmt: skip

        def job(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE attempts SET status = 'answered', latency = ?, input_tokens = ?, output_tokens = ?, "
                "cost = ? WHERE id = ?",
                (latency, *tokens, cost, attempt_id),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO samples (model_id, question_id, sample_index, status, answer, "
                "finish_reason, input_tokens, output_tokens, cost, latency, attempt_id) "
                "VALUES (?, ?, ?, 'answered', ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

        await self.awrite(job)

    # Samples

    def grade(
        self, model_id: int, question_id: int, index: int, score: float, note: str | None, cost: float = 0.0
    ) -> None:
        """Enter an answer's score."""
        self.post_rows(
            "UPDATE samples SET status = 'graded', score = ?, note = ?, cause = NULL, "
            "grading_cost = coalesce(grading_cost, 0) + ? "
            "WHERE model_id = ? AND question_id = ? AND sample_index = ?",
            [(score, None if note is None else storable(note), cost, model_id, question_id, index)],
        )

    def fail_grade(self, model_id: int, question_id: int, index: int, cause: str) -> None:
        """Enter why an answer could not be graded; the next run tries again."""
        self.post_rows(
            "UPDATE samples SET cause = ? WHERE model_id = ? AND question_id = ? AND sample_index = ?",
            [(storable(cause), model_id, question_id, index)],
        )

    def fail_samples(
        self, model_id: int, question_id: int, indices: Sequence[int], cause: str, *, retryable: bool
    ) -> None:
        """Enter why samples have no answer; an answer that is stored stays."""
        self.post_rows(
            "INSERT INTO samples (model_id, question_id, sample_index, status, cause, retryable) "
            "VALUES (?, ?, ?, 'failed', ?, ?) ON CONFLICT DO UPDATE "
            "SET cause = excluded.cause, retryable = excluded.retryable WHERE status = 'failed'",
            [(model_id, question_id, index, storable(cause), retryable) for index in indices],
        )

    async def give_up(self, model_id: int, *, last: int, samples: int, cause: str) -> None:
        """Mark every sample a model still lacks with the cause; the next run asks for them again."""
        rows = [(model_id, index, storable(cause), last, model_id) for index in range(samples)]
        await self.awrite(
            lambda connection: (
                connection.executemany(
                    "INSERT INTO samples (model_id, question_id, sample_index, status, cause, retryable) "
                    "SELECT ?, q.id, ?, 'failed', ?, 1 FROM questions AS q WHERE q.position <= ? AND NOT EXISTS "
                    "(SELECT 1 FROM claims WHERE model_id = ? AND question_id = q.id) "
                    "ON CONFLICT DO UPDATE SET cause = excluded.cause WHERE status = 'failed' AND retryable",
                    rows,
                )
                and None
            )
        )


def _forget(connection: sqlite3.Connection, run_id: int) -> None:
    connection.execute("DELETE FROM claims WHERE run_id = ?", (run_id,))
    connection.execute("UPDATE attempts SET status = 'lost' WHERE run_id = ? AND status = 'sent'", (run_id,))
