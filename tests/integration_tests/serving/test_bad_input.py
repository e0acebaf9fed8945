"""A thousand malformed requests, each told what is wrong in OpenAI's form, and none of them noticed by others."""

from __future__ import annotations

import copy
import json
import logging
import random
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.integration_tests.serving.conftest import MEMBER_KEY, Serve

WHOLE: dict[str, Any] = {
    "model": "avengers",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is 2 + 5?"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "7"},
    ],
    "stream": False,
    "n": 1,
    "tools": [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}],
    "tool_choice": {"type": "function", "function": {"name": "add"}},
    "response_format": {"type": "text"},
    "stop": ["x"],
    "seed": 1,
    "max_tokens": 5,
    "temperature": 0.5,
    "top_p": 0.5,
    "user": "u",
    "metadata": {"session_id": "s"},
    "avengers": {"n_samples": 1, "cost_weight": 0.5, "allowed_models": ["sums"], "budget": {"samples": 1}},
}
WRONG = [
    None, True, -1, 0, 2**70, -1e300, "", "\u0000", "\u202e", "x" * 3000, [], {}, [[]], [None], {"a": 1}, [{}],
    "direct", {"type": "function"}, {"role": "user"}, [1, "2"], {"$ref": "#"},
]  # fmt: skip


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside the data."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def mutated(rng: random.Random) -> bytes:
    """The whole request with one to three faults."""
    data = copy.deepcopy(WHOLE)
    for _ in range(rng.randint(1, 3)):
        path = rng.choice(list(places(data)))
        parent = data
        for key in path[:-1]:
            parent = parent[key]
        kind = rng.randrange(3)
        if kind == 0:
            parent[path[-1]] = copy.deepcopy(rng.choice(WRONG))
        elif kind == 1:
            del parent[path[-1]]
        elif isinstance(parent, dict):
            parent[rng.choice(["n", "role", "type", "unknown", "logprobs", "functions"])] = rng.choice(WRONG)
    body = json.dumps(data).encode()
    if rng.random() < 0.2:  # not even JSON
        cut = rng.randrange(len(body))
        middle = rng.choice([b"\xff\xfe", b"\\ud83d", b"NaN", b"}", b"[" * 5000, b""])
        body = body[:cut] + middle + body[cut + rng.randrange(20) :]
    return body


def test_a_thousand_malformed_requests(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    served = serve()
    rng = random.Random(7)
    refused = answered = 0
    told = []
    with httpx.Client(base_url=served.url, timeout=30) as client:
        while refused < 1000:
            body = mutated(rng)
            response = client.post("/v1/chat/completions", content=body)
            # The faults may leave a request that can be answered, or that members answer with nothing at all.
            if response.status_code == 200 or "every answer was empty" in response.text:
                answered += 1
                continue
            assert 400 <= response.status_code < 500, (response.status_code, response.text, body[:2000])
            error = response.json()["error"]
            assert set(error) == {"message", "type", "param", "code"}
            assert error["message"]
            assert len(error["message"]) < 1100
            told.append(response.text)
            refused += 1
    assert answered < 600
    assert MEMBER_KEY not in "".join(told) + caplog.text
    answer = served.client().chat.completions.create(
        model="avengers", messages=[{"role": "user", "content": "What is 2 + 5?"}]
    )
    assert "7" in (answer.choices[0].message.content or "")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/", 404),
    ],
)
def test_wrong_paths_and_methods(serve: Serve, method: str, path: str, status: int) -> None:
    response = httpx.request(method, serve().url + path)
    assert response.status_code == status
    assert response.json()["error"]["message"]


@pytest.mark.parametrize(
    "lines",
    [
        b"nonsense\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1/models HTTP/1.1\r\nAuthorization: Bearer \xff\xfe\r\nHost: x\r\n\r\n",
    ],
)
def test_broken_clients_harm_nobody_else(serve: Serve, lines: bytes) -> None:
    served = serve(keys=None)
    host, port = served.url.removeprefix("http://").split(":")
    for _ in range(5):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(lines)
    client = served.client()
    try:
        assert client.models.list().data
    except openai.APIStatusError as error:  # pragma: no cover - says what came instead
        pytest.fail(str(error))
