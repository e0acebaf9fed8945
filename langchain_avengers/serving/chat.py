"""One chat request: from OpenAI's body to a call of the pool, and from its answer to what is counted and kept."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast
from uuid import UUID, uuid4

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableSequence

from langchain_avengers.errors import PoolError, SamplingError
from langchain_avengers.pipeline.chat_model import ChatAvengers
from langchain_avengers.pipeline.messages import routing_text
from langchain_avengers.pipeline.settings import Router
from langchain_avengers.providers import status_of
from langchain_avengers.serving.engine import Engine
from langchain_avengers.serving.exploring import chances
from langchain_avengers.serving.keys import ClientKey
from langchain_avengers.serving.metrics import Metrics
from langchain_avengers.serving.protocol import (
    ApiError,
    ChatRequest,
    ChunkWriter,
    NamedToolChoice,
    ResponseFormat,
)
from langchain_avengers.serving.sessions import Sessions, resumed, session_id
from langchain_avengers.serving.store import Store

_REFUSALS = {400, 404, 413, 422}
"""Statuses by which a member refuses what it was asked."""


@dataclass
class Caller:
    """Who asks, and what the log will say of the request.

    Attributes:
        request_id: The completion's id.
        key: The client's key; None when no key is needed.
        session: The session that the client named.
        log: Fields of the request's log line.
        started: When the request came.
        propensity: The chance with which the model was asked; None: as the decision says.
    """

    request_id: str
    key: ClientKey | None = None
    session: str | None = None
    log: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)
    propensity: float | None = None

    @property
    def key_name(self) -> str | None:
        """The key's name."""
        return self.key.name if self.key else None


@dataclass
class _Call:
    """A request, ready to be made of the pool."""

    model: Runnable[LanguageModelInput, AIMessage]
    messages: list[BaseMessage]
    configs: list[RunnableConfig]
    arguments: list[dict[str, Any]]


@dataclass
class Chat:
    """Answers chat requests by the pool.

    Attributes:
        engine: The router and its pool.
        metrics: Counts answers.
        sessions: Where each session stands.
        store: Keeps what feedback will be judged by; None: nothing is kept.
        explore: Share of whole answers for which another model may be drawn, in [0, 1]; see `chances`.
    """

    engine: Engine
    metrics: Metrics
    sessions: Sessions
    store: Store | None = None
    explore: float = 0.0

    async def answer(self, request: ChatRequest, caller: Caller) -> list[AIMessage]:
        """The answers, one a choice.

        Raises:
            ApiError: The request cannot be answered, or no member answered it.
        """
        drawn = await self._draw(request, caller)
        try:
            answers = await _answers(await self._call(request, caller, drawn))
        except Exception as error:
            if drawn is None or not isinstance(error, SamplingError):
                raise self._failed(error) from error
            self._failed(error)  # counted; what was drawn out of curiosity costs the client no answer
            caller.propensity = None
            try:
                answers = await _answers(await self._call(request, caller))
            except Exception as again:
                raise self._failed(again) from again
        for answer in answers:
            await self._answered(request, caller, answer)
        return answers

    async def stream(self, request: ChatRequest, caller: Caller, writer: ChunkWriter) -> AsyncIterator[bytes]:
        """The answers as server-sent events, choices side by side.

        Raises:
            ApiError: Before the first event: the request cannot be answered, or no member answered it. Later a
                failure is the last event.
        """
        begun = False
        try:
            call = await self._call(request, caller)
            async for index, chunk in _merged(call):
                events = writer.finish(index) if chunk is None else writer.chunk(index, chunk)
                if chunk is None:
                    await self._answered(request, caller, cast(AIMessage, writer.whole[index]))
                for event in events:
                    begun = True
                    yield event
            for event in writer.end():
                yield event
        except GeneratorExit:
            raise
        except Exception as error:
            failure = self._failed(error)
            if not begun:
                raise failure from error
            caller.log["error"] = failure.message
            yield writer.error(failure)

    async def _draw(self, request: ChatRequest, caller: Caller) -> str | None:
        """The model to ask in place of the router's choice; None: ask the router's choice."""
        if not self._explores(request, caller) or random.random() >= self.explore:
            return None
        model = self.engine.model
        router = cast(Router, model.router)
        try:
            text = routing_text(request.conversation(), model.routing_text)
        except ValueError:
            return None  # said again, to the client, when the router is asked
        decision = router.route_vector(await router.aembed(text), models=self._allowed(None, caller.key))
        ranking = [asdict(row) for row in decision.ranking]
        everyone, wins = (
            chances(ranking, decision.chosen[0], self.explore),
            chances(ranking, decision.chosen[0], 1.0),
        )
        (drawn,) = random.choices(list(wins), list(wins.values()))
        caller.propensity = everyone[drawn]
        return drawn

    def _explores(self, request: ChatRequest, caller: Caller) -> bool:
        """Whether the pool chooses: a conversation keeps its model, and a caller who names models gets them."""
        named = request.model in self.engine.members or request.avengers.allowed_models
        return bool(self.explore) and not (named or caller.session or request.session or request.tools)

    async def _call(self, request: ChatRequest, caller: Caller, drawn: str | None = None) -> _Call:
        controls = {
            **self.engine.controls(request.model),
            **request.avengers.model_dump(exclude_none=True, exclude={"budget"}),
        }
        wanted = controls.get("allowed_models") if drawn is None else [drawn]
        controls["allowed_models"] = self._allowed(wanted, caller.key)
        model = self.engine.model
        if request.avengers.budget:
            model = model.model_copy(update={"budget": request.avengers.budget.model_dump(exclude_none=True)})
        try:
            messages, bound = request.conversation(), _bound(model, request)
        except ValueError as error:
            raise ApiError(400, str(error)[:500]) from None
        session = caller.session or request.session
        if session:
            caller.session = session_id(caller.key_name, session)
            messages = resumed(messages, await self.sessions.get(caller.session))
        arguments = [request.arguments() for _ in range(request.n)]
        for index, each in enumerate(arguments):
            if "seed" in each:  # or all choices would be one
                each["seed"] += index
        configs = [
            RunnableConfig(
                configurable=controls,
                metadata={"avengers_request": caller.request_id, "avengers_key": caller.key_name},
                run_id=uuid4() if index else UUID(hex=caller.request_id[-32:]),
                run_name="avengers serve",
            )
            for index in range(request.n)
        ]
        return _Call(bound, messages, configs, arguments)

    def _allowed(self, wanted: list[str] | None, key: ClientKey | None) -> list[str]:
        """The members that may answer: those that the request and its key allow."""
        members = self.engine.members
        if unknown := [name for name in wanted or () if name not in members]:
            raise ApiError(
                400,
                f"allowed_models: there is no model {unknown[0][:100]!r}",
                param="avengers.allowed_models",
            )
        allowed = [name for name in members if wanted is None or name in wanted]
        if key is not None and key.models is not None:
            allowed = [name for name in allowed if name in key.models]
        if not allowed:
            raise ApiError(403, "this key may not use the models asked for", code="model_not_allowed")
        return allowed

    async def _answered(self, request: ChatRequest, caller: Caller, answer: AIMessage) -> None:
        """Count an answer and keep what has to be kept of it."""
        about: Mapping[str, Any] = answer.response_metadata["avengers"]
        self.metrics.answered(about, time.perf_counter() - caller.started)
        usage = about["usage"] or {}
        caller.log |= {
            "model": about["model"], "strategy": about["strategy"], "samples": about["samples"]["drawn"],
            "failed": about["samples"]["failed"], "novel": about["decision"]["novel"],
            "confidence": about["vote"]["confidence"], "cost": about["cost"],
            "input_tokens": usage.get("input_tokens"), "output_tokens": usage.get("output_tokens"),
        }  # fmt: skip
        if caller.session:
            await self.sessions.keep(caller.session, about)
        if self.store is not None and "stored" not in caller.log:
            caller.log["stored"] = True
            chance = caller.propensity
            if chance is None:
                decision, best = about["decision"], about["decision"]["chosen"][0]
                explores = self._explores(request, caller) and about["model"] == best
                chance = chances(decision["ranking"], best, self.explore)[best] if explores else 1.0
            query = _last_user_text(request)
            router = self.engine.fingerprint
            await self.store.record(
                caller.request_id, caller.key_name, router, about, query, max(chance, 1e-3)
            )

    def _failed(self, error: BaseException) -> ApiError:
        """An error of the pool as the client is told it."""
        if isinstance(error, ApiError):
            return error
        if isinstance(error, SamplingError):
            if error.account:
                self.metrics.spent(error.account)
                for name in error.account["models"]:
                    self.metrics.failures.labels(name).inc()
            if all(status_of(cause) in _REFUSALS for cause in error.exceptions):
                return ApiError(400, f"the models refuse this request: {error}"[:1000])
            return ApiError(502, str(error)[:1000], code="no_answer")
        if isinstance(error, TimeoutError):
            return ApiError(504, "no answer in time", code="timeout")
        if isinstance(error, RecursionError):
            return ApiError(400, "the request is nested too deep")
        if isinstance(error, PoolError | ValueError):
            return ApiError(400, " ".join(str(error).split())[:500])
        raise error


async def _answers(call: _Call) -> list[AIMessage]:
    """All choices, side by side."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(call.model.ainvoke(call.messages, config, **arguments))
                for config, arguments in zip(call.configs, call.arguments, strict=True)
            ]
    except BaseExceptionGroup as errors:
        raise _first(errors) from None
    return [task.result() for task in tasks]


def _bound(model: ChatAvengers, request: ChatRequest) -> Runnable[LanguageModelInput, AIMessage]:
    """The pool with the request's tools, or the form of its answer."""
    wanted = request.response_format
    if request.tools:
        choice = request.tool_choice
        options: dict[str, Any] = {}
        if request.parallel_tool_calls is not None:
            options["parallel_tool_calls"] = request.parallel_tool_calls
        if wanted is not None and wanted.type != "text":
            options["response_format"] = wanted.model_dump(by_alias=True, exclude_none=True)
        return model.bind_tools(
            [tool.model_dump(exclude_none=True) for tool in request.tools],
            tool_choice=choice.function.name if isinstance(choice, NamedToolChoice) else choice,
            **options,
        )
    if request.tool_choice not in (None, "none", "auto"):
        raise ValueError("tool_choice needs tools")
    if wanted is None or wanted.type == "text":
        return model
    return _structured(model, wanted)


def _structured(model: ChatAvengers, wanted: ResponseFormat) -> Runnable[LanguageModelInput, AIMessage]:
    if wanted.json_schema is None:
        structured = model.with_structured_output(
            {"title": "answer", "type": "object", "properties": {}}, method="json_mode"
        )
    else:
        named = {"title": wanted.json_schema.name, "properties": {}, **wanted.json_schema.schema_}
        if wanted.json_schema.description:
            named["description"] = wanted.json_schema.description
        structured = model.with_structured_output(
            {**named, "title": wanted.json_schema.name},
            method="json_schema",
            strict=wanted.json_schema.strict,
        )
    # Its first step is the model; the second parses, which the client does.
    assert isinstance(structured, RunnableSequence)
    return cast(Runnable[LanguageModelInput, AIMessage], structured.first)


async def _merged(call: _Call) -> AsyncIterator[tuple[int, AIMessageChunk | None]]:
    """The chunks of all choices as they come, each with its choice's index; None ends a choice."""
    # Each in a task of its own: what LangChain keeps in a task's context has to last from first to last chunk.
    queue: asyncio.Queue[tuple[int, AIMessageChunk | Exception | None]] = asyncio.Queue(maxsize=64)

    async def draw(index: int) -> None:
        try:
            async for chunk in call.model.astream(
                call.messages, call.configs[index], **call.arguments[index]
            ):
                await queue.put((index, cast(AIMessageChunk, chunk)))
            await queue.put((index, None))
        except Exception as error:
            await queue.put((index, error))

    tasks = [asyncio.create_task(draw(index)) for index in range(len(call.configs))]
    try:
        left = len(tasks)
        while left:
            index, piece = await queue.get()
            if isinstance(piece, Exception):
                raise piece
            left -= piece is None
            yield index, piece
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _last_user_text(request: ChatRequest) -> str:
    for message in reversed(request.messages):
        if message.role == "user":
            if isinstance(message.content, str):
                return message.content
            parts = [part.model_extra or {} for part in message.content or ()]
            return " ".join(str(part["text"]) for part in parts if "text" in part)
    return ""


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and not isinstance(error, SamplingError):
        error = error.exceptions[0]
    return error
