"""The graph: turns, checkpoints, interrupts, time travel, context, subgraphs, streams."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import RetryPolicy

from langchain_avengers import create_avengers_graph
from langchain_avengers.errors import SamplingError
from tests.fakes import FakeRouter, StatusError, StreamingFake, says

SUM: Any = {"messages": [HumanMessage("What is 7 + 5?")]}
PLACE: Any = {"messages": [HumanMessage("Where is the tower?")]}
THREAD: Any = {"configurable": {"thread_id": "1"}}


def build(first: Any = None, **settings: Any) -> Any:
    models = {"sums": first or says("Answer: 12"), "places": says("Paris")}
    settings = {"n_samples": 3, "retry_policy": RetryPolicy(max_attempts=1), **settings}
    return create_avengers_graph(FakeRouter(), models, **settings)


def kept(graph: Any) -> dict[str, Any]:
    """All that the checkpointer holds of the thread."""
    values: dict[str, Any] = graph.checkpointer.get_tuple(THREAD).checkpoint["channel_values"]
    return {key: value for key, value in values.items() if not key.startswith(("branch:", "__"))}


def test_what_is_between_the_nodes_is_no_clients_business() -> None:
    graph = build(checkpointer=InMemorySaver())
    private = {"vector", "samples", "calls", "plan", "failures", "unrouted"}
    for part in graph.stream(SUM, THREAD, stream_mode="values"):
        assert not private & part.keys()
    for part in graph.stream(SUM, THREAD, stream_mode="updates"):
        assert not any(private & (update or {}).keys() for update in part.values())
    assert not private & graph.get_state(THREAD).values.keys()
    shown = [
        p for p in graph.stream(SUM, THREAD, stream_mode="updates", output_keys=["samples"]) if "sample" in p
    ]
    assert len(shown[0]["sample"]["samples"]) == 3


@pytest.mark.parametrize("how", ["brief", "full"])
def test_an_answer_does_not_carry_every_candidate_whole(how: str) -> None:
    texts = [f"{n} " + "A long answer in prose, of many words. " * 90 for n in range(5)]
    settings: Any = {} if how == "brief" else {"metadata": "full"}
    answer = build(says(*texts), n_samples=5, **settings).invoke(SUM)["answer"]
    size = len(answer.model_dump_json()) - len(answer.text)
    assert (size < 4000) is (how == "brief")
    values = [candidate["value"] for candidate in answer.response_metadata["avengers"]["vote"]["tally"]]
    assert all(value.endswith("…") for value in values) is (how == "brief")


def test_a_turn_starts_afresh() -> None:
    graph = build(checkpointer=InMemorySaver())
    first = graph.invoke(SUM, THREAD)
    second = graph.invoke(PLACE, THREAD)
    assert [m.type for m in second["messages"]] == ["human", "ai", "human", "ai"]
    assert second["answer"].text == "Paris"
    assert first["account"]["requests"] == second["account"]["requests"] == 3
    state = kept(graph)
    assert [s["model"] for s in state["samples"]] == ["places"] * 3
    assert len(state["calls"]) == 3


def test_a_failed_turn_leaves_nothing_to_the_next() -> None:
    graph = build(says(StatusError(401), "Answer: 12"), checkpointer=InMemorySaver())
    graph.invoke(SUM, THREAD)
    assert len(kept(graph)["failures"]) >= 1
    graph.invoke(PLACE, THREAD)
    assert kept(graph)["failures"] == []


@pytest.mark.parametrize("node", ["route", "sample", "vote"])
def test_interrupt_and_resume(node: str) -> None:
    graph = build(checkpointer=InMemorySaver(), interrupt_before=[node])
    graph.invoke(SUM, THREAD)
    assert graph.get_state(THREAD).next[0] == node
    state = graph.invoke(None, THREAD)
    assert state["answer"].text == "Answer: 12"


async def test_time_travel() -> None:
    first = says("Answer: 12")
    graph = build(first, checkpointer=InMemorySaver())
    await graph.ainvoke(SUM, THREAD)
    before_vote = next(s for s in graph.get_state_history(THREAD) if s.next == ("vote",))
    first.script = ["Answer: 99"]
    again = await graph.ainvoke(None, before_vote.config)
    assert again["answer"].text == "Answer: 12"
    assert len(first.calls) == 3
    before_sample = next(s for s in graph.get_state_history(THREAD) if s.next == ("sample",))
    assert (await graph.ainvoke(None, before_sample.config))["answer"].text == "Answer: 99"


def test_the_state_is_plain_data(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = build(checkpointer=InMemorySaver(), strategy="mixture")
    graph.invoke(SUM, THREAD)
    values = kept(graph)
    strict = JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=None)
    back = strict.loads_typed(strict.dumps_typed(values))
    assert back == values

    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(isinstance(k, str) and plain(v) for k, v in value.items())
        if isinstance(value, list):
            return all(map(plain, value))
        return (
            value is None
            or type(value) in (str, int, float, bool)
            or isinstance(value, AIMessage | HumanMessage)
        )

    assert plain(values)


@pytest.mark.parametrize("by", ["context", "configurable"])
async def test_control_of_one_call(by: str) -> None:
    graph = build()
    controls = {"n_samples": 2, "allowed_models": ["places"]}
    config: Any = {"configurable": controls} if by == "configurable" else {}
    context = controls if by == "context" else None
    for state in (
        graph.invoke(SUM, config, context=context),
        await graph.ainvoke(SUM, config, context=context),
    ):
        assert state["answer"].text == "Paris"
        assert state["account"]["requests"] == 2


@pytest.mark.parametrize("style", ["sync", "async"])
@pytest.mark.parametrize("settings", [{}, {"strategy": "direct"}, {"strategy": "mixture"}])
async def test_a_thread_recovers_after_an_outage(style: str, settings: dict[str, Any]) -> None:
    first, second = says(StatusError(503)), says(StatusError(503))
    graph = create_avengers_graph(
        FakeRouter(), {"sums": first, "places": second}, n_samples=4, retry_policy=RetryPolicy(max_attempts=1),
        checkpointer=InMemorySaver(), **settings,
    )  # fmt: skip

    async def ask(given: Any) -> Any:
        return await graph.ainvoke(given, THREAD) if style == "async" else graph.invoke(given, THREAD)

    for given in (SUM, None, None):  # down, and down still
        asked = len(first.calls)
        with pytest.raises(SamplingError, match="status 503"):
            await ask(given)
        assert len(first.calls) > asked
    first.script = second.script = ["Answer: 12"]
    state = await ask(None)
    assert state["answer"].text == "Answer: 12"
    answered = state["vote"]["tally"][0]["count"]
    assert state["account"]["failed_requests"] == state["account"]["requests"] - answered
    assert [m.type for m in state["messages"]] == ["human", "ai"]


def test_a_subgraph_recovers_with_its_parent() -> None:
    first, second = says(StatusError(503)), says(StatusError(503))
    pool = create_avengers_graph(
        FakeRouter(), {"sums": first, "places": second}, retry_policy=RetryPolicy(max_attempts=1)
    )
    builder = StateGraph(MessagesState).add_node("pool", pool)
    graph = builder.add_edge(START, "pool").add_edge("pool", END).compile(checkpointer=InMemorySaver())
    with pytest.raises(SamplingError):
        graph.invoke(SUM, THREAD)
    first.script = ["Answer: 12"]
    assert graph.invoke(None, THREAD)["messages"][-1].text == "Answer: 12"


@pytest.mark.parametrize("style", ["sync", "async"])
async def test_a_stream_that_broke_off_is_not_begun_again(style: str) -> None:
    graph = build(StreamingFake(script=["a b c"], breaks_after=1), strategy="direct", retry_policy=None)
    parts: list[str] = []

    async def listen() -> None:
        if style == "sync":
            parts.extend(m.text for m, _ in graph.stream(SUM, stream_mode="messages"))
        else:
            async for message, _ in graph.astream(SUM, stream_mode="messages"):
                parts.append(message.text)

    with pytest.raises(SamplingError, match="sums broke off in the middle of its answer: ConnectionError"):
        await listen()
    assert style == "sync" or parts == ["a"]


def test_without_a_listener_the_next_model_steps_in() -> None:
    graph = build(StreamingFake(script=[StatusError(503)]), strategy="direct")
    assert graph.invoke(SUM)["answer"].text == "Paris"


def test_a_control_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="strategy"):
        build().invoke(SUM, context={"strategy": "best"})


def test_as_a_subgraph() -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("pool", build())
    graph = builder.add_edge(START, "pool").add_edge("pool", END).compile(checkpointer=InMemorySaver())
    state = graph.invoke(SUM, THREAD)
    assert [m.text for m in state["messages"]] == ["What is 7 + 5?", "Answer: 12"]
    assert len(graph.invoke(PLACE, THREAD)["messages"]) == 4


async def test_streams_of_the_graph_show_one_answer() -> None:
    parts = [p async for p in build().astream(SUM, stream_mode="messages")]
    assert [m.text for m, _ in parts] == ["Answer: 12"]
    direct = build(StreamingFake(script=["a b c"]), strategy="direct")
    parts = [p async for p in direct.astream(SUM, stream_mode="messages")]
    assert "".join(m.text for m, _ in parts) == "a b c"
    assert len(parts) >= 3
    events = [p["avengers"]["event"] for p in build(progress=True).stream(SUM, stream_mode="custom")]
    assert events == ["routed", "sampled", "answered"]
    updates = [next(iter(p)) for p in build(strategy="mixture").stream(SUM, stream_mode="updates")]
    assert updates == ["embed", "route", "sample", "sample", "vote"]
