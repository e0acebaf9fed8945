"""The router as a runnable, and routing text."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from langchain_avengers import ClusterRouterRunnable, RoutingDecision
from langchain_avengers.pipeline.messages import routing_text
from tests.fakes import FakeRouter, toy_router

TALK = [
    HumanMessage("first"),
    AIMessage("second"),
    HumanMessage("third"),
    AIMessage(""),
    HumanMessage("fourth"),
]


async def test_whatever_a_chat_model_takes_goes_in() -> None:
    runnable = ClusterRouterRunnable(router=FakeRouter())
    prompt = ChatPromptTemplate.from_template("{q}").invoke({"q": "7 + 5"})
    for given in ("7 + 5", [HumanMessage("7 + 5")], [("human", "7 + 5")], prompt):
        for decision in (runnable.invoke(given), await runnable.ainvoke(given)):
            assert isinstance(decision, RoutingDecision)
            assert decision.chosen == ("sums",)
    assert [d.chosen[0] for d in runnable.batch(["7 + 5", "Where?"])] == ["sums", "places"]
    with pytest.raises(ValueError, match="invalid input type int"):
        runnable.invoke(3)  # type: ignore[arg-type]


async def test_names_select() -> None:
    names = ClusterRouterRunnable(router=FakeRouter()).names()
    assert names.invoke("7 + 5") == "sums"
    assert await names.ainvoke("Where?") == "places"
    chooser = names | RunnableLambda(lambda name: {"sums": 1, "places": 2}[name])
    assert chooser.invoke("Where?") == 2


def test_controls() -> None:
    runnable = ClusterRouterRunnable(router=FakeRouter(costs={"sums": 1.0, "places": 0.1}), top_n=2)
    assert runnable.invoke("7 + 5").chosen == ("sums", "places")
    assert runnable.invoke("7 + 5", {"configurable": {"allowed_models": ["places"]}}).chosen == ("places",)
    assert runnable.invoke("7 + 5", {"configurable": {"cost_weight": 0.9, "top_n": 1}}).chosen == ("places",)
    with pytest.raises(ValueError, match="top_n"):
        ClusterRouterRunnable(router=FakeRouter(), top_n=0)


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("last_human", "fourth"),
        ("conversation", "first\nsecond\nthird\nfourth"),
        (2, "third\nfourth"),
        (lambda messages: messages[0].text, "first"),
    ],
)
def test_routing_text(how: Any, text: str) -> None:
    assert routing_text(TALK, how) == text


def test_routing_text_of_parts() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    assert (
        routing_text([HumanMessage([{"type": "text", "text": "What is it?"}, image])], "last_human")
        == "What is it?"
    )
    assert routing_text([HumanMessage([image])], "last_human") == "[image_url]"
    assert routing_text([HumanMessage("x")], lambda _: " ") == ""
    with pytest.raises(ValueError, match="routing_text gave a int, not a text"):
        routing_text([HumanMessage("x")], lambda _: 3)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("What is 2 + 3?", "What is 2 + 3?"),
        ("<system-reminder>Be brief.\nReally.</system-reminder>\nWhat is 2 + 3?", "What is 2 + 3?"),
        ("Fix it. <environment_details>cwd: /x\n<b>y</b></environment_details>", "Fix it."),
        ("<context>\nlong text\n</context>\n\nWho wrote it?", "Who wrote it?"),
        ("<system-reminder>only this</system-reminder>", "<system-reminder>only this</system-reminder>"),
        ("Is <b>2</b> < 3 and 4 > 3?", "Is <b>2</b> < 3 and 4 > 3?"),
        ("a" * 3000 + "b" * 3000, "a" * 2000 + "\n" + "b" * 2000),
    ],
)
def test_the_human_ask(text: str, asked: str) -> None:
    assert routing_text([HumanMessage(text)], "last_human") == asked


def test_a_router_that_is_none() -> None:
    with pytest.raises(ValueError, match="fitted ClusterRouter, not a int"):
        ClusterRouterRunnable(router=1)  # type: ignore[arg-type]


async def test_without_text_the_global_ranking() -> None:
    runnable = ClusterRouterRunnable(router=toy_router())
    assert runnable.invoke(" ").novel
    assert (await runnable.ainvoke(" ")).novel
