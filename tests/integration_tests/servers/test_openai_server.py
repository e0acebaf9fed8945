"""The test server speaks the protocol, fails on demand, and keeps true accounts."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable

import httpx
import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from tests.openai_server import Call, Fault, OpenAIServer, graded, server_process, tokens

Start = Callable[..., OpenAIServer]


def client(server: OpenAIServer, **kwargs: object) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=server.url, api_key="sk-secret", **{"max_retries": 0, "timeout": 10, **kwargs}
    )


def ask(
    server: OpenAIServer, text: str = "What is 2 + 3?", **kwargs: object
) -> openai.types.chat.ChatCompletion:
    messages = [{"role": "user", "content": text}]
    return client(server).chat.completions.create(model="m", messages=messages, **kwargs)


@tool
def get_weather(location: str) -> str:
    """Weather in a place."""
    return f"Sunny in {location}."


def test_n_choices_are_paid_one_prompt(openai_server: Start) -> None:
    server = openai_server(reply=lambda call: f"answer {call.index}")
    done = ask(server, n=3)
    assert [c.message.content for c in done.choices] == ["answer 0", "answer 1", "answer 2"]
    one = ask(server, n=1)
    assert done.usage.prompt_tokens == one.usage.prompt_tokens
    assert done.usage.completion_tokens == 3 * one.usage.completion_tokens == 6
    assert (server.counts.requests, server.counts.answers) == (2, 4)
    assert server.counts.total_tokens == done.usage.total_tokens + one.usage.total_tokens


def test_replies_by_queue_by_model_by_rule(openai_server: Start) -> None:
    server = openai_server(reply=["first", "second"], by_model={"other": "mine"})
    assert server.chat_model("m").invoke("x").text == "first"
    assert server.chat_model("other").invoke("x").text == "mine"
    assert server.chat_model("m").invoke("x").text == "second"
    with pytest.raises(openai.InternalServerError, match="used up"):
        server.chat_model("m").invoke("x")
    server.reply = None
    assert "Answer: 5" in server.chat_model("m").invoke("What is 2 + 3?").text


async def test_stream_with_usage_equals_invoke(openai_server: Start) -> None:
    server = openai_server(reply="One two,  three.\nAnswer: 4")
    model = server.chat_model("m")
    whole = await model.ainvoke("x")
    parts = [part async for part in model.astream("x")]
    assert len(parts) > 5
    full = parts[0]
    for part in parts[1:]:
        full += part
    assert full.text == whole.text == "One two,  three.\nAnswer: 4"
    assert full.usage_metadata == whole.usage_metadata
    assert server.counts.answers == 2


def test_stop_and_length(openai_server: Start) -> None:
    server = openai_server(reply="Hello! How can I help you today?")
    assert ask(server, stop=["you"]).choices[0].message.content == "Hello! How can I help "
    cut = ask(server, max_tokens=3)
    assert cut.choices[0].finish_reason == "length"
    assert cut.choices[0].message.content == "Hello! How"
    assert cut.usage.completion_tokens == 3


def test_tools_forced_chosen_parallel_and_answered(openai_server: Start) -> None:
    server = openai_server()
    model = server.chat_model("m").bind_tools([get_weather])
    assert model.invoke("Hello").tool_calls == []
    question = HumanMessage("What is the weather in San Francisco, CA?")
    called = model.invoke([question])
    assert [c["args"] for c in called.tool_calls] == [{"location": "San Francisco, CA"}]
    message = ToolMessage("Sunny", tool_call_id=called.tool_calls[0]["id"])
    assert model.invoke([question, called, message]).text == "The tool says: Sunny"
    both = model.invoke("What is the weather in Paris and in Rome?")
    assert [c["args"]["location"] for c in both.tool_calls] == ["Paris", "Rome"]
    assert len({c["id"] for c in both.tool_calls}) == 2
    one = server.chat_model("m").bind_tools([get_weather], parallel_tool_calls=False)
    assert len(one.invoke("What is the weather in Paris and in Rome?").tool_calls) == 1
    forced = server.chat_model("m").bind_tools([get_weather], tool_choice="any").invoke("Hello")
    assert forced.tool_calls[0]["name"] == "get_weather"
    streamed = None
    for part in model.stream([question]):
        streamed = part if streamed is None else streamed + part
    assert streamed.tool_calls[0]["args"] == {"location": "San Francisco, CA"}


class Joke(BaseModel):
    """A joke."""

    setup: str
    score: int


@pytest.mark.parametrize("method", ["function_calling", "json_schema", "json_mode"])
def test_structured_output(openai_server: Start, method: str) -> None:
    model = openai_server(reply=None).chat_model("m").with_structured_output(Joke, method=method)
    prompt = "A joke called 'Cats' worth 7"
    if method == "json_mode":
        with pytest.raises(openai.BadRequestError, match="json"):
            model.invoke(prompt)
    else:
        assert model.invoke(prompt) == Joke(setup="Cats", score=7)


def test_picture_arrives(openai_server: Start) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 3, 2, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b"")
    picture = {"type": "image", "base64": base64.b64encode(png).decode(), "mime_type": "image/png"}
    server = openai_server(text_only=["blind"])
    message = HumanMessage([{"type": "text", "text": "What is this?"}, picture])
    assert server.chat_model("m").invoke([message]).text == "The picture is 3 x 2 pixels."
    with pytest.raises(openai.BadRequestError, match="image"):
        server.chat_model("blind").invoke([message])


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"messages": []}, "too short"),
        ({"n": 0}, "'n'"),
        ({"tool_choice": "auto"}, "'tools'"),
        ({"stop": ["a"] * 5}, "'stop'"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "preceding message"),
        ({"messages": [{"role": "user", "content": None}]}, "got null"),
    ],
)
def test_what_the_protocol_refuses(openai_server: Start, body: dict, text: str) -> None:
    server = openai_server()
    full = {"model": "m", "messages": [{"role": "user", "content": "x"}], **body}
    response = httpx.post(f"{server.url}/chat/completions", json=full)
    assert response.status_code == 400
    assert text in response.json()["error"]["message"]
    assert server.counts.failed == 1


def test_seed_repeats_and_rng_differs(openai_server: Start) -> None:
    server = openai_server(reply=lambda call: str(call.rng.random()))
    contents = [c.message.content for c in ask(server, n=3, seed=1).choices]
    assert len(set(contents)) == 3
    assert [c.message.content for c in ask(server, n=3, seed=1).choices] == contents
    assert ask(server).choices[0].message.content != ask(server).choices[0].message.content


def test_graded_models(openai_server: Start) -> None:
    server = openai_server(reply=graded({"q": "7"}, {"good": 1.0, "bad": 0.0}))
    assert server.chat_model("good").invoke("q").text == "Answer: 7"
    assert "none" in server.chat_model("bad").invoke("q").text


def test_keys_are_kept_apart(openai_server: Start) -> None:
    server = openai_server(api_key="sk-secret")
    ask(server)
    assert "sk-secret" not in repr(server.requests)
    assert server.keys == {"sk-secret"}
    with pytest.raises(openai.AuthenticationError):
        server.chat_model("m", api_key="other").invoke("x")


def test_embeddings_and_models(openai_server: Start) -> None:
    server = openai_server(models=["a", "b"])
    near, far = server.embeddings().embed_documents(["add two numbers", "a poem of love"])
    query = server.embeddings().embed_query("add these numbers")
    dot = lambda v: sum(a * b for a, b in zip(v, query, strict=True))  # noqa: E731
    assert dot(near) > dot(far)
    assert [m.id for m in client(server).models.list()] == ["a", "b"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("rate_limit", retry_after=0.01), openai.RateLimitError),
        (Fault("error", status=503), openai.InternalServerError),
        (Fault("garbage"), (openai.APIError, json.JSONDecodeError)),
        (Fault("cut"), openai.APIConnectionError),
        (Fault("drop"), openai.APIConnectionError),
        (Fault("hang"), openai.APITimeoutError),
        (Fault("bad_request"), openai.BadRequestError),
    ],
)
def test_faults_fail_and_pass(openai_server: Start, fault: Fault, error: type[Exception]) -> None:
    fault.times = 1
    server = openai_server(faults=[fault])
    with pytest.raises(error):
        client(server, timeout=1.0 if fault.kind == "hang" else 10).chat.completions.create(
            model="m", messages=[{"role": "user", "content": "x"}]
        )
    assert ask(server).choices[0].message.content
    assert server.counts.answers == 1
    assert [r.fault for r in server.requests] == [fault.kind, None]
    assert server.counts.active == 0


def test_cut_stream(openai_server: Start) -> None:
    server = openai_server(reply="one two three four five six seven eight", faults=[Fault("cut")])
    parts = []
    with pytest.raises(openai.APIConnectionError):  # noqa: PT012
        for part in server.chat_model("m").stream("x"):
            parts.append(part.text)
    assert "one" in "".join(parts)
    assert server.counts.answers == 0


def test_n_ignored_and_refused(openai_server: Start) -> None:
    server = openai_server(faults=[Fault("ignore_n", times=1), Fault("refuse_n")])
    assert len(ask(server, n=4).choices) == 1
    with pytest.raises(openai.BadRequestError, match="n=1"):
        ask(server, n=4)
    assert len(ask(server, n=1).choices) == 1


def test_faults_by_probability_model_and_time(openai_server: Start) -> None:
    server = openai_server(faults=[Fault("error", p=0.5, models=["m"], after=2)], seed=3)
    statuses = []
    for model in ["m", "other"] * 20:
        body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
        statuses.append((model, httpx.post(f"{server.url}/chat/completions", json=body).status_code))
    mine = [status for model, status in statuses if model == "m"]
    assert mine[:2] == [200, 200]
    assert 4 < mine.count(500) < 16
    assert {status for model, status in statuses if model == "other"} == {200}


def test_death_and_return(openai_server: Start) -> None:
    server = openai_server(faults=[Fault("die", times=1, seconds=0.3)])
    with pytest.raises(openai.APIConnectionError):
        ask(server)
    assert openai.OpenAI(base_url=server.url, api_key="x", max_retries=6).models.list().data
    assert server.deaths == 1
    assert ask(server).choices


async def test_concurrency_and_abandoned(openai_server: Start) -> None:
    import asyncio

    server = openai_server(together=8)
    model = server.chat_model("m")
    await asyncio.gather(*(model.ainvoke("x") for _ in range(8)))
    assert server.counts.peak == 8
    server.delay = 60
    task = asyncio.ensure_future(model.ainvoke("x"))
    while not server.counts.active:  # noqa: ASYNC110 - another thread's
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    for _ in range(1000):
        if server.counts.abandoned:
            break
        await asyncio.sleep(0.01)
    assert (server.counts.abandoned, server.counts.answers, server.counts.active) == (1, 8, 0)


def test_tool_call_by_reply(openai_server: Start) -> None:
    def reply(call: Call) -> dict:
        assert call.tools[0]["name"] == "get_weather"
        return {"tool_calls": [{"name": "get_weather", "args": {"location": "Bern"}, "id": "c1"}]}

    message = openai_server(reply).chat_model("m").bind_tools([get_weather]).invoke("x")
    assert isinstance(message, AIMessage)
    assert message.tool_calls[0]["args"] == {"location": "Bern"}
    assert message.tool_calls[0]["id"] == "c1"


def test_tokens_join_to_the_text() -> None:
    for text in ("Hello, you!", "  a  b\n", "", "你好 x"):
        assert "".join(tokens(text)) == text


def test_as_a_process() -> None:
    with server_process("--models", "a,b", "--fault", "slow:0.5:0.01") as (url, process):
        model = openai.OpenAI(base_url=url, api_key="x")
        body = {"model": "a", "messages": [{"role": "user", "content": "1 + 1"}]}
        assert "2" in model.chat.completions.create(**body).choices[0].message.content
        assert httpx.get(url.removesuffix("/v1") + "/counts").json()["requests"] == 1
    assert process.returncode is not None
