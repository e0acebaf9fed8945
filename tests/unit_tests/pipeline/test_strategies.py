"""Every strategy, on threads and on the loop, through the chat model and through the graph."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.types import RetryPolicy

from langchain_avengers import ChatAvengers, create_avengers_graph
from langchain_avengers.errors import PoolError, SamplingError
from langchain_avengers.pool import Price
from tests.fakes import FakeModel, FakeRouter, ManyFake, StatusError, says

SUM = [HumanMessage("What is 7 + 5?")]
ONCE = RetryPolicy(max_attempts=1)


class Outcome:
    """What a query came to, whichever way it went."""

    def __init__(self, answer: AIMessage) -> None:
        self.answer = answer
        self.summary: dict[str, Any] = answer.response_metadata["avengers"]
        self.account = self.summary["account"]

    @property
    def text(self) -> str:
        return self.answer.text


Ask = Callable[..., Any]


@pytest.fixture(params=["invoke", "ainvoke", "stream", "astream", "graph", "agraph"])
def ask(request: pytest.FixtureRequest) -> Ask:
    async def asked(models: dict[str, Any], router: FakeRouter | None = None, **settings: Any) -> Outcome:
        router = router or FakeRouter(*models)
        settings = {"retry_policy": ONCE, **settings}
        if request.param.endswith("graph"):
            graph = create_avengers_graph(router, models, **settings)
            given = {"messages": SUM}
            state = await graph.ainvoke(given) if request.param == "agraph" else graph.invoke(given)
            assert state["messages"][-1] == state["answer"]
            assert state["account"] == state["answer"].response_metadata["avengers"]["account"]
            return Outcome(state["answer"])
        pool = ChatAvengers(router=router, models=models, **settings)
        if request.param == "invoke":
            return Outcome(pool.invoke(SUM))
        if request.param == "ainvoke":
            return Outcome(await pool.ainvoke(SUM))
        chunks = list(pool.stream(SUM)) if request.param == "stream" else [c async for c in pool.astream(SUM)]
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole += chunk
        return Outcome(whole)

    return asked


def calls(model: FakeModel) -> int:
    return len(model.calls)


async def test_direct_draws_one_sample(ask: Ask) -> None:
    first, second = says("Answer: 12"), says("Paris")
    outcome = await ask({"sums": first, "places": second}, strategy="direct", n_samples=5)
    assert outcome.text == "Answer: 12"
    assert (calls(first), calls(second)) == (1, 0)
    assert outcome.answer.usage_metadata["total_tokens"] == 15
    assert outcome.summary["model"] == "sums"


async def test_self_consistency_votes(ask: Ask) -> None:
    first = says("Answer: 13", "Answer: 12", "The answer is 12", "Answer: 12", "dunno")
    outcome = await ask({"sums": first, "places": says("Paris")})
    assert "12" in outcome.text
    vote = outcome.summary["vote"]
    assert vote["tally"][0]["count"] == 3
    assert calls(first) == 5
    assert outcome.summary["samples"]["drawn"] == 5
    assert outcome.answer.usage_metadata["total_tokens"] == 75
    assert outcome.summary["decision"]["chosen"] == ["sums"]


async def test_mixture_spreads_over_models_and_weighs_them(ask: Ask) -> None:
    models = {"sums": says("Answer: 12"), "places": says("Answer: 13"), "third": says("Answer: 14")}
    outcome = await ask(models, strategy="mixture", n_samples=4)
    assert [calls(m) for m in models.values()] == [2, 2, 0]
    assert outcome.text == "Answer: 12"
    weights = [c["weight"] for c in outcome.summary["vote"]["tally"]]
    assert weights[0] > weights[1]


async def test_mixture_takes_as_many_models_as_wanted(ask: Ask) -> None:
    models = {name: says("Answer: 12") for name in ("sums", "places", "third")}
    await ask(models, strategy="mixture", n_samples=5, top_n=3)
    assert [calls(m) for m in models.values()] == [2, 2, 1]


async def test_model_switch_leaves_the_second_model_alone_when_the_first_is_consistent(ask: Ask) -> None:
    models = {"sums": says(*["Answer: 12"] * 4, "Answer: 13"), "places": says("Answer: 13")}
    outcome = await ask(models, strategy="model_switch")
    assert [calls(m) for m in models.values()] == [5, 0]
    assert outcome.account["requests"] == 5


async def test_model_switch_pools_both_models_when_it_is_not(ask: Ask) -> None:
    models = {"sums": says("Answer: 12", "Answer: 13", "Answer: 14"), "places": says("Answer: 14")}
    outcome = await ask(models, strategy="model_switch", n_samples=3)
    assert [calls(m) for m in models.values()] == [3, 3]
    assert outcome.text == "Answer: 14"
    assert outcome.account["requests"] == 6
    assert outcome.answer.usage_metadata["total_tokens"] == 90


async def test_escalate_asks_the_stronger_model_only_when_unsure(ask: Ask) -> None:
    for script, expected in ((["Answer: 12"], "Answer: 12"), (["Answer: 12", "Answer: 13"], "I say 99")):
        strong = says("I say 99", model_name="strong")
        outcome = await ask(
            {"sums": says(*script), "places": says("x")}, strategy="escalate", escalate_to=strong, n_samples=4
        )
        assert outcome.text == expected
        assert calls(strong) == (expected == "I say 99")
    assert outcome.summary["model"] == "strong"
    assert outcome.summary["answered_by"] == "escalate"
    assert outcome.summary["vote"]["confidence"] == 0.5
    assert outcome.account["requests"] == 5


async def test_cheap_models_first_and_the_strong_one_of_the_pool_where_they_differ(ask: Ask) -> None:
    for other, expected in (("The answer is 12.", "Answer: 12"), ("Answer: 13", "Answer: 99")):
        models = {"a": says("Answer: 12"), "b": says(other), "strong": says("Answer: 99")}
        outcome = await ask(
            models, strategy="escalate", escalate_to="strong", allowed_models=["a", "b"], top_n=2,
            n_samples=2, confidence_threshold=1.0,
        )  # fmt: skip
        assert outcome.text == expected
        assert [calls(model) for model in models.values()] == [1, 1, int(expected == "Answer: 99")]


async def test_escalate_to_a_pool_model_by_name_and_its_failure_leaves_the_vote(ask: Ask) -> None:
    models = {"sums": says("Answer: 12", "Answer: 12", "Answer: 13"), "places": says(StatusError(500))}
    outcome = await ask(models, strategy="escalate", escalate_to="places", n_samples=3)
    assert outcome.text == "Answer: 12"
    assert outcome.summary["failures"] == [
        {"model": "places", "role": "escalate", "cause": "StatusError: status 500"}
    ]


async def test_aggregate_writes_from_the_candidates(ask: Ask) -> None:
    writer = says("All in all: 12")
    outcome = await ask(
        {"sums": says("one", 'two"]', "three"), "places": says("x")},
        strategy="aggregate",
        aggregator=writer,
        n_samples=3,
    )
    assert outcome.text == "All in all: 12"
    (call,) = writer.calls
    candidates = json.loads(call["messages"][0].text.splitlines()[-1])
    assert sorted(candidates) == ["one", "three", 'two"]']
    assert call["messages"][-1] == SUM[-1]
    assert outcome.account["requests"] == 4


async def test_aggregate_by_the_top_model_unless_told(ask: Ask) -> None:
    first = says("a", "b", "the answer")
    outcome = await ask({"sums": first, "places": says("x")}, strategy="aggregate", n_samples=2)
    assert outcome.text == "the answer"


async def test_rounds_stop_when_the_leader_is_safe(ask: Ask) -> None:
    first = says("Answer: 12")
    outcome = await ask({"sums": first, "places": says("x")}, min_samples=2, n_samples=20)
    samples = outcome.summary["samples"]
    assert calls(first) == samples["drawn"] < 10
    assert samples["saved"] == 20 - samples["drawn"]
    assert samples["decided_by"] == "stopped"


async def test_rounds_go_on_while_it_is_not(ask: Ask) -> None:
    first = says("Answer: 12", "Answer: 13")
    outcome = await ask({"sums": first, "places": says("x")}, min_samples=2, round_size=3, n_samples=7)
    assert calls(first) == 7
    assert outcome.summary["samples"]["saved"] == 0


async def test_a_budget_in_samples_is_never_passed(ask: Ask) -> None:
    models = {"sums": says("Answer: 12", "Answer: 13"), "places": says("Answer: 14")}
    outcome = await ask(models, strategy="model_switch", n_samples=4, budget={"samples": 6})
    assert [calls(m) for m in models.values()] == [4, 2]
    assert outcome.summary["samples"]["decided_by"] in (None, "budget")


async def test_a_budget_in_tokens_or_dollars_ends_sampling(ask: Ask) -> None:
    first = says("Answer: 12", "Answer: 13")
    outcome = await ask({"sums": first, "places": says("x")}, n_samples=20, budget={"tokens": 50})
    assert calls(first) == 3
    assert outcome.answer.usage_metadata["total_tokens"] == 45
    assert outcome.summary["samples"]["decided_by"] == "budget"
    first = says("Answer: 12", "Answer: 13")
    price = {"sums": (1000.0, 1000.0)}  # 0.015 dollars a sample
    outcome = await ask(
        {"sums": first, "places": says("x")}, n_samples=20, budget={"dollars": 0.05}, prices=price
    )
    assert calls(first) == 3
    assert outcome.summary["cost"] == pytest.approx(0.045)


async def test_an_ample_budget_draws_all_at_once(ask: Ask) -> None:
    for budget in ({"dollars": 100.0}, {"tokens": 100_000}):
        model = ManyFake(script=["Answer: 12"])
        outcome = await ask(
            {"sums": model, "places": says("x")}, n_samples=5, budget=budget, prices={"sums": (1.0, 2.0)}
        )
        assert outcome.account["requests"] == 1
        assert outcome.summary["samples"]["drawn"] == 5


async def test_a_budget_in_dollars_needs_costs(ask: Ask) -> None:
    first = says("Answer: 12")
    with pytest.raises(PoolError, match=r"the cost of sums is not known. Give prices="):
        await ask({"sums": first, "places": says("x")}, budget={"dollars": 1e-12})
    assert not first.calls
    router = FakeRouter("sums", "places", costs={"sums": 0.001})
    models = {"sums": says(StatusError(500)), "places": says("Answer: 12")}
    with pytest.raises(SamplingError, match="status 500"):  # the stand-in would cost nobody knows what
        await ask(models, router, budget={"dollars": 1.0})
    assert not models["places"].calls


async def test_the_next_model_steps_in_for_one_that_failed(ask: Ask) -> None:
    models = {"sums": says(StatusError(500)), "places": says("Answer: 12"), "third": says("x")}
    outcome = await ask(models, n_samples=3)
    assert outcome.text == "Answer: 12"
    assert outcome.summary["model"] == "places"
    assert [calls(m) for m in models.values()] == [3, 3, 0]
    assert outcome.summary["samples"]["failed"] == 3
    assert outcome.account["failed_requests"] == 3
    assert outcome.account["requests"] == 6


async def test_direct_falls_back_too(ask: Ask) -> None:
    models = {"sums": says(StatusError(500)), "places": says("Answer: 12")}
    outcome = await ask(models, strategy="direct")
    assert outcome.text == "Answer: 12"
    assert outcome.summary["model"] == "places"
    assert outcome.summary["failures"][0]["model"] == "sums"


async def test_a_failed_sample_does_not_fail_the_answer(ask: Ask) -> None:
    models = {"sums": says("Answer: 12", StatusError(500), StatusError(500)), "places": says("x")}
    outcome = await ask(models, n_samples=3)
    assert outcome.text == "Answer: 12"
    assert calls(models["places"]) == 0
    assert outcome.summary["samples"] | {"saved": 0} == {
        "drawn": 1, "failed": 2, "abstained": 0, "saved": 0, "decided_by": None,
    }  # fmt: skip


async def test_when_nothing_answers_every_cause_is_told(ask: Ask) -> None:
    models = {"sums": says(StatusError(500, "overloaded")), "places": says(StatusError(401, "no entry"))}
    with pytest.raises(SamplingError) as raised:
        await ask(models, n_samples=2)
    text = str(raised.value)
    assert "sums: StatusError: overloaded (2 times)" in text
    assert "places: StatusError: no entry" in text
    assert "\n" not in text
    if "graph" not in str(ask):
        kinds = [type(error) for error in raised.value.exceptions]
        assert set(kinds) <= {StatusError, RuntimeError}
    assert raised.value.__cause__ is raised.value.exceptions[0]


async def test_calibrated_costs_are_called_an_estimate(ask: Ask) -> None:
    router = FakeRouter("sums", "places", costs={"sums": 0.001, "places": 0.002})
    models = {"sums": says("Answer: 12"), "places": says("x")}
    outcome = await ask(models, router, n_samples=4)
    assert outcome.summary["cost"] == pytest.approx(0.004)
    assert outcome.summary["cost_is_estimate"]
    outcome = await ask(models, router, n_samples=4, prices={"sums": (1.0, 2.0)})
    assert outcome.summary["cost"] == pytest.approx(4 * (10 + 2 * 5) / 1e6)
    assert not outcome.summary["cost_is_estimate"]


async def test_an_unknown_cost_is_no_zero(ask: Ask) -> None:
    outcome = await ask({"sums": says("Answer: 12"), "places": says("x")}, n_samples=2)
    assert outcome.summary["cost"] is None
    assert outcome.account["cost_unknown"] == ["sums"]


async def test_samples_that_hold_no_answer_abstain(ask: Ask) -> None:
    outcome = await ask({"sums": says("", "Answer: 12", ""), "places": says("x")}, n_samples=3)
    assert outcome.text == "Answer: 12"
    assert outcome.summary["samples"]["abstained"] == 2


@pytest.mark.parametrize(
    "bad",
    [
        {"strategy": "best"},
        {"n_samples": 0},
        {"voter": "loudest"},
        {"voter": object()},
        {"voter": "judge"},
        {"strategy": "escalate"},
        {"escalate_to": "nobody", "strategy": "escalate"},
        {"allowed_models": ["nobody"]},
        {"allowed_models": []},
        {"n_sample": 3},
        {"budget": {"samples": 0}},
        {"budget": {"tokens": -1}},
        {"budget": {"dollars": 0}},
        {"budget": {"sample": 3}},
        {"routing_text": 0},
        {"confidence_threshold": 2},
        {"sample_in_one_request": {"nobody": True}},
    ],
)
def test_a_setting_that_cannot_be_is_refused_at_construction(bad: dict[str, Any]) -> None:
    models = {"sums": says("a"), "places": says("b")}
    with pytest.raises(ValueError, match=r"\S"):
        ChatAvengers(router=FakeRouter(), models=models, **bad)
    with pytest.raises(ValueError, match=r"\S"):
        create_avengers_graph(FakeRouter(), models, **bad)


def test_models_and_router_have_to_fit() -> None:
    with pytest.raises(PoolError, match="places has no model; the router does not know other"):
        ChatAvengers(router=FakeRouter(), models={"sums": says("a"), "other": says("b")})
    with pytest.raises(PoolError, match="'places' is no chat model but a int"):
        ChatAvengers(router=FakeRouter(), models={"sums": says("a"), "places": 3})


def test_prices_of_a_pool_file_fit() -> None:
    models = {"sums": says("a"), "places": says("b")}
    priced = ChatAvengers(router=FakeRouter(), models=models, prices={"sums": Price(input=1.0, output=2.0)})
    assert priced.prices == {"sums": (1.0, 2.0)}
