"""The pool where any chat model stands in LCEL, and what LangChain offers around one."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import ConfigurableField, RunnableLambda, RunnableParallel
from langchain_core.tools import tool

from langchain_avengers import ChatAvengers, ClusterRouterRunnable
from langchain_avengers.errors import AvengersError, PoolError, SamplingError
from tests.fakes import toy_router
from tests.integration_tests.langchain.conftest import Pool
from tests.openai_server import Fault, OpenAIServer

QUESTION = "What is 2 + 3?"


def numbered(call: Any) -> str:
    return f"Answer: {call.number}.{call.index}"


# --- batches ---


@pytest.mark.parametrize("style", ["batch", "abatch", "batch_as_completed", "abatch_as_completed"])
async def test_batches_come_in_order(pool: Pool, style: str) -> None:
    model, server = pool(server={"together": 2, "delay": 0.02})
    questions = [f"What is {i} + 1?" for i in range(12)]
    config: Any = {"max_concurrency": 3}
    if style == "batch":
        answers = model.batch(questions, config)
    elif style == "abatch":
        answers = await model.abatch(questions, config)
    elif style == "batch_as_completed":
        pairs: list[Any] = list(model.batch_as_completed(questions, config))
        answers = [answer for _, answer in sorted(pairs, key=lambda pair: pair[0])]
    else:
        pairs = [pair async for pair in model.abatch_as_completed(questions, config)]
        answers = [answer for _, answer in sorted(pairs, key=lambda pair: pair[0])]
    assert [answer.text.split()[-1] for answer in answers] == [str(i + 1) for i in range(12)]
    assert 1 < server.counts.peak <= 3


async def test_a_batch_returns_exceptions_where_asked(pool: Pool) -> None:
    model, _ = pool()
    questions: Any = [QUESTION, [], QUESTION]
    for answers in (
        model.batch(questions, return_exceptions=True),
        await model.abatch(questions, return_exceptions=True),
    ):
        assert [isinstance(answer, AIMessage) for answer in answers] == [True, False, True]
        assert isinstance(answers[1], ValueError)


async def test_max_concurrency_of_one_question(pool: Pool) -> None:
    model, server = pool(
        n_samples=8,
        max_concurrency=2,
        sample_in_one_request={"sums": False},
        server={"together": 2, "delay": 0.02},
    )
    await model.ainvoke(QUESTION)
    assert server.counts.peak == 2
    model.invoke(QUESTION)
    assert server.counts.peak == 2
    assert server.counts.requests == 16


# --- fallbacks and retries ---


@pytest.mark.parametrize("style", ["sync", "async"])
async def test_fallbacks_around(pool: Pool, style: str) -> None:
    broken, _ = pool(server={"faults": [Fault("error", status=401)]})
    spare, server = pool()
    chain = broken.with_fallbacks([spare])
    answer = await chain.ainvoke(QUESTION) if style == "async" else chain.invoke(QUESTION)
    assert answer.text.endswith("5")
    assert server.counts.answers == 3


def test_fallbacks_around_keep_bound_tools(pool: Pool) -> None:
    @tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    broken, _ = pool(server={"faults": [Fault("error", status=401)]})
    spare, _ = pool()
    bound = broken.with_fallbacks([spare]).bind_tools([add])  # type: ignore[attr-defined]  # by its __getattr__
    assert bound.invoke("Please add: 2 + 3").tool_calls[0]["args"] == {"a": 2, "b": 3}
    schema = {"title": "Sum", "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    structured = broken.with_fallbacks([spare]).with_structured_output(schema)  # type: ignore[attr-defined]
    assert structured.invoke("It is 7") == {"a": 7}


@pytest.mark.parametrize("style", ["sync", "async"])
async def test_fallbacks_inside(openai_server: Callable[..., OpenAIServer], style: str) -> None:
    broken = openai_server(faults=[Fault("error", status=401)])
    server = openai_server()
    member = broken.chat_model("sums").with_fallbacks([server.chat_model("sums")])
    models = {"sums": member, "places": server.chat_model("places")}
    model = ChatAvengers(router=toy_router(), models=models, n_samples=3)
    answer = await model.ainvoke(QUESTION) if style == "async" else model.invoke(QUESTION)
    assert answer.text.endswith("5")
    assert answer.response_metadata["avengers"]["model"] == "sums"
    assert answer.response_metadata["avengers"]["samples"]["failed"] == 0


@pytest.mark.parametrize("style", ["sync", "async"])
async def test_with_retry(pool: Pool, style: str) -> None:
    model, server = pool(max_retries=0, server={"faults": [Fault("error", status=500, times=2)]})
    chain = model.with_retry(stop_after_attempt=4, wait_exponential_jitter=False)
    answer = await chain.ainvoke(QUESTION) if style == "async" else chain.invoke(QUESTION)
    assert answer.text.endswith("5")
    assert server.counts.failed == 2


@pytest.mark.parametrize("style", ["sync", "async"])
async def test_when_nothing_answers_the_error_names_every_cause(pool: Pool, style: str) -> None:
    model, _ = pool(server={"faults": [Fault("error", status=401, models=["sums"]), Fault("bad_request")]})
    with pytest.raises(SamplingError, match=r"sums: .*places: ") as caught:  # noqa: PT012
        if style == "async":
            await model.ainvoke(QUESTION)
        else:
            model.invoke(QUESTION)
    assert "\n" not in str(caught.value)
    assert "sk-test" not in str(caught.value)


# --- the cache ---


@pytest.fixture
def _cache() -> Iterator[None]:
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(None)


@pytest.mark.usefixtures("_cache")
@pytest.mark.parametrize("style", ["sync", "async"])
async def test_the_cache_saves_the_whole_call_and_no_sample(pool: Pool, style: str) -> None:
    model, server = pool(reply=numbered, n_samples=4, sample_in_one_request={"sums": False})

    async def ask(pool_: Any) -> AIMessage:
        return await pool_.ainvoke(QUESTION) if style == "async" else pool_.invoke(QUESTION)

    first = await ask(model)
    assert server.counts.answers == 4
    assert sum(c["count"] for c in first.response_metadata["avengers"]["vote"]["tally"]) == 4
    assert len(first.response_metadata["avengers"]["vote"]["tally"]) == 4, "the samples were copies of one"
    again = await ask(model)
    assert server.counts.answers == 4
    assert again.text == first.text


@pytest.mark.usefixtures("_cache")
def test_two_pools_never_share_an_entry(pool: Pool, openai_server: Callable[..., OpenAIServer]) -> None:
    model, server = pool(reply=numbered)
    other_server = openai_server(reply=numbered)
    base: dict[str, Any] = {"router": model.router, "models": model.models, "n_samples": 3}
    others = [
        {**base, "n_samples": 2},
        {**base, "strategy": "mixture"},
        {**base, "voter": "medoid"},
        {**base, "temperature": 0.3},
        {**base, "models": {name: server.chat_model(name, temperature=1.5) for name in model.models}},
        {**base, "models": {name: other_server.chat_model(name) for name in model.models}},
        {**base, "models": {"sums": model.models["places"], "places": model.models["sums"]}},
        {**base, "routing_text": "conversation"},
        {**base, "allowed_models": ["places"]},
        {**base, "router": toy_router(("places", "sums"))},
    ]
    model.invoke(QUESTION)
    for i, kwargs in enumerate(others):
        before = server.counts.requests + other_server.counts.requests
        ChatAvengers(**kwargs).invoke(QUESTION)
        assert server.counts.requests + other_server.counts.requests > before, (
            f"pool {i} got another's answer"
        )
    before = server.counts.requests
    model.invoke(QUESTION, config={"configurable": {"n_samples": 5}})
    assert server.counts.requests > before, "a control of one call is not in the key"
    before = server.counts.requests
    ChatAvengers(**base).invoke(QUESTION)
    assert server.counts.requests == before, "an equal pool is the same entry"


# --- limits, tokens, copies ---


def test_rate_limiters_outside_and_inside(openai_server: Callable[..., OpenAIServer]) -> None:
    class Counting(InMemoryRateLimiter):
        asked = 0

        def acquire(self, *, blocking: bool = True) -> bool:
            self.asked += 1
            return True

    outer = Counting(requests_per_second=1000)
    inner = Counting(requests_per_second=1000)
    server = openai_server()
    models = {name: server.chat_model(name, rate_limiter=inner) for name in ("sums", "places")}
    model = ChatAvengers(
        router=toy_router(),
        models=models,
        n_samples=3,
        rate_limiter=outer,
        sample_in_one_request={"sums": False},
    )
    model.invoke(QUESTION)
    assert outer.asked == inner.asked == 3  # both space requests


def test_get_num_tokens_is_a_members(pool: Pool) -> None:
    class Counted(ChatAvengers):
        pass

    model, server = pool()
    members = {
        name: server.chat_model(name, custom_get_token_ids=lambda text: list(range(len(text.split()))))
        for name in model.models
    }
    counted = Counted(router=model.router, models=members)
    assert counted.get_num_tokens("one two three") == 3
    with pytest.warns(UserWarning, match="estimate"):
        assert model.get_num_tokens_from_messages([HumanMessage("one two three")]) > 0


def test_copies_answer_alike(pool: Pool) -> None:
    model, server = pool()
    for twin in (copy.copy(model), model.model_copy()):
        assert twin.invoke(QUESTION).text == model.invoke(QUESTION).text
        assert twin._get_llm_string() == model._get_llm_string()
    assert server.counts.answers == 12


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_pool_pickles_where_its_members_do(twin_of: Callable[[Any], Any]) -> None:
    from langchain_core.language_models import FakeListChatModel

    models = {name: FakeListChatModel(responses=["Answer: 5"]) for name in ("sums", "places")}
    model = ChatAvengers(router=toy_router(), models=models, n_samples=3)
    twin = twin_of(model)
    assert twin.invoke(QUESTION).text == model.invoke(QUESTION).text == "Answer: 5"
    assert twin._get_llm_string() == model._get_llm_string()


def test_nothing_secret_in_what_a_pool_says_of_itself(openai_server: Callable[..., OpenAIServer]) -> None:
    secret = "sk-very-secret-indeed"
    server = openai_server()
    models = {name: server.chat_model(name, api_key=secret) for name in ("sums", "places")}
    model = ChatAvengers(router=toy_router(), models=models, api_key=secret)
    for told in (
        repr(model),
        str(model),
        model._get_llm_string(),
        str(model.dict()),
        str(model._identifying_params),
    ):
        assert secret not in told
    assert secret not in model.model_dump_json(exclude={"router", "models"})


# --- composition ---


async def test_in_a_parallel(pool: Pool) -> None:
    model, _ = pool()
    both = RunnableParallel(sum=model | StrOutputParser(), place=RunnableLambda(lambda _: "where?") | model)
    for answer in (both.invoke(QUESTION), await both.ainvoke(QUESTION)):
        assert answer["sum"].endswith("5")
        assert isinstance(answer["place"], AIMessage)


@pytest.mark.parametrize("style", ["sync", "async"])
async def test_the_router_as_a_selector(pool: Pool, style: str) -> None:
    model, server = pool()
    selector = ClusterRouterRunnable(router=model.router)
    chooser = RunnableParallel(name=selector.names(), question=lambda question: question) | RunnableLambda(
        lambda chosen: model.models[chosen["name"]].bind().invoke(chosen["question"])
    )
    for question, name in ((QUESTION, "sums"), ("Which city is the capital of A?", "places")):
        if style == "async":
            assert await selector.names().ainvoke(question) == name
            await chooser.ainvoke(question)
        else:
            assert selector.names().invoke(question) == name
            chooser.invoke(question)
        assert server.requests[-1].model == name
    prompt = ChatPromptTemplate.from_template("What is {a} + {b}?")
    decision = (prompt | selector).invoke({"a": 2, "b": 3})
    assert decision.chosen == ("sums",)
    assert [s.name for s in decision.ranking] == ["sums", "places"]
    assert selector.invoke([("system", "x"), ("human", QUESTION)]).chosen == ("sums",)
    assert selector.batch([QUESTION, QUESTION])[1].chosen == ("sums",)
    only = selector.names().invoke(QUESTION, {"configurable": {"allowed_models": ["places"]}})
    assert only == "places"


def test_configurable_alternatives_and_fields(pool: Pool) -> None:
    model, server = pool()
    chain = model.configurable_alternatives(
        ConfigurableField("who"), default_key="pool", single=server.chat_model("alone")
    )
    assert "avengers" in chain.invoke(QUESTION).response_metadata
    alone = chain.with_config(configurable={"who": "single"}).invoke(QUESTION)
    assert "avengers" not in alone.response_metadata
    fields = model.configurable_fields(n_samples=ConfigurableField("n"), strategy=ConfigurableField("how"))
    answer = fields.with_config(configurable={"n": 2, "how": "mixture"}).invoke(QUESTION)
    told = answer.response_metadata["avengers"]
    assert (told["samples"]["drawn"], told["strategy"]) == (2, "mixture")


@pytest.mark.parametrize(
    ("way", "style"),
    [
        (way, style)
        for way in ("config", "bind", "argument", "with_config", "chain")
        for style in ("invoke", "ainvoke", "stream", "astream", "batch", "abatch", "v3")
        if style != "v3" or way in ("config", "argument")  # v3 is a method of the chat model itself
    ],
)
async def test_controls_of_one_call(pool: Pool, way: str, style: str) -> None:
    model, server = pool()
    controls: Any = {"n_samples": 2, "allowed_models": ["places"], "strategy": "self_consistency"}
    target: Any = model
    config: Any = None
    kwargs: Any = {}
    if way in ("config", "chain"):
        config = {"configurable": controls}
        target = (lambda question: question) | model if way == "chain" else model
    elif way == "bind":
        target = model.bind(**controls)
    elif way == "with_config":
        target = model.with_config(configurable=controls)
    else:
        kwargs = controls
    if style == "invoke":
        target.invoke(QUESTION, config, **kwargs)
    elif style == "ainvoke":
        await target.ainvoke(QUESTION, config, **kwargs)
    elif style == "stream":
        list(target.stream(QUESTION, config, **kwargs))
    elif style == "astream":
        [chunk async for chunk in target.astream(QUESTION, config, **kwargs)]
    elif style == "batch":
        target.batch([QUESTION], config, **kwargs)
    elif style == "abatch":
        await target.abatch([QUESTION], config, **kwargs)
    else:
        list(target.stream_events(QUESTION, config, version="v3", **kwargs))
    assert {record.model for record in server.requests} == {"places"}
    assert server.counts.answers == 2


# --- bad input ---


@pytest.mark.parametrize(
    "messages", [[SystemMessage("Be good.")], "", [HumanMessage("   ")], [AIMessage("hi")]], ids=str
)
async def test_messages_without_a_question_go_by_the_global_ranking(pool: Pool, messages: Any) -> None:
    model, _ = pool()
    for answer in (model.invoke(messages), await model.ainvoke(messages)):
        assert answer.response_metadata["avengers"]["decision"]["unrouted"]


async def test_no_messages(pool: Pool) -> None:
    model, server = pool()
    with pytest.raises(ValueError, match="empty"):
        model.invoke([])
    with pytest.raises(ValueError, match="empty"):
        await model.ainvoke([])
    assert server.requests == []


def test_what_else_is_refused(pool: Pool) -> None:
    model, server = pool()

    @tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    with pytest.raises(ValueError, match="no_such_tool"):
        model.bind_tools([add], tool_choice="no_such_tool")
    with pytest.raises(ValueError, match=r"[Ii]nvalid input type"):
        model.invoke(42)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="method"):
        model.with_structured_output({"title": "X", "type": "object"}, method="guess")  # type: ignore[arg-type]
    with pytest.raises(PoolError, match="'nobody'"):
        model.invoke(QUESTION, model="nobody")
    with pytest.raises(ValueError, match="strategy"):
        model.invoke(QUESTION, strategy="guess")
    with pytest.raises(ValueError, match="nobody"):
        model.invoke(QUESTION, config={"configurable": {"allowed_models": ["nobody"]}})
    assert server.requests == []


def test_what_a_pool_cannot_be_made_of(pool: Pool) -> None:
    model, server = pool()
    one = server.chat_model("sums")

    def make(**kwargs: Any) -> ChatAvengers:
        return ChatAvengers(**{"router": model.router, "models": model.models, **kwargs})

    for kwargs, text in [
        ({"models": {"sums": one}}, "places"),
        ({"models": {**model.models, "extra": one}}, "extra"),
        ({"models": {"sums": one, "places": "not a model at all"}}, "places"),
        ({"models": {"sums": one, "places": object()}}, "no chat model"),
        ({"n_samples": 0}, "n_samples"),
        ({"strategy": "guess"}, "strategy"),
        ({"strategy": "escalate"}, "escalate_to"),
        ({"voter": "guess"}, "voter"),
        ({"n_sample": 3}, "n_sample"),
    ]:
        with pytest.raises((AvengersError, ValueError), match=text):
            make(**kwargs)


# --- many at once ---


async def test_64_calls_at_once_share_the_loop(pool: Pool) -> None:
    model, server = pool(server={"together": 64})
    threads = threading.active_count()
    tasks = [asyncio.ensure_future(model.ainvoke(f"What is {i} + 1?")) for i in range(64)]
    answers = await asyncio.gather(*tasks)
    assert [answer.text.split()[-1] for answer in answers] == [str(i + 1) for i in range(64)]
    assert server.counts.peak == 64
    assert threading.active_count() < threads + 16, "a thread a call"


async def test_nothing_blocks_the_event_loop(pool: Pool) -> None:
    from blockbuster import blockbuster_ctx

    calls: dict[str, tuple[ChatAvengers, OpenAIServer]] = {
        strategy: pool(strategy=strategy)
        for strategy in ("direct", "self_consistency", "mixture", "aggregate")
    }
    calls["refused"] = pool(server={"faults": [Fault("refuse_n"), Fault("error", times=1)]})
    calls["medoid"] = pool(reply=lambda call: f"A poem, number {call.repeat}", voter="medoid")
    for model, _ in calls.values():
        await model.ainvoke(QUESTION)  # what is loaded once is loaded
    with blockbuster_ctx():
        for model, _ in calls.values():
            await model.ainvoke(QUESTION)
            [chunk async for chunk in model.astream(QUESTION)]
            await model.abatch([QUESTION, QUESTION])
            [event async for event in model.astream_events(QUESTION, version="v2")]
