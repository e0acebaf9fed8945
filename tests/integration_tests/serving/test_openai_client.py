"""The official client against a served pool."""

from __future__ import annotations

import asyncio
import base64
import json
import logging

import httpx
import openai
import pytest
from pydantic import BaseModel

from tests.integration_tests.langchain.test_standard import png
from tests.integration_tests.serving.conftest import MEMBER_KEY, Serve
from tests.openai_server import Fault

SUM = [{"role": "user", "content": "What is 2 + 5?"}]
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}


def test_a_completion_says_how_it_came_about(serve: Serve) -> None:
    served = serve()
    raw = served.client().chat.completions.with_raw_response.create(model="avengers", messages=SUM)
    answer = raw.parse()
    assert "7" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    about = answer.model_extra["avengers"]
    assert about["model"] == "sums"
    assert about["strategy"] == "self_consistency"
    assert about["samples"]["drawn"] == 3
    assert about["decision"]["chosen"] == ["sums"]
    assert answer.usage is not None
    assert answer.usage.total_tokens == served.members.counts.total_tokens
    cost = (answer.usage.prompt_tokens + 2 * answer.usage.completion_tokens) / 1e6
    assert about["cost"] == pytest.approx(cost)
    assert raw.headers["x-avengers-model"] == "sums"
    assert raw.headers["x-avengers-strategy"] == "self_consistency"
    assert float(raw.headers["x-avengers-cost"]) == pytest.approx(cost, rel=1e-4)
    assert raw.headers["x-request-id"] == answer.id


async def test_async(serve: Serve) -> None:
    served = serve()
    async with served.async_client() as client:
        answers = await asyncio.gather(
            *(client.chat.completions.create(model="avengers", messages=SUM) for _ in range(20))
        )
    assert all("7" in (answer.choices[0].message.content or "") for answer in answers)
    assert len({answer.id for answer in answers}) == 20


@pytest.mark.parametrize("model", ["avengers", "avengers:direct", "places"])
def test_stream_with_usage(serve: Serve, model: str) -> None:
    served = serve(reply="one two three four")
    stream = served.client().chat.completions.create(
        model=model, messages=SUM, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "one two three four"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == served.members.counts.total_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-2].model_extra["avengers"]["model"] == ("places" if model == "places" else "sums")
    if model == "avengers:direct":
        assert sum(bool(c.choices and c.choices[0].delta.content) for c in chunks) > 1  # as they were drawn


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices(serve: Serve, stream: bool) -> None:
    served = serve(reply=lambda call: f"Answer: {call.rng.randrange(10**6)}")
    options = {"stream_options": {"include_usage": True}} if stream else {}
    given = served.client().chat.completions.create(
        model="avengers:direct", messages=SUM, n=3, seed=5, stream=stream, **options
    )
    if stream:
        texts = ["", "", ""]
        for chunk in given:
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
            usage = chunk.usage
    else:
        assert [choice.index for choice in given.choices] == [0, 1, 2]
        texts = [choice.message.content for choice in given.choices]
        usage = given.usage
    assert len(set(texts)) == 3
    assert usage.total_tokens == served.members.counts.total_tokens


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "add"}}])
def test_tools_there_and_back(serve: Serve, stream: bool, choice: object) -> None:
    served = serve()
    client = served.client()
    ask = {"model": "avengers", "messages": SUM, "tools": [ADD], "tool_choice": choice}
    if stream:
        with client.chat.completions.stream(**ask) as events:
            answer = events.get_final_completion()
    else:
        answer = client.chat.completions.create(**ask)
    assert answer.choices[0].finish_reason == "tool_calls"
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "add"
    assert set(json.loads(call.function.arguments)) == {"a", "b"}
    back = [
        *SUM,
        answer.choices[0].message.model_dump(exclude_none=True, exclude={"parsed"}),
        {"role": "tool", "tool_call_id": call.id, "content": "7"},
    ]
    if stream:
        for each in back[1]["tool_calls"]:
            each.pop("index", None)
            each["function"].pop("parsed_arguments", None)
    after = client.chat.completions.create(model="avengers", messages=back, tools=[ADD])
    assert after.choices[0].message.content


class Total(BaseModel):
    a: int
    total: int


@pytest.mark.parametrize("strategy", ["avengers", "avengers:direct"])
def test_structured_outputs(serve: Serve, strategy: str) -> None:
    served = serve(reply='{"a": 2, "total": 7}')
    client = served.client()
    parsed = client.chat.completions.parse(model=strategy, messages=SUM, response_format=Total)
    assert parsed.choices[0].message.parsed == Total(a=2, total=7)
    asked = served.members.requests[-1].body["response_format"]
    assert asked["type"] == "json_schema"
    assert asked["json_schema"]["name"] == "Total"
    assert asked["json_schema"]["strict"] is True
    with client.chat.completions.stream(model=strategy, messages=SUM, response_format=Total) as events:
        assert events.get_final_completion().choices[0].message.parsed == Total(a=2, total=7)
    plain = client.chat.completions.create(
        model=strategy,
        messages=[{"role": "user", "content": "What is 2 + 5, as JSON?"}],
        response_format={"type": "json_object"},
    )
    assert json.loads(plain.choices[0].message.content or "") == {"a": 2, "total": 7}
    assert served.members.requests[-1].body["response_format"] == {"type": "json_object"}


def test_arguments_reach_the_members(serve: Serve) -> None:
    served = serve(reply="one two three four five")
    answer = served.client().chat.completions.create(
        model="avengers:direct", messages=SUM, max_tokens=2, temperature=0.3, seed=7, stop=["five"], top_p=0.9,
        presence_penalty=0.5, frequency_penalty=0.25,
    )  # fmt: skip
    assert answer.choices[0].finish_reason == "length"
    body = served.members.requests[-1].body
    assert (body.get("max_tokens") or body.get("max_completion_tokens")) == 2
    assert (body["temperature"], body["seed"], body["stop"], body["top_p"]) == (0.3, 7, ["five"], 0.9)
    assert (body["presence_penalty"], body["frequency_penalty"]) == (0.5, 0.25)


def test_images_reach_the_members(serve: Serve) -> None:
    served = serve()
    picture = base64.b64encode(png()).decode()
    content = [
        {"type": "text", "text": "What is in it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
    ]
    served.client().chat.completions.create(
        model="avengers:direct", messages=[{"role": "user", "content": content}]
    )
    sent = served.members.requests[-1].body["messages"][-1]["content"]
    assert sent[1]["image_url"]["url"].startswith("data:image/png")


def test_controls(serve: Serve) -> None:
    client = serve().client()

    def ask(**controls: object) -> dict:
        answer = client.chat.completions.create(
            model="avengers", messages=SUM, extra_body={"avengers": controls}
        )
        return answer.model_extra["avengers"]

    assert ask(n_samples=2)["samples"]["drawn"] == 2
    assert ask(allowed_models=["places"])["model"] == "places"
    assert ask(strategy="direct")["strategy"] == "direct"
    assert ask(cost_weight=0.9)["model"] == "sums"
    assert ask(budget={"samples": 1})["samples"]["drawn"] == 1
    with pytest.raises(openai.BadRequestError, match="there is no model 'nobody'") as error:
        ask(allowed_models=["nobody"])
    assert error.value.param == "avengers.allowed_models"
    with pytest.raises(openai.BadRequestError, match="this field is not supported"):
        ask(magic=True)


def test_models(serve: Serve) -> None:
    client = serve().client()
    names = [model.id for model in client.models.list()]
    assert names[:2] == ["avengers", "avengers:direct"]
    assert {"sums", "places", "avengers:mixture"} <= set(names)
    assert "avengers:escalate" not in names  # nobody to escalate to
    assert client.models.retrieve("avengers:direct").id == "avengers:direct"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")
    with pytest.raises(openai.NotFoundError) as error:
        client.chat.completions.create(model="nobody", messages=SUM)
    assert error.value.code == "model_not_found"


def test_escalation_to_a_model_the_router_does_not_know(serve: Serve) -> None:
    served = serve(
        reply=lambda call: "Answer: 9" if call.model == "large" else f"Answer: {call.repeat}",
        more=("large",),
        options={"strategy": "escalate", "escalate_to": "large"},
    )
    answer = served.client().chat.completions.create(model="avengers", messages=SUM)
    assert answer.choices[0].message.content == "Answer: 9"
    usage = served.members.counts
    assert answer.model_extra["avengers"]["cost"] == pytest.approx(
        (usage.prompt_tokens + 2 * usage.completion_tokens) / 1e6
    )


def test_errors_have_openais_form_and_hold_no_secret(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    fault = Fault("error", status=500)
    served = serve(members={"faults": [fault]}, options={"max_retries": 0})
    with pytest.raises(openai.InternalServerError) as error:
        served.client().chat.completions.create(model="avengers", messages=SUM)
    assert error.value.status_code == 502
    assert error.value.code == "no_answer"
    with pytest.raises(openai.InternalServerError):
        list(served.client().chat.completions.create(model="avengers", messages=SUM, stream=True))
    told = f"{error.value.body} {httpx.get(f'{served.url}/metrics').text} {caplog.text}"
    assert MEMBER_KEY not in told
    assert "avengers_member_failures_total" in told


def test_a_refusal_of_the_members_is_the_clients_error_and_opens_no_breaker(serve: Serve) -> None:
    served = serve(members={"faults": [Fault("bad_request")]})
    for _ in range(10):
        with pytest.raises(openai.BadRequestError):
            served.client().chat.completions.create(model="avengers", messages=SUM)
    members = httpx.get(f"{served.url}/readyz").json()["members"]
    assert members == {"sums": "closed", "places": "closed"}
