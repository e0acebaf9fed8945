"""Calibration under load: throughput, memory, and a table that survives kill -9.

Of the requests stored, those `answered` and `failed` were seen by the server, those `unreached` were not, and of
those `lost`, on their way when the runner was killed, nobody knows: so without kills its count must be exact.

`python benchmarks/calibration.py [throughput] [memory] [chaos]` runs the parts named, or all of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import save_result
from tests.integration_tests.calibration import harness

MODELS = ("a", "b", "c", "d")


async def instant(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The least a chat completion server can do."""
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    request = json.loads(body)
    n = request.get("n") or 1
    choices = [
        {"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": "Answer: 7"}}
        for i in range(n)
    ]
    usage = {"prompt_tokens": 10, "completion_tokens": 4 * n, "total_tokens": 10 + 4 * n}
    data = json.dumps({"id": "x", "object": "chat.completion", "created": 1, "model": request["model"],
                       "choices": choices, "usage": usage}).encode()  # fmt: skip
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": data})


def serve() -> None:
    """Run `instant` on a free port; print its address."""
    import socket

    import uvicorn

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", flush=True)
    config = uvicorn.Config(instant, log_level="error", access_log=False)  # type: ignore[arg-type]
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


def questions(count: int) -> Iterator[dict[str, Any]]:
    for i in range(count):
        yield {"query": f"What is {i} + 7, and how do you know?", "answer": 7, "task": f"t{i % 4}"}


def throughput(count: int = 1000) -> dict[str, Any]:
    """Stored and graded answers a second, runner and servers on this machine."""
    from langchain_avengers.calibration.runner import calibrate
    from langchain_avengers.pool import ModelSpec, Pool

    processes = [
        subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        urls = [process.stdout.readline().strip() for process in processes if process.stdout]
        pool = Pool([ModelSpec(name=name, base_url=urls[i % 2]) for i, name in enumerate(MODELS)])
        result: dict[str, Any] = {"load": [round(os.getloadavg()[0], 1)]}
        for samples in (1, 3):
            with tempfile.TemporaryDirectory() as folder:
                # Imports and connections first.
                calibrate(pool, list(questions(20)), "number", out=folder, samples=samples)
                started, cpu = time.perf_counter(), time.process_time()
                calibrate(pool, list(questions(count)), "number", out=folder, samples=samples)
                answers = (count - 20) * len(MODELS) * samples
                title = f"samples={samples}"
                result[title] = {
                    "answers_per_second": round(answers / (time.perf_counter() - started), 1),
                    "runner_cpu_ms_per_answer": round((time.process_time() - cpu) / answers * 1000, 2),
                }
                print(title, result[title], flush=True)
        result["load"].append(round(os.getloadavg()[0], 1))
        return result
    finally:
        for process in processes:
            process.kill()


def memory_of(cells: int, asked: int) -> None:
    """Calibrate so many cells on models in this process, of which all but `asked` are in the store already; print
    peak memory (from reading the dataset to writing the table) and rate."""
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

    from langchain_avengers.calibration.options import CalibrationOptions
    from langchain_avengers.calibration.run import Calibration

    class Instant(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "instant"

        def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
            return ChatResult(generations=[ChatGeneration(message=AIMessage("7"))])

        async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
            return self._generate()

    def equal(answer: str, reference: int) -> bool:
        return int(answer) == reference

    async def grade(answer: str, reference: int) -> bool:  # async: graded in the loop, not in a thread each
        return equal(answer, reference)

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        models = {name: Instant() for name in MODELS}
        run = Calibration.open(models, questions(cells // len(MODELS)), grade, out, CalibrationOptions())
        done = (cells - asked) // len(MODELS)
        ids = run.store.add_models(dict.fromkeys(MODELS))
        for id_ in ids.values():
            run.store.write(
                lambda connection, id_=id_: (
                    connection.execute(
                        "INSERT INTO samples (model_id, question_id, sample_index, status, answer, score) "
                        "SELECT ?, id, 0, 'graded', '7', 1.0 FROM questions WHERE id <= ?",
                        (id_, done),
                    )
                    and None
                )
            )
        started = time.perf_counter()
        asyncio.run(run.run(threading.Event()))
        rate = asked / (time.perf_counter() - started)
        run.store.export(out / "table.jsonl")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        size = (out / "calibration.sqlite").stat().st_size / 2**20
        graded = sum(state.graded for state in run.store.status())
    print(json.dumps({
        "cells": graded, "asked": asked, "peak_mb": round(peak, 1), "store_mb": round(size, 1),
        "asked_per_second": round(rate, 1),
    }))  # fmt: skip


def memory(asked: int = 10_000) -> list[dict[str, Any]]:
    """Peak memory of the runner by number of cells, each in a process of its own."""
    result = []
    for cells in (10_000, 100_000, 1_000_000):
        command = [sys.executable, __file__, "memory-of", str(cells), str(min(cells, asked))]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        result.append(json.loads(done.stdout))
        print(result[-1], flush=True)
    return result


def chaos(count: int = 2000, samples: int = 3, kills: int = 10) -> dict[str, Any]:
    """An undisturbed run and one killed so often, against servers with every kind of fault."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        harness.write_questions(path / "questions.jsonl", count)
        with harness.servers(path) as urls:
            result: dict[str, Any] = {"questions": count, "models": len(urls), "samples": samples}
            before = dict.fromkeys(urls, 0)
            for name in ("calm", "killed"):
                started = time.perf_counter()
                if name == "calm":
                    done = harness.run_to_end(path, path / name, samples)
                    if done.returncode:
                        raise RuntimeError(done.stderr)
                else:
                    result["kills"] = harness.run_killed(path, path / name, samples, kills)
                result[f"{name}_seconds"] = round(time.perf_counter() - started, 1)
                counted = {model: harness.counts(url)["requests"] for model, url in urls.items()}
                result[f"{name}_requests"] = {
                    model: {**by_status, "server": counted[model] - before[model]}
                    for model, by_status in harness.attempts(path / name).items()
                }
                result[f"{name}_accounted"] = {}
                for model, row in result[f"{name}_requests"].items():
                    least, most = harness.bounds({k: v for k, v in row.items() if k != "server"})
                    result[f"{name}_accounted"][model] = least <= row["server"] <= most
                before = counted
                print(name, result[f"{name}_seconds"], result[f"{name}_requests"], flush=True)
        calm, killed = harness.table(path / "calm"), harness.table(path / "killed")
        result["rows"] = len(calm)
        result["tables_equal"] = calm == killed
        result["cells_measured"] = sum(len(row["scores"]) for row in killed)
        result["asked_again"] = harness.asked_again(path / "killed")
    return result


PARTS = {"throughput": throughput, "memory": memory, "chaos": chaos}


def main(names: list[str] | None = None) -> None:
    results = {}
    for name in names or list(PARTS):
        results[name] = PARTS[name]()  # type: ignore[operator]
        print(name, json.dumps(results[name], indent=2), flush=True)
        save_result(f"calibration_{name}", results[name])


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve()
    elif sys.argv[1:2] == ["memory-of"]:
        memory_of(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main(sys.argv[1:])
