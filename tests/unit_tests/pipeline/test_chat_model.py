"""The pool as a chat model: what it says of itself, controls of one call, tools, schemas, streams, caches, copies."""

from __future__ import annotations

import asyncio
import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.globals import set_llm_cache
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_core.tools import tool
from langgraph.errors import GraphBubbleUp
from langgraph.types import RetryPolicy
from pydantic import BaseModel

from langchain_avengers import ChatAvengers, ClusterRouter
from langchain_avengers.errors import ArtifactError, PoolError, SamplingError
from tests.fakes import FakeModel, FakeRouter, StatusError, StreamingFake, says, toy_router

SUM = "What is 7 + 5?"
ONCE = RetryPolicy(max_attempts=1)


def pool(first: Any = None, second: Any = None, **settings: Any) -> ChatAvengers:
    models = {"sums": first or says("Answer: 12"), "places": second or says("Answer: Paris")}
    return ChatAvengers(
        router=FakeRouter(), models=models, **{"n_samples": 3, "retry_policy": ONCE, **settings}
    )


def about(message: AIMessage) -> dict[str, Any]:
    summary: dict[str, Any] = message.response_metadata["avengers"]
    return summary


def test_the_answer_says_how_it_came_about() -> None:
    message = pool().invoke(SUM)
    assert message.response_metadata["model_name"] == "fake"
    assert about(message)["model"] == "sums"
    assert about(message)["decision"]["clusters"] == [[0, 1.0]]
    assert about(message)["vote"]["confidence"] == 1.0
    assert message.usage_metadata is not None
    assert message.usage_metadata["total_tokens"] == 45
    assert message.id.startswith("lc_run-")


# --- controls of one call ---


async def test_every_way_to_control_one_call() -> None:
    model = pool()
    configured = {"configurable": {"n_samples": 2}}
    chunks = [c async for c in model.astream(SUM, configured)]
    answers = [
        model.invoke(SUM, configured),
        await model.ainvoke(SUM, configured),
        model.bind(n_samples=2).invoke(SUM),
        model.with_config(configured).invoke(SUM),
        model.invoke(SUM, n_samples=2),
        (ChatPromptTemplate.from_template("{q}") | model).invoke({"q": SUM}, configured),
        model.batch([SUM], configured)[0],
        sum(chunks[1:], chunks[0]),
        next(iter(model.stream(SUM, configured))),
        model.stream_events(SUM, configured, version="v3").output,
    ]
    assert [about(a)["samples"]["drawn"] for a in answers] == [2] * len(answers)
    assert about(model.invoke(SUM))["samples"]["drawn"] == 3


def test_the_config_wins_over_bound_arguments() -> None:
    model = pool().bind(n_samples=1)
    assert about(model.invoke(SUM, {"configurable": {"n_samples": 2}}))["samples"]["drawn"] == 2


def test_allowed_models_strategy_and_cost_weight() -> None:
    model = pool()
    assert about(model.invoke(SUM, allowed_models=["places"]))["model"] == "places"
    assert about(model.invoke(SUM, model="places"))["model"] == "places"
    assert about(model.invoke(SUM, strategy="direct"))["samples"]["drawn"] == 1
    router = FakeRouter("sums", "places", costs={"sums": 1.0, "places": 0.1})
    costly = ChatAvengers(router=router, models=model.models)
    assert about(costly.invoke(SUM, cost_weight=0.9))["model"] == "places"


@pytest.mark.parametrize(
    "bad",
    [
        {"strategy": "best"},
        {"n_samples": 0},
        {"allowed_models": ["x"]},
        {"model": "x"},
        {"strategy": "escalate"},
        {"cost_weight": 3},
    ],
)
def test_a_control_that_cannot_be_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        pool().invoke(SUM, **bad)


def test_configurable_fields_and_copies_take_effect() -> None:
    model = pool().configurable_fields(n_samples=ConfigurableField(id="samples"))
    assert about(model.invoke(SUM, {"configurable": {"samples": 1}}))["samples"]["drawn"] == 1
    assert about(pool().model_copy(update={"n_samples": 2}).invoke(SUM))["samples"]["drawn"] == 2


# --- bad input ---


@pytest.mark.parametrize(
    "messages",
    ["", [HumanMessage("  ")], [SystemMessage("be kind")], [AIMessage("hello")], [HumanMessage("")]],
    ids=["empty", "blank", "system", "ai", "empty message"],
)
async def test_without_a_question_the_global_ranking_decides(messages: Any) -> None:
    model = pool()
    chunks = [chunk async for chunk in model.astream(messages)]
    for answer in (model.invoke(messages), await model.ainvoke(messages), chunks[-1]):
        decision = about(answer)["decision"]
        assert decision["unrouted"] == "there is no text to route by"
        assert decision["novel"]
        assert about(answer)["model"] == "sums"


def test_no_messages_at_all() -> None:
    with pytest.raises(ValueError, match="the list of messages is empty"):
        pool().invoke([])


@pytest.mark.parametrize("style", ["sync", "async"])
async def test_when_the_embedder_is_down_the_global_ranking_decides(
    style: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Down(FakeRouter):
        def embed(self, text: str) -> Any:
            raise ConnectionError("embedder down")

    router = Down()
    model = ChatAvengers(router=router, models={"sums": says("Answer: 12"), "places": says("x")})
    answer = await model.ainvoke(SUM) if style == "async" else model.invoke(SUM)
    assert about(answer)["decision"]["unrouted"] == "the embedder failed: ConnectionError: embedder down"
    assert "the global ranking decides" in caplog.text


def test_the_global_ranking_of_a_router() -> None:
    router = toy_router()
    decision = router.route_globally(top_n=2)
    assert decision.novel
    assert set(decision.chosen) == {"sums", "places"}
    assert router.route_globally(models=["places"]).chosen == ("places",)
    answer = ChatAvengers(router=router, models={"sums": says("a"), "places": says("b")}).invoke("")
    assert about(answer)["model"] == decision.chosen[0]


def test_input_of_no_kind() -> None:
    with pytest.raises(ValueError, match="Invalid input type"):
        pool().invoke(3)  # type: ignore[arg-type]


# --- tools and schemas ---


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def call(a: int, b: int, id: str | None = "c1") -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "add", "args": {"a": a, "b": b}, "id": id}])


def test_tool_calls_vote_by_meaning_beside_texts() -> None:
    first = says(
        call(7, 5),
        "Answer: 12",
        AIMessage("", tool_calls=[{"name": "add", "args": {"b": 5.0, "a": 7}, "id": "x"}]),
    )
    message = pool(first).bind_tools([add]).invoke(SUM)
    assert message.tool_calls[0]["args"] == {"a": 7, "b": 5}
    assert about(message)["vote"]["tally"][0]["count"] == 2
    assert first.calls[0]["tools"][0]["function"]["name"] == "add"


def test_ids_of_tool_calls_are_new_to_the_conversation() -> None:
    for strategy in ("self_consistency", "direct"):
        model = pool(says(call(7, 5, "c1")), strategy=strategy).bind_tools([add])
        before = [HumanMessage(SUM), call(1, 1, "c1"), ToolMessage("2", tool_call_id="c1")]
        assert model.invoke(SUM).tool_calls[0]["id"] == "c1"
        assert model.invoke(before).tool_calls[0]["id"] not in ("c1", None)
        assert model.invoke([HumanMessage(SUM), call(1, 1, None)]).tool_calls[0]["id"] is not None
    live = pool(StreamingFake(script=[call(7, 5, "c1")]), strategy="direct").bind_tools([add])
    chunks = list(live.stream(before))
    assert sum(chunks[1:], chunks[0]).tool_calls[0]["id"] not in ("c1", None)


class Formats(FakeModel):
    """Keeps what its `bind_tools` is given."""

    llm_type: str = "fake"

    @property
    def _llm_type(self) -> str:
        return self.llm_type

    def bind_tools(self, tools: Any, *, tool_choice: Any = None, **kwargs: Any) -> Any:
        return self.bind(given=tools, choice=tool_choice, options=kwargs)


def test_models_get_tools_as_the_caller_gave_them() -> None:
    model = Formats(script=["x"])
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    bound = pool(model).bind_tools([add, search], strict=True, tool_choice="required")
    bound.invoke(SUM)
    call_ = model.calls[0]
    assert call_["given"] == [add, search]
    assert call_["given"][0] is add
    assert call_["options"] == {"strict": True}
    assert call_["choice"] == "any"
    assert bound.kwargs["tools"][0]["function"]["name"] == "add"  # type: ignore[attr-defined]
    other = pool(model).bind_tools([add]).bind(tools=[search])  # type: ignore[attr-defined]
    other.invoke(SUM)
    assert model.calls[-1]["given"] == [search]


def test_no_tool_at_all_in_each_providers_words() -> None:
    for kind, words in (("fake", "none"), ("anthropic-chat", {"type": "none"})):
        model = Formats(script=["x"], llm_type=kind)
        pool(model).bind_tools([add], tool_choice="none").invoke(SUM)
        assert model.calls[0]["choice"] == words


def test_a_schema_reaches_models_with_its_options() -> None:
    model = Formats(script=["x"])
    chain = pool(model).with_structured_output(Sum, method="function_calling", strict=True)
    chain.invoke(SUM)
    assert model.calls[0]["given"] == [Sum]
    assert model.calls[0]["options"]["strict"] is True


def test_a_model_without_a_profile_keeps_its_place_beside_one_with() -> None:
    known = says(call(7, 5), profile={"tool_calling": True})
    assert about(pool(says(call(7, 5)), known).bind_tools([add]).invoke(SUM))["model"] == "sums"


def test_an_unknown_tool_choice() -> None:
    with pytest.raises(ValueError, match=r"tool_choice 'subtract' is none of .* and names no tool: add"):
        pool().bind_tools([add], tool_choice="subtract")


def test_members_that_cannot_call_tools_are_no_candidates() -> None:
    mute = GenericFakeChatModel(messages=iter(["x"] * 9))
    model = pool(mute, says(call(7, 5))).bind_tools([add])
    assert about(model.invoke(SUM))["model"] == "places"
    with pytest.raises(PoolError, match="sums calls no tools; places calls no tools"):
        pool(mute, mute).bind_tools([add]).invoke(SUM)


class Sum(BaseModel):
    """A sum."""

    total: int
    note: str | None = None


@pytest.mark.parametrize("method", ["function_calling"])
def test_a_schema_votes_on_the_parsed_object(method: Any) -> None:
    def total(args: dict[str, Any]) -> AIMessage:
        return AIMessage("", tool_calls=[{"name": "Sum", "args": args, "id": "c"}])

    first = says(
        total({"total": 13}),
        total({"total": 12}),
        total({"total": "12", "note": None}),
        total({"total": "x"}),
    )
    chain = pool(first, n_samples=4).with_structured_output(Sum, method=method, include_raw=True)
    result: Any = chain.invoke(SUM)
    assert result["parsed"] == Sum(total=12)
    assert about(result["raw"])["samples"]["abstained"] == 1


def test_a_schema_asked_for_in_an_unknown_way() -> None:
    with pytest.raises(ValueError, match="unknown method 'telepathy'"):
        pool().with_structured_output(Sum, method="telepathy")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="strict"):
        pool().with_structured_output(Sum, method="json_mode", strict=True)


# --- streams ---


@pytest.mark.parametrize("settings", [{"strategy": "direct"}, {"n_samples": 1}], ids=["direct", "one sample"])
async def test_a_single_sample_is_streamed_token_by_token(settings: dict[str, Any]) -> None:
    model = pool(StreamingFake(script=["a b c"]), **settings)
    for chunks in (list(model.stream(SUM)), [c async for c in model.astream(SUM)]):
        assert all(isinstance(c, AIMessageChunk) for c in chunks)
        assert [c.text for c in chunks][:3] == ["a", " b", " c"]
        assert len({c.id for c in chunks}) == 1
        assert [c.chunk_position for c in chunks][-1] == "last"
        assert [c.chunk_position for c in chunks].count("last") == 1
        whole: Any = sum(chunks[1:], chunks[0])
        assert whole.usage_metadata["total_tokens"] == 15
        assert whole.response_metadata["model_name"] == "fake"
        assert about(whole)["samples"]["drawn"] == 1


async def test_a_stream_that_fails_before_its_first_token_falls_back() -> None:
    model = pool(
        StreamingFake(script=["a b"], breaks_after=0), StreamingFake(script=["c d"]), strategy="direct"
    )
    for chunks in (list(model.stream(SUM)), [c async for c in model.astream(SUM)]):
        whole: Any = sum(chunks[1:], chunks[0])
        assert whole.text == "c d"
        assert about(whole)["model"] == "places"
        assert about(whole)["account"]["requests"] == 2


async def test_a_stream_that_breaks_off_says_so() -> None:
    model = pool(StreamingFake(script=["a b"], breaks_after=1), strategy="direct")
    with pytest.raises(
        SamplingError, match="sums broke off in the middle of its answer: ConnectionError: cut off"
    ):
        list(model.stream(SUM))
    with pytest.raises(SamplingError, match="broke off"):
        _ = [c async for c in model.astream(SUM)]


async def test_a_stream_is_tried_again_first() -> None:
    flaky = says(StatusError(503), "Answer: 12")
    quick = RetryPolicy(initial_interval=0.001, max_attempts=2, retry_on=StatusError)
    model = pool(flaky, strategy="direct", retry_policy=quick)
    (*_, last) = [c async for c in model.astream(SUM)]
    assert about(last)["model"] == "sums"
    assert about(last)["account"]["requests"] == 2


async def test_progress_on_request() -> None:
    model = pool(progress=True)
    events = [e async for e in model.astream_events(SUM, version="v2") if e["event"] == "on_custom_event"]
    assert [e["data"]["event"] for e in events] == ["routed", "sampled", "answered"]
    assert events[1]["data"]["drawn"] == 3
    silent = [e async for e in pool().astream_events(SUM, version="v2") if e["event"] == "on_custom_event"]
    assert not silent


async def test_outer_events_show_one_answer() -> None:
    model = pool(StreamingFake(script=["a b c"]))
    events = [e["event"] async for e in model.astream_events(SUM, version="v2")]
    assert events.count("on_chat_model_start") == events.count("on_chat_model_end") == 1


# --- sticky conversations and capabilities ---


def test_a_sticky_conversation_keeps_its_model_within_its_topic() -> None:
    broken, other = says(StatusError(500)), says("Answer: 12")
    sticky = pool(broken, other, sticky=True)
    first = sticky.invoke(SUM)
    assert about(first)["model"] == "places"
    broken.script = ["Answer: 4"]
    more = [HumanMessage(SUM), first, HumanMessage("And 2 + 2?")]
    assert about(sticky.invoke(more))["model"] == "places"
    assert about(pool(broken, other).invoke(more))["model"] == "sums"
    away = [HumanMessage("Where?"), about_model("sums", 1), HumanMessage("And 2 + 2?")]
    assert about(sticky.invoke(away))["model"] == "sums"


def about_model(model: str, cluster: int) -> AIMessage:
    decision = {
        "chosen": [model],
        "ranking": [{"name": model, "score": 0.9, "stderr": None, "n": 1, "cost": None}],
        "clusters": [[cluster, 1.0]],
        "distance": 0.1,
        "novel": False,
    }
    return AIMessage("x", response_metadata={"avengers": {"model": model, "decision": decision}})


def test_tool_results_go_back_to_the_model_that_called() -> None:
    model = pool(sticky=True)
    asked = about_model("places", 0).model_copy(update={"tool_calls": call(7, 5).tool_calls})
    loop = [HumanMessage(SUM), asked, ToolMessage("12", tool_call_id="c1")]
    embedded = len(model.router.embedded)
    assert about(model.invoke(loop))["model"] == "places"
    assert len(model.router.embedded) == embedded


def test_only_models_that_take_images_are_asked() -> None:
    image = [
        HumanMessage([{"type": "text", "text": SUM}, {"type": "image_url", "image_url": {"url": "data:,"}}])
    ]
    sees = says("a picture", profile={"image_inputs": True})
    blind = says("no", profile={"image_inputs": False})
    told = about(pool(blind, sees).invoke(image))
    assert told["model"] == "places"
    assert told["decision"]["left_out"] == {"sums": "takes no images"}
    assert about(pool(says("?"), sees).invoke(image))["model"] == "sums"  # unknown is not incapable
    assert about(pool(says("?"), says("?")).invoke(image))["model"] == "sums"
    with pytest.raises(PoolError, match="sums takes no images; places takes no images"):
        pool(blind, blind).invoke(image)


def test_only_models_with_the_context_are_asked() -> None:
    short, long = says("x", profile={"max_input_tokens": 20}), says("y", profile={"max_input_tokens": 9000})
    question = SUM + " word" * 200
    assert about(pool(short, long).invoke(question))["model"] == "places"
    with pytest.raises(PoolError, match=r"sums takes 20 tokens, about \d+ given"):
        pool(short, short).invoke(question)


def test_the_profile_is_what_all_members_can_do() -> None:
    rich = says("x", profile={"image_inputs": True, "tool_calling": True, "max_input_tokens": 9000})
    poor = says("x", profile={"image_inputs": False, "tool_calling": True, "max_input_tokens": 500})
    assert pool(rich, poor).profile == {"image_inputs": False, "tool_calling": True, "max_input_tokens": 500}
    assert pool(rich, says("x")).profile == rich.profile  # unknown is not incapable
    assert pool(says("x"), says("x")).profile is None


# --- samples that say nothing ---

CUT = AIMessage("It is", response_metadata={"finish_reason": "length"})
FILTERED = AIMessage("", response_metadata={"finish_reason": "content_filter"})
REFUSED = AIMessage("", additional_kwargs={"refusal": "I cannot help with that."})


@pytest.mark.parametrize("nothing", ["", CUT, FILTERED, REFUSED], ids=["empty", "cut", "filtered", "refused"])
@pytest.mark.parametrize("settings", [{}, {"strategy": "direct"}, {"n_samples": 1}, {"strategy": "mixture"}])
async def test_the_next_model_is_asked_when_all_samples_say_nothing(
    nothing: Any, settings: dict[str, Any]
) -> None:
    for style in ("sync", "async"):
        model = pool(says(nothing), says("Answer: 12"), **settings)
        answer = await model.ainvoke(SUM) if style == "async" else model.invoke(SUM)
        assert answer.text == "Answer: 12"
        assert about(answer)["model"] == "places"


async def test_when_nobody_says_anything_it_is_an_error_or_the_refusal() -> None:
    with pytest.raises(
        SamplingError, match=r"every answer was empty: sums: content_filter \(3 times\); places: no reason"
    ):
        pool(says(FILTERED), says("")).invoke(SUM)
    assert (
        pool(says(REFUSED), says("")).invoke(SUM).additional_kwargs["refusal"] == "I cannot help with that."
    )
    assert pool(says(CUT), says("")).invoke(SUM).text == "It is"


async def test_a_streamed_answer_that_was_cut_stands() -> None:
    model = pool(StreamingFake(script=[CUT]), says("Answer: 12"), strategy="direct")
    assert "".join(c.text for c in model.stream(SUM)) == "It is"
    empty = pool(StreamingFake(script=[""]), StreamingFake(script=["Answer: 12"]), strategy="direct")
    assert "".join([c.text async for c in empty.astream(SUM)]) == "Answer: 12"


# --- swapping while calls run ---


def test_router_and_models_can_be_swapped() -> None:
    model = pool()
    third = says("Answer: 3")
    router = FakeRouter("sums", "places", "third")
    with pytest.raises(PoolError, match="third has no model"):
        model.replace(router=router)
    assert model.invoke(SUM).text == "Answer: 12"
    model.replace(router=router, models={**model.models, "third": third})
    assert about(model.invoke(SUM, allowed_models=["third"]))["model"] == "third"
    model.replace(router=FakeRouter("third"), models={"third": third})
    assert model.invoke(SUM).text == "Answer: 3"
    assert list(model.models) == ["third"]


def test_a_router_that_learns_a_model_under_a_live_pool() -> None:
    for names in (("sums", "places", "new"), ("new", "sums", "places"), ("sums",)):
        model = pool(n_samples=2)
        model.router.models_ = list(names)
        for settings in ({}, {"strategy": "mixture"}, {"strategy": "model_switch"}):
            assert about(model.invoke(SUM, **settings))["model"] in ("sums", "places")


async def test_calls_that_run_end_as_they_began() -> None:
    waiting, go = asyncio.Event(), asyncio.Event()

    class Waits(FakeModel):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
            waiting.set()
            await go.wait()
            return await super()._agenerate(*args, **kwargs)

    model = pool(Waits(), n_samples=1)
    call_ = asyncio.create_task(model.ainvoke(SUM))
    await waiting.wait()
    model.replace(router=FakeRouter("third"), models={"third": says("Answer: 3")})
    go.set()
    assert (await call_).text == "Answer: 12"
    assert (await model.ainvoke(SUM)).text == "Answer: 3"


# --- options that cannot be ---


def test_an_option_set_later_is_checked_and_holds() -> None:
    model = pool()
    with pytest.raises(ValueError, match="n_samples"):
        model.n_samples = -2
    assert model.n_samples == 3
    model.n_samples = 2
    assert about(model.invoke(SUM))["samples"]["drawn"] == 2
    model.strategy, model.escalate_to = "self_consistency", says("strong")
    assert about(model.invoke(SUM, strategy="escalate", n_samples=1))["strategy"] == "escalate"
    copied = model.model_copy(update={"allowed_models": ["places"]})
    assert about(copied.invoke(SUM))["model"] == "places"
    assert about(model.invoke(SUM))["model"] == "sums"
    with pytest.raises(ValueError, match="n_samples"):
        model.model_copy(update={"n_samples": 0})
    with pytest.raises(ValueError, match="no option 'n_sample'"):
        model.model_copy(update={"n_sample": 2})


def test_options_of_the_pool_do_not_reach_providers() -> None:
    first = says("Answer: 12", "Answer: 13")
    model = pool(first)
    message = model.invoke(SUM, budget={"samples": 2}, timeout=5.0, top_p=0.5)
    assert about(message)["samples"]["drawn"] == 2
    assert "budget" not in first.calls[0]
    assert "timeout" not in first.calls[0]
    assert first.calls[0]["top_p"] == 0.5
    with pytest.raises(ValueError, match="escalate_to cannot be set for one call"):
        model.invoke(SUM, escalate_to="places")


def test_unknown_prices_and_misspelt_controls(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(PoolError, match="prices names no model of the pool: qwen"):
        pool(prices={"sums": (1.0, 1.0), "qwen": (1.0, 1.0)})
    pool().invoke(SUM, {"configurable": {"n_sample": 1, "thread_id": "1"}})
    assert "has 'n_sample', which is no control: did you mean 'n_samples'?" in caplog.text


def test_config_specs_are_the_controls() -> None:
    assert {spec.id for spec in pool().config_specs} >= {"n_samples", "strategy", "allowed_models"}


def test_samples_that_will_be_alike_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    pool(temperature=0.0, strategy="direct")
    assert not caplog.records
    pool(temperature=0.0)
    assert "samples of one model will be alike" in caplog.text


# --- caches, tokens, copies ---


def test_two_pools_never_share_a_cached_answer() -> None:
    set_llm_cache(InMemoryCache())
    try:
        model = pool(says("Answer: 1"))
        assert model.invoke(SUM).text == "Answer: 1"
        assert model.invoke(SUM).text == "Answer: 1"
        assert len(model.models["sums"].calls) == 3  # n samples stay n, and are drawn once
        assert pool(says("Answer: 2")).invoke(SUM).text == "Answer: 2"
        assert about(model.invoke(SUM, n_samples=2))["samples"]["drawn"] == 2
        generic = [
            pool(GenericFakeChatModel(messages=iter([text] * 3))) for text in ("Answer: 3", "Answer: 4")
        ]
        assert [m.invoke(SUM).text for m in generic] == ["Answer: 3", "Answer: 4"]
    finally:
        set_llm_cache(None)


def test_identifying_params_hold_what_answers_depend_on_and_no_key() -> None:
    one = pool(says("a").bind(api_key="sk-secret"))
    assert "sk-secret" not in str(one._identifying_params) + repr(one)
    assert one._identifying_params != pool(says("a"))._identifying_params
    for change in ({"strategy": "mixture"}, {"n_samples": 4}, {"voter": "majority"}):
        assert pool(**change)._identifying_params != pool()._identifying_params


def test_tokens_are_counted_by_a_member() -> None:
    class Counting(FakeModel):
        def get_token_ids(self, text: str) -> list[int]:
            return [1] * len(text)

    model = pool(Counting())
    assert model.get_num_tokens("abc") == 3
    assert model.get_num_tokens_from_messages([HumanMessage("abc")]) > 3


def test_copies_and_pickles_answer() -> None:
    model = pool(GenericFakeChatModel(messages=iter([])), says("x"))
    assert copy.deepcopy(pool(FakeList(), FakeList())).invoke(SUM).text == "Answer: 12"
    assert pickle.loads(pickle.dumps(pool(FakeList(), FakeList()))).invoke(SUM).text == "Answer: 12"
    assert "GenericFake" not in repr(model)


def FakeList() -> Any:
    from langchain_core.language_models import FakeListChatModel

    return FakeListChatModel(responses=["Answer: 12"])


async def test_many_at_once() -> None:
    model = pool(says("Answer: 12", delay=0.02))
    answers = await asyncio.gather(*(model.ainvoke(SUM) for _ in range(50)))
    assert all(a.text == "Answer: 12" for a in answers)
    assert all(about(a)["samples"]["drawn"] == 3 for a in answers)


def test_max_concurrency_bounds_requests_in_flight() -> None:
    import threading

    active, peak, lock = 0, 0, threading.Lock()
    pair = threading.Barrier(2, timeout=60)

    def reply(_: Any) -> AIMessage:
        nonlocal active, peak
        with lock:
            active += 1
            peak = max(peak, active)
        pair.wait()
        with lock:
            active -= 1
        return AIMessage("Answer: 12")

    class Open(FakeModel):
        def _next(self, messages: Any, kwargs: dict[str, Any]) -> AIMessage:
            return reply(messages)

    pool(Open(), n_samples=6, max_concurrency=2).invoke(SUM)
    assert peak == 2


async def test_a_usage_counter_counts_the_pool_once() -> None:
    for settings in ({}, {"strategy": "direct"}):
        model = pool(StreamingFake(), **settings)
        with get_usage_metadata_callback() as counter:
            answers = [model.invoke(SUM), await model.ainvoke(SUM)]
            chunks = [list(model.stream(SUM)), [c async for c in model.astream(SUM)]]
        told = [a.usage_metadata["total_tokens"] for a in answers]
        told += [sum(c[1:], c[0]).usage_metadata["total_tokens"] for c in chunks]
        assert counter.usage_metadata["fake"]["total_tokens"] == sum(told)


def test_the_router_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = {"sums": says("12"), "places": says("Paris")}
    monkeypatch.delenv("AVENGERS_ROUTER", raising=False)
    with pytest.raises(PoolError, match="AVENGERS_ROUTER"):
        ChatAvengers(models=models)
    toy_router().save(tmp_path / "router")
    monkeypatch.setenv("AVENGERS_ROUTER", str(tmp_path / "router"))
    assert ChatAvengers(models=models).router.models_ == ["sums", "places"]
    assert ChatAvengers(router=FakeRouter(), models=models).router.models_ == ["sums", "places"]
    monkeypatch.setenv("AVENGERS_ROUTER", str(tmp_path / "nowhere"))
    with pytest.raises(ArtifactError, match="nowhere"):
        ChatAvengers(models=models)


@pytest.mark.parametrize("router", ["folder", ClusterRouter(), 42])
def test_a_router_that_is_none(router: Any) -> None:
    with pytest.raises(PoolError, match="fitted ClusterRouter"):
        ChatAvengers(router=router, models={"sums": says("12"), "places": says("Paris")})


def _cancel(*_: Any) -> Any:
    raise asyncio.CancelledError


async def _acancel(*_: Any) -> Any:
    raise asyncio.CancelledError


async def test_a_model_that_cancels_its_own_call_has_failed() -> None:
    model = pool(RunnableLambda(_cancel, _acancel))
    for message in (model.invoke(SUM), await model.ainvoke(SUM)):
        assert about(message)["model"] == "places"
        assert "cancelled its own call" in str(about(message)["failures"])


class _Waits(FakeModel):
    started: Any = None

    async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
        if self.started is not None:
            self.started.release()
        await asyncio.sleep(60)


async def test_a_cancelled_call_leaves_nothing_behind() -> None:
    before, started = asyncio.all_tasks(), asyncio.Semaphore(0)
    waits = _Waits(script=["12"], started=started)
    call = asyncio.create_task(pool(waits, waits, strategy="mixture").ainvoke(SUM))
    for _ in range(3):
        await started.acquire()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not asyncio.all_tasks() - before


class _Interrupts(FakeModel):
    async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        raise GraphBubbleUp


async def test_what_a_graph_has_to_see_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    with pytest.raises(GraphBubbleUp):
        await pool(_Interrupts(script=["12"]), _Waits(script=["12"]), strategy="mixture").ainvoke(SUM)
    assert not asyncio.all_tasks() - before


def test_members_given_by_name_find_their_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    models = dict.fromkeys(("sums", "places"), "openai:gpt-4o-mini")
    with pytest.raises(PoolError, match="OPENAI_API_KEY"):
        ChatAvengers(router=FakeRouter(), models=models)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    assert "sk-of-the-environment" not in repr(ChatAvengers(router=FakeRouter(), models=models))
