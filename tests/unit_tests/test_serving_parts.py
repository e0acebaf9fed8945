"""Parts of the server alone: keys, rates, the protocol's forms, the log."""

from __future__ import annotations

import json
import logging
import sys

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk

from langchain_avengers.errors import PoolError

pytest.importorskip("starlette")
pytest.importorskip("prometheus_client")

from langchain_avengers.providers import redact
from langchain_avengers.serving.json_log import JsonFormatter
from langchain_avengers.serving.keys import ClientKey, KeyRing, hashed, is_loopback
from langchain_avengers.serving.limits import Rates
from langchain_avengers.serving.protocol import ApiError, ChatRequest, ChunkWriter, completion, finish_reason


def request(**fields: object) -> ChatRequest:
    body = {"model": "avengers", "messages": [{"role": "user", "content": "hi"}], **fields}
    return ChatRequest.read(json.dumps(body).encode())


def test_every_key_is_compared_whichever_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(1) or real(a, b))
    ring = KeyRing([ClientKey(name=str(i), sha256=hashed(f"key {i}")) for i in range(5)])
    for key in ("key 0", "key 4"):
        found = ring.authenticate(f"Bearer {key}")
        assert found is not None
        assert found.name == key[-1]
        assert len(compared) == 5
        compared.clear()
    for wrong in (None, "", "Bearer", "Bearer key", "Basic key 0", "Bearer key 5"):
        with pytest.raises(ApiError) as error:
            ring.authenticate(wrong)
        assert error.value.status == 401
        assert len(compared) == 5
        compared.clear()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("keys: []", "needs `keys:`"),
        ("[1]", "needs `keys:`"),
        ("keys: [{name: a, sha256: short}]", "0.sha256|sha256"),
        ("keys: [{name: a, key: sk-secret-value-in-a-file}]", "sha256|key"),
        ("{", "is not YAML"),
    ],
)
def test_a_wrong_keys_file_is_one_line_without_its_content(tmp_path, text: str, says: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(PoolError, match=says) as error:
        KeyRing.read(path)
    assert "secret-value" not in str(error.value)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("10.0.0.1", False), ("example.org", False)],
)  # fmt: skip
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_rates_slide() -> None:
    now = 0.0
    rates = Rates(lambda: now)
    rates.spend("web", 2)
    now = 10.0
    rates.spend("web", 2)
    now = 50.0
    with pytest.raises(ApiError) as error:
        rates.spend("web", 2)
    assert error.value.retry_after == 10
    rates.spend("other", 2)
    now = 60.5
    rates.spend("web", 2)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"finish_reason": "stop"}, "stop"),
        ({"finish_reason": "length"}, "length"),
        ({"stop_reason": "max_tokens"}, "length"),
        ({"stop_reason": "end_turn"}, "stop"),
        ({"finish_reason": "SAFETY"}, "content_filter"),
        ({}, "stop"),
    ],
)
def test_finish_reasons_of_providers(metadata: dict[str, str], reason: str) -> None:
    assert finish_reason(AIMessage("x", response_metadata=metadata)) == reason


def test_tool_calls_with_broken_arguments_go_on_as_the_model_wrote_them() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{broken"}}
    asked = request(
        messages=[
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "what?"},
        ]
    )
    message = asked.conversation()[1]
    assert isinstance(message, AIMessage)
    assert message.invalid_tool_calls[0]["args"] == "{broken"


def test_a_completion_and_its_stream_say_the_same() -> None:
    answer = AIMessageChunk(
        content="seven",
        usage_metadata={"input_tokens": 3, "output_tokens": 1, "total_tokens": 4},
        response_metadata={"finish_reason": "stop", "avengers": {"model": "a", "cost": 0.5}},
    )
    asked = request(stream=True, stream_options={"include_usage": True})
    whole = completion("id", 1, asked, [AIMessage(**answer.model_dump(exclude={"type", "tool_call_chunks"}))])
    writer = ChunkWriter("id", 1, asked)
    events = [*writer.chunk(0, answer), *writer.finish(0), *writer.end()]
    assert events[-1] == b"data: [DONE]\n\n"
    chunks = [json.loads(event[6:]) for event in events[:-1]]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"]) == "seven"
    assert chunks[-1]["usage"] == whole["usage"]
    assert chunks[-2]["avengers"] == whole["avengers"] == {"model": "a", "cost": 0.5}
    assert chunks[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]


def test_the_log_has_no_secret_and_says_where_an_error_came_from() -> None:
    redact.add("a-very-secret-value")
    try:
        raise ValueError("it is a-very-secret-value")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "key a-very-secret-value", (), sys.exc_info())
    text = JsonFormatter().format(record)
    line = json.loads(text)
    assert "a-very-secret-value" not in text
    assert line["error"].startswith("ValueError")
    assert "test_serving_parts.py" in line["raised_in"][0]
    assert ApiError(500, "a-very-secret-value").message == "***"
