"""The strategy `learned`: whom it asks, in which rounds, and when it stops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import HumanMessage
from langgraph.types import RetryPolicy

from langchain_avengers import ChatAvengers, create_avengers_graph
from langchain_avengers.errors import PoolError
from langchain_avengers.voting.policy import N_NOTHING, N_SHARED, NEVER, Plan, VotePolicy, Weights
from tests.fakes import FakeRouter, StatusError, says

SUM = [HumanMessage("What is 7 + 5?")]
NAMES = ("sums", "places", "third")


def policy(*plans: Plan, draws: int = 1) -> VotePolicy:
    """A vote weighs 1 and its model's log-odds; nothing speaks for "none of them"."""
    shared = np.array([1.0, 1.0, *[0.0] * (N_SHARED - 2)])
    weights = Weights(np.zeros(3), np.zeros(3), shared, np.array([-1.0, *[0.0] * (N_NOTHING - 1)]))
    return VotePolicy(NAMES, weights, (1.0, 0.0, 0.0), plans, (draws,) * 3, "third", 0.5, 100)


def pool(
    given: VotePolicy | None, texts: tuple[Any, ...] = ("12", "13", "13"), **settings: Any
) -> ChatAvengers:
    router = FakeRouter(*NAMES)
    router.policy_ = given
    models = {name: says(*([text] * 9)) for name, text in zip(NAMES, texts, strict=True)}
    return ChatAvengers(router=router, models=models, retry_policy=RetryPolicy(max_attempts=1), **settings)


def asked(answered: Any) -> dict[str, int]:
    return {
        name: one["requests"]
        for name, one in answered.response_metadata["avengers"]["account"]["models"].items()
    }


ALL = Plan(first=3, most=3)
ROUNDS = Plan(first=1, most=3, stop=0.9)


def test_it_is_the_default_of_a_router_that_has_a_policy() -> None:
    assert pool(policy(ALL)).strategy == "learned"
    assert pool(None).strategy == "self_consistency"
    assert pool(policy(ALL), top_n=2).strategy == "self_consistency"
    assert pool(policy(ALL), voter="majority").strategy == "self_consistency"
    assert pool(policy(ALL), strategy="direct").strategy == "direct"


def test_a_router_without_a_policy_is_refused() -> None:
    with pytest.raises(PoolError, match="fit one on a table with recorded answers"):
        pool(None, strategy="learned")
    with pytest.raises(PoolError, match="fit one on a table with recorded answers"):
        pool(None).invoke(SUM, {"configurable": {"strategy": "learned"}})


def test_all_models_vote_by_their_weights() -> None:
    answer = pool(policy(ALL)).invoke(SUM)
    assert asked(answer) == {"sums": 1, "places": 1, "third": 1}
    vote = answer.response_metadata["avengers"]["vote"]
    # 1 + log-odds of 0.9 against twice 1 + those of 0.8 and 0.7
    weights = np.exp([1 + np.log(9), 2 + np.log(4) + np.log(7 / 3), -1.0])
    assert answer.text == "13"
    assert vote["confidence"] == pytest.approx(weights[1] / weights.sum())
    assert vote["tally"][1]["weight"] == pytest.approx(weights[0] / weights.sum())


async def test_rounds_end_when_the_answer_is_sure() -> None:
    agreed = pool(policy(ROUNDS), ("12", "12", "12"))
    for answer in (agreed.invoke(SUM), await agreed.ainvoke(SUM)):
        assert asked(answer) == {"sums": 1}
        assert answer.response_metadata["avengers"]["samples"]["decided_by"] == "stopped"
        assert answer.response_metadata["avengers"]["samples"]["saved"] == 2
    unsure = pool(policy(replace(ROUNDS, stop=NEVER)))
    assert asked(unsure.invoke(SUM)) == {"sums": 1, "places": 1, "third": 1}


def test_the_graph_goes_the_same_way() -> None:
    router = FakeRouter(*NAMES)
    router.policy_ = policy(replace(ROUNDS, stop=0.99))
    models = {name: says(*([text] * 9)) for name, text in zip(NAMES, ("12", "12", "13"), strict=True)}
    state = create_avengers_graph(router, models).invoke({"messages": SUM})
    assert asked(state["answer"]) == {"sums": 1, "places": 1}


def test_a_model_that_fails_is_not_asked_again() -> None:
    given = policy(replace(ALL, first=2, most=4, repeat=0.0), draws=2)
    answer = pool(given, (StatusError(400), "12", "12")).invoke(SUM)
    assert asked(answer) == {"sums": 2, "places": 2, "third": 2}
    assert answer.response_metadata["avengers"]["samples"]["failed"] == 2


def test_several_answers_of_one_model() -> None:
    answer = pool(policy(replace(ALL, repeat=0.01), draws=3)).invoke(SUM)
    assert answer.response_metadata["avengers"]["samples"]["drawn"] == 3
    assert [c["count"] for c in answer.response_metadata["avengers"]["vote"]["tally"]] == [3]


def test_one_model_alone() -> None:
    answer = pool(policy(Plan(only="third"))).invoke(SUM)
    assert asked(answer) == {"third": 1}
    others = pool(policy(Plan(only="third")), allowed_models=["places", "sums"]).invoke(SUM)
    assert asked(others) == {"sums": 1}


def test_it_asks_less_by_n_samples_budget_and_cost_weight() -> None:
    given = policy(replace(ALL, score=0.6, cost=3.0), Plan(score=0.55, cost=1.0))
    assert asked(pool(given, n_samples=2).invoke(SUM)) == {"sums": 1, "places": 1}
    assert asked(pool(given, budget={"samples": 2}).invoke(SUM)) == {"sums": 1, "places": 1}
    assert len(asked(pool(given, cost_weight=0.5).invoke(SUM))) == 1


def test_a_budget_of_tokens_is_tried_with_one_answer() -> None:
    answer = pool(policy(ALL), budget={"tokens": 31}).invoke(SUM)  # an answer of the fakes has 15
    assert sum(asked(answer).values()) == 2


def test_cheap_models_first() -> None:
    router = FakeRouter(*NAMES, costs={"sums": 1.0, "places": 0.1, "third": 0.2})
    router.policy_ = policy(Plan(first=2, most=3, thrift=1.0, stop=0.9))
    models = {name: says("12", "12") for name in NAMES}
    answer = ChatAvengers(router=router, models=models).invoke(SUM)
    assert asked(answer) == {"places": 1, "third": 1}


def test_a_named_strategy_tells_the_chance_that_its_winner_is_right() -> None:
    with_policy = pool(policy(ALL), strategy="self_consistency", n_samples=3).invoke(SUM)
    without = pool(None, n_samples=3).invoke(SUM)
    assert with_policy.text == without.text == "12"
    assert without.response_metadata["avengers"]["vote"]["confidence"] == 1.0
    assert 0.9 < with_policy.response_metadata["avengers"]["vote"]["confidence"] < 1.0
