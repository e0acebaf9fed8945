"""The pool in agents: a full tool loop, votes on tool calls, and routing turn by turn."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from langchain_avengers import AvengersMiddleware
from tests.integration_tests.langchain.conftest import Pool
from tests.openai_server import Answer, Call, Fault, text_of, think


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def get_weather(location: str) -> str:
    """Weather in a place."""
    return f"It is sunny in {location}."


SUM = {"messages": [("human", "Please add 12 and 30, what is 12 + 30?")]}
PLACE = {"messages": [("human", "Which city is the capital of A?")]}


async def run(agent: Any, style: str, question: Any, **kwargs: Any) -> list[Any]:
    result = await agent.ainvoke(question, **kwargs) if style == "async" else agent.invoke(question, **kwargs)
    return result["messages"]


@pytest.mark.parametrize("style", ["sync", "async"])
@pytest.mark.parametrize(("strategy", "n"), [("self_consistency", 5), ("mixture", 4), ("direct", 1)])
async def test_a_full_tool_loop(pool: Pool, style: str, strategy: str, n: int) -> None:
    model, server = pool(strategy=strategy, n_samples=n)
    messages = await run(create_agent(model, [add, get_weather]), style, SUM)
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    (call,) = messages[1].tool_calls
    assert (call["name"], call["args"]) == ("add", {"a": 12, "b": 30})
    assert messages[2].content == "42"
    assert "42" in messages[3].text
    told = messages[1].response_metadata["avengers"]
    assert told["vote"]["tally"][0]["count"] == n
    used = sum(
        message.usage_metadata["total_tokens"] for message in messages if isinstance(message, AIMessage)
    )
    assert used == server.counts.total_tokens


@pytest.mark.parametrize("style", ["sync", "async"])
async def test_an_agent_streams_one_answer(pool: Pool, style: str) -> None:
    model, _ = pool(n_samples=3)
    agent = create_agent(model, [add])
    if style == "sync":
        parts: list[Any] = list(agent.stream(SUM, stream_mode="messages"))
    else:
        parts = [part async for part in agent.astream(SUM, stream_mode="messages")]
    text = "".join(message.text for message, _ in parts if message.type != "tool")
    assert text == "The tool says: 42"
    calls = [
        call for message, _ in parts for call in getattr(message, "tool_call_chunks", []) if call["name"]
    ]
    assert len(calls) == 1


async def test_tool_calls_are_voted_by_meaning(pool: Pool) -> None:
    texts = [
        '{"a": 1, "b": 2}',
        '{"b":2,"a":1}',
        '{"a": 5, "b": 5}',
        '{"a": 5, "b": 6}',
        '{ "a": 1, "b": 2 }',
    ]

    def reply(call: Call) -> Answer:
        if call.messages[-1]["role"] == "tool":
            return think(call)
        name = call.tools[0]["name"]
        return {"tool_calls": [{"name": name, "args": texts[call.repeat], "id": f"c{call.repeat}"}]}

    model, _ = pool(reply=reply, n_samples=5)
    messages = await run(create_agent(model, [add]), "async", SUM)
    assert messages[1].tool_calls[0]["args"] == {"a": 1, "b": 2}
    assert [c["count"] for c in messages[1].response_metadata["avengers"]["vote"]["tally"]] == [3, 1, 1]
    assert messages[2].content == "3"


def test_text_and_tool_call_stand_in_one_election(pool: Pool) -> None:
    def reply(call: Call) -> Answer:
        return think(call) if call.repeat % 5 < 2 else "Answer: 42"

    model, _ = pool(reply=reply, n_samples=5)
    message = model.bind_tools([add]).invoke(SUM["messages"])
    assert message.tool_calls == []
    assert message.text == "Answer: 42"
    tally = message.response_metadata["avengers"]["vote"]["tally"]
    assert [candidate["count"] for candidate in tally] == [3, 2]


def test_ids_of_tool_calls_never_repeat_in_a_conversation(pool: Pool) -> None:
    def reply(call: Call) -> Answer:
        return {"tool_calls": [{"name": "add", "args": {"a": 1, "b": 2}, "id": "call_0"}]}

    model, _ = pool(reply=reply, n_samples=3)
    bound = model.bind_tools([add])
    messages: list[Any] = [("human", "What is 1 + 2?")]
    ids = []
    for _ in range(3):
        message = bound.invoke(messages)
        ids.append(message.tool_calls[0]["id"])
        messages += [message, ToolMessage("3", tool_call_id=ids[-1])]
    assert len(set(ids)) == 3


def test_parallel_calls_come_through(pool: Pool) -> None:
    model, _ = pool(n_samples=3)
    agent = create_agent(model, [get_weather])
    messages = agent.invoke({"messages": [("human", "What is the weather in Paris and in Rome?")]})[
        "messages"
    ]
    assert [call["args"]["location"] for call in messages[1].tool_calls] == ["Paris", "Rome"]
    assert [message.type for message in messages].count("tool") == 2
    one = model.bind_tools([get_weather], parallel_tool_calls=False)
    assert len(one.invoke("What is the weather in Paris and in Rome?").tool_calls) == 1


class Sum(BaseModel):
    """A sum."""

    a: int
    b: int


@pytest.mark.parametrize("method", ["function_calling", "json_schema", "json_mode"])
@pytest.mark.parametrize("style", ["sync", "async"])
async def test_structured_output_votes_on_the_object(pool: Pool, method: Any, style: str) -> None:
    texts = ['{"a": 1, "b": 2}', '{"b":2, "a":1}', '{"a": 7, "b": 7}', "not at all", '{"a": 7}']

    def reply(call: Call) -> Answer:
        text = texts[call.repeat % 5]
        if call.tools:
            return {"tool_calls": [{"name": call.tools[0]["name"], "args": text, "id": f"c{call.repeat}"}]}
        return text

    model, _ = pool(reply=reply, n_samples=5)
    chain = model.with_structured_output(Sum, method=method, include_raw=True)
    result: Any = (
        await chain.ainvoke("As JSON: 1 + 2") if style == "async" else chain.invoke("As JSON: 1 + 2")
    )
    assert result["parsed"] == Sum(a=1, b=2)
    assert result["parsing_error"] is None
    vote = result["raw"].response_metadata["avengers"]["vote"]
    assert [candidate["count"] for candidate in vote["tally"]] == [2, 1]
    assert len(vote["abstained"]) == 2
    plain = await model.with_structured_output(Sum, method=method).ainvoke("As JSON: 1 + 2")
    assert plain == Sum(a=1, b=2)


def test_include_raw_tells_of_what_does_not_parse(pool: Pool) -> None:
    model, _ = pool(reply="no JSON here", n_samples=3)
    result: Any = model.with_structured_output(Sum, method="json_mode", include_raw=True).invoke("as JSON")
    assert result["parsed"] is None
    assert result["parsing_error"] is not None
    assert result["raw"].text == "no JSON here"


@pytest.mark.parametrize("style", ["sync", "async"])
async def test_agent_with_response_format(pool: Pool, style: str) -> None:
    model, _ = pool(n_samples=3)
    agent = create_agent(model, [get_weather], response_format=Sum)
    question: Any = {"messages": [("human", "Please give the sum of 4 and 5.")]}
    result = await agent.ainvoke(question) if style == "async" else agent.invoke(question)
    assert result["structured_response"] == Sum(a=4, b=5)


@pytest.mark.parametrize("style", ["sync", "async"])
async def test_middleware_sends_each_turn_to_the_right_member(pool: Pool, style: str) -> None:
    model, server = pool()
    agent = create_agent(
        model.models["places"], [add], middleware=[AvengersMiddleware(model.router, model.models)]
    )
    messages = await run(agent, style, SUM)
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    assert {record.model for record in server.requests} == {"sums"}
    assert server.requests[0].body["tools"][0]["function"]["name"] == "add"
    server.reset()
    await run(agent, style, PLACE)
    assert {record.model for record in server.requests} == {"places"}


async def test_middleware_keeps_real_token_streaming(pool: Pool) -> None:
    model, _ = pool(reply="one two three four")
    agent = create_agent(
        model.models["places"], [add], middleware=[AvengersMiddleware(model.router, model.models)]
    )
    parts = [message.text async for message, _ in agent.astream(PLACE, stream_mode="messages")]
    assert [part for part in parts if part] == ["one", " two", " three", " four"]


@pytest.mark.parametrize("style", ["sync", "async"])
async def test_middleware_keeps_the_response_format(pool: Pool, style: str) -> None:
    model, server = pool()
    agent = create_agent(
        model.models["places"],
        [get_weather],
        middleware=[AvengersMiddleware(model.router, model.models)],
        response_format=Sum,
    )
    question: Any = {"messages": [("human", "What is the sum, 4 + 5?")]}
    result = await agent.ainvoke(question) if style == "async" else agent.invoke(question)
    assert result["structured_response"] == Sum(a=4, b=5)
    assert {record.model for record in server.requests} == {"sums"}


@pytest.mark.parametrize("style", ["sync", "async"])
async def test_middleware_takes_the_next_model_when_one_fails(pool: Pool, style: str) -> None:
    model, server = pool(server={"faults": [Fault("error", models=["sums"])]})
    agent = create_agent(
        model.models["places"], [add], middleware=[AvengersMiddleware(model.router, model.models)]
    )
    messages = await run(agent, style, SUM)
    assert "42" in messages[-1].text
    assert "places" in {record.model for record in server.requests}


@pytest.mark.parametrize("voting", [True, False])
def test_an_interrupt_in_a_tool_stops_and_resumes(pool: Pool, voting: bool) -> None:
    @tool
    def approve(amount: int) -> str:
        """Approve an amount."""
        return f"approved: {interrupt('really?')} {amount}"

    model, _ = pool(n_samples=3)
    kwargs: Any = {"checkpointer": InMemorySaver()}
    if not voting:
        kwargs["middleware"] = [AvengersMiddleware(model.router, model.models)]
    agent = create_agent(model if voting else model.models["sums"], [approve], **kwargs)
    thread: Any = {"configurable": {"thread_id": "1"}}
    stopped = agent.invoke({"messages": [("human", "Please approve 7 and 0")]}, thread)
    assert stopped["__interrupt__"][0].value == "really?"
    result = agent.invoke(Command(resume="yes"), thread)
    assert result["messages"][2].content == "approved: yes 7"


def test_sticky_conversations_do_not_switch_on_tool_results(pool: Pool) -> None:
    def reply(call: Call) -> Answer:
        if call.messages[-1]["role"] == "tool":
            return f"said {text_of(call.messages[-1]['content'])}"
        return think(call)

    model, server = pool(reply=reply, n_samples=3, sticky=True, routing_text="conversation")
    run_agent = create_agent(model, [add])
    run_agent.invoke(SUM)
    assert {record.model for record in server.requests} == {"sums"}


class Weather(BaseModel):
    """The weather."""

    sky: str


@pytest.mark.parametrize("explicit", [True, False])
async def test_a_response_format_is_strict_with_openai_members(pool: Pool, explicit: bool) -> None:
    """OpenAI refuses a `response_format` beside tools that are not strict."""
    from langchain.agents.structured_output import ProviderStrategy

    seen: list[Call] = []
    profile = {"structured_output": True, "tool_calling": True}
    model, _ = pool(
        reply=lambda call: seen.append(call) or '{"sky": "blue"}', member={"profile": profile}, n_samples=1
    )
    agent = create_agent(
        model, [get_weather], response_format=ProviderStrategy(Weather) if explicit else Weather
    )
    result = await agent.ainvoke({"messages": [("human", "What is 2 + 3?")]})
    assert result["structured_response"] == Weather(sky="blue")
    assert [tool["strict"] for call in seen for tool in call.tools] == [True] * len(seen)
