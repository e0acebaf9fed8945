"""Every request a server sees is in the account, on whatever event loop."""

from __future__ import annotations

import asyncio

import pytest
from langchain_openai import ChatOpenAI

from langchain_avengers import ChatAvengers
from langchain_avengers.errors import SamplingError
from tests.fakes import toy_router
from tests.openai_server import Fault, OpenAIServer

MODELS = ("sums", "places")
QUESTION = "What is 2 + 3?"


def pool(server: OpenAIServer, **options: object) -> ChatAvengers:
    """Members as the README makes them: with their providers' own retries."""
    members = {name: ChatOpenAI(model=name, base_url=server.url, api_key="k") for name in MODELS}  # type: ignore[arg-type]
    return ChatAvengers(router=toy_router(MODELS), models=members, n_samples=2, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("style", ["sync", "async"])
def test_the_members_own_retries_are_off(style: str) -> None:
    with OpenAIServer(faults=[Fault("error")]) as server:
        model = pool(server, max_retries=0)
        with pytest.raises(SamplingError) as raised:
            model.invoke(QUESTION) if style == "sync" else asyncio.run(model.ainvoke(QUESTION))
        assert raised.value.account is not None
        assert raised.value.account["requests"] == server.counts.requests == 2


def test_one_pool_on_several_event_loops() -> None:
    async def ask(model: ChatAvengers) -> None:
        await asyncio.gather(*(model.ainvoke(QUESTION) for _ in range(10)))

    with OpenAIServer() as server:
        model = pool(server)
        for calls in (10, 20, 30):
            asyncio.run(ask(model))
            assert server.counts.requests == calls


@pytest.mark.parametrize("style", ["sync", "async"])
def test_samples_of_one_request_say_what_the_provider_says(style: str) -> None:
    with OpenAIServer() as server:
        model = pool(server)
        answer = model.invoke(QUESTION) if style == "sync" else asyncio.run(model.ainvoke(QUESTION))
        assert server.counts.requests == 1
    assert answer.response_metadata["model_provider"] == "openai"
    assert answer.response_metadata["id"].startswith("chatcmpl-")
