"""A server that fails in every way: every question is answered or raises, every request is in the account."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langgraph.types import RetryPolicy

from langchain_avengers import ChatAvengers
from langchain_avengers.errors import SamplingError
from langchain_avengers.providers import may_pass
from tests.fakes import toy_router
from tests.openai_server import Call, Fault, OpenAIServer

KINDS = ("slow", "rate_limit", "error", "garbage", "cut", "drop")
MODELS = ("sums", "places")
QUICK = RetryPolicy(initial_interval=0.01, max_interval=1.0, max_attempts=3, retry_on=may_pass)


def faults(p: float) -> list[Fault]:
    return [Fault(kind, p=p, seconds=0.01, retry_after=0.01) for kind in KINDS]  # type: ignore[arg-type]


def echo(call: Call) -> str:
    """The question's own number, so that a mix-up shows."""
    return "Answer: " + re.findall(r"\d+", call.text)[0]


def pool(server: OpenAIServer, **options: Any) -> ChatAvengers:
    members = {name: server.chat_model(name) for name in MODELS}
    settings = {"n_samples": 3, "retry_policy": QUICK, "timeout": 20, **options}
    return ChatAvengers(router=toy_router(MODELS), models=members, **settings)


def check(results: list[Any], server: OpenAIServer) -> tuple[int, int]:
    """All is answered or raised, and the account is the server's. Returns how many of each."""
    requests = tokens = answered = 0
    for number, result in enumerate(results):
        if isinstance(result, SamplingError):
            assert str(result).startswith("no model answered: ")
            assert "sums: " in str(result)
            assert "places: " in str(result)
            account = result.account  # type: ignore[attr-defined]
        else:
            assert not isinstance(result, BaseException), repr(result)
            answered += 1
            assert result.text == f"Answer: {number}"
            account = result.response_metadata["avengers"]["account"]
            assert result.usage_metadata == account["usage"]
        requests += account["requests"]
        tokens += (account["usage"] or {}).get("total_tokens", 0)
    assert requests == server.counts.requests
    assert tokens == server.counts.total_tokens
    return answered, len(results) - answered


@pytest.mark.slow
@pytest.mark.parametrize(
    "server_faults", [{}, {"ignore_n": 1.0}, {"refuse_n": 1.0}], ids=["n", "ignores", "refuses"]
)
async def test_500_questions_to_a_server_that_fails(
    openai_server: Callable[..., OpenAIServer], server_faults: dict[str, float]
) -> None:
    extra = [Fault(kind, p=p) for kind, p in server_faults.items()]  # type: ignore[arg-type]
    server = openai_server(echo, faults=[*extra, *faults(0.3)])
    model = pool(server)
    gate = asyncio.Semaphore(50)

    async def ask(number: int) -> Any:
        async with gate:
            return await model.ainvoke(f"What is {number} + 0?")

    count = 500 if not server_faults else 60
    results = await asyncio.wait_for(
        asyncio.gather(*(ask(i) for i in range(count)), return_exceptions=True), timeout=280
    )
    answered, raised = check(results, server)
    assert answered > 0.5 * count
    assert raised < 0.5 * count


def test_on_threads_too(openai_server: Callable[..., OpenAIServer]) -> None:
    server = openai_server(echo, faults=faults(0.3))
    model = pool(server)

    def ask(number: int) -> Any:
        try:
            return model.invoke(f"What is {number} + 0?")
        except SamplingError as error:
            return error

    with ThreadPoolExecutor(8) as threads:
        check(list(threads.map(ask, range(40))), server)


@pytest.mark.parametrize("strategy", ["direct", "mixture", "model_switch", "aggregate"])
async def test_streams_that_fail(openai_server: Callable[..., OpenAIServer], strategy: str) -> None:
    """A stream that has begun cannot fall back: it raises. The account holds what was told before the break."""
    server = openai_server(echo, faults=faults(0.15))
    model = pool(server, strategy=strategy)
    for number in range(15):
        whole = None
        try:
            async for chunk in model.astream(f"What is {number} + 0?"):
                whole = chunk if whole is None else whole + chunk
        except SamplingError as error:
            assert re.match(  # noqa: PT017 - it may also not raise
                r"no model answered: |\w+ broke off in the middle of its answer: ", str(error)
            )
            continue
        assert whole is not None
        assert whole.text == f"Answer: {number}"


async def test_a_server_that_hangs_is_left(openai_server: Callable[..., OpenAIServer]) -> None:
    server = openai_server(echo, faults=[Fault("hang", models=["sums"])])
    once = RetryPolicy(max_attempts=1)
    answer = await pool(server, timeout=5, retry_policy=once).ainvoke("What is 7 + 0?")
    summary = answer.response_metadata["avengers"]
    assert summary["model"] == "places"
    assert {f["cause"] for f in summary["failures"]} == {"TimeoutError: no answer in time"}
    assert summary["account"]["requests"] == server.counts.requests
