"""What a server keeps: answered requests, feedback on them, and where each session stands. SQLite, WAL.

Several processes may share one file. A feedback that was acknowledged is on disk. Queries are kept only when asked to.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from langchain_avengers.errors import PoolError
from langchain_avengers.serving.protocol import ApiError

T = TypeVar("T")

SCHEMA = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS requests (
    id TEXT PRIMARY KEY, time REAL NOT NULL, key_name TEXT, router TEXT NOT NULL, model TEXT NOT NULL,
    strategy TEXT NOT NULL, clusters TEXT NOT NULL, distance REAL, novel INTEGER NOT NULL, propensity REAL NOT NULL,
    confidence REAL, cost REAL, query TEXT
);
CREATE INDEX IF NOT EXISTS requests_by_key ON requests (key_name, time);
CREATE TABLE IF NOT EXISTS feedback (
    id INTEGER PRIMARY KEY, request_id TEXT NOT NULL REFERENCES requests (id), time REAL NOT NULL,
    score REAL NOT NULL CHECK (score BETWEEN 0 AND 1), source TEXT NOT NULL, comment TEXT
);
CREATE INDEX IF NOT EXISTS feedback_by_request ON feedback (request_id);
CREATE TABLE IF NOT EXISTS learned (feedback_id INTEGER PRIMARY KEY REFERENCES feedback (id), time REAL NOT NULL);
CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, time REAL NOT NULL, answer TEXT NOT NULL);
"""


@dataclass(frozen=True)
class JudgedRequest:
    """An answered request with feedback on it that no router has learned from.

    Attributes:
        request_id: The request.
        query: The text it was routed by; None when queries were not kept.
        model: The model that answered.
        propensity: The chance with which the router chose that model, in (0, 1].
        score: Mean of the feedback's scores, in [0, 1].
        feedback: Ids of the feedback.
    """

    request_id: str
    query: str | None
    model: str
    propensity: float
    score: float
    feedback: tuple[int, ...]


class Store:
    """One SQLite file behind one thread, so that the event loop never waits for a disk.

    Args:
        path: The file; made when it is missing.
        keep_queries: Whether requests are stored with the text they were routed by.

    Raises:
        PoolError: The file cannot be opened, or a newer version wrote it.
    """

    def __init__(self, path: Path, *, keep_queries: bool = False) -> None:
        """Open the file."""
        self.path, self.keep_queries = path, keep_queries
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="avengers-store")
        try:
            self._connection = self._thread.submit(self._open).result()
        except sqlite3.Error as error:
            raise PoolError(f"{path}: cannot be opened as a store: {error}") from None

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA:
            raise PoolError(f"{self.path}: a newer version of langchain-avengers wrote this store")
        connection.executescript(_TABLES)
        connection.execute(f"PRAGMA user_version={SCHEMA}")
        return connection

    async def _run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, job, self._connection)

    async def record(
        self,
        request_id: str,
        key_name: str | None,
        router: str,
        about: Mapping[str, Any],
        query: str,
        propensity: float = 1.0,
    ) -> None:
        """Keep what an answer says of itself: what feedback on it will be judged by."""
        decision, now = about["decision"], time.time()
        row = (
            request_id, now, key_name, router, about["model"], about["strategy"],
            json.dumps(decision["clusters"]), decision["distance"], bool(decision["novel"]), propensity,
            about["vote"]["confidence"], about["cost"], query if self.keep_queries else None,
        )  # fmt: skip
        marks = ", ".join("?" * len(row))
        await self._run(lambda db: db.execute(f"INSERT INTO requests VALUES ({marks})", row))

    async def spent_today(self, key_name: str) -> float:
        """US dollars that a key's requests have cost since midnight UTC."""
        midnight = time.time() // 86400 * 86400
        query = "SELECT coalesce(sum(cost), 0) FROM requests WHERE key_name = ? AND time >= ?"
        (spent,) = await self._run(lambda db: db.execute(query, (key_name, midnight)).fetchone())
        return float(spent)

    async def add_feedback(
        self,
        request_id: str,
        score: float,
        comment: str | None,
        *,
        key_name: str | None,
        source: str = "client",
    ) -> int:
        """Keep a judgement of an answer, on disk when this returns.

        Raises:
            ApiError: 404: no such request was answered for this key.
        """

        def job(db: sqlite3.Connection) -> int:
            owner = db.execute("SELECT key_name FROM requests WHERE id = ?", (request_id,)).fetchone()
            if owner is None or (key_name is not None and owner[0] != key_name):
                raise ApiError(404, "no answered request has this id", param="request_id")
            db.execute("PRAGMA synchronous=FULL")
            try:
                cursor = db.execute(
                    "INSERT INTO feedback (request_id, time, score, source, comment) VALUES (?, ?, ?, ?, ?)",
                    (request_id, time.time(), score, source, comment),
                )
            finally:
                db.execute("PRAGMA synchronous=NORMAL")
            return int(cursor.lastrowid or 0)

        return await self._run(job)

    def judged(self) -> list[JudgedRequest]:
        """Requests with feedback that no router has learned from, oldest first."""
        select = (
            "SELECT r.id, r.query, r.model, r.propensity, avg(f.score), group_concat(f.id) FROM requests r "
            "JOIN feedback f ON f.request_id = r.id WHERE f.id NOT IN (SELECT feedback_id FROM learned) "
            "GROUP BY r.id ORDER BY r.time, r.id"
        )
        rows = self._thread.submit(lambda: self._connection.execute(select).fetchall()).result()
        return [
            JudgedRequest(
                request_id, query, model, propensity, score, tuple(int(each) for each in feedback.split(","))
            )
            for request_id, query, model, propensity, score, feedback in rows
        ]

    def mark_learned(self, requests: Iterable[JudgedRequest]) -> None:
        """Note that a router has learned from this feedback."""
        rows = [(number, time.time()) for request in requests for number in request.feedback]
        insert = "INSERT OR IGNORE INTO learned VALUES (?, ?)"

        def job() -> None:
            with self._connection:
                self._connection.execute("BEGIN")
                self._connection.executemany(insert, rows)

        self._thread.submit(job).result()

    async def session(self, session_id: str) -> dict[str, Any] | None:
        """What a session's last answer says of itself."""
        query = "SELECT answer FROM sessions WHERE id = ?"
        found = await self._run(lambda db: db.execute(query, (session_id,)).fetchone())
        return json.loads(found[0]) if found else None

    async def keep_session(self, session_id: str, answer: Mapping[str, Any]) -> None:
        """Keep what a session's last answer says of itself."""
        row = (session_id, time.time(), json.dumps(answer))
        await self._run(lambda db: db.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)", row))

    async def forget_sessions(self, seconds: float) -> None:
        """Forget sessions that were not used for so long."""
        before = time.time() - seconds
        await self._run(lambda db: db.execute("DELETE FROM sessions WHERE time < ?", (before,)))

    def close(self) -> None:
        """Write what is on its way and close the file."""
        self._thread.submit(self._connection.close).result()
        self._thread.shutdown()
