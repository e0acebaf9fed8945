"""The LangSmith test server rebuilds what the real client sends, in every form it sends it."""

from __future__ import annotations

import asyncio

import pytest
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda

from tests.langsmith_server import API_KEY, LangSmithServer


@pytest.mark.parametrize("accepts", ["zstd", "multipart", "batch"])
def test_tree_of_a_chain(accepts: str) -> None:
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    model = GenericFakeChatModel(messages=iter([AIMessage("hello", usage_metadata=usage)]))
    chain = RunnableLambda(lambda x: x, name="first") | model
    with LangSmithServer(accepts) as server, server.tracing(metadata={"k": "v"}):  # type: ignore[arg-type]
        chain.invoke("x")
    assert server.root.shape() == ("RunnableSequence", [("first", []), ("GenericFakeChatModel", [])])
    assert server.root.find("GenericFakeChatModel")[0].usage == usage
    assert server.root.metadata["k"] == "v"
    assert not server.contains(API_KEY)
    wanted = {
        "zstd": "/runs/multipart zstd",
        "multipart": "/runs/multipart identity",
        "batch": "/runs/batch identity",
    }
    assert set(server.paths) == {wanted[accepts]}


async def test_async_siblings() -> None:
    model = FakeListChatModel(responses=["a"])

    async def both(x: str) -> None:
        await asyncio.gather(model.ainvoke(x), model.ainvoke(x))

    with LangSmithServer() as server, server.tracing():
        await RunnableLambda(both).ainvoke("x")
    assert server.root.shape() == ("both", [("FakeListChatModel", []), ("FakeListChatModel", [])])
