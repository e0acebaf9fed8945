"""Routing the model calls of an agent."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphInterrupt
from pydantic import BaseModel

from langchain_avengers.errors import SamplingError
from tests.fakes import FakeRouter, StatusError, StreamingFake, raiser, says

pytest.importorskip("langchain.agents", reason="needs the extra: agents")

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain.agents.structured_output import StructuredOutputValidationError, ToolStrategy

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


@pytest.mark.parametrize("style", ["sync", "async"])
async def test_a_run_keeps_its_model_and_its_decision_is_in_the_state(style: str) -> None:
    sums, places = says(CALL, CALL, "It is 12."), says("In Paris.")
    built = agent(sums, places, sticky=False)
    thread = {"configurable": {"thread_id": "1"}}

    async def ask(given: Any) -> Any:
        return await built.ainvoke(given, thread) if style == "async" else built.invoke(given, thread)

    state = await ask(SUM)
    assert (len(sums.calls), len(places.calls)) == (3, 0)
    assert state["avengers_route"]["model"] == "sums"
    assert state["avengers_route"]["decision"]["chosen"] == ["sums"]
    assert (await ask(PLACE))["avengers_route"]["model"] == "places"  # a new run, a new decision


def test_a_run_routes_once() -> None:
    router = FakeRouter()
    for route, times in (("once_per_run", 1), ("every_call", 3)):
        router.embedded.clear()
        middleware = AvengersMiddleware(
            router,
            {"sums": says(CALL, CALL, "It is 12."), "places": says("x")},
            sticky=False,
            route=route,  # type: ignore[arg-type]
        )
        create_agent(says("x"), [add], middleware=[middleware]).invoke(SUM)
        assert len(router.embedded) == times


def test_a_run_moves_when_its_model_fails() -> None:
    sums, places = says(CALL, StatusError(500)), says("It is 12.")
    state = agent(sums, places).invoke(SUM, {"configurable": {"thread_id": "1"}})
    assert state["messages"][-1].text == "It is 12."
    assert state["avengers_route"]["model"] == "places"


@pytest.mark.parametrize("by", ["context", "configurable"])
def test_controls_of_one_run_are_honoured(by: str) -> None:
    sums, places = says("It is 12."), says("In Paris.")
    built = agent(sums, places)
    config: Any = {"configurable": {"thread_id": "1"}}
    controls = {"allowed_models": ["places"]}
    if by == "configurable":
        config["configurable"] |= controls
    assert (
        built.invoke(SUM, config, context=controls if by == "context" else None)["messages"][-1].text
        == "In Paris."
    )
    with pytest.raises(ValueError, match="'n_samples' has no effect in AvengersMiddleware"):
        built.invoke(SUM, {"configurable": {"thread_id": "2", "n_samples": 3}})


@pytest.mark.parametrize(
    "option", ["temperature", "max_tokens", "timeout", "budget", "n_samples", "strateyg"]
)
def test_options_without_effect_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option!r} has no effect in AvengersMiddleware"):
        AvengersMiddleware(FakeRouter(), {"sums": says("a"), "places": says("b")}, **{option: 1})  # type: ignore[arg-type]


@pytest.mark.parametrize("style", ["sync", "async"])
async def test_an_error_of_another_middleware_is_its_own(style: str) -> None:
    class Broken(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            raise ZeroDivisionError

        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            raise ZeroDivisionError

    sums, places = says("a"), says("b")
    middleware = AvengersMiddleware(FakeRouter(), {"sums": sums, "places": places})
    built = create_agent(places, [], middleware=[middleware, Broken()])
    with pytest.raises(ZeroDivisionError):
        await built.ainvoke(SUM) if style == "async" else built.invoke(SUM)
    assert not sums.calls
    assert not places.calls


def test_a_structured_answer_that_does_not_fit_is_the_agents_error() -> None:
    wrong = AIMessage("", tool_calls=[{"name": "Weather", "args": {"sky": []}, "id": "c1"}])
    sums, places = says(wrong), says(wrong)
    middleware = AvengersMiddleware(FakeRouter(), {"sums": sums, "places": places})
    built = create_agent(
        places, [], middleware=[middleware], response_format=ToolStrategy(Weather, handle_errors=False)
    )
    with pytest.raises(StructuredOutputValidationError):
        built.invoke(SUM)
    assert (len(sums.calls), len(places.calls)) == (1, 0)


class Weather(BaseModel):
    """The weather."""

    sky: str


@pytest.mark.parametrize("style", ["sync", "async"])
async def test_a_stream_that_broke_off_is_not_begun_again(style: str) -> None:
    built = agent(StreamingFake(script=["a b c"], breaks_after=1), StreamingFake(script=["d e"]), ())
    thread: Any = {"configurable": {"thread_id": "1"}}

    async def listen() -> None:
        if style == "sync":
            list(built.stream(SUM, thread, stream_mode="messages"))
        else:
            _ = [part async for part in built.astream(SUM, thread, stream_mode="messages")]

    with pytest.raises(SamplingError, match="sums broke off in the middle of its answer"):
        await listen()


def test_the_error_holds_what_the_models_raised() -> None:
    built = agent(says(StatusError(500, "down")), says(StatusError(401, "no entry")))
    with pytest.raises(SamplingError) as raised:
        built.invoke(SUM, {"configurable": {"thread_id": "1"}})
    assert [type(error) for error in raised.value.exceptions] == [StatusError, StatusError]
    assert isinstance(raised.value.__cause__, StatusError)


def test_an_interrupt_passes() -> None:
    middleware = AvengersMiddleware(FakeRouter(), {"sums": says("a"), "places": says("b")})
    with pytest.raises(GraphInterrupt):
        middleware.wrap_model_call(_request(), raiser(GraphInterrupt()))  # type: ignore[arg-type]


def _request() -> Any:
    from langchain.agents.middleware import ModelRequest

    return ModelRequest(model=says("x"), messages=SUM["messages"])
