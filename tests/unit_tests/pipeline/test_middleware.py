"""Routing the model calls of an agent."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphInterrupt

from langchain_avengers.errors import SamplingError
from tests.fakes import FakeRouter, StatusError, raiser, says

pytest.importorskip("langchain.agents", reason="needs the extra: agents")

from langchain.agents import create_agent

from langchain_avengers import AvengersMiddleware

SUM: Any = {"messages": [HumanMessage("What is 7 + 5?")]}
PLACE: Any = {"messages": [HumanMessage("Where is the tower?")]}


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


CALL = AIMessage("", tool_calls=[{"name": "add", "args": {"a": 7, "b": 5}, "id": "c1"}])


def agent(sums: Any, places: Any, tools: Any = (add,), **options: Any) -> Any:
    middleware = AvengersMiddleware(FakeRouter(), {"sums": sums, "places": places}, **options)
    return create_agent(places, list(tools), middleware=[middleware], checkpointer=InMemorySaver())


@pytest.mark.parametrize("style", ["sync", "async"])
async def test_each_call_goes_to_its_model_with_its_tools(style: str) -> None:
    sums, places = says(CALL, "It is 12."), says("In Paris.")
    built = agent(sums.bind(seed=7), places)
    for given, config, text in ((SUM, "1", "It is 12."), (PLACE, "2", "In Paris.")):
        thread = {"configurable": {"thread_id": config}}
        state = await built.ainvoke(given, thread) if style == "async" else built.invoke(given, thread)
        assert state["messages"][-1].text == text
    assert [c["seed"] for c in sums.calls] == [7, 7]
    assert sums.calls[0]["tools"][0]["function"]["name"] == "add"
    assert len(places.calls) == 1


@pytest.mark.parametrize("style", ["sync", "async"])
async def test_the_next_model_steps_in_and_keeps_the_conversation(style: str) -> None:
    sums, places = says(StatusError(500)), says(CALL, "It is 12.")
    built = agent(sums, places)
    thread = {"configurable": {"thread_id": "1"}}
    state = await built.ainvoke(SUM, thread) if style == "async" else built.invoke(SUM, thread)
    answer = state["messages"][-1]
    assert answer.text == "It is 12."
    assert answer.response_metadata["avengers"]["model"] == "places"
    assert len(sums.calls) == 1  # the tool's result went to the model that had called it


async def test_all_causes_when_nothing_answers() -> None:
    built = agent(says(StatusError(500, "down")), says(StatusError(401, "no entry")))
    with pytest.raises(SamplingError, match="sums: StatusError: down; places: StatusError: no entry"):
        await built.ainvoke(SUM, {"configurable": {"thread_id": "1"}})


def test_an_interrupt_passes() -> None:
    middleware = AvengersMiddleware(FakeRouter(), {"sums": says("a"), "places": says("b")})
    with pytest.raises(GraphInterrupt):
        middleware.wrap_model_call(_request(), raiser(GraphInterrupt()))  # type: ignore[arg-type]


def _request() -> Any:
    from langchain.agents.middleware import ModelRequest

    return ModelRequest(model=says("x"), messages=SUM["messages"])
