"""Drawing samples of one model: requests, retries, time limits, and failures as data."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from langchain_core.globals import get_llm_cache
from langchain_core.language_models import BaseChatModel, BaseLanguageModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig
from langchain_core.runnables.config import merge_configs
from langgraph.errors import GraphBubbleUp
from langgraph.types import RetryPolicy

from langchain_avengers.errors import PoolError
from langchain_avengers.pipeline.effects import Job, Step
from langchain_avengers.pipeline.tracing import usage_of_request, without
from langchain_avengers.providers import describe, retry_after, status_of


@dataclass(frozen=True)
class Options:
    """What goes along with the messages to every member: tools, an output schema, stop sequences, other
    arguments.
    """

    tools: Sequence[Any] | None = None
    tool_arguments: Mapping[str, Any] = field(default_factory=dict)
    structured: Mapping[str, Any] | None = None
    stop: list[str] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """How one request is made: `timeout` in seconds, retries, and a gate that bounds requests in flight."""

    retries: RetryPolicy
    timeout: float | None = None


@dataclass(frozen=True)
class Dressed:
    """A member made ready for one call's options: what to call, and with which arguments."""

    runnable: Runnable[Any, Any]
    arguments: dict[str, Any]
    config: RunnableConfig


class Member:
    """One model of the pool, whatever it is wrapped in."""

    def __init__(self, name: str, runnable: Any, takes_n: bool | None = None) -> None:
        """Take a model into the pool.

        Args:
            name: The router's name of the model.
            runnable: A chat model, or a runnable around one: bound arguments, fallbacks, retries.
            takes_n: Whether it draws `n` samples in one request; None: tried when the model has an `n` field.
        """
        if not isinstance(runnable, Runnable) or (
            isinstance(runnable, BaseLanguageModel) and not isinstance(runnable, BaseChatModel)
        ):
            raise PoolError(f"model {name!r} is no chat model but a {type(runnable).__name__}")
        self.name = name
        self.runnable = runnable
        self._plain = _unwrap(runnable)
        core = self._plain.runnable
        fields = type(core).model_fields if isinstance(core, BaseChatModel) else {}
        self._n = getattr(core, "n", None) if "n" in fields else None
        self.takes_n = (
            takes_n if takes_n is not None else "n" in fields and not getattr(core, "streaming", False)
        )

    @property
    def model(self) -> BaseChatModel | None:
        """The chat model itself; None when it is out of sight inside another runnable."""
        core = self._plain.runnable
        return core if isinstance(core, BaseChatModel) else None

    @property
    def bound_arguments(self) -> Mapping[str, Any]:
        """Arguments bound to the model."""
        return self._plain.arguments

    @property
    def profile(self) -> Mapping[str, Any]:
        """What the model is known to be capable of; empty when nothing is known."""
        return (getattr(self.model, "profile", None) if self.model else None) or {}

    @property
    def binds_tools(self) -> bool:
        """Whether tools can be bound to it."""
        if self.model is not None:
            return type(self.model).bind_tools is not BaseChatModel.bind_tools
        try:
            return callable(getattr(self._plain.runnable, "bind_tools", None))
        except Exception:
            return False

    def dress(self, options: Options) -> Dressed:
        """Bind a call's tools or output schema in the provider's own form.

        Raises:
            Exception: Whatever the model raises that cannot bind them.
        """
        plain = self._plain
        target: Any = plain.runnable
        if options.structured is not None:
            # Each provider has its own way to ask for a schema: the bound model inside its wrapper has it.
            wrapped = target.with_structured_output(**options.structured, include_raw=True)
            target = wrapped.first.steps__["raw"]
        elif options.tools is not None:
            target = target.bind_tools(list(options.tools), **options.tool_arguments)
        bound = _unwrap(target)
        arguments = {**plain.arguments, **bound.arguments, **options.arguments}
        if not arguments.get("tools", True):
            del arguments["tools"]  # providers refuse an empty list
        if options.stop:
            arguments["stop"] = options.stop
        return Dressed(bound.runnable, arguments, _merged(plain.config, bound.config))


def _unwrap(runnable: Any) -> Dressed:
    """Take bound arguments off a runnable, innermost first, so that later ones win."""
    layers = []
    while isinstance(runnable, RunnableBinding):
        layers.append(runnable)
        runnable = runnable.bound
    arguments: dict[str, Any] = {}
    config = RunnableConfig()
    for layer in reversed(layers):
        arguments |= layer.kwargs
        config = _merged(config, layer.config)
    return Dressed(runnable, arguments, config)


def _merged(outer: RunnableConfig, inner: RunnableConfig) -> RunnableConfig:
    return merge_configs(outer, inner) if outer and inner else outer or inner


@dataclass
class Draw:
    """What came of asking one model for samples.

    Attributes:
        messages: The samples.
        failures: One cause for every sample that was asked for and did not come.
        calls: Every request made, in plain data: `model`, `role`, `asked`, `drawn`, `usage`, `error`.
    """

    messages: list[AIMessage] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)

    def add(self, other: Draw) -> None:
        """Take in what came of another request."""
        self.messages += other.messages
        self.failures += other.failures
        self.calls += other.calls


@dataclass(frozen=True)
class Request:
    """Messages for one member, ready to be sent as often as needed."""

    member: Member
    dressed: Dressed
    messages: Sequence[BaseMessage]
    limits: Limits
    config: RunnableConfig
    role: str = "sample"
    gate: Any = None
    agate: Any = None
    hidden: tuple[ContextVar[Any], ...] = ()

    def draw(self, n: int) -> Step[Draw]:
        """Draw `n` samples: in one request where the member takes `n`, else in concurrent ones."""
        draw = Draw()
        if n > 1 and self.member.takes_n:
            (first,) = yield [self._job(n)]
            if first.refused or first.spoilt:
                draw.calls += first.calls
            else:
                draw.add(first)
                n -= len(first.messages) + len(first.failures)
        else:
            first = None
        if n > 0:
            for part in (yield [self._job(1)] * n):
                draw.add(part)
        if first is not None and first.refused and draw.messages:
            self.member.takes_n = False  # single requests pass where the one for n did not
        return draw

    def stream(self) -> Iterator[AIMessageChunk]:
        """One sample, chunk by chunk."""
        runnable, arguments = self._target(1)
        config = _merged(self.dressed.config, self.config)
        chunks = runnable.stream(list(self.messages), config, **arguments)
        # LangChain attaches its handlers before the first chunk.
        first = without(self.hidden).run(next, chunks, None) if self.hidden else next(chunks, None)
        if first is not None:
            yield _chunk(first)
            yield from map(_chunk, chunks)

    async def astream(self) -> AsyncIterator[AIMessageChunk]:
        """One sample, chunk by chunk; the time limit is that of each chunk."""
        runnable, arguments = self._target(1)
        config = _merged(self.dressed.config, self.config)
        chunks = runnable.astream(list(self.messages), config, **arguments)
        context = without(self.hidden) if self.hidden else None
        while True:
            async with asyncio.timeout(self.limits.timeout):
                if context is None:
                    chunk = await anext(chunks, None)
                else:
                    chunk = await asyncio.create_task(_next(chunks), context=context)
            if chunk is None:
                return
            yield _chunk(chunk)

    def _job(self, n: int) -> Job:
        return Job(partial(self._send, n), partial(self._asend, n))

    def _send(self, n: int) -> _Attempts:
        attempts = _Attempts(self, n)
        while True:
            try:
                with self.gate or _OPEN:
                    call = partial(self._call, n)
                    if self.hidden:
                        call = partial(without(self.hidden).run, call)
                    return attempts.passed(_within(self.limits.timeout, call))
            except GraphBubbleUp:
                raise
            except (Exception, asyncio.CancelledError) as error:
                wait = attempts.failed(_as_failure(error))
                if wait is None:
                    return attempts
                time.sleep(wait)

    async def _asend(self, n: int) -> _Attempts:
        attempts = _Attempts(self, n)
        while True:
            try:
                async with self.agate or _OPEN, asyncio.timeout(self.limits.timeout):
                    if self.hidden:
                        context = without(self.hidden)
                        return attempts.passed(await asyncio.create_task(self._acall(n), context=context))
                    return attempts.passed(await self._acall(n))
            except GraphBubbleUp:
                raise
            except (Exception, asyncio.CancelledError) as error:
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
                    raise  # this call is cancelled, not something inside the model
                wait = attempts.failed(_as_failure(error))
                if wait is None:
                    return attempts
                await asyncio.sleep(wait)

    def _call(self, n: int) -> Reply:
        runnable, arguments = self._target(n)
        if isinstance(runnable, BaseChatModel):
            return Reply.of(runnable.generate([list(self.messages)], **self._run(), **arguments))
        message = runnable.invoke(list(self.messages), _merged(self.dressed.config, self.config), **arguments)
        return Reply.of_message(message, self.member.name)

    async def _acall(self, n: int) -> Reply:
        runnable, arguments = self._target(n)
        if isinstance(runnable, BaseChatModel):
            return Reply.of(await runnable.agenerate([list(self.messages)], **self._run(), **arguments))
        config = _merged(self.dressed.config, self.config)
        return Reply.of_message(
            await runnable.ainvoke(list(self.messages), config, **arguments), self.member.name
        )

    def _target(self, n: int) -> tuple[Runnable[Any, Any], dict[str, Any]]:
        runnable, arguments = self.dressed.runnable, self.dressed.arguments
        if n > 1 or self.member._n not in (None, 1):
            arguments = {**arguments, "n": n}
        return uncached(runnable), arguments

    def _run(self) -> dict[str, Any]:
        config = _merged(self.dressed.config, self.config)
        return {
            key: config.get(key) for key in ("callbacks", "tags", "metadata", "run_name") if config.get(key)
        }


def _as_failure(error: Exception | asyncio.CancelledError) -> Exception:
    return error if isinstance(error, Exception) else RuntimeError("the model cancelled its own call")


def uncached(runnable: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """The model with its cache off: n samples of one prompt are n samples, not one and its copies."""
    if not isinstance(runnable, BaseChatModel) or runnable.cache is False:
        return runnable
    caches = runnable.cache or get_llm_cache() is not None
    return runnable.model_copy(update={"cache": False}) if caches else runnable


@dataclass(frozen=True)
class Reply:
    """The samples of one request and what they used together."""

    messages: list[AIMessage]
    usage: UsageMetadata | None

    @classmethod
    def of(cls, result: LLMResult) -> Reply:
        """Read a chat model's result.

        Providers that take `n` report the whole request's usage, and set it on every choice: it is counted
        once.
        """
        generations = [g for g in result.generations[0] if isinstance(g, ChatGeneration)]
        messages = [_ai(g.message) for g in generations]
        if len(messages) > 1:
            shared = {k: v for k, v in (result.llm_output or {}).items() if k != "token_usage"}
            messages = [
                m.model_copy(update={"response_metadata": {**shared, **m.response_metadata}})
                for m in messages
            ]
        return cls(messages, usage_of_request(result))

    @classmethod
    def of_message(cls, message: Any, name: str) -> Reply:
        """Read what a runnable around a chat model gave."""
        ai = _ai(message, name)
        return cls([ai], ai.usage_metadata)


def _ai(message: Any, name: str = "the model") -> AIMessage:
    if not isinstance(message, AIMessage):
        raise TypeError(f"{name} gave a {type(message).__name__}, not an AIMessage")
    return message


async def _next(chunks: AsyncIterator[Any]) -> Any:
    return await anext(chunks, None)


def _chunk(message: Any) -> AIMessageChunk:
    """A chunk as it is; a model that does not stream gives its whole message instead."""
    return message if isinstance(message, AIMessageChunk) else as_chunk(_ai(message))


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


class _Attempts(Draw):
    """The attempts at one request."""

    def __init__(self, request: Request, n: int) -> None:
        super().__init__()
        self._request = request
        self._n = n
        self.refused = self.spoilt = False

    def passed(self, reply: Reply) -> _Attempts:
        if not reply.messages:
            raise ValueError("the response holds no choices")
        self.messages = reply.messages[: self._n]
        self._record(len(self.messages), reply.usage, None)
        return self

    def failed(self, error: Exception) -> float | None:
        """Record a failed attempt; seconds to wait before the next one, None: give up."""
        cause = describe(error)
        self._record(0, usage_of(error), cause)
        self.refused = self._n > 1 and (status_of(error) in (400, 422) or isinstance(error, TypeError))
        # openai gives up all choices of a request where one was cut off: each has to be asked for alone.
        self.spoilt = self._n > 1 and hasattr(error, "completion")
        wait = (
            None
            if self.refused or self.spoilt
            else wait_before(error, len(self.calls), self._request.limits.retries)
        )
        if wait is None:
            self.failures = [
                {"model": self._request.member.name, "role": self._request.role, "cause": cause}
                for _ in range(self._n)
            ]
        return wait

    def _record(self, drawn: int, usage: UsageMetadata | None, error: str | None) -> None:
        self.calls.append(
            {
                "model": self._request.member.name,
                "role": self._request.role,
                "asked": self._n,
                "drawn": drawn,
                "usage": usage,
                "error": error,
            }
        )


class _Open:
    """A gate that lets everyone pass."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


_OPEN = _Open()


def _within(seconds: float | None, call: Callable[[], Reply]) -> Reply:
    """Wait so long for a call and no longer. A thread cannot be stopped: one given up runs on, unheard."""
    if seconds is None:
        return call()
    pool = ThreadPoolExecutor(1, thread_name_prefix="avengers-call")
    try:
        return pool.submit(copy_context().run, call).result(seconds)
    finally:
        pool.shutdown(wait=False)


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


def usage_of(error: BaseException) -> UsageMetadata | None:
    """What a failed request used, where its error tells: openai's errors about a finished completion do."""
    usage = getattr(getattr(error, "completion", None), "usage", None)
    if usage is None:
        return None
    return UsageMetadata(
        input_tokens=usage.prompt_tokens or 0,
        output_tokens=usage.completion_tokens or 0,
        total_tokens=usage.total_tokens or 0,
    )
