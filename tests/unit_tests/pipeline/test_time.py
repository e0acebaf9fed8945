"""Time limits, rate limiters, and threads that nobody waits for."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from langchain_core.rate_limiters import BaseRateLimiter
from langgraph.types import RetryPolicy

from langchain_avengers import ChatAvengers
from langchain_avengers.errors import SamplingError
from tests.fakes import FakeModel, FakeRouter, StreamingFake, says

SUM = "What is 7 + 5?"
ONCE = RetryPolicy(max_attempts=1)


def pool(first: Any, second: Any = None, **settings: Any) -> ChatAvengers:
    models = {"sums": first, "places": second or says("Answer: 12")}
    settings = {"retry_policy": ONCE, "n_samples": 2, **settings}
    return ChatAvengers(router=FakeRouter(), models=models, **settings)


class Hanging(StreamingFake):
    """Gives one chunk, then nothing before `release`."""

    release: Any = None

    def _chunks(self, messages: Any, kwargs: Any) -> Any:
        chunks = super()._chunks(messages, kwargs)
        yield next(chunks)
        self.release.wait(60)
        yield from chunks


@pytest.fixture
def release() -> Any:
    event = threading.Event()
    yield event
    event.set()


def test_a_synchronous_stream_is_bounded_as_a_whole(release: threading.Event) -> None:
    model = pool(Hanging(script=["a b c"], release=release), strategy="direct", timeout=0.3)
    with pytest.raises(SamplingError, match="broke off in the middle of its answer: TimeoutError"):
        list(model.stream(SUM))


async def test_chunks_that_drip_are_bounded_as_a_whole() -> None:
    class Dripping(StreamingFake):
        async def _astream(self, *args: Any, **kwargs: Any) -> Any:
            import asyncio

            for chunk in self._chunks(args[0], kwargs):
                await asyncio.sleep(0.15)
                yield chunk

    model = pool(Dripping(script=["a " * 400]), strategy="direct", timeout=0.5)
    with pytest.raises(SamplingError, match="TimeoutError"):
        _ = [chunk async for chunk in model.astream(SUM)]


@pytest.mark.parametrize("call", ["model.invoke('7 + 5?')", "asyncio.run(model.ainvoke('7 + 5?'))"])
def test_a_call_given_up_does_not_keep_the_process(call: str) -> None:
    program = f"""
import asyncio, time
from langchain_core.language_models import FakeListChatModel
from langchain_avengers import ChatAvengers
from tests.fakes import FakeRouter

class Slow(FakeListChatModel):
    def _call(self, *args, **kwargs):
        time.sleep(600)

models = {{"sums": Slow(responses=["x"]), "places": FakeListChatModel(responses=["Answer: 12"])}}
model = ChatAvengers(router=FakeRouter(), models=models, n_samples=2, timeout=0.2, max_retries=0)
print({call}.text)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "Answer: 12\n"


class Counting(BaseRateLimiter):
    def __init__(self, seconds: float = 0.0) -> None:
        self.count, self.seconds = 0, seconds

    def acquire(self, *, blocking: bool = True) -> bool:
        self.count += 1
        time.sleep(self.seconds)
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        return self.acquire()


@pytest.mark.parametrize("style", ["invoke", "ainvoke", "stream", "astream"])
async def test_time_in_a_rate_limiter_is_not_the_models(style: str) -> None:
    limiter = Counting(0.4)
    model = pool(FakeModel(rate_limiter=limiter), strategy="direct", timeout=0.3)
    if style == "invoke":
        answer: Any = model.invoke(SUM)
    elif style == "ainvoke":
        answer = await model.ainvoke(SUM)
    elif style == "stream":
        answer = list(model.stream(SUM))[-1]
    else:
        answer = [chunk async for chunk in model.astream(SUM)][-1]
    assert answer.response_metadata["avengers"]["model"] == "sums"
    assert limiter.count == 1


async def test_the_pools_rate_limiter_counts_requests() -> None:
    limiter = Counting()
    model = pool(says("Answer: 12"), rate_limiter=limiter, n_samples=3)
    model.invoke(SUM)
    await model.ainvoke(SUM)
    assert limiter.count == 6
    next(iter(model.stream(SUM, strategy="direct")))
    assert limiter.count == 7
