"""Servers that answer nonsense, too much, too slowly or never; signals; and what each leaves in the store."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from langchain_avengers.calibration.runner import acalibrate
from langchain_avengers.calibration.store import Store
from langchain_avengers.errors import CalibrationError
from langchain_avengers.pool import ModelSpec, Pool, Price
from tests.integration_tests.calibration import harness
from tests.openai_server import Fault, OpenAIServer

Start = Callable[..., OpenAIServer]
QUESTIONS = [{"query": f"What is {i} + 3?", "answer": i + 3} for i in range(4)]


def completion(content: str = "5", **usage: Any) -> bytes:
    """The body of an answer."""
    body = {
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, **usage},
    }  # fmt: skip
    return json.dumps(body).encode()


def response(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    lines = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


@contextlib.asynccontextmanager
async def raw_server(reply: Callable[[], Any]) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that sends what `reply` gives, bytes or an iterator of them; its address, and the requests it saw."""
    seen: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.lower().split(b"\r\n")
                        if b"content-length" in line
                    ),
                    0,
                )
                await reader.readexactly(length)
                seen.append(head)
                parts = reply()
                for part in [parts] if isinstance(parts, bytes) else parts:
                    writer.write(part)
                    await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", seen


def pool(url: str, **fields: Any) -> Pool:
    return Pool([ModelSpec(name="m", base_url=url, timeout=20, max_concurrency=2, **fields)])


@pytest.mark.parametrize("content", ["5 \ud83d", "\udfff 5", "5 \x00", "5 \U0001f600"])
async def test_half_an_emoji_in_an_answer_is_stored(tmp_path: Path, content: str) -> None:
    async with raw_server(lambda: response(completion(content))) as (url, seen):
        table = await acalibrate(pool(url), QUESTIONS, "number", out=tmp_path)
        await acalibrate(pool(url), QUESTIONS, "number", out=tmp_path)
    assert len(table) == len(seen) == 4
    with Store(tmp_path) as store:
        assert store.status()[0].attempts == {"answered": 4}
        store.export(tmp_path / "samples.jsonl")


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 10**30},
        {"prompt_tokens": -(10**9), "completion_tokens": -5},
        {"prompt_tokens": 10**15},
    ],
)
async def test_impossible_usage_is_unknown_usage(tmp_path: Path, usage: dict[str, int]) -> None:
    async with raw_server(lambda: response(completion(**usage))) as (url, seen):
        with pytest.warns(UserWarning, match="reports no usage"):
            table = await acalibrate(
                pool(url, price=Price(input=1, output=1)), QUESTIONS, "number", out=tmp_path, max_cost=1.0
            )
    assert len(table) == len(seen) == 4
    assert table.costs is None
    assert Store(tmp_path).cost() == 0.0


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b'{"choices": null}',
        b'{"choices": []}',
        b'{"choices": [{"message": null}]}',
        b"\xff",
        b"{" * 9999,
    ],
)
async def test_a_malformed_answer_is_a_failed_cell_and_every_request_is_counted(
    tmp_path: Path, body: bytes
) -> None:
    replies = iter([response(body)] * 2)
    async with raw_server(lambda: next(replies, response(completion("3")))) as (url, seen):
        with pytest.warns(UserWarning, match="not everything was measured"):
            table = await acalibrate(pool(url), QUESTIONS, "number", out=tmp_path, max_attempts=1, passes=1)
    assert len(table) == 2
    assert Store(tmp_path).status()[0].attempts == {"answered": 2, "failed": 2}
    assert len(seen) == 4


async def test_one_cell_that_breaks_the_runner_itself_does_not_end_the_run(
    tmp_path: Path, openai_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    from langchain_avengers.calibration.store import Store as Kept

    keep = Kept.answer_attempt

    async def poisoned(self: Store, *args: Any, question_id: int = 0, **kwargs: Any) -> None:
        if question_id == 2:
            raise OverflowError("too large")
        await keep(self, *args, question_id=question_id, **kwargs)

    monkeypatch.setattr(Kept, "answer_attempt", poisoned)
    with pytest.warns(UserWarning, match="not storable"):
        table = await acalibrate({"m": openai_server().chat_model("m")}, QUESTIONS, "number", out=tmp_path)
    assert len(table) == 3
    assert Store(tmp_path).status()[0].attempts == {"answered": 3, "failed": 1}


@pytest.mark.parametrize("retry_after", [None, "0", "-5", "soon", "nan", "1e400", "99999999"])
async def test_an_endless_rate_limit_ends(tmp_path: Path, retry_after: str | None) -> None:
    headers = {} if retry_after is None else {"retry_after": retry_after}
    started = time.monotonic()
    async with raw_server(lambda: response(b"{}", "429 Too Many", **headers)) as (url, seen):
        with (
            pytest.warns(UserWarning, match="not everything was measured"),
            pytest.raises(CalibrationError, match="rate limited"),
        ):
            await acalibrate(pool(url), QUESTIONS, "number", out=tmp_path, give_up_after=0.4)
    assert time.monotonic() - started < 60
    assert Store(tmp_path).status()[0].requests == len(seen) < 200


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    async with raw_server(lambda: response(b"", "307 Moved", location="/v1/chat/completions")) as (url, seen):
        with (
            pytest.warns(UserWarning, match="not everything was measured"),
            pytest.raises(CalibrationError, match=r"redirected \(307\)"),
        ):
            await acalibrate(pool(url), QUESTIONS, "number", out=tmp_path)
    assert Store(tmp_path).status()[0].requests == len(seen) <= 2


def endless() -> Any:
    yield b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    while True:
        yield b"100000\r\n" + b" " * 0x100000 + b"\r\n"


def bomb() -> bytes:
    return response(gzip.compress(b" " * (64 << 20)), content_encoding="gzip")


def objects() -> bytes:
    return response(b'{"choices": [' + b"{}," * 10**6 + b"{}]}")


def one_event() -> bytes:
    body = b'data: {"choices": [' + b"{}," * 10**6 + b"{}]}\n\n"
    return response(body).replace(b"application/json", b"text/event-stream")


@pytest.mark.parametrize("reply", [bomb, endless, objects, one_event])
async def test_a_response_is_bounded_in_calibration(tmp_path: Path, reply: Callable[[], Any]) -> None:
    async with raw_server(reply) as (url, seen):
        with (
            pytest.warns(UserWarning, match="not everything was measured"),
            pytest.raises(CalibrationError, match=r"the response is (longer than|compressed)"),
        ):
            await acalibrate(pool(url), QUESTIONS, "number", out=tmp_path)
    assert Store(tmp_path).status()[0].attempts == {"failed": 4}
    assert len(seen) == 4  # it is not asked again


@pytest.mark.parametrize("reply", [bomb, endless, objects, one_event])
async def test_a_response_is_bounded_for_members_of_a_pool_file(reply: Callable[[], Any]) -> None:
    async with raw_server(reply) as (url, _):
        model = pool(url, options={"max_retries": 0}).models["m"]
        with pytest.raises(Exception, match=r"Connection error|longer|compressed"):
            await model.ainvoke("2 + 3?")
        with pytest.raises(Exception, match=r"Connection error|longer|compressed"):
            await asyncio.to_thread(model.invoke, "2 + 3?")
        with pytest.raises(Exception, match=r"Connection error|longer|compressed"):
            async for _ in model.astream("2 + 3?"):
                pass


def test_a_member_of_a_pool_file_serves_one_loop_after_another(openai_server: Start) -> None:
    server = openai_server()
    model = pool(server.url, options={"max_retries": 0}).models["m"]

    async def ask() -> list[str]:
        return [reply.text for reply in await asyncio.gather(*(model.ainvoke("2 + 3?") for _ in range(5)))]

    for _ in range(3):
        assert len(asyncio.run(ask())) == 5
    assert server.counts.requests == 15


async def test_the_login_in_an_address_is_used_and_kept_secret(tmp_path: Path) -> None:
    async with raw_server(lambda: response(completion())) as (url, seen):
        address = url.replace("://", "://me:pass-word-1@")
        await acalibrate(pool(address), QUESTIONS, "number", out=tmp_path)
    assert all(b"authorization: basic " in head.lower() for head in seen)
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"pass-word-1" not in stored


async def test_an_echoed_header_is_not_stored(tmp_path: Path) -> None:
    async with raw_server(lambda: response(completion("you sent header-value-9"))) as (url, _):
        options = {"default_headers": {"X-Tenant": "header-value-9"}}
        await acalibrate(pool(url, options=options), QUESTIONS, "number", out=tmp_path)
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"header-value-9" not in stored


async def test_judge_requests_go_through_the_ledger_the_limits_and_the_budget(
    tmp_path: Path, openai_server: Start
) -> None:
    answering = openai_server()
    judging = openai_server("No verdict from me.", delay=0.02, faults=[Fault("error", times=3)])
    models = Pool([
        ModelSpec(name="m", base_url=answering.url, max_concurrency=8),
        ModelSpec(name="judge", base_url=judging.url, max_concurrency=2, price=Price(input=1000, output=1000)),
    ])  # fmt: skip
    one = {"m": models.models["m"]}
    questions = [{"query": f"q{i}"} for i in range(20)]
    spec, judge = models["judge"], models.models["judge"]
    with (
        pytest.warns(UserWarning, match="could not be graded|stopped early"),
        pytest.raises(CalibrationError, match="no answer was graded"),
    ):
        await acalibrate(
            models, questions, "judge", judge="judge", out=tmp_path / "a", limit=20, max_cost=3.0
        )
    with Store(tmp_path / "a") as store:
        asked = {state.name: state for state in store.status()}
        assert asked["judge"].requests == judging.counts.requests
        assert asked["m"].requests == answering.counts.requests
        assert 0 < store.cost() <= 3.5
    assert judging.counts.peak <= 4  # two as a judge, two as a model
    before = judging.counts.requests
    with (
        pytest.warns(UserWarning, match="could not be graded"),
        pytest.raises(CalibrationError, match="no answer was graded"),
    ):
        await acalibrate(one, questions[:3], "judge", judge=judge, out=tmp_path / "b")
    with Store(tmp_path / "b") as store:
        judged = store.status()[-1]
        assert judged.name.startswith("judge:")
        assert (judged.requests, judged.pending, judged.graded) == (judging.counts.requests - before, 0, 0)
        assert store.models() == ["m"]
    assert spec.name == "judge"


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        harness.command(folder, folder / "out", 1, *more), stderr=subprocess.PIPE, text=True
    )


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_sigterm_drains_as_ctrl_c_does(tmp_path: Path) -> None:
    harness.write_questions(tmp_path / "questions.jsonl", 200)
    with harness.servers(tmp_path, {"limited": ["slow:1:0.3"]}, max_concurrency=16) as urls:
        process = start(tmp_path)
        wait_for(lambda: harness.answered(tmp_path / "out") >= 20)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 143, errors
        assert harness.attempts(tmp_path / "out")["limited"].keys() == {"answered"}
        assert harness.answered(tmp_path / "out") == harness.counts(urls["limited"])["requests"]


@pytest.mark.slow
@pytest.mark.parametrize("entry", [{"requests_per_minute": 0.1}, {}])
def test_ctrl_c_ends_a_run_that_only_waits(tmp_path: Path, entry: dict[str, Any]) -> None:
    harness.write_questions(tmp_path / "questions.jsonl", 20)
    with harness.servers(tmp_path, {"limited": ["rate_limit:1"]}, max_concurrency=4, **entry) as urls:
        process = start(tmp_path)
        if entry:  # the first request is allowed after ten minutes
            wait_for(lambda: (tmp_path / "out").is_dir() and len(harness.held(tmp_path / "out")) > 0)
        else:
            wait_for(lambda: harness.counts(urls["limited"])["requests"] > 4)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors


@pytest.mark.slow
def test_a_run_that_measures_nothing_is_a_failure(tmp_path: Path) -> None:
    harness.write_questions(tmp_path / "questions.jsonl", 3)
    with harness.servers(tmp_path, {"broken": ["bad_request:1"]}):
        done = harness.run_to_end(tmp_path, tmp_path / "out", 1)
        assert done.returncode == 1
        assert "no answer was graded" in done.stderr.splitlines()[-1]
