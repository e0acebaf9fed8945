"""A pool of bad servers, and a runner that is killed: used by the tests here and, at full size, by the benchmark."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.openai_server import server_process

# One kind of trouble a server, as real ones have it.
TROUBLES: dict[str, list[str]] = {
    "limited": ["rate_limit:0.1", "error:0.02"],
    "broken": ["error:0.08", "garbage:0.05", "cut:0.02", "drop:0.02"],
    "hanging": ["hang:0.01", "ignore_n:1"],
    "dying": ["die:0.004:1.5"],
}
ACCURACY = {"limited": 0.9, "broken": 0.7, "hanging": 0.5, "dying": 0.3}


def write_questions(path: Path, count: int) -> None:
    """Sums to ask, with their answers, and the file of answers the servers know."""
    rows = [
        {"query": f"What is {i} + {i % 7}?", "answer": i + i % 7, "task": f"t{i % 3}"} for i in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    known = {row["query"]: str(row["answer"]) for row in rows}
    path.with_suffix(".answers.json").write_text(json.dumps(known))


@contextlib.contextmanager
def servers(
    folder: Path, troubles: Mapping[str, Sequence[str]] = TROUBLES, **entry: Any
) -> Iterator[dict[str, str]]:
    """A server process a model; writes `folder/pool.yaml`, yields the addresses."""
    with contextlib.ExitStack() as stack:
        urls = {}
        for number, (name, faults) in enumerate(troubles.items()):
            arguments = [
                "--models",
                name,
                "--seed",
                str(number),
                "--answers",
                str(folder / "questions.answers.json"),
            ]
            arguments += ["--accuracy", f"{name}={ACCURACY.get(name, 1.0)}"]
            for fault in faults:
                arguments += ["--fault", fault]
            urls[name], _ = stack.enter_context(server_process(*arguments))
        # The seed makes a reply depend on model, question and choice alone, not on what was asked before.
        models = {
            name: {"base_url": url, "options": {"seed": 7}, "price": {"input": 0.1, "output": 0.4},
                   "timeout": 2.0, "max_concurrency": 16, **entry}
            for name, url in urls.items()
        }  # fmt: skip
        (folder / "pool.yaml").write_text(yaml.safe_dump({"models": models}))
        yield urls


def command(folder: Path, out: Path, samples: int, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "tests.integration_tests.calibration.harness", "calibrate", str(folder / "pool.yaml"),
        str(folder / "questions.jsonl"), "--out", str(out), "--grader", "number", "--samples", str(samples), *more,
    ]  # fmt: skip


def run_to_end(folder: Path, out: Path, samples: int, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, out, samples, *more), capture_output=True, text=True, timeout=1200)


def run_killed(folder: Path, out: Path, samples: int, kills: int, seed: int = 0) -> int:
    """Run, kill -9 at random moments so often, run to the end; how many kills hit a run at work.

    A moment is drawn as a share of the work left, so that every kill falls into a run.
    """
    dice, hits = random.Random(seed), 0
    for left in range(kills, 0, -1):
        before = answered(out)
        total = sum(1 for _ in (folder / "questions.jsonl").open()) * len(TROUBLES) * samples
        goal = before + (total - before) * dice.uniform(0.02, 0.9) / left
        process = subprocess.Popen(
            command(folder, out, samples), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            while process.poll() is None and answered(out) < goal:
                time.sleep(dice.uniform(0.01, 0.05))
            hits += process.poll() is None
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    done = run_to_end(folder, out, samples)
    assert done.returncode == 0, done.stderr
    return hits


def read(out: Path, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(
        sqlite3.connect(f"file:{out / 'calibration.sqlite'}?mode=ro", uri=True)
    ) as connection:
        return connection.execute(query).fetchall()


def answered(out: Path) -> int:
    try:
        return int(read(out, "SELECT count(*) FROM samples WHERE answer IS NOT NULL")[0][0])
    except sqlite3.OperationalError:  # not there yet
        return 0


def held(out: Path) -> list[tuple[Any, ...]]:
    """Cells that a runner works on."""
    try:
        return read(out, "SELECT * FROM claims")
    except sqlite3.OperationalError:  # not there yet
        return []


def attempts(out: Path) -> dict[str, dict[str, int]]:
    """Requests stored: model -> status -> count."""
    found: dict[str, dict[str, int]] = {}
    for name, status, count in read(
        out,
        "SELECT m.name, status, count(*) FROM attempts JOIN models AS m ON m.id = model_id GROUP BY m.name, status",
    ):
        found.setdefault(name, {})[status] = count
    return found


def bounds(by_status: Mapping[str, int]) -> tuple[int, int]:
    """The least and the most requests a server may have counted, from what is stored of one model.

    What was `answered` or `failed` it has seen, what was `unreached` it has not; of what was on its way when the
    runner was killed (`lost`) nobody knows.
    """
    assert by_status.keys() <= {"answered", "failed", "unreached", "lost"}, by_status
    seen = by_status.get("answered", 0) + by_status.get("failed", 0)
    return seen, seen + by_status.get("lost", 0)


_ASKED_AGAIN = """
WITH kept AS (SELECT attempt_id, count(*) AS n FROM samples WHERE answer IS NOT NULL GROUP BY attempt_id),
     stored AS (
        SELECT model_id, question_id, count(*) AS n FROM samples
        WHERE answer IS NOT NULL GROUP BY model_id, question_id),
     answered AS (
        SELECT model_id, question_id, sum(coalesce(kept.n, 0)) AS n, min(coalesce(kept.n, 0)) AS fewest
        FROM attempts LEFT JOIN kept ON attempt_id = attempts.id
        WHERE status = 'answered' GROUP BY model_id, question_id)
SELECT count(*) FROM answered LEFT JOIN stored USING (model_id, question_id)
WHERE answered.n IS NOT stored.n OR fewest = 0
"""


def asked_again(out: Path) -> int:
    """Cells with an answer that another request's replaced: asked again though it was stored."""
    return int(read(out, _ASKED_AGAIN)[0][0])


def counts(url: str) -> dict[str, int]:
    """A server's own counts."""
    for _ in range(50):
        try:
            return dict(httpx.get(url.removesuffix("/v1") + "/counts").json())
        except httpx.TransportError:  # dead, and back soon
            time.sleep(0.1)
    raise TimeoutError(url)


def table(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "table.jsonl").read_text().splitlines()]


if __name__ == "__main__":
    from langchain_avengers.cli import main

    main(sys.argv[1:])
