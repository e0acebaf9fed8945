"""What is said once about providers: models by name, prices, errors, and secrets taken out of texts."""

from __future__ import annotations

import base64
import email.utils
import sys
import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel
from langchain_openai import ChatOpenAI

from langchain_avengers.errors import PoolError
from langchain_avengers.providers import (
    SecretRedactor,
    build_chat_model,
    chat_model,
    describe,
    may_pass,
    one_line,
    redact,
    retry_after,
    secrets_of,
    status_of,
    token_cost,
)


def status_error(status: int, **headers: str) -> Exception:
    error = Exception("no")
    error.response = httpx.Response(status, headers=headers)  # type: ignore[attr-defined]
    return error


def test_a_model_by_name_and_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-the-environment")
    built = chat_model("a", "openai:gpt-4o-mini")
    assert isinstance(built, ChatOpenAI)
    assert "key-of-the-environment" in secrets_of(built)
    given_model = FakeListChatModel(responses=["x"])
    assert chat_model("a", given_model) is given_model


def test_a_model_that_cannot_be_built_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PoolError, match="model 'a': cannot be built"):
        chat_model("a", "no-such-model-anywhere")
    with pytest.raises(PoolError, match="model 'a'"):
        build_chat_model("a", "no-such-provider", {"model": "m"})
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    with pytest.raises(PoolError, match=r"langchain-avengers\[agents\]"):
        chat_model("a", "openai:gpt-4o-mini")


def test_token_cost_is_dollars_per_million() -> None:
    assert token_cost((1.0, 2.0), 1_000_000, 500_000) == (1.0, 1.0)


def test_status_and_what_may_pass() -> None:
    assert status_of(status_error(503)) == 503
    assert status_of(ValueError()) is None
    assert [may_pass(status_error(status)) for status in (400, 401, 408, 429, 500)] == [
        False, False, True, True, True,
    ]  # fmt: skip
    assert may_pass(ValueError("garbage"))
    assert not may_pass(TypeError())


def test_retry_after_is_seconds_milliseconds_or_a_date() -> None:
    assert retry_after(status_error(429, **{"retry-after": "7"})) == 7.0
    assert retry_after(status_error(429, **{"retry-after-ms": "1500"})) == 1.5
    later = email.utils.formatdate(time.time() + 30, usegmt=True)
    wait = retry_after(status_error(429, **{"retry-after": later}))
    assert wait is not None
    assert 20 < wait <= 30
    assert retry_after(status_error(429)) is None
    assert retry_after(ValueError()) is None


@pytest.mark.parametrize(
    "junk", ["soon", "", "-3", "nan", "inf", "1e999", "Mon, 99 Foo 10000000 99:99:99 GMT"]
)
def test_a_retry_after_that_is_no_time_is_none(junk: str) -> None:
    assert retry_after(status_error(429, **{"retry-after": junk})) is None


def test_causes_hold_no_keys() -> None:
    assert "abcdefgh" not in describe(ValueError("Incorrect API key provided: sk-abcdefghijkl"))
    assert describe(ValueError("Incorrect API key provided")) == "ValueError: Incorrect API key provided"
    assert "12345" not in describe(ValueError("Authorization: Bearer abcdefgh12345"))
    assert describe(ValueError()) == "ValueError"
    assert describe(TimeoutError()) == "TimeoutError: no answer in time"
    assert "\n" not in describe(ValueError("two\nlines"))
    assert len(one_line(ValueError("x" * 1000))) == 300


@given(st.text(min_size=6), st.text(), st.text())
def test_a_known_secret_never_survives(secret: str, before: str, after: str) -> None:
    assert secret not in SecretRedactor([secret]).known(before + secret + after).replace("***", "")


def test_answers_keep_their_words() -> None:
    redactor = SecretRedactor(["ollama", "production", "2024-02-01", "k-production-7"])
    text = "ollama runs in production since 2024-02-01"
    assert redactor.in_answer(f"{text}: k-production-7") == f"{text}: ***"
    assert redactor(text).count("***") == 3  # in an error


def test_every_secret_of_a_model_is_known() -> None:
    model = ChatOpenAI(
        model="m",
        base_url="http://someone:pass%20word@127.0.0.1:1/v1",
        api_key="the-key-itself",  # type: ignore[arg-type]
        default_headers={
            "X-Team": "header-value-1",
            "Authorization": "Basic basic-value-2",
            "Accept": "text/plain",
        },
        default_query={"code": "query value 3"},
        model_kwargs={"extra_headers": {"X-Inner": "inner-value-4"}},
    )
    assert "inner-value-4" in secrets_of(model)
    assert chat_model("a", model) is model
    login = base64.b64encode(b"someone:pass word").decode()
    for secret in (
        "the-key-itself",
        "header-value-1",
        "basic-value-2",
        "query value 3",
        "query%20value%203",
        login,
    ):
        assert secret not in redact(f"it said {secret}!"), secret
    assert "pass word" not in redact("a login with pass word")
    assert "text/plain" in redact("text/plain")
    assert "pass" not in redact("http://other:passphrase@host/v1").replace("***", "")


def test_a_long_stream_of_small_events_is_no_bomb() -> None:
    from langchain_avengers._http import MAX_VALUES, ResponseTooLargeError, _Bounded

    event = b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n'
    stream = [event * 100] * (MAX_VALUES // 100)
    assert sum(map(len, _Bounded(stream, is_stream=True))) == len(event) * 100 * len(stream)
    with pytest.raises(ResponseTooLargeError, match="100000 JSON objects"):
        list(_Bounded([b"data: {}\n" * 1000] * 1000, is_stream=True))
