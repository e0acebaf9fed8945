"""Drawing samples of one model: requests, retries, time limits, and failures as data."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.language_models import BaseChatModel, SimpleChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp
from langgraph.types import RetryPolicy

from langchain_avengers.errors import SamplingError
from langchain_avengers.pipeline.pool_model import BoundModel, PoolModel, merged
from langchain_avengers.pipeline.state import CallRecord, FailureRecord, Role
from langchain_avengers.pipeline.sync_async import Event, Job, Step, daemon, job, pause
from langchain_avengers.pipeline.telemetry import AttemptSpan, QuerySpan
from langchain_avengers.pipeline.tracing import CallWatch, without
from langchain_avengers.pipeline.usage import usage_of_request
from langchain_avengers.providers import describe, retry_after, status_of, without_secrets


@dataclass
class SampleBatch:
    """What came of asking one model for samples.

    Attributes:
        messages: The samples.
        failures: One cause for every sample that was asked for and did not come.
        calls: Every request made.
    """

    messages: list[AIMessage] = field(default_factory=list)
    failures: list[FailureRecord] = field(default_factory=list)
    calls: list[CallRecord] = field(default_factory=list)

    def add(self, other: SampleBatch) -> None:
        """Take in what came of another request."""
        self.messages += other.messages
        self.failures += other.failures
        self.calls += other.calls


@dataclass(frozen=True)
class RequestLimits:
    """How one request is made.

    Attributes:
        retries: When and how often it is made again.
        timeout: Seconds it may take; None: the model's own limit.
        gate: Bounds the requests in flight, on threads.
        agate: The same on an event loop.
        rate_limiter: Spaces the requests of the whole pool.
    """

    retries: RetryPolicy
    timeout: float | None = None
    gate: AbstractContextManager[Any] = field(default_factory=nullcontext)
    agate: AbstractAsyncContextManager[Any] = field(default_factory=nullcontext)
    rate_limiter: BaseRateLimiter | None = None


@dataclass(frozen=True)
class ModelRequest:
    """Messages for one model, ready to be sent as often as needed.

    Attributes:
        model: The model.
        bound: The model with the call's tools and arguments.
        messages: What it is asked.
        limits: How a request is made.
        config: Callbacks and tags of its calls.
        role: What its samples are for.
        hidden: Variables of the context that its calls must not see.
        watch: Says whether tokens of the answer are out already; None when nobody listens.
        errors: Takes what the requests raised.
        span: The query's span, under which the attempts stand.
    """

    model: PoolModel
    bound: BoundModel
    messages: Sequence[BaseMessage]
    limits: RequestLimits
    config: RunnableConfig
    role: Role = "sample"
    hidden: tuple[ContextVar[Any], ...] = ()
    watch: CallWatch | None = None
    errors: list[Exception] = field(default_factory=list)
    span: QuerySpan | None = None

    def draw(self, n: int) -> Step[SampleBatch]:
        """Draw `n` samples: in one request when the model takes `n`, else in concurrent ones."""
        batch = SampleBatch()
        refused = False
        if n > 1 and self.model.takes_n:
            first: _Attempts = yield from self._send(n)
            refused = first.refused
            if first.refused or first.spoilt:
                batch.calls += first.calls
            else:
                batch.add(first)
                n -= len(first.messages) + len(first.failures)
        if n == 1:
            batch.add((yield from self._send(1)))
        elif n > 1:
            for part in (yield [job(partial(self._send, 1))] * n):
                batch.add(part)
        if refused and batch.messages:
            self.model.refuses_n()  # single requests pass, the one for n did not
        return batch

    def stream(self) -> Step[SampleBatch]:
        """Draw one sample and tell its chunks, as events, while they come.

        Raises:
            SamplingError: The model broke off after its first chunk, which cannot be taken back.
        """
        attempts = _Attempts(self, 1)
        while True:
            whole: AIMessageChunk | None = None
            chunks = _Chunks(self)  # held by this frame alone: who leaves the stream ends the request
            failure: Exception
            attempts.begin()
            try:
                while (chunk := (yield [Job(chunks.next, chunks.anext)])[0]) is not None:
                    whole = chunk if whole is None else whole + chunk
                    yield Event(chunk)
                if whole is None:
                    raise ValueError("the response holds no chunks")
                return attempts.passed([_ai(message_chunk_to_message(whole))], whole.usage_metadata)
            except GraphBubbleUp:
                raise
            except Exception as error:
                failure = error
            wait = attempts.failed(failure)
            if whole is not None:
                raise broken_off(self.model.name, self.errors[-1]) from self.errors[-1]
            if wait is None:
                return attempts
            yield [pause(wait)]

    def _send(self, n: int) -> Step[_Attempts]:
        """One request for `n` samples, made again while it may pass."""
        attempts = _Attempts(self, n)
        said = _Said() if n > 1 else None
        call = Job(partial(self._call, n, said), partial(self._acall, n, said))
        failure: Exception
        while True:
            attempts.begin()
            try:
                (result,) = yield [call]
                return attempts.passed(*_reply(result, self.model.name, said.output if said else None))
            except GraphBubbleUp:
                raise
            except Exception as error:
                failure = error
            wait = attempts.failed(failure)
            if self.watch is not None and self.watch.heard:
                raise broken_off(self.model.name, self.errors[-1]) from self.errors[-1]
            if wait is None:
                return attempts
            yield [pause(wait)]

    def _call(self, n: int, said: _Said | None) -> LLMResult | AIMessage:
        runnable, arguments, config = self.target(n, said)
        if isinstance(runnable, BaseChatModel):
            call = partial(runnable.generate, [list(self.messages)], **_run_of(config), **arguments)
        else:
            call = partial(runnable.invoke, list(self.messages), config, **arguments)
        if self.hidden:
            call = partial(without(self.hidden).run, call)
        try:
            with self.limits.gate:
                for limiter in self.rate_limiters():
                    limiter.acquire(blocking=True)
                result: LLMResult | AIMessage = _within(self.limits.timeout, call)
                return result
        except asyncio.CancelledError:
            raise RuntimeError(_CANCELLED) from None

    async def _acall(self, n: int, said: _Said | None) -> LLMResult | AIMessage:
        runnable, arguments, config = self.target(n, said)
        if isinstance(runnable, BaseChatModel) and type(runnable)._agenerate in _BY_EXECUTOR:
            # It has synchronous calls alone. LangChain would make them in threads that the process waits for.
            blocking = partial(runnable.generate, [list(self.messages)], **_run_of(config), **arguments)
            call: Callable[[], Awaitable[LLMResult | AIMessage]] = partial(_in_daemon, blocking)
        elif isinstance(runnable, BaseChatModel):
            call = partial(runnable.agenerate, [list(self.messages)], **_run_of(config), **arguments)
        else:
            call = partial(runnable.ainvoke, list(self.messages), config, **arguments)
        try:
            async with self.limits.agate:
                for limiter in self.rate_limiters():
                    await limiter.aacquire(blocking=True)
                if self.limits.timeout is None and not self.hidden:
                    return await call()
                async with asyncio.timeout(self.limits.timeout):
                    if self.hidden:
                        return await asyncio.create_task(_awaited(call), context=without(self.hidden))
                    return await call()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # this call is cancelled, not something inside the model
            raise RuntimeError(_CANCELLED) from None

    def rate_limiters(self) -> Iterator[BaseRateLimiter]:
        """What has to let a request pass before its clock begins: the model's own limiter, and the pool's."""
        if self.bound.rate_limiter is not None:
            yield self.bound.rate_limiter
        if self.limits.rate_limiter is not None:
            yield self.limits.rate_limiter

    def target(self, n: int, said: _Said | None = None) -> tuple[Any, dict[str, Any], RunnableConfig]:
        """What to call for `n` samples, with which arguments and config; `said` takes what the provider adds."""
        arguments = self.bound.arguments
        if n > 1 or self.model.own_n not in (None, 1):
            arguments = {**arguments, "n": n}
        config = merged(self.bound.config, self.config)
        if said is not None and isinstance(manager := config.get("callbacks"), BaseCallbackManager):
            manager = manager.copy()
            manager.add_handler(said)
            config = {**config, "callbacks": manager}
        return self.bound.runnable, arguments, config


def broken_off(name: str, error: Exception) -> SamplingError:
    """The error of an answer that ended in its middle, after parts of it were passed on."""
    return SamplingError(f"{name} broke off in the middle of its answer: {describe(error)}", [error])


_CANCELLED = "the model cancelled its own call"


class _Said(BaseCallbackHandler):
    """Keeps what a provider says of a request for several samples: LangChain leaves most of it out of the result."""

    run_inline = True

    def __init__(self) -> None:
        self.output: dict[str, Any] | None = None

    def on_llm_end(self, response: LLMResult, **_: Any) -> None:
        self.output = response.llm_output


class _Chunks:
    """The chunks of one streamed answer, one at a time; None after the last. The time limit is for all together."""

    def __init__(self, request: ModelRequest) -> None:
        self._request = request
        self._chunks: Iterator[Any] | None = None
        self._achunks: AsyncIterator[Any] | None = None
        self._deadline: float | None = None

    def next(self) -> AIMessageChunk | None:
        """On a thread."""
        hidden = self._request.hidden
        if self._chunks is None:
            for limiter in self._request.rate_limiters():
                limiter.acquire(blocking=True)
            runnable, arguments, config = self._request.target(1)
            self._chunks = runnable.stream(list(self._request.messages), config, **arguments)
            if hidden:  # LangChain attaches its handlers before the first chunk.
                return _chunk(_within(self._left(), partial(without(hidden).run, next, self._chunks, None)))
        return _chunk(_within(self._left(), partial(next, self._chunks, None)))

    async def anext(self) -> AIMessageChunk | None:
        """On the event loop."""
        if self._achunks is None:
            for limiter in self._request.rate_limiters():
                await limiter.aacquire(blocking=True)
            runnable, arguments, config = self._request.target(1)
            self._achunks = runnable.astream(list(self._request.messages), config, **arguments)
        chunks, hidden = self._achunks, self._request.hidden

        async def following() -> Any:
            return await anext(chunks, None)

        async with asyncio.timeout(self._left()):
            if hidden:
                return _chunk(await asyncio.create_task(following(), context=without(hidden)))
            return _chunk(await following())

    def _left(self) -> float | None:
        """Seconds left of the time limit, which begins with the first question."""
        limit = self._request.limits.timeout
        if limit is None:
            return None
        if self._deadline is None:
            self._deadline = time.monotonic() + limit
        return max(0.0, self._deadline - time.monotonic())


async def _awaited(call: Callable[[], Awaitable[Any]]) -> Any:
    return await call()


async def _in_daemon(call: Callable[[], Any]) -> Any:
    return await asyncio.wrap_future(daemon(call))


class _Attempts(SampleBatch):
    """The attempts at one request."""

    def __init__(self, request: ModelRequest, n: int) -> None:
        super().__init__()
        self._request = request
        self._n = n
        self._span: AttemptSpan | None = None
        self.refused = self.spoilt = False

    def begin(self) -> None:
        """Note that an attempt begins."""
        if (span := self._request.span) is not None:
            self._span = AttemptSpan(span, self._request.model.name, self._request.model.provider, self._n)

    def passed(self, messages: list[AIMessage], usage: UsageMetadata | None) -> _Attempts:
        if not messages:
            raise ValueError("the response holds no choices")
        self.messages = messages[: self._n]
        self._record(len(self.messages), usage, None)
        return self

    def failed(self, error: Exception) -> float | None:
        """Record a failed attempt; seconds to wait before the next one, None: give up."""
        cause = describe(error)
        self._request.errors.append(without_secrets(error))
        self._record(0, _usage_of_error(error), cause)
        self.refused = self._n > 1 and _refuses_n(error)
        # openai gives up all choices of a request when one was cut off: each has to be asked for alone.
        self.spoilt = self._n > 1 and hasattr(error, "completion")
        wait = (
            None
            if self.refused or self.spoilt
            else wait_before(error, len(self.calls), self._request.limits.retries)
        )
        if wait is None:
            failure = FailureRecord(model=self._request.model.name, role=self._request.role, cause=cause)
            self.failures = [failure] * self._n
        return wait

    def _record(self, drawn: int, usage: UsageMetadata | None, error: str | None) -> None:
        if self._span is not None:
            self._span.ended(usage, error)
        self.calls.append(
            {
                "model": self._request.model.name,
                "role": self._request.role,
                "asked": self._n,
                "drawn": drawn,
                "usage": usage,
                "error": error,
            }
        )


_BY_EXECUTOR = (BaseChatModel._agenerate, SimpleChatModel._agenerate)


def _run_of(config: RunnableConfig) -> dict[str, Any]:
    """A config in the form that `generate` takes."""
    return {key: config.get(key) for key in ("callbacks", "tags", "metadata", "run_name") if config.get(key)}


def _reply(
    result: LLMResult | AIMessage, name: str, said: dict[str, Any] | None = None
) -> tuple[list[AIMessage], UsageMetadata | None]:
    """The samples of one request, with what the provider said of it, and what they used together."""
    if not isinstance(result, LLMResult):
        message = _ai(result, name)
        return [message], message.usage_metadata
    messages = [_ai(g.message, name) for g in result.generations[0] if isinstance(g, ChatGeneration)]
    if len(messages) > 1:
        shared = {k: v for k, v in (said or result.llm_output or {}).items() if k != "token_usage"}
        messages = [
            m.model_copy(update={"response_metadata": {**shared, **m.response_metadata}}) for m in messages
        ]
    return messages, usage_of_request(result)


def _ai(message: Any, name: str = "the model") -> AIMessage:
    if not isinstance(message, AIMessage):
        raise TypeError(f"{name} gave a {type(message).__name__}, not an AIMessage")
    return message


def _chunk(message: Any) -> AIMessageChunk | None:
    """A chunk as it is; a model that does not stream gives its whole message instead."""
    return message if message is None or isinstance(message, AIMessageChunk) else as_chunk(_ai(message))


def as_chunk(message: AIMessage) -> AIMessageChunk:
    """A whole message as one chunk of a stream."""
    return AIMessageChunk(
        content=message.content,
        additional_kwargs=message.additional_kwargs,
        response_metadata=message.response_metadata,
        usage_metadata=message.usage_metadata,
        name=message.name,
        id=message.id,
        tool_call_chunks=[
            tool_call_chunk(name=c["name"], args=json.dumps(c["args"]), id=c["id"], index=i)
            for i, c in enumerate(message.tool_calls)
        ],
        chunk_position="last",
    )


def _within(seconds: float | None, call: Callable[[], Any]) -> Any:
    """Wait so long for a call and no longer. A thread cannot be stopped: its late result is thrown away."""
    return call() if seconds is None else daemon(call).result(seconds)


def wait_before(error: Exception, attempt: int, policy: RetryPolicy) -> float | None:
    """Seconds to wait after failed attempt number `attempt`, from 1; None: make no further attempt.

    A server that asks for a longer pause than the policy's `max_interval` is not asked again.
    """
    if attempt >= policy.max_attempts or not _retried(error, policy):
        return None
    wait = min(policy.initial_interval * policy.backoff_factor ** (attempt - 1), policy.max_interval)
    if policy.jitter:
        wait *= random.uniform(0.5, 1.0)
    asked = retry_after(error)
    if asked is not None:
        return None if asked > policy.max_interval else max(asked, wait)
    return wait


def _retried(error: Exception, policy: RetryPolicy) -> bool:
    if isinstance(policy.retry_on, type | Sequence):
        kinds = policy.retry_on
        return isinstance(error, kinds if isinstance(kinds, type) else tuple(kinds))
    return policy.retry_on(error)


_NAMES_N = re.compile(
    r"""(?<![\w.\\])["'`]?\bn\b["'`]?\s*(?:=|>|<|:|must|should|is|has|cannot|can't|not|param|larger|greater)"""
    r"""|(?:param\w*|argument|field|option|keyword|value of|for)\W{0,3}["'`]?\bn\b"""
    r"""|(?:multiple|several|more than one)\s+(?:choice|completion|candidate|sample|response)""",
    re.IGNORECASE,
)


def _refuses_n(error: Exception) -> bool:
    """Whether a request was refused because it asks for several samples, and for nothing else."""
    if not isinstance(error, TypeError) and status_of(error) not in (400, 422):
        return False
    body = getattr(error, "body", None)
    if isinstance(body, dict) and "param" in (body := body.get("error", body)) and body["param"]:
        return bool(body["param"] == "n")
    return _NAMES_N.search(str(error)) is not None


def _usage_of_error(error: BaseException) -> UsageMetadata | None:
    """What a failed request used, when its error tells: openai's errors about a finished completion do."""
    usage = getattr(getattr(error, "completion", None), "usage", None)
    if usage is None:
        return None
    return UsageMetadata(
        input_tokens=usage.prompt_tokens or 0,
        output_tokens=usage.completion_tokens or 0,
        total_tokens=usage.total_tokens or 0,
    )
