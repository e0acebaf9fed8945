"""Drawing samples: n in one request, top-ups, refusals, retries, limits, causes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.types import RetryPolicy

from langchain_avengers.errors import PoolError
from langchain_avengers.pipeline.pool_model import CallOptions, PoolModel
from langchain_avengers.pipeline.sampling import (
    ModelRequest,
    RequestLimits,
    SampleBatch,
    wait_before,
)
from langchain_avengers.pipeline.sync_async import arun, run
from langchain_avengers.pipeline.tracing import Trace
from langchain_avengers.providers import describe, may_pass, retry_after
from tests.fakes import ManyFake, StatusError, raiser, says

QUICK = RetryPolicy(initial_interval=0.001, max_interval=0.01, max_attempts=3, retry_on=may_pass)


def request(
    pooled: PoolModel, *, retries: RetryPolicy = QUICK, timeout: float | None = None, **options: Any
) -> ModelRequest:
    bound = pooled.bind(CallOptions(**options))
    return ModelRequest(
        pooled, bound, [HumanMessage("7 + 5?")], RequestLimits(retries, timeout), Trace(None).config()
    )


async def both(pooled: PoolModel, n: int, **kwargs: Any) -> tuple[SampleBatch, SampleBatch]:
    """The draw on threads, and the draw on the loop."""
    blocking = await asyncio.to_thread(run, request(pooled, **kwargs).draw(n))
    return blocking, await arun(request(pooled, **kwargs).draw(n))


async def test_concurrent_calls_where_the_model_takes_no_n() -> None:
    model = says("a", "b", "c")
    for draw in await both(PoolModel("m", model), 3):
        assert sorted(m.text for m in draw.messages) == ["a", "b", "c"]
        assert [c["asked"] for c in draw.calls] == [1, 1, 1]
        assert not draw.failures
    assert [c["sync"] for c in model.calls] == [True] * 3 + [False] * 3


async def test_one_request_for_n_counts_its_usage_once() -> None:
    model = ManyFake(script=["a", "b", "c"])
    for draw in await both(PoolModel("m", model), 3):
        assert [m.text for m in draw.messages][1:] == ["b", "c"]
        (call,) = draw.calls
        assert call["usage"]["output_tokens"] == 15
        assert call["usage"]["input_tokens"] == 10
    assert [c["n"] for c in model.calls] == [3, 3]


async def test_a_server_that_ignores_n_is_topped_up() -> None:
    for draw in await both(PoolModel("m", ManyFake(script=["a"], gives=1)), 3):
        assert len(draw.messages) == 3
        assert [(c["asked"], c["drawn"]) for c in draw.calls] == [(3, 1), (1, 1), (1, 1)]
        assert sum(c["usage"]["total_tokens"] for c in draw.calls) == 45


async def test_more_choices_than_asked_for_are_left_out() -> None:
    for draw in await both(PoolModel("m", ManyFake(script=["a"], gives=5)), 3):
        assert len(draw.messages) == 3


async def test_a_refused_n_is_remembered() -> None:
    pooled = PoolModel("m", ManyFake(script=["a"], refuses=True))
    first, second = await both(pooled, 3)
    assert len(first.messages) == len(second.messages) == 3
    assert len(first.calls) == 4
    assert first.calls[0]["error"]
    assert len(second.calls) == 3
    assert not first.failures


async def test_a_bad_request_is_not_taken_for_a_refused_n() -> None:
    pooled = PoolModel("m", ManyFake(script=[raiser(StatusError(400, "too long"))], refuses=True))
    first, _ = await both(pooled, 2)
    assert [f["cause"] for f in first.failures] == ["StatusError: too long"] * 2
    assert pooled.takes_n


async def test_a_models_own_n_does_not_multiply_samples() -> None:
    model = ManyFake(script=["a"], n=4)
    for draw in await both(PoolModel("m", model), 1):
        assert len(draw.messages) == 1
    assert model.calls[0]["n"] == 1


async def test_the_caller_says_who_takes_n() -> None:
    model = ManyFake(script=["a"])
    draw, _ = await both(PoolModel("m", model, takes_n=False), 2)
    assert len(draw.calls) == 2


async def test_what_may_pass_is_tried_again_and_every_attempt_is_counted() -> None:
    for script in ([StatusError(503), StatusError(429), "a"], [ValueError("garbage"), TimeoutError(), "a"]):
        for draw in await both(PoolModel("m", says(*script)), 1):
            assert [m.text for m in draw.messages] == ["a"]
            assert [c["error"] is None for c in draw.calls] == [False, False, True]
            assert not draw.failures


async def test_what_cannot_pass_is_not_tried_again() -> None:
    for error in (StatusError(401, "no key"), TypeError("unexpected argument")):
        for draw in await both(PoolModel("m", says(error)), 1):
            assert len(draw.calls) == 1
            (failure,) = draw.failures
            assert failure["cause"] == describe(error)


async def test_attempts_end() -> None:
    for draw in await both(PoolModel("m", says(StatusError(500))), 2):
        assert len(draw.calls) == 6
        assert len(draw.failures) == 2


async def test_a_request_has_a_time_limit() -> None:
    once = QUICK._replace(max_attempts=1)
    for draw in await both(PoolModel("m", says("a", delay=0.5)), 2, retries=once, timeout=0.02):
        assert not draw.messages
        assert "no answer in time" in draw.failures[0]["cause"]


def test_retry_after_is_honoured() -> None:
    policy = RetryPolicy(initial_interval=0.1, max_interval=20, jitter=False, retry_on=may_pass)
    assert wait_before(StatusError(429, headers={"retry-after": "7"}), 1, policy) == 7
    assert wait_before(StatusError(429, headers={"retry-after-ms": "1500"}), 1, policy) == 1.5
    assert wait_before(StatusError(429, headers={"retry-after": "soon"}), 1, policy) == pytest.approx(0.1)
    assert wait_before(StatusError(429, headers={"retry-after": "60"}), 1, policy) is None
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert retry_after(StatusError(429, headers={"retry-after": later})) == pytest.approx(30, abs=2)


def test_the_caller_says_what_is_tried_again() -> None:
    policy = RetryPolicy(max_attempts=2, retry_on=KeyError)
    assert wait_before(KeyError("x"), 1, policy) is not None
    assert wait_before(ValueError("x"), 1, policy) is None
    assert wait_before(KeyError("x"), 2, policy) is None
    assert wait_before(KeyError("x"), 1, policy._replace(retry_on=[KeyError, ValueError])) is not None


async def test_bound_arguments_reach_the_model_and_later_ones_win() -> None:
    model = says("a")
    bound = model.bind(temperature=0.1, seed=1).bind(seed=2).with_config(tags=["mine"])
    pooled = PoolModel("m", bound)
    assert pooled.model is model
    await both(pooled, 1, arguments={"top_p": 0.5}, stop=["END"])
    call = model.calls[0]
    assert (call["temperature"], call["seed"], call["top_p"], call["stop"]) == (0.1, 2, 0.5, ["END"])


async def test_tools_are_bound_by_the_model_itself_beside_bound_arguments() -> None:
    model = says("a")
    tool = {"type": "function", "function": {"name": "t", "parameters": {"type": "object", "properties": {}}}}
    await both(PoolModel("m", model.bind(seed=1)), 1, tools=[tool], tool_arguments={"tool_choice": "any"})
    assert model.calls[0]["tools"][0]["function"]["name"] == "t"
    assert model.calls[0]["tool_choice"] == "any"
    assert model.calls[0]["seed"] == 1


async def test_a_runnable_around_a_model_is_a_member() -> None:
    broken = says(StatusError(401))
    pooled = PoolModel("m", broken.with_fallbacks([says("b")]))
    for draw in await both(pooled, 2):
        assert [m.text for m in draw.messages] == ["b", "b"]
    for draw in await both(PoolModel("m", RunnableLambda(lambda _: "text")), 1):
        assert draw.failures[0]["cause"] == "TypeError: m gave a str, not an AIMessage"


@pytest.mark.parametrize("thing", [3, "x", len, None])
def test_what_is_no_chat_model_is_refused(thing: Any) -> None:
    with pytest.raises(PoolError, match="'m' is no chat model but a"):
        PoolModel("m", thing)


async def test_samples_are_not_cached() -> None:
    set_llm_cache(InMemoryCache())
    try:
        for draw in await both(PoolModel("m", says("a", "b", "c")), 3):
            assert sorted(m.text for m in draw.messages) == ["a", "b", "c"]
    finally:
        set_llm_cache(None)


async def test_messages_of_one_request_carry_what_the_provider_said_of_all() -> None:
    draw, _ = await both(PoolModel("m", ManyFake(script=["a", "b"])), 2)
    assert all(
        isinstance(m, AIMessage) and m.response_metadata["model_name"] == "fake" for m in draw.messages
    )


async def test_a_choice_cut_off_does_not_take_the_others_with_it() -> None:
    class CutOff(Exception):
        completion = SimpleNamespace(
            usage=SimpleNamespace(prompt_tokens=10, completion_tokens=20, total_tokens=30)
        )

    pooled = PoolModel("m", ManyFake(script=[CutOff("length"), "a", "b"]))
    draw = await arun(request(pooled).draw(2))
    assert sorted(m.text for m in draw.messages) == ["a", "b"]
    assert [c["usage"]["total_tokens"] for c in draw.calls] == [30, 15, 15]
    assert pooled.takes_n
