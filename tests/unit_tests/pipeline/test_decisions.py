"""The router as a decision model, by itself and in LangChain's own middleware."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import AIMessage, HumanMessage

import langchain_avengers
from langchain_avengers.errors import RouterError
from langchain_avengers.routing.decision import ModelScore
from tests.fakes import FakeRouter, says, toy_router

THERE = find_spec("langchain_core.decisions") is not None


@pytest.mark.skipif(THERE, reason="this langchain-core has decision models")
def test_an_older_langchain_core_is_told_of() -> None:
    with pytest.raises(ImportError, match=r"ClusterRouterDecisions needs langchain-core >= 1\.8, and 1\.7"):
        _ = langchain_avengers.ClusterRouterDecisions


if THERE:
    from langchain_core.decisions import Choice, Noul

    from langchain_avengers import ClusterRouterDecisions
    from langchain_avengers.pipeline.decisions import best_chances

    CHOICE = Choice(instructions="", criteria={"places": None, "sums": None})
    STATES: list[Any] = [
        "What is 7 + 5?",
        HumanMessage("What is 7 + 5?"),
        [HumanMessage("hi"), AIMessage("hello"), HumanMessage("What is 7 + 5?")],
        {"messages": [HumanMessage("What is 7 + 5?")]},
    ]

    @pytest.mark.parametrize("state", STATES)
    async def test_a_choice_between_models(state: Any) -> None:
        classifier = ClusterRouterDecisions(router=FakeRouter())
        request: Any = {"state": state, "questions": {"model": CHOICE}}
        for response in (classifier.invoke(request), await classifier.ainvoke(request)):
            answer = response.choices["model"]
            assert answer.choice == "sums"
            assert answer.confidence == answer.probabilities["sums"] > 0.99
            assert sum(answer.probabilities.values()) == pytest.approx(1)

    def test_other_questions_and_labels_are_refused() -> None:
        classifier = ClusterRouterDecisions(router=FakeRouter())
        with pytest.raises(
            RouterError, match="'urgent' is a Noul: a router answers a Choice between its models"
        ):
            classifier.invoke({"state": "x", "questions": {"urgent": Noul(instructions="urgent?")}})
        strange = Choice(instructions="", criteria={"gpt": None, "sums": None})
        with pytest.raises(RouterError, match="labels that the router does not know: gpt"):
            classifier.invoke({"state": "x", "questions": {"model": strange}})

    def test_a_state_without_text_goes_by_the_global_ranking() -> None:
        classifier = ClusterRouterDecisions(router=toy_router())
        response = classifier.invoke({"state": " ", "questions": {"model": CHOICE}})
        assert response.choices["model"].choice in ("sums", "places")

    def test_chances_are_those_of_the_means() -> None:
        def row(score: float, stderr: float | None) -> ModelScore:
            return ModelScore("m", score, stderr, 10, None)

        assert best_chances([row(0.5, 0.1), row(0.5, 0.1)]) == pytest.approx([0.5, 0.5])
        assert best_chances([row(0.9, 0.01), row(0.5, 0.01)]) == pytest.approx([1, 0], abs=1e-6)
        assert best_chances([row(0.5, None)]) == [1.0]
        rows = [row(0.6, 0.05), row(0.55, 0.1), row(0.4, None)]
        rng = np.random.default_rng(0)
        spread = [0.05, 0.1, 0.24**0.5]
        drawn = rng.normal([r.score for r in rows], spread, size=(200_000, 3)).argmax(axis=1)
        assert best_chances(rows) == pytest.approx(np.bincount(drawn) / len(drawn), abs=0.01)

    @pytest.mark.parametrize("style", ["sync", "async"])
    async def test_in_langchains_own_middleware(style: str) -> None:
        pytest.importorskip("langchain.agents.middleware.model_router")
        from langchain.agents import create_agent
        from langchain.agents.middleware import ModelChoice, ModelRouterMiddleware

        sums, places = says("It is 12."), says("In Paris.")
        middleware = ModelRouterMiddleware(
            choices={"sums": ModelChoice(sums, ""), "places": ModelChoice(places, "")},
            instructions="",
            classifier=ClusterRouterDecisions(router=FakeRouter()),
        )
        agent = create_agent(says("nobody"), [], middleware=[middleware])
        for question, text in (("What is 7 + 5?", "It is 12."), ("Where?", "In Paris.")):
            given: Any = {"messages": [("human", question)]}
            state = await agent.ainvoke(given) if style == "async" else agent.invoke(given)
            assert state["messages"][-1].text == text
