"""Models that fail: the log says so, they rest, and come back."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import RetryPolicy

from langchain_avengers import ChatAvengers, create_avengers_graph
from langchain_avengers.errors import PoolError, SamplingError
from langchain_avengers.pipeline import health
from tests.fakes import FakeRouter, ManyFake, StatusError, raiser, says

SUM = "What is 7 + 5?"


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(health, "time", found)
    return found


def pool(*models: Any, **settings: Any) -> ChatAvengers:
    names = ("sums", "places", "third")[: len(models)]
    return ChatAvengers(
        router=FakeRouter(*names), models=dict(zip(names, models, strict=True)), n_samples=2,
        retry_policy=RetryPolicy(max_attempts=1), **settings,
    )  # fmt: skip


async def test_a_model_that_never_answers_is_told_of_and_rests(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    dead, other = says(StatusError(503, "down")), says("Answer: 12")
    model = pool(dead, other)
    with caplog.at_level(logging.WARNING, "langchain_avengers"):
        model.invoke(SUM)
        assert (
            "sums gave no answer (StatusError: down): the next model of the ranking stands in" in caplog.text
        )
        caplog.clear()
        await model.ainvoke(SUM)
        assert not caplog.records
        model.invoke(SUM)
        assert "not asked for 30 s" in caplog.text
    told = model.health()
    assert told["sums"]["state"] == "open"
    assert told["sums"]["last_error"] == "StatusError: down"
    assert told["places"] == {
        "state": "closed", "failures_in_a_row": 0, "answered": 3, "failed": 0, "last_error": None,
        "asked_again_in": 0.0,
    }  # fmt: skip
    asked = len(dead.calls)
    answer = model.invoke(SUM)
    assert len(dead.calls) == asked
    assert "rests after failures" in answer.response_metadata["avengers"]["decision"]["left_out"]["sums"]


def test_one_query_tries_it_again(clock: Clock) -> None:
    dead = says(StatusError(503))
    model = pool(dead, says("Answer: 12"))
    for _ in range(3):
        model.invoke(SUM)
    clock.now += 31
    assert model.health()["sums"]["state"] == "half_open"
    model.invoke(SUM)
    assert len(dead.calls) == 8
    assert model.health()["sums"]["asked_again_in"] == 60.0  # twice as long
    clock.now += 61
    dead.script = ["Answer: 12"]
    assert model.invoke(SUM).response_metadata["avengers"]["model"] == "sums"
    assert model.health()["sums"]["state"] == "closed"


def test_a_resting_model_is_the_last_resort(clock: Clock) -> None:
    first, other = says(StatusError(503)), says("Answer: 12")
    model = pool(first, other)
    for _ in range(3):
        model.invoke(SUM)
    first.script, other.script = ["Answer: 13"], [StatusError(500)]
    assert model.invoke(SUM).text == "Answer: 13"


def test_it_may_never_rest() -> None:
    dead = says(StatusError(503))
    model = pool(dead, says("Answer: 12"), rest_after=None)
    for _ in range(5):
        model.invoke(SUM)
    assert len(dead.calls) == 10


def test_a_query_that_a_provider_refuses_costs_one_request_a_model_and_blames_none() -> None:
    models = [ManyFake(script=[raiser(StatusError(400, "content filter"))]) for _ in range(3)]
    model = pool(*models)
    for _ in range(4):
        with pytest.raises(SamplingError) as raised:
            model.invoke(SUM, n_samples=5)
        assert raised.value.account["requests"] == 3
    assert {told["state"] for told in model.health().values()} == {"closed"}


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (StatusError(400, "n must be 1"), True),
        (StatusError(422, "Invalid value for 'n': at most 1"), True),
        (StatusError(400, "Unsupported parameter: 'n'"), True),
        (StatusError(400, "multiple completions are not supported"), True),
        (TypeError("create() got an unexpected keyword argument 'n'"), True),
        (TypeError("Received response with null value for `choices`."), False),
        (StatusError(400, "context too long: can't take \\n more"), False),
        (StatusError(400, "In the end, n tokens"), False),
        (StatusError(500, "n must be 1"), False),
    ],
)
def test_only_a_refusal_that_names_n_is_one(error: Exception, refused: bool) -> None:
    class Refusing(ManyFake):
        def _result(self, messages: Any, stop: Any, kwargs: Any) -> Any:
            if kwargs.get("n", 1) > 1:
                self._calls.append({"refused": True})
                raise error
            return super()._result(messages, stop, kwargs)

    model = pool(Refusing(script=["Answer: 12"]), says("Answer: 12"))
    model.invoke(SUM)
    assert model._pipeline.models["sums"].takes_n is not refused


async def test_a_configurable_model_gets_what_is_configured() -> None:
    pytest.importorskip("langchain.chat_models", reason="needs the extra: agents")
    from langchain_core.runnables import ConfigurableField

    chosen = says("one").configurable_alternatives(
        ConfigurableField(id="which"), default_key="one", two=says("two")
    )
    model, config = pool(chosen, says("x")), {"configurable": {"which": "two", "thread_id": "1"}}
    assert model.invoke(SUM, config).text == "two"
    assert (await model.ainvoke(SUM, config)).text == "two"
    assert next(iter(model.stream(SUM, config))).text == "two"
    (first, *_) = [chunk async for chunk in model.astream(SUM, config)]
    assert first.text == "two"
    graph = create_avengers_graph(model.router, model.models)
    assert graph.invoke({"messages": [("human", SUM)]}, config)["answer"].text == "two"
    assert model.invoke(SUM).text == "one"


def test_a_graph_is_no_model() -> None:
    graph = (
        StateGraph(MessagesState).add_node("x", lambda s: s).add_edge(START, "x").add_edge("x", END).compile()
    )
    with pytest.raises(PoolError, match="'sums' is a graph, whose output is a state"):
        pool(graph, says("a"))
