"""The SQLite file: its schema, and writes that share a transaction.

Writes that come together are committed together, so durability costs little. WAL with `synchronous=NORMAL` keeps every
committed answer when the process is killed; a crash of the machine itself may lose the last ones.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from filelock import FileLock

from langchain_avengers.calibration.errors import StoreError
from langchain_avengers.calibration.questions import Question

T = TypeVar("T")

SCHEMA_VERSION = 2
FILE = "calibration.sqlite"

logger = logging.getLogger("langchain_avengers")

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, owner TEXT NOT NULL, started REAL NOT NULL, ended REAL, outcome TEXT);
-- judge: whether it only judges the others' answers.
CREATE TABLE models (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, input_price REAL, output_price REAL,
    judge INTEGER NOT NULL DEFAULT 0);
-- key: digest of the messages, by which a question is known again; digest: of what grading depends on.
-- position: place in the data set given last; NULL when the question is not in it.
CREATE TABLE questions (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL, body TEXT NOT NULL, key BLOB, position INTEGER);
CREATE INDEX questions_by_key ON questions (key);
CREATE INDEX questions_by_position ON questions (position);
-- A cell (model, question) someone works on right now; void when the run that holds it is dead.
CREATE TABLE claims (
    model_id INTEGER NOT NULL, question_id INTEGER NOT NULL, run_id INTEGER NOT NULL,
    PRIMARY KEY (model_id, question_id)) WITHOUT ROWID;
-- Every request, written just before it is sent. status: sent, answered, failed, lost (on its way when its runner
-- died), unreached (there was no connection, so nothing was sent). role: answer, or judge (then question_id is 0).
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL, model_id INTEGER NOT NULL, question_id INTEGER NOT NULL,
    n INTEGER NOT NULL, sent REAL NOT NULL, status TEXT NOT NULL, cause TEXT, latency REAL,
    input_tokens INTEGER, output_tokens INTEGER, cost REAL, role TEXT NOT NULL DEFAULT 'answer');
-- One answer, or the reason there is none. status: answered (not graded yet), graded, failed.
-- Tokens and cost are the sample's share of its request's.
CREATE TABLE samples (
    model_id INTEGER NOT NULL, question_id INTEGER NOT NULL, sample_index INTEGER NOT NULL,
    status TEXT NOT NULL, answer TEXT, finish_reason TEXT, score REAL, note TEXT, cause TEXT,
    retryable INTEGER NOT NULL DEFAULT 0,
    input_tokens REAL, output_tokens REAL, cost REAL, grading_cost REAL, latency REAL, attempt_id INTEGER,
    PRIMARY KEY (model_id, question_id, sample_index)) WITHOUT ROWID;
"""

_FROM_VERSION_1 = (
    "ALTER TABLE questions ADD COLUMN key BLOB",
    "ALTER TABLE questions ADD COLUMN position INTEGER",
    "ALTER TABLE models ADD COLUMN judge INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE attempts ADD COLUMN role TEXT NOT NULL DEFAULT 'answer'",
    "UPDATE questions SET position = id, key = question_key(body), digest = grading_digest(body)",
    "CREATE INDEX questions_by_key ON questions (key)",
    "CREATE INDEX questions_by_position ON questions (position)",
)


class Database:
    """The file of a store, and how it is read and written.

    Args:
        folder: The store's folder.
        create: Whether an absent store is made. An existing one that cannot be written is then an error; else it is
            opened for reading only.

    Raises:
        StoreError: The store is absent, damaged, cannot be written, or is of a newer schema.
    """

    def __init__(self, folder: str | os.PathLike[str], *, create: bool = True) -> None:
        """Open the file; a writer thread starts with the first write."""
        self.folder = Path(folder)
        self.path = self.folder / FILE
        self.read_only = False
        self._writer: _Writer | None = None
        if not create and not self.path.is_file():
            raise StoreError(f"{self.folder}: holds no calibration store ({FILE})")
        if self.folder.exists() and not self.folder.is_dir():
            raise StoreError(f"{self.folder}: is a file; name a folder")
        if not create and not (os.access(self.folder, os.W_OK) and os.access(self.path, os.W_OK)):
            self.read_only = True
        try:
            if self.read_only:
                with closing(self._connect()) as connection:
                    self._check_version(connection)
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".open.lock"), closing(self._connect()) as connection:
                self._make_or_migrate(connection)
        except OSError as error:
            raise StoreError(f"{self.folder}: cannot be written: {error.strerror}") from None
        except sqlite3.OperationalError as error:
            raise StoreError(f"{self.path}: cannot be written: {error}") from None
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path}: is not a calibration store: {error}") from None

    def _connect(self) -> sqlite3.Connection:
        if self.read_only:
            return _read_only(self.path)
        connection = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_version(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path}: has schema {version}, newer than {SCHEMA_VERSION}; upgrade langchain-avengers"
            )
        if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StoreError(f"{self.path}: is some other SQLite file")
        return version

    def _make_or_migrate(self, connection: sqlite3.Connection) -> None:
        version = self._check_version(connection)
        if version == 0:
            connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={SCHEMA_VERSION};COMMIT;")
        elif version == 1:
            _migrate(connection)

    def __enter__(self) -> Self:
        """The store itself; closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Write what is queued."""
        if self._writer:
            writer, self._writer = self._writer, None
            writer.close()

    # Writing: a function of the connection, run in the writer thread inside a transaction shared with others.

    def _queue(self) -> _Writer:
        if self.read_only:
            raise StoreError(f"{self.path}: cannot be written")
        if self._writer is None:
            self._writer = _Writer(self._connect, self.path)
        return self._writer

    def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run `job` in a transaction; return when it is committed."""
        future: Future[T] = Future()
        self._queue().put(job, (None, future))
        return future.result()

    async def awrite(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """As `write`, without blocking the loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue().put(job, (loop, future))
        return await future

    def post(self, job: Callable[[sqlite3.Connection], object]) -> None:
        """Queue a write nobody waits for; it is written before any later one."""
        self._queue().put(job, None)

    def post_rows(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Queue one statement for each row of parameters."""
        self.post(lambda connection: connection.executemany(statement, rows))

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
            raise StoreError(f"{self.path}: cannot be read: {error}") from None


def _migrate(connection: sqlite3.Connection) -> None:
    """From schema 1, that of version 0.1.0."""
    connection.create_function("question_key", 1, lambda body: Question.from_json(body).key())
    connection.create_function("grading_digest", 1, lambda body: Question.from_json(body).grading_digest())
    connection.execute("BEGIN IMMEDIATE")
    for statement in _FROM_VERSION_1:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _read_only(path: Path) -> sqlite3.Connection:
    """A connection to a file that cannot be written; an old schema is migrated in memory."""
    address = path.absolute().as_uri()
    try:
        connection = sqlite3.connect(f"{address}?mode=ro", uri=True, isolation_level=None)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.OperationalError:  # WAL needs a file beside it, which cannot be made either
        connection.close()
        connection = sqlite3.connect(f"{address}?immutable=1", uri=True, isolation_level=None)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != 1:
        return connection
    memory = sqlite3.connect(":memory:", isolation_level=None)
    with closing(connection):
        connection.backup(memory)
    _migrate(memory)
    return memory


def storable(text: str) -> str:
    """The text as SQLite and JSON can hold it: half of a surrogate pair becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


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
        """All in one transaction; when one job fails, each in its own, so that only its owner hears of it."""
        results: list[tuple[_Waiter | None, Any, BaseException | None]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job, waiter in batch:
                results.append((waiter, job(connection), None))
            connection.execute("COMMIT")
        except Exception as caught:
            error: Exception = caught
            if isinstance(caught, sqlite3.Error):
                error = StoreError(f"{self._path}: cannot be written: {caught}")
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if len(batch) > 1:
                for single in batch:
                    self._write(connection, [single])
                return
            results = [(batch[0][1], None, error)]
            if batch[0][1] is None:  # nobody waits
                if isinstance(error, StoreError):
                    self._failure = error  # the next write tells
                else:
                    logger.error("%s: one entry was not written: %s", self._path, error)
        _tell(results)


_Waiter = tuple[asyncio.AbstractEventLoop | None, "asyncio.Future[Any] | Future[Any]"]
_Job = tuple[Callable[[sqlite3.Connection], Any], _Waiter | None]


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
