"""OpenAI's chat protocol: requests checked, messages in, completions, chunks and errors out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    InvalidToolCall,
    convert_to_messages,
    convert_to_openai_messages,
)
from langchain_core.messages.ai import UsageMetadata
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from langchain_avengers.pipeline.settings import Strategy
from langchain_avengers.providers import redact

MAX_CHOICES = 128


class ApiError(Exception):
    """A failure in OpenAI's form.

    Args:
        status: HTTP status.
        message: One line for the caller. Secrets are taken out.
        kind: OpenAI's `type`; by default the one that fits the status.
        code: OpenAI's `code`.
        param: The field that is wrong.
        retry_after: Seconds after which to try again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Take what the caller is told."""
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, redact(message), code, param
        self.kind = kind or _KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
        self.retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        """The body of the response."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}


_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FunctionCall(_Strict):
    """A function that a model wants called; `arguments` is JSON."""

    name: str = Field(min_length=1)
    arguments: str

    @property
    def is_whole(self) -> bool:
        """Whether the arguments are a JSON object."""
        try:
            return isinstance(json.loads(self.arguments, parse_constant=_no_constant), dict)
        except (ValueError, RecursionError):
            return False


class ToolCall(_Strict):
    """A tool call of an assistant message."""

    id: str = Field(min_length=1)
    type: Literal["function"] = "function"
    function: FunctionCall


class ContentPart(BaseModel):
    """A part of a message. Each type has its own field; members that cannot take it say so."""

    model_config = ConfigDict(extra="allow")

    type: Literal["text", "image_url", "input_audio", "file", "refusal"]

    @model_validator(mode="after")
    def _has_its_field(self) -> ContentPart:
        value: Any = (self.model_extra or {}).get(self.type)
        expected: type = str if self.type in ("text", "refusal") else dict
        if not isinstance(value, expected):
            raise ValueError(f"a part of type {self.type!r} needs the field {self.type!r}")
        if isinstance(value, dict) and self.type == "image_url" and not isinstance(value.get("url"), str):
            raise ValueError("image_url needs a url")
        return self


class ChatMessage(_Strict):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    audio: None = None
    function_call: None = None
    reasoning_content: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> ChatMessage:
        if self.role == "tool" and not self.tool_call_id:
            raise ValueError("a tool message needs tool_call_id")
        if self.content is None and not (self.role == "assistant" and (self.tool_calls or self.refusal)):
            raise ValueError("content is missing")
        if self.tool_calls and self.role != "assistant":
            raise ValueError("only assistant messages have tool_calls")
        return self

    def convert(self) -> BaseMessage:
        """The message as LangChain's. Calls whose arguments are no JSON object stay as the model wrote them."""
        plain = self.model_dump(exclude_none=True, exclude={"annotations", "tool_calls"})
        plain.setdefault("content", plain.pop("refusal", None) or "")
        calls = [call.model_dump() for call in self.tool_calls or () if call.function.is_whole]
        (message,) = convert_to_messages([{**plain, "tool_calls": calls} if calls else plain])
        if broken := [call for call in self.tool_calls or () if not call.function.is_whole]:
            invalid = [
                InvalidToolCall(
                    type="invalid_tool_call",
                    name=call.function.name,
                    args=call.function.arguments,
                    id=call.id,
                    error="not a JSON object",
                )
                for call in broken
            ]
            message = message.model_copy(update={"invalid_tool_calls": invalid})
        return message


class Function(_Strict):
    """A function that models may call; `parameters` is a JSON schema."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(_Strict):
    """A tool that models may call."""

    type: Literal["function"]
    function: Function


class _Named(_Strict):
    name: str


class NamedToolChoice(_Strict):
    """The one tool to call."""

    type: Literal["function"]
    function: _Named


class JsonSchema(_Strict):
    """The schema of a structured answer."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema", default_factory=dict)
    strict: bool | None = None


class ResponseFormat(_Strict):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _has_schema(self) -> ResponseFormat:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("type json_schema needs json_schema")
        return self


class StreamOptions(BaseModel):
    """What a stream tells beside its text."""

    include_usage: bool = False


class RequestBudget(_Strict):
    """What one request may spend; see `Budget`."""

    samples: int | None = Field(default=None, ge=1)
    tokens: int | None = Field(default=None, ge=1)
    dollars: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class AvengersControls(_Strict):
    """The pool's controls for one request: the body's `avengers` object. See `Settings` for each field."""

    strategy: Strategy | None = None
    n_samples: int | None = Field(default=None, ge=1, le=64)
    top_n: int | None = Field(default=None, ge=1, le=64)
    cost_weight: float | None = Field(default=None, ge=0, le=1)
    confidence_threshold: float | None = Field(default=None, ge=0, le=1)
    allowed_models: list[str] | None = Field(default=None, min_length=1)
    budget: RequestBudget | None = None


class ChatRequest(_Strict):
    """The body of a request for a chat completion."""

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int = Field(default=1, ge=1, le=MAX_CHOICES)
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    max_tokens: int | None = Field(default=None, ge=1, lt=2**31)
    max_completion_tokens: int | None = Field(default=None, ge=1, lt=2**31)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    reasoning_effort: str | None = None
    user: str | None = Field(default=None, max_length=512)
    metadata: dict[str, str] | None = None
    avengers: AvengersControls = Field(default_factory=AvengersControls)
    # Taken so that clients that always send them work. They say nothing about the answer.
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    logprobs: Literal[False] | None = None
    logit_bias: None = None
    modalities: list[Literal["text"]] | None = None

    @classmethod
    def read(cls, body: bytes) -> ChatRequest:
        """Read a request's body.

        Raises:
            ApiError: 400, and what is wrong with which field.
        """
        try:
            return cls.model_validate(read_json(body))
        except ValidationError as error:
            # The input is left out: it is the caller's content, and may be long.
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"] if part not in ("str", "list[ContentPart]"))
            message = first["msg"].removeprefix("Value error, ")
            if first["type"] == "extra_forbidden":
                message = "this field is not supported"
            raise ApiError(400, f"{where}: {message}"[:500], param=where[:200] or None) from None

    @property
    def session(self) -> str | None:
        """The session that the body names, if any."""
        return (self.metadata or {}).get("session_id") or self.user

    def conversation(self) -> list[BaseMessage]:
        """The messages as LangChain's."""
        return [message.convert() for message in self.messages]

    def arguments(self) -> dict[str, Any]:
        """What goes along to the members."""
        names = ("seed", "temperature", "top_p", "frequency_penalty", "presence_penalty", "reasoning_effort")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        if (most := self.max_completion_tokens or self.max_tokens) is not None:
            given["max_tokens"] = most
        if self.stop:
            given["stop"] = [self.stop] if isinstance(self.stop, str) else self.stop
        return given


def read_json(body: bytes) -> dict[str, Any]:
    """The JSON object of a body.

    Raises:
        ApiError: 400: the body is none.
    """
    try:
        data = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise ApiError(400, "the body is not JSON in UTF-8") from None
    if not isinstance(data, dict):
        raise ApiError(400, "the body must be a JSON object")
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except RecursionError:
        raise ApiError(400, "the body is nested too deep") from None
    except UnicodeEncodeError:
        raise ApiError(400, "the body holds half of a surrogate pair, which is no character") from None
    return data


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# --- answers ---


def completion(
    request_id: str, created: int, request: ChatRequest, answers: Sequence[AIMessage]
) -> dict[str, Any]:
    """The answers, one a choice, as a chat completion. The `avengers` object is the first answer's."""
    return {
        "id": request_id,
        "object": "chat.completion",
        "created": created,
        "model": request.model,
        "choices": [
            {
                "index": index,
                "message": _message(answer),
                "logprobs": None,
                "finish_reason": finish_reason(answer),
            }
            for index, answer in enumerate(answers)
        ],
        "usage": usage([answer.usage_metadata for answer in answers]),
        "avengers": told(answers[0]),
    }


def _message(answer: AIMessage) -> dict[str, Any]:
    data = convert_to_openai_messages(answer, text_format="string")
    assert isinstance(data, dict)
    calls = data.get("tool_calls")
    message = {
        "role": "assistant",
        "content": data.get("content") or (None if calls else ""),
        "refusal": None,
    }
    return {**message, "tool_calls": calls} if calls else message


def finish_reason(answer: AIMessage) -> str:
    """Why the answer ended, in OpenAI's words."""
    if answer.tool_calls:
        return "tool_calls"
    metadata = answer.response_metadata
    reason = str(
        metadata.get("finish_reason") or metadata.get("stop_reason") or metadata.get("done_reason") or ""
    )
    return _REASONS.get(reason.lower(), "stop")


_REASONS = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "refusal": "content_filter",
}


def usage(each: Sequence[UsageMetadata | None]) -> dict[str, Any]:
    """The sum of usages in OpenAI's form. All calls to members count, those that failed or lost the vote too."""
    known = [one for one in each if one]
    cached = sum((one.get("input_token_details") or {}).get("cache_read") or 0 for one in known)
    reasoning = sum((one.get("output_token_details") or {}).get("reasoning") or 0 for one in known)
    return {
        "prompt_tokens": sum(one["input_tokens"] for one in known),
        "completion_tokens": sum(one["output_tokens"] for one in known),
        "total_tokens": sum(one["total_tokens"] for one in known),
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def told(answer: AIMessage) -> dict[str, Any]:
    """What an answer says of itself: the response's `avengers` object. Causes of failures are for the log."""
    about: Mapping[str, Any] = answer.response_metadata.get("avengers") or {}
    names = ("model", "strategy", "decision", "vote", "answered_by", "samples", "cost", "cost_is_estimate")
    return {name: about[name] for name in names if name in about}


def headers_of(about: Mapping[str, Any]) -> dict[str, str]:
    """The decision, vote and cost as response headers."""
    values = {
        "x-avengers-model": about.get("model"),
        "x-avengers-strategy": about.get("strategy"),
        "x-avengers-confidence": (about.get("vote") or {}).get("confidence"),
        "x-avengers-cost": about.get("cost"),
    }
    return {name: _header(value) for name, value in values.items() if value is not None}


def _header(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.encode("ascii", "backslashreplace").decode()[:200]


class ChunkWriter:
    """Turns the chunks of answers into a stream of chat completion chunks.

    Args:
        request_id: The completion's id.
        created: Seconds since the epoch.
        request: What was asked.
    """

    def __init__(self, request_id: str, created: int, request: ChatRequest) -> None:
        """Begin a stream of `request.n` choices."""
        self._head = {
            "id": request_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": request.model,
        }
        self._with_usage = bool(request.stream_options and request.stream_options.include_usage)
        self.whole: list[AIMessageChunk | None] = [None] * request.n

    def chunk(self, index: int, chunk: AIMessageChunk) -> Iterator[bytes]:
        """The event, or none, that tells of a further chunk of choice `index`."""
        before = self.whole[index]
        self.whole[index] = chunk if before is None else before + chunk
        delta: dict[str, Any] = {}
        if before is None:
            delta = {"role": "assistant", "content": "", "refusal": None}
        if text := chunk.text:
            delta["content"] = text
        if calls := [_call(call) for call in chunk.tool_call_chunks]:
            delta["tool_calls"] = calls
        if delta:
            yield self._event([{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}])

    def finish(self, index: int) -> Iterator[bytes]:
        """The event that ends choice `index`; it holds the `avengers` object."""
        answer = self.whole[index]
        assert answer is not None
        end = {"index": index, "delta": {}, "logprobs": None, "finish_reason": finish_reason(answer)}
        yield self._event([end], avengers=told(answer))

    def end(self) -> Iterator[bytes]:
        """The last events."""
        if self._with_usage:
            yield self._event([], usage=usage([answer.usage_metadata for answer in self.whole if answer]))
        yield b"data: [DONE]\n\n"

    def error(self, error: ApiError) -> bytes:
        """The event that tells of a failure after the stream has begun."""
        return event(error.body)

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        empty = {"usage": None} if self._with_usage and "usage" not in more else {}
        return event({**self._head, "choices": choices, **empty, **more})


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = {"arguments": call.get("args") or ""}
    if call.get("name"):
        function["name"] = call["name"]
    told: dict[str, Any] = {"index": call.get("index") or 0, "function": function}
    return {**told, "id": call["id"], "type": "function"} if call.get("id") else told


def event(data: Mapping[str, Any]) -> bytes:
    """Data as one server-sent event."""
    return b"data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
