"""One OpenAI-protocol server for every HTTP test: scriptable, seeded, with faults on demand.

In a test, in a thread of its own on a random loopback port::

    with OpenAIServer(reply=lambda call: "Answer: 4") as server:
        server.chat_model("small").invoke("What is 2 + 2?")
        assert server.counts.requests == 1

As a process of its own, to be killed: `python -m tests.openai_server --port 8000`, or `server_process()`.

Without a `reply` the server answers by rule (`think`): it adds numbers, fills the JSON schemas of tools and
response formats from the words of the prompt, and says hello.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import inspect
import json
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings

Message = dict[str, Any]
Answer = str | Message | None
"""A choice: its text, or its message (`content`, `tool_calls`, `finish_reason`, ...); None: by rule."""
Reply = Callable[["Call"], Answer | list[Answer] | Awaitable[Answer | list[Answer]]]
FaultKind = Literal[
    "slow",
    "rate_limit",
    "error",
    "garbage",
    "cut",
    "drop",
    "hang",
    "ignore_n",
    "refuse_n",
    "die",
    "empty",
    "bad_request",
]

_TOKEN = re.compile(r"\s*(?:\w+|[^\w\s])|\s+$")
_SECRET_HEADERS = {"authorization", "api-key", "x-api-key"}


@dataclass(frozen=True)
class Call:
    """What a `reply` sees of one request. It is asked once a choice, unless it returns a list of all `n`."""

    body: Mapping[str, Any]
    number: int  # of the request, from 0
    index: int  # of the choice
    repeat: int  # how often this model was asked this text before, every choice counted
    rng: random.Random  # seeded by the request's `seed`, else by server seed, model, text and `repeat`

    @property
    def model(self) -> str:
        return str(self.body["model"])

    @property
    def messages(self) -> list[Message]:
        return list(self.body["messages"])

    @property
    def text(self) -> str:
        """The text of the last user message."""
        return last_user_text(self.messages)

    @property
    def tools(self) -> list[dict[str, Any]]:
        return [tool["function"] for tool in self.body.get("tools") or []]


@dataclass
class Fault:
    """Something that goes wrong with a request.

    Args:
        kind: `slow` (`seconds` more) · `rate_limit` (429 and `retry_after`) · `error` (`status`) · `garbage`
            (200, no JSON) · `cut` (half of the body or stream, then closed) · `drop` (closed unanswered) ·
            `hang` (until the client leaves) · `ignore_n` (one choice) · `refuse_n` (400 if n > 1) · `die`
            (the server goes; back after `seconds` unless that is 0) · `empty` (choices without content) ·
            `bad_request` (400).
        p: Probability that it strikes a request it applies to.
        models: Only these; None: all.
        times: At most this often; None: no end.
        after: Not before this many requests of those it applies to.
    """

    kind: FaultKind
    p: float = 1.0
    models: Iterable[str] | None = None
    times: int | None = None
    after: int = 0
    seconds: float = 0.5
    status: int = 500
    retry_after: float | None = 0.05
    seen: int = field(default=0, init=False)
    struck: int = field(default=0, init=False)

    def strikes(self, model: str, n: int, rng: random.Random) -> bool:
        if self.models is not None and model not in self.models:
            return False
        if self.kind in ("ignore_n", "refuse_n") and n < 2:
            return False
        self.seen += 1
        if self.seen <= self.after or (self.times is not None and self.struck >= self.times):
            return False
        if self.p < 1 and rng.random() >= self.p:
            return False
        self.struck += 1
        return True


@dataclass
class Record:
    """One request and what became of it. Headers carry no key; keys are in `OpenAIServer.keys`."""

    number: int
    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    started: float
    ended: float | None = None
    status: int | None = None  # None: no answer was sent
    fault: str | None = None
    choices: int = 0  # answered
    prompt_tokens: int = 0
    completion_tokens: int = 0
    abandoned: bool = False  # the client left before the answer

    @property
    def model(self) -> str:
        return str(self.body.get("model"))


@dataclass
class Counts:
    """What was served in full; a request that failed, was cut off or abandoned counts as a request only."""

    requests: int = 0
    answers: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failed: int = 0
    abandoned: int = 0
    active: int = 0
    peak: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class ProtocolError(Exception):
    """A request the protocol does not allow: becomes a 4xx with OpenAI's error body."""

    def __init__(
        self, message: str, *, param: str | None = None, status: int = 400, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}
        }


# --- the model that answers by rule ---------------------------------------------------------------------


def tokens(text: str) -> list[str]:
    """The text in tokens: a word or a sign, with the space before it. Joined they are the text."""
    return _TOKEN.findall(text)


def text_of(content: Any) -> str:
    """The text of a message's content, a string or a list of parts."""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content or [] if isinstance(part, dict))


def last_user_text(messages: Sequence[Message]) -> str:
    return next((text_of(m.get("content")) for m in reversed(messages) if m["role"] == "user"), "")


def _names(text: str) -> list[str]:
    """Names in a text: capitalised words that do not open a sentence, `San Francisco, CA` being one."""
    pattern = r"(?<=[\w,;:] )(?<![.?!] )[A-Z]\w+(?: [A-Z]\w+)*(?:, [A-Z]{2}\b)?"
    return re.findall(pattern, text)


class _Filler:
    """Fills a JSON schema with a prompt's quoted strings, names and numbers, each used once, in order."""

    def __init__(self, prompt: str, schema: Mapping[str, Any]) -> None:
        self.prompt = prompt
        self.definitions = {**schema.get("$defs", {}), **schema.get("definitions", {})}
        self.strings = re.findall(r"'([^']+)'|\"([^\"]+)\"", prompt)
        self.words = [a or b for a, b in self.strings] or _names(prompt)
        self.numbers = re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?", prompt)

    def fill(self, schema: Mapping[str, Any], name: str = "value") -> Any:
        if "$ref" in schema:
            return self.fill(self.definitions[schema["$ref"].rsplit("/", 1)[-1]], name)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return next(
                (v for v in schema["enum"] if str(v).lower() in self.prompt.lower()), schema["enum"][0]
            )
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                options = [option for option in schema[key] if option.get("type") != "null"]
                unwanted = len(options) < len(schema[key]) and f"no {name}" in self.prompt
                return None if unwanted else self.fill(options[0], name)
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = next(k for k in kind if k != "null")
        if kind == "object":
            return {key: self.fill(value, key) for key, value in schema.get("properties", {}).items()}
        if kind == "array":
            return [
                self.fill(schema.get("items", {}), name) for _ in range(max(1, schema.get("minItems", 1)))
            ]
        if kind in ("integer", "number"):
            number = self.numbers.pop(0) if self.numbers else schema.get("minimum", 1)
            return int(float(number)) if kind == "integer" else float(number)
        if kind == "boolean":
            return not re.search(r"\b(no|not|false)\b", self.prompt.lower())
        if kind == "null":
            return None
        return self.words.pop(0) if self.words else f"{name} of: {self.prompt}"[:200]


def tool_call(name: str, arguments: Mapping[str, Any] | str, *, id: str | None = None) -> dict[str, Any]:
    """A tool call as an assistant's message carries it."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {
        "id": id or f"call_{uuid.uuid4().hex[:24]}",
        "type": "function",
        "function": {"name": name, "arguments": text},
    }


def _call_tools(call: Call) -> list[dict[str, Any]]:
    """The calls the rule makes: what `tool_choice` demands, else the tool the prompt is about."""
    choice = call.body.get("tool_choice", "auto")
    if choice == "none" or not call.tools:
        return []
    text = call.text
    said = {word.rstrip("s") for word in re.findall(r"[a-z]{3,}", text.lower())}

    def overlap(function: Mapping[str, Any]) -> tuple[int, int]:
        name = set(re.findall(r"[a-z]{3,}", function["name"].lower().replace("_", " "))) - {"get", "tool"}
        about = set(re.findall(r"[a-z]{4,}", function.get("description", "").lower()))
        return (len(name & said) + (function["name"] in text) * 9, len(about & said))

    if isinstance(choice, dict):
        chosen = next(f for f in call.tools if f["name"] == choice["function"]["name"])
    else:
        called = {c["function"]["name"] for m in call.messages for c in m.get("tool_calls") or ()}
        fresh = [function for function in call.tools if function["name"] not in called]
        chosen = max(fresh or call.tools, key=overlap)
        if choice == "auto" and (overlap(chosen)[0] == 0 or call.messages[-1]["role"] == "tool"):
            return []
    schema = chosen.get("parameters") or {}
    strings = [key for key, value in schema.get("properties", {}).items() if value.get("type") == "string"]
    names = _names(text)
    if len(strings) == len(schema.get("properties", {})) == 1 and len(names) > 1:
        # "the weather in Paris and in Rome" is two calls
        wanted = names if call.body.get("parallel_tool_calls", True) is not False else names[:1]
        return [tool_call(chosen["name"], {strings[0]: name}) for name in wanted]
    return [tool_call(chosen["name"], _Filler(text, schema).fill({"type": "object", **schema}))]


def think(call: Call) -> Answer:
    """The answer by rule: JSON, a tool call, a sum, a picture's size, or a greeting."""
    text = call.text
    form = call.body.get("response_format") or {"type": "text"}
    if (calls := _call_tools(call)) and (form["type"] == "text" or call.messages[-1]["role"] != "tool"):
        return {"content": None, "tool_calls": calls}
    if form["type"] == "json_schema":
        schema = form["json_schema"]["schema"]
        return json.dumps(_Filler(text, schema).fill(schema), ensure_ascii=False)
    if form["type"] == "json_object":
        keys = [a or b for a, b in re.findall(r"'(\w+)'|\"(\w+)\"", text)]
        return json.dumps({key: f"{key} of: {text.split('.')[0]}" for key in keys or ["answer"]})
    last = call.messages[-1]
    if last["role"] == "tool":
        return f"The tool says: {text_of(last['content'])}"
    if sum_ := re.search(r"(-?\d+)\s*([-+*])\s*(-?\d+)", text):
        a, sign, b = int(sum_[1]), sum_[2], int(sum_[3])
        return f"{sum_[0]} makes\nAnswer: { {'+': a + b, '-': a - b, '*': a * b}[sign] }"
    if pictures := _pictures(call.messages):
        return f"The picture is {pictures[-1]}."
    return "Hello! How can I help you today?"


def _pictures(messages: Sequence[Message]) -> list[str]:
    found = []
    for message in messages:
        parts = message.get("content")
        for part in parts if isinstance(parts, list) else []:
            if part.get("type") != "image_url":
                continue
            url = part["image_url"]["url"]
            data = base64.b64decode(url.partition(",")[2]) if url.startswith("data:") else b""
            png = data.startswith(b"\x89PNG")
            found.append(
                "{} x {} pixels".format(*struct.unpack(">II", data[16:24])) if png else "at " + url[:40]
            )
    return found


def graded(
    answers: Mapping[str, str], accuracy: Mapping[str, float], *, wrong: str = "Answer: none of these"
) -> Callable[[Call], str]:
    """A reply that knows `answers` (text -> answer); each model gives the right one with its probability."""

    def reply(call: Call) -> str:
        right = call.rng.random() < accuracy.get(call.model, 1.0)
        return f"Answer: {answers[call.text]}" if right and call.text in answers else wrong

    return reply


# --- the protocol ---------------------------------------------------------------------------------------


def check(body: Mapping[str, Any], *, text_only: frozenset[str] = frozenset()) -> None:
    """Refuse what the provider refuses.

    Raises:
        ProtocolError: With the provider's status and parameter.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise ProtocolError("[] is too short - 'messages'", param="messages")
    open_calls: set[str] = set()
    for i, message in enumerate(messages):
        where = f"messages.[{i}]"
        role, content = message.get("role"), message.get("content")
        if role not in ("system", "developer", "user", "assistant", "tool", "function"):
            raise ProtocolError(
                f"Invalid value: {role!r}. Supported: system, user, assistant, tool.", param=f"{where}.role"
            )
        if role == "tool":
            if message.get("tool_call_id") not in open_calls:
                raise ProtocolError(
                    "messages with role 'tool' must be a response to a preceding message with 'tool_calls'.",
                    param=f"{where}.role",
                )
            open_calls.discard(message["tool_call_id"])
        elif open_calls:
            raise ProtocolError(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                f"'tool_call_id'. Missing: {sorted(open_calls)}",
                param=where,
            )
        if role == "assistant":
            open_calls = {call["id"] for call in message.get("tool_calls") or []}
        if content is None and role != "assistant":
            raise ProtocolError(
                "Invalid value for 'content': expected a string, got null.", param=f"{where}.content"
            )
        for part in content if isinstance(content, list) else []:
            kind = part.get("type")
            if kind not in ("text", "image_url", "input_audio", "file", "refusal"):
                raise ProtocolError(f"Invalid value: {kind!r}.", param=f"{where}.content")
            if kind == "image_url" and body.get("model") in text_only:
                raise ProtocolError("This model does not support image inputs.", param=f"{where}.content")
    n = 1 if body.get("n") is None else body["n"]
    if not isinstance(n, int) or not 1 <= n <= 128:
        raise ProtocolError("Invalid 'n': expected 1 to 128.", param="n")
    stop = body.get("stop")
    if isinstance(stop, list) and len(stop) > 4:
        raise ProtocolError("Invalid 'stop': at most 4 elements.", param="stop")
    names = [tool["function"]["name"] for tool in body.get("tools") or []]
    if body.get("tools") == []:
        raise ProtocolError("[] is too short - 'tools'", param="tools")
    choice = body.get("tool_choice")
    if choice is not None and not names:
        raise ProtocolError("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
    wanted = choice["function"]["name"] if isinstance(choice, dict) else None
    if wanted not in (None, *names) or not (
        isinstance(choice, dict) or choice in (None, "none", "auto", "required")
    ):
        raise ProtocolError(f"Tool choice {choice!r} not found in 'tools' parameter.", param="tool_choice")
    form = (body.get("response_format") or {}).get("type", "text")
    if form not in ("text", "json_object", "json_schema"):
        raise ProtocolError(f"Invalid value: {form!r}.", param="response_format.type")
    if form == "json_object" and not any("json" in text_of(m.get("content")).lower() for m in messages):
        raise ProtocolError(
            "'messages' must contain the word 'json' in some form, to use 'json_object'.", param="messages"
        )


def prompt_tokens(body: Mapping[str, Any]) -> int:
    """Tokens of the prompt: of every message, its tool calls and the tools offered; 85 a picture."""
    count = 3
    for message in body["messages"]:
        content = message.get("content")
        count += 4 + len(tokens(text_of(content)))
        if isinstance(content, list):
            count += 85 * sum(part.get("type") == "image_url" for part in content)
        for call in message.get("tool_calls") or ():
            count += len(tokens(call["function"]["arguments"])) + 3
    if body.get("tools"):
        count += len(tokens(json.dumps(body["tools"])))
    return count


def finish(answer: Answer, body: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """A choice as the protocol has it, cut at stop sequences and token limit; and its tokens."""
    message: dict[str, Any] = (
        {"content": answer} if isinstance(answer, str) or answer is None else dict(answer)
    )
    reason = message.pop("finish_reason", None)
    calls = [
        call if "function" in call else tool_call(call["name"], call["args"], id=call.get("id"))
        for call in message.pop("tool_calls", None) or ()
    ]
    content = message.pop("content", None)
    stops = body.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        if content is not None and (at := content.find(stop)) >= 0:
            content, reason = content[:at], reason or "stop"
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    parts = tokens(content or "")
    count = len(parts)
    if limit is not None and count > limit:
        content, count, reason = "".join(parts[:limit]), limit, "length"
    for call in calls:
        arguments = tokens(call["function"]["arguments"])
        count += len(arguments) + 3
        if limit is not None and count > limit:
            keep = max(0, len(arguments) - (count - limit))
            call["function"] = {**call["function"], "arguments": "".join(arguments[:keep])}
            count, reason = limit, "length"
    full = {"role": "assistant", "content": content, "refusal": None, **message}
    if calls:
        full["tool_calls"] = calls
    return {
        "message": full,
        "logprobs": None,
        "finish_reason": reason or ("tool_calls" if calls else "stop"),
    }, count


def _deltas(choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A choice in the pieces a stream sends."""
    message = choice["message"]
    yield {"role": "assistant", "content": None if message.get("tool_calls") else "", "refusal": None}
    for part in tokens(message["content"] or ""):
        yield {"content": part}
    for i, call in enumerate(message.get("tool_calls") or ()):
        yield {"tool_calls": [{**call, "index": i, "function": {**call["function"], "arguments": ""}}]}
        for part in tokens(call["function"]["arguments"]):
            yield {"tool_calls": [{"index": i, "function": {"arguments": part}}]}


class OpenAIServer:
    """The server, in a thread; a context manager.

    Args:
        reply: Gives the answers: a callable of the `Call`; a list, handed out one a choice till it is empty;
            a string or a message, for all; None, by rule. May be set anew at any time.
        by_model: Other replies for some models.
        delay: Seconds before each answer. A callable gets the request's body.
        together: No answer goes out before so many requests were in at once, for a minute at most. Shows that
            calls run beside each other without counting on the clock.
        chunk_delay: Seconds between the chunks of a stream.
        faults: What goes wrong; the first that strikes does.
        seed: Of the faults' dice and the calls' random numbers.
        models: What `/v1/models` lists. Any name is answered, unless `strict_models`.
        text_only: Models that refuse pictures.
        api_key: The one key accepted; None: any.
        port: 0: a free one.
    """

    def __init__(
        self,
        reply: Reply | Sequence[Answer] | Answer = None,
        *,
        by_model: Mapping[str, Reply | Sequence[Answer] | Answer] | None = None,
        delay: float | Callable[[Mapping[str, Any]], float] = 0.0,
        together: int = 0,
        chunk_delay: float = 0.0,
        faults: Iterable[Fault] = (),
        seed: int = 0,
        models: Iterable[str] = ("test-model",),
        strict_models: bool = False,
        text_only: Iterable[str] = (),
        api_key: str | None = None,
        port: int = 0,
    ) -> None:
        self.reply: Reply | Sequence[Answer] | Answer = (
            list(reply) if isinstance(reply, (list, tuple)) else reply
        )
        self.by_model = dict(by_model or {})
        self.delay, self.chunk_delay = delay, chunk_delay
        self.together = together
        self.faults = list(faults)
        self.seed = seed
        self.models, self.strict_models = list(models), strict_models
        self.text_only = frozenset(text_only)
        self.api_key = api_key
        self.port = port
        self.deaths = 0
        self._lock = threading.RLock()  # start, stop and the fault `die` come from different threads
        self._thread: threading.Thread | None = None
        self._server: uvicorn.Server | None = None
        self._loop: asyncio.AbstractEventLoop
        self._timers: list[threading.Thread] = []
        self._closing = threading.Event()
        self._connections: dict[tuple[str, int], AutoHTTPProtocol] = {}
        self._dying = False
        self._late: set[asyncio.Task[None]] = set()
        self._app = Starlette(
            routes=[
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/embeddings", self._embeddings, methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/counts", self._show_counts),
                Route("/reset", self._do_reset, methods=["POST"]),
            ]
        )
        self.reset()

    def reset(self) -> None:
        """Forget every request; replies, faults and their counters stay."""
        self.requests: list[Record] = []
        self.keys: set[str] = set()
        self.counts = Counts()
        self._asked: Counter[tuple[str, str]] = Counter()
        self._dice = random.Random(self.seed)

    # --- running

    @property
    def url(self) -> str:
        """The `base_url` for clients."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> OpenAIServer:
        self._closing.clear()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        for timer in self._timers:
            timer.join()
        self.stop()

    def start(self) -> None:
        """Listen, on the port it had before if it had one."""
        with self._lock:
            if self._server is not None:
                return
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(1024)
            self.port = listener.getsockname()[1]
            self._listener, self._dying = listener, False
            connections, server = self._connections, self

            class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # chosen by uvicorn at run time
                """Keeps the connections, so that a fault can break one."""

                def connection_made(self, transport: asyncio.Transport) -> None:
                    super().connection_made(transport)
                    server._loop = asyncio.get_running_loop()
                    connections[transport.get_extra_info("peername")] = self

                def connection_lost(self, exc: Exception | None) -> None:
                    connections.pop(self.transport.get_extra_info("peername"), None)
                    super().connection_lost(exc)

            config = uvicorn.Config(
                self._app, http=Protocol, ws="none", lifespan="off", log_config=None, log_level="critical",
                access_log=False, timeout_keep_alive=60,
            )  # fmt: skip
            self._server = uvicorn.Server(config)
            run = {"sockets": [listener]}
            self._thread = threading.Thread(
                target=self._server.run, kwargs=run, name="openai-server", daemon=True
            )
            self._thread.start()
            while not self._server.started:
                if not self._thread.is_alive():
                    raise RuntimeError("the test server did not start")
                time.sleep(0.001)

    def stop(self) -> None:
        """Close the port and break every connection, at once and in this order: no client finds the port open again."""
        with self._lock:
            if self._server is None or self._thread is None:
                return
            listening = [listener.close for listener in self._server.servers]
            open_ = [connection.transport.abort for connection in list(self._connections.values())]
            for close in [*listening, *open_]:
                with contextlib.suppress(RuntimeError, AttributeError):  # the loop is closed, or none ran yet
                    self._loop.call_soon_threadsafe(close)
            self._server.should_exit = self._server.force_exit = True
            self._thread.join(10)
            self._server = self._thread = None
            self.counts.active = 0

    def die(self, seconds: float = 0.0) -> None:
        """Go down now; after `seconds`, if not 0, come back on the same port. Returns once down.

        Requests already on their way to it are counted, though none is answered any more: a client that has
        sent a request can tell no other fate from this one.
        """
        self.deaths += 1
        self._dying = True
        with contextlib.suppress(RuntimeError, AttributeError):
            self._loop.call_soon_threadsafe(self._hang_up)
            end = time.monotonic() + 1
            time.sleep(0.05)
            while (self._connections or self._late) and time.monotonic() < end:
                time.sleep(0.01)
        self.stop()
        if seconds:
            self._later(seconds, self.start)

    def _hang_up(self) -> None:
        """Close the port and all connections, and count what still comes in on those that were idle."""
        with contextlib.suppress(BlockingIOError, OSError):
            while True:
                late, _ = self._listener.accept()
                task = asyncio.ensure_future(self._count_late(late))
                self._late.add(task)
                task.add_done_callback(self._late.discard)
        for listener in self._server.servers if self._server else ():
            listener.close()
        for connection in list(self._connections.values()):
            busy = connection.cycle is not None and not connection.cycle.response_complete
            connection.transport.abort() if busy else connection.transport.write_eof()

    async def _count_late(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        with connection, contextlib.suppress(OSError, TimeoutError):
            connection.shutdown(socket.SHUT_WR)
            if b"POST" in await asyncio.wait_for(self._loop.sock_recv(connection, 1000), 1):
                self.counts.requests += 1
                self.counts.failed += 1

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        def wait() -> None:
            if not self._closing.wait(seconds):
                do()

        self._timers.append(threading.Thread(target=wait, daemon=True))
        self._timers[-1].start()

    def chat_model(self, model: str = "test-model", **kwargs: Any) -> ChatOpenAI:
        """A `ChatOpenAI` of this server; no retries and streamed usage unless said otherwise."""
        from langchain_openai import ChatOpenAI

        defaults = {"api_key": "sk-test", "max_retries": 0, "stream_usage": True, "timeout": 30}
        return ChatOpenAI(model=model, base_url=self.url, **{**defaults, **kwargs})

    def embeddings(self, model: str = "test-embedding", **kwargs: Any) -> OpenAIEmbeddings:
        """An `OpenAIEmbeddings` of this server: hashed words, texts sent as text."""
        from langchain_openai import OpenAIEmbeddings

        defaults = {"api_key": "sk-test", "max_retries": 0, "check_embedding_ctx_length": False}
        return OpenAIEmbeddings(model=model, base_url=self.url, **{**defaults, **kwargs})

    def of_model(self, model: str) -> list[Record]:
        """The records of one model's chat requests."""
        return [r for r in self.requests if r.model == model and r.path.endswith("/chat/completions")]

    # --- answering

    def _record(self, request: Request, body: dict[str, Any]) -> Record:
        headers = dict(request.headers)
        for name in _SECRET_HEADERS & headers.keys():
            self.keys.add(headers.pop(name).removeprefix("Bearer "))
        record = Record(self.counts.requests, request.url.path, body, headers, time.monotonic())
        self.requests.append(record)
        self.counts.requests += 1
        return record

    def _authorise(self, request: Request) -> None:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.api_key is not None and key != self.api_key:
            # Some providers do echo the key.
            raise ProtocolError(f"Incorrect API key provided: {key}", status=401, code="invalid_api_key")

    async def _chat(self, request: Request) -> Response:
        counts = self.counts
        try:
            body: dict[str, Any] = json.loads(await request.body())
        except ClientDisconnect:  # it came in all the same
            counts.requests += 1
            counts.abandoned += 1
            return Response(status_code=499)
        record = self._record(request, body)
        counts.active += 1
        counts.peak = max(counts.peak, counts.active)
        try:
            response = await self._answer(request, body, record)
        except ProtocolError as error:
            response = JSONResponse(error.body, status_code=error.status)
        except BaseException:
            self._close(record, counts)
            raise
        record.status = response.status_code
        if isinstance(response, _Stream):
            response.done = lambda: self._close(record, counts)
        else:
            self._close(record, counts)
        return response

    def _close(self, record: Record, counts: Counts) -> None:
        if record.ended is not None:
            return
        record.ended = time.monotonic()
        counts.active -= 1
        if record.abandoned:
            counts.abandoned += 1
        elif record.status != 200 or record.fault in ("cut", "garbage", "drop", "hang", "die"):
            counts.failed += 1
        else:
            counts.answers += record.choices
            counts.prompt_tokens += record.prompt_tokens
            counts.completion_tokens += record.completion_tokens

    async def _answer(self, request: Request, body: dict[str, Any], record: Record) -> Response:
        self._authorise(request)
        model, n = body.get("model"), body.get("n") or 1
        if not isinstance(model, str) or (self.strict_models and model not in self.models):
            raise ProtocolError(
                f"The model {model!r} does not exist.", param="model", status=404, code="model_not_found"
            )
        check(body, text_only=self.text_only)
        fault = next((f for f in self.faults if f.strikes(model, n, self._dice)), None)
        record.fault = fault.kind if fault else None
        if self._dying:
            record.fault = "die"
            return await self._spoil(Fault("drop"), request, record, n) or Response(status_code=499)
        end = time.monotonic() + 60
        while self.counts.peak < self.together and time.monotonic() < end:  # noqa: ASYNC110 - many wait for it
            await asyncio.sleep(0.005)
        wait = self.delay(body) if callable(self.delay) else self.delay
        if fault is not None and fault.kind == "slow":
            wait += fault.seconds
        if wait > 0 and await _client_left(request, wait):
            record.abandoned = True
            return Response(status_code=499)
        if fault is not None and (response := await self._spoil(fault, request, record, n)):
            return response

        count = 1 if fault is not None and fault.kind == "ignore_n" else n
        answers: list[Answer] = (
            [""] * count if fault and fault.kind == "empty" else await self._replies(body, count, record)
        )
        choices = []
        for i, answer in enumerate(answers):
            choice, used = finish(answer, body)
            choices.append({"index": i, **choice})
            record.completion_tokens += used
        record.choices = len(choices)
        record.prompt_tokens = prompt_tokens(body)
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model,
                "system_fingerprint": "fp_test", "service_tier": "default"}  # fmt: skip
        usage = {
            "prompt_tokens": record.prompt_tokens,
            "completion_tokens": record.completion_tokens,
            "total_tokens": record.prompt_tokens + record.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }
        cut = fault is not None and fault.kind == "cut"
        if not body.get("stream"):
            data = json.dumps(
                {**head, "object": "chat.completion", "choices": choices, "usage": usage}
            ).encode()
            if cut:
                return _Cut(data, self._transport(request))
            return Response(data, media_type="application/json")
        with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        events = [
            f"data: {json.dumps(event)}\n\n"
            for event in _events(head, choices, usage if with_usage else None)
        ]
        events.append("data: [DONE]\n\n")
        transport = self._transport(request) if cut else None
        return _Stream(events[: len(events) // 2] if cut else events, self.chunk_delay, record, transport)

    async def _spoil(self, fault: Fault, request: Request, record: Record, n: int) -> Response | None:
        """The response of a fault that leaves no answer; None for those that let one through."""
        kind = fault.kind
        if kind == "rate_limit":
            headers = {} if fault.retry_after is None else {"retry-after": f"{fault.retry_after:g}"}
            error = {
                "message": "Rate limit reached.",
                "type": "requests",
                "param": None,
                "code": "rate_limit_exceeded",
            }
            return JSONResponse({"error": error}, status_code=429, headers=headers)
        if kind == "error":
            error = {
                "message": "The server had an error.",
                "type": "server_error",
                "param": None,
                "code": None,
            }
            return JSONResponse({"error": error}, status_code=fault.status)
        if kind == "bad_request":
            raise ProtocolError("Scripted bad request.")
        if kind == "refuse_n":
            raise ProtocolError(f"Only n=1 is supported, got n={n}.", param="n", code="unsupported_value")
        if kind == "garbage":
            return Response(b"<html>\x00 not JSON {", media_type="application/json")
        if kind == "hang":
            await _client_left(request, None)
            record.abandoned = True
            return Response(status_code=499)
        if kind in ("drop", "die"):
            if kind == "die":
                # breaks this connection with the others, once the port is closed
                threading.Thread(target=self.die, args=(fault.seconds,), daemon=True).start()
                await _client_left(request, None)
            else:
                self._transport(request).abort()
            await asyncio.sleep(0)  # the connection is gone before anything is written to it
            return Response(status_code=499)
        return None

    def _transport(self, request: Request) -> asyncio.Transport:
        client = request.scope["client"]
        return self._connections[(client[0], client[1])].transport

    async def _replies(self, body: dict[str, Any], count: int, record: Record) -> list[Answer]:
        model, text = body["model"], last_user_text(body["messages"])
        script = self.by_model.get(model, self.reply)
        answers: list[Answer] = []
        while len(answers) < count:
            repeat = self._asked[model, text]
            self._asked[model, text] += 1
            dice = body.get("seed", self.seed)
            rng = random.Random(f"{dice}/{model}/{text}/{len(answers) if 'seed' in body else repeat}")
            call = Call(body, record.number, len(answers), repeat, rng)
            answer: Any = script
            if callable(script):
                answer = script(call)
                if inspect.isawaitable(answer):
                    answer = await answer
            elif isinstance(script, list):
                if not script:
                    raise ProtocolError("The scripted replies are used up.", status=500)
                answer = script.pop(0)
            if isinstance(answer, list):
                return answer[:count]
            answers.append(think(call) if answer is None else answer)
        return answers

    async def _embeddings(self, request: Request) -> Response:
        body = json.loads(await request.body())
        record = self._record(request, body)
        record.status, record.ended = 200, time.monotonic()
        inputs = body["input"]
        if isinstance(inputs, str) or (inputs and isinstance(inputs[0], int)):
            inputs = [inputs]
        from tests.fakes import hash_vector  # here: a server process without embeddings starts light

        data = []
        for i, text in enumerate(inputs):
            vector: Any = hash_vector(text, body.get("dimensions") or 64)
            if body.get("encoding_format") == "base64":
                vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
            data.append({"object": "embedding", "index": i, "embedding": vector})
        used = sum(len(tokens(text)) if isinstance(text, str) else len(text) for text in inputs)
        usage = {"prompt_tokens": used, "total_tokens": used}
        return JSONResponse({"object": "list", "data": data, "model": body["model"], "usage": usage})

    async def _models(self, request: Request) -> Response:
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in self.models]
        return JSONResponse({"object": "list", "data": data})

    async def _show_counts(self, request: Request) -> Response:
        return JSONResponse(asdict(self.counts))

    async def _do_reset(self, request: Request) -> Response:
        self.reset()
        return JSONResponse({})


def _events(
    head: Mapping[str, Any], choices: Sequence[Mapping[str, Any]], usage: Any
) -> Iterator[dict[str, Any]]:
    """The events of a stream: the choices' pieces by turns, their reasons, at last the usage if asked for."""
    head = {**head, "object": "chat.completion.chunk"}
    nothing = {"usage": None} if usage else {}
    pieces = [list(_deltas(choice)) for choice in choices]
    for turn in range(max(map(len, pieces), default=0)):
        for i, mine in enumerate(pieces):
            if turn < len(mine):
                choice = {"index": i, "delta": mine[turn], "logprobs": None, "finish_reason": None}
                yield {**head, "choices": [choice], **nothing}
    for i, choice in enumerate(choices):
        last = {"index": i, "delta": {}, "logprobs": None, "finish_reason": choice["finish_reason"]}
        yield {**head, "choices": [last], **nothing}
    if usage:
        yield {**head, "choices": [], "usage": usage}


async def _client_left(request: Request, seconds: float | None) -> bool:
    """Wait so long, or until the client goes; whether it went."""
    leaving = asyncio.ensure_future(request.receive())
    done, _ = await asyncio.wait({leaving}, timeout=seconds)
    if not done:
        leaving.cancel()
    return bool(done)


class _Cut(Response):
    """Half a body under the length of the whole, then the connection closes."""

    def __init__(self, body: bytes, transport: asyncio.Transport) -> None:
        super().__init__(body, media_type="application/json")
        self.transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        half = bytes(self.body[: len(self.body) // 2])
        await send({"type": "http.response.body", "body": half, "more_body": True})
        self.transport.close()
        await asyncio.sleep(0)


class _Stream(Response):
    """Server-sent events; ends early when the client leaves, and with the connection if that is to be cut."""

    def __init__(
        self, events: Sequence[str], chunk_delay: float, record: Record, transport: asyncio.Transport | None
    ) -> None:
        super().__init__(media_type="text/event-stream")
        self.events, self.chunk_delay, self.record, self.transport = events, chunk_delay, record, transport
        del self.headers["content-length"]
        self.done: Callable[[], None] = lambda: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for event in self._paced(request):
                await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
            if self.transport is not None:
                self.transport.close()
            elif not self.record.abandoned:
                self.done()  # before the last byte: who has read the stream sees it counted
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self.done()

    async def _paced(self, request: Request) -> AsyncIterator[str]:
        if not self.chunk_delay:
            # One write for all: pacing is what tests of streams ask for by `chunk_delay`.
            yield "".join(self.events)
            return
        for i, event in enumerate(self.events):
            if i and await _client_left(request, self.chunk_delay):
                self.record.abandoned = True
                return
            yield event


@contextlib.contextmanager
def server_process(*arguments: str, port: int = 0) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The server as a process of its own, with these arguments; its `base_url` and the process."""
    command = [sys.executable, "-m", "tests.openai_server", "--port", str(port), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("ready "):
            raise RuntimeError(f"the test server did not start: {line!r}")
        yield line.split()[1], process
    finally:
        process.kill()
        process.wait()


def _parse_fault(text: str) -> Fault:
    """`kind`, `kind:p` or `kind:p:seconds`."""
    kind, *rest = text.split(":")
    fault = Fault(kind)  # type: ignore[arg-type]  # a word of the command line
    numbers = [float(part) for part in rest]
    return replace(fault, **dict(zip(("p", "seconds"), numbers, strict=False)))


def main() -> None:
    """Serve until killed; the first line printed is `ready <base url>`."""
    parser = argparse.ArgumentParser(description="An OpenAI-protocol server that answers by rule.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--models", default="test-model", help="names, with commas")
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--chunk-delay", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--fault", action="append", default=[], type=_parse_fault, help="kind[:probability[:seconds]]"
    )
    parser.add_argument("--answers", type=argparse.FileType(), help="a JSON file {query: answer}")
    parser.add_argument(
        "--accuracy", action="append", default=[], help="model=probability, of the answers given"
    )
    given = parser.parse_args()
    reply = None
    if given.answers:
        accuracy = {name: float(p) for name, _, p in (item.partition("=") for item in given.accuracy)}
        reply = graded(json.load(given.answers), accuracy)
    server = OpenAIServer(
        reply, models=given.models.split(","), delay=given.delay, chunk_delay=given.chunk_delay,
        seed=given.seed, faults=given.fault, port=given.port,
    )  # fmt: skip
    with server:
        print("ready", server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
