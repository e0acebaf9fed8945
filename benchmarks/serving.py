"""What `avengers serve` adds to a call, how it bears many at once, faults of its members, and long running.

`python -m benchmarks serving`. The server runs in processes of its own; the client is aiohttp in this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.common import print_table, save_result
from benchmarks.pipeline import QUESTION, Instant, _router
from langchain_avengers import ChatAvengers
from langchain_avengers.pool import Pool
from langchain_avengers.serving.app import ServerSettings, create_app
from langchain_avengers.serving.engine import Engine
from tests.fakes import HashEmbeddings, toy_router
from tests.openai_server import server_process

LIMITS = {"overhead ms": 3.0, "p99 s": 1.0}
BODY = {"model": "avengers", "messages": [{"role": "user", "content": QUESTION}]}
FAULTS = ("error:0.15", "rate_limit:0.1", "drop:0.05")


class _InProcess(Engine):
    """A pool whose members answer in this process after `options["delay"]` seconds."""

    def __post_init__(self) -> None:
        self.model = _pool(self.options["delay"], self.options["n"])

    async def reload(self) -> str | None:
        return None


def _pool(delay: float, n: int) -> ChatAvengers:
    members = {name: Instant(delay=delay) for name in ("sums", "places")}
    return ChatAvengers(
        router=_router(), models=members, strategy="self_consistency", n_samples=n, sticky=True
    )


def app() -> Any:
    """What each process of the server runs, as the variable `BENCHMARK` says."""
    what = json.loads(os.environ["BENCHMARK"])
    if "pool" in what:
        settings = ServerSettings(router=what["router"], pool=what["pool"], reload_seconds=0)
        options = {"n_samples": 3, "strategy": "self_consistency", "max_retries": 4}
        engine = Engine(settings.router, Pool.read(settings.pool), options, HashEmbeddings())
    else:
        settings = ServerSettings(router=Path(), pool=Path(), reload_seconds=0, max_concurrent=1000)
        engine = _InProcess(Path(), Pool([]), what)
    return create_app(settings, engine=engine)


def _run_server(port: int, workers: int) -> None:
    import uvicorn

    uvicorn.run(
        "benchmarks.serving:app", factory=True, port=port, workers=workers, access_log=False,
        log_config=None, backlog=4096,
    )  # fmt: skip


@contextlib.contextmanager
def server(what: dict[str, Any], workers: int = 1) -> Iterator[tuple[str, int]]:
    """A server's address and process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as metrics:
        environment = {**os.environ, "BENCHMARK": json.dumps(what)}
        if workers > 1:
            environment["PROMETHEUS_MULTIPROC_DIR"] = metrics
        command = [sys.executable, "-m", "benchmarks.serving", str(port), str(workers)]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{port}"
        try:
            asyncio.run(_until_ready(url, process))
            yield url, process.pid
        finally:
            process.terminate()
            process.wait(60)


async def _until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(1200):
            assert process.poll() is None, "the server ended"
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/readyz") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.05)
    raise TimeoutError("the server did not start")


def _session(connections: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections), timeout=aiohttp.ClientTimeout(total=120)
    )


async def _ask(session: aiohttp.ClientSession, url: str) -> tuple[int, float]:
    """Status and seconds of one request."""
    start = time.perf_counter()
    async with session.post(f"{url}/v1/chat/completions", json=BODY) as response:
        await response.read()
        return response.status, time.perf_counter() - start


@contextlib.contextmanager
def undisturbed(pid: int) -> Iterator[bool]:
    """Server and client before all other programs of this machine, when it may be: what a quiet machine would show."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    pids = [
        0,
        *(
            int(thread.name)
            for each in [str(pid), *children]
            for thread in Path(f"/proc/{each}/task").iterdir()
        ),
    ]
    allowed = True
    try:
        for each in pids:
            os.sched_setscheduler(each, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        allowed = False
    try:
        yield allowed
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


async def overhead(url: str, rounds: int = 400) -> dict[str, float]:
    """Median milliseconds of a call in process, and of the same call through the server, in turn."""
    pool = _pool(0.0, 5)
    inside, through = [], []
    async with _session(1) as session:
        for _ in range(20):
            await pool.ainvoke(QUESTION)
            await _ask(session, url)
        for _ in range(rounds):
            start = time.perf_counter()
            await pool.ainvoke(QUESTION)
            inside.append(time.perf_counter() - start)
            through.append((await _ask(session, url))[1])
    medians = {"in process": 1000 * statistics.median(inside), "served": 1000 * statistics.median(through)}
    return {**medians, "overhead": medians["served"] - medians["in process"]}


async def at_once(url: str, many: int = 500) -> dict[str, float]:
    """Seconds of `many` concurrent requests; their connections are open before."""
    async with _session(many) as session:
        await asyncio.gather(*(_ask(session, url) for _ in range(many)))
        found = await asyncio.gather(*(_ask(session, url) for _ in range(many)))
    times = [seconds for _, seconds in found]
    return {
        "answered": sum(status == 200 for status, _ in found), "p50": statistics.median(times),
        "p99": _quantile(times, 0.99), "slowest": max(times),
    }  # fmt: skip


async def many(url: str, count: int, concurrent: int) -> tuple[dict[int, int], float]:
    """Ask `count` times, `concurrent` at once: statuses, and seconds of the slowest."""
    statuses: dict[int, int] = {}
    slowest, left = 0.0, iter(range(count))
    async with _session(concurrent) as session:

        async def work() -> None:
            nonlocal slowest
            for _ in left:
                status, seconds = await _ask(session, url)
                statuses[status] = statuses.get(status, 0) + 1
                slowest = max(slowest, seconds)

        await asyncio.gather(*(work() for _ in range(concurrent)))
    return statuses, slowest


async def _metric(url: str, name: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        text = await response.text()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


def faults(count: int) -> dict[str, Any]:
    """Requests while 30 % of the members' requests fail: what came of them, and whose count of dollars agrees."""
    arguments = ["--models", "sums,places"]
    for fault in FAULTS:
        arguments += ["--fault", fault]
    with tempfile.TemporaryDirectory() as name, server_process(*arguments) as (members, _):
        folder = Path(name)
        toy_router().save(folder / "router")
        entry = {"base_url": members, "price": {"input": 1.0, "output": 2.0}, "max_concurrency": 200}
        pool = {"models": dict.fromkeys(("sums", "places"), entry)}
        (folder / "pool.yaml").write_text(json.dumps(pool))
        what = {"router": str(folder / "router"), "pool": str(folder / "pool.yaml")}
        with server(what) as (url, _):
            started = time.perf_counter()
            statuses, slowest = asyncio.run(many(url, count, 200))
            seconds = time.perf_counter() - started
            dollars = asyncio.run(_metric(url, "avengers_dollars_total"))
            failed = asyncio.run(_metric(url, "avengers_member_failures_total"))
        counts = asyncio.run(_counts(members))
    theirs = (counts["prompt_tokens"] + 2 * counts["completion_tokens"]) / 1e6
    return {
        "requests": count, "statuses": {str(status): n for status, n in statuses.items()}, "slowest s": slowest,
        "seconds": seconds, "samples failed for good": failed, "dollars": dollars, "dollars of members": theirs,
    }  # fmt: skip


async def _counts(url: str) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url.removesuffix('/v1')}/counts") as response,
    ):
        found: dict[str, Any] = await response.json()
        return found


def memory(url: str, pid: int, count: int) -> list[dict[str, float]]:
    """Resident memory of the server, in MB, after each fifth of `count` requests."""
    found = []
    for step in range(5):
        asyncio.run(many(url, count // 5, 50))
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        (kilobytes,) = re.findall(r"VmRSS:\s+(\d+)", status)
        found.append({"requests": count // 5 * (step + 1), "MB": int(kilobytes) / 1024})
    return found


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main(count: int = 10_000, long: int = 20_000) -> None:
    load = [os.getloadavg()[0]]
    with server({"delay": 0.0, "n": 5}) as (url, pid), undisturbed(pid) as alone:
        single = asyncio.run(overhead(url))
    concurrent = {}
    for workers in (1, 2):
        with server({"delay": 0.1, "n": 1}, workers) as (url, pid), undisturbed(pid):
            concurrent["1 process" if workers == 1 else f"{workers} processes"] = asyncio.run(at_once(url))
    with server({"delay": 0.0, "n": 5}) as (url, pid):
        resident = memory(url, pid, long)
    bad = faults(count)
    load.append(os.getloadavg()[0])
    print_table("One call, ms (median)", list(single), [list(single.values())])
    print_table(
        "500 at once, members that take 100 ms",
        ["", *next(iter(concurrent.values()))],
        [[name, *each.values()] for name, each in concurrent.items()],
    )
    print_table("30 % of the members' requests fail", ["", ""], [[k, str(v)] for k, v in bad.items()])
    print_table("Memory", ["requests", "MB"], [list(each.values()) for each in resident])
    found = {"milliseconds": single, "at once": concurrent, "faults": bad, "memory": resident}
    save_result("serving", {**found, "limits": LIMITS, "undisturbed": alone, "load": load})


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _run_server(int(sys.argv[1]), int(sys.argv[2]))
    else:
        main()
