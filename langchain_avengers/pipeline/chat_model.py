"""The pool as one chat model."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import Any, Literal, Self, TypeVar, cast
from uuid import uuid4

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForLLMRun,
    BaseCallbackManager,
    CallbackManager,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.messages.ai import UsageMetadata, subtract_usage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig, RunnableMap, RunnablePassthrough
from langchain_core.runnables.config import ensure_config
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from langchain_core.utils.utils import LC_ID_PREFIX
from pydantic import BaseModel, ConfigDict, PrivateAttr, SecretStr

from langchain_avengers.errors import PoolError, SamplingError
from langchain_avengers.pipeline.effects import arun, run
from langchain_avengers.pipeline.nodes import Pipeline, State, Task, Turn, tell_by
from langchain_avengers.pipeline.sampling import (
    Member,
    Options,
    Request,
    as_chunk,
    usage_of,
    wait_before,
)
from langchain_avengers.pipeline.settings import CONTROLS, Settings
from langchain_avengers.pipeline.tracing import Trace, counters
from langchain_avengers.providers import describe

T = TypeVar("T")
ROUTER_VARIABLE = "AVENGERS_ROUTER"
_TOOL_CHOICES = ("auto", "none", "any", "required")
_parent: ContextVar[BaseCallbackManager | None] = ContextVar("avengers_parent", default=None)


class ChatAvengers(BaseChatModel, Settings):
    """A pool of chat models as one: each query goes to the model that is best on queries like it.

    Every field of `Settings` is an option of this class. `allowed_models`, `cost_weight`, `n_samples`,
    `top_n`, `strategy` and
    `confidence_threshold` can also be set for one call: in `config["configurable"]`, by `bind`, or as
    arguments of the call; the config wins. `model="name"` lets that one model answer.

    What happened is in `response_metadata["avengers"]` of the answer: the model, the decision, the vote
    with its tally and confidence, samples drawn, failed, abstained and saved, the cost; `usage_metadata` is
    the sum over all calls made.

    Attributes:
        router: A fitted `ClusterRouter`. None: the one saved in the folder that the environment variable
            `AVENGERS_ROUTER` names.
        models: A chat model, a runnable around one, or an `init_chat_model` string for each of the router's
            models.

    Raises:
        PoolError: Names of router and models differ, a value is no chat model, or no router is given.
        ArtifactError: The router that `AVENGERS_ROUTER` names cannot be read.
        SamplingError: On a call: nothing answered. The message lists every cause.

    Example:
        ```python
        model = ChatAvengers(router=router, models={"qwen": qwen, "llama": llama}, n_samples=5)
        answer = model.invoke("What is 7 + 5?")
        answer.response_metadata["avengers"]["vote"]["confidence"]
        ```
    """

    router: Any = None
    models: dict[str, Any]
    streaming: bool = False
    """Answer `invoke` by way of the stream: with the strategy `direct`, the model's own."""
    api_key: SecretStr | None = None
    """Taken so that standard parameters fit. Members have keys of their own."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=())

    _pipeline: Pipeline = PrivateAttr()
    _digests: dict[str, str] = PrivateAttr()
    _parser: Callable[[AIMessage], Any] | None = PrivateAttr(default=None)

    def __init__(self, **kwargs: Any) -> None:
        """Take the options listed at the class."""
        super().__init__(**kwargs)
        # Not in a validator: pydantic would hide the kind of error.
        if self.router is None:
            self.router = _router_of_environment()
        self._pipeline = Pipeline(self.router, self.models, self)
        self._digests = {name: _digest(member) for name, member in self._pipeline.members.items()}

    @classmethod
    def from_pretrained(
        cls, path: Any, *, models: Mapping[str, Any], embeddings: Any = None, **kwargs: Any
    ) -> Self:
        """Load a saved router and put models behind its names.

        Args:
            path: Folder of the saved router.
            models: A chat model for each of the router's models.
            embeddings: The embeddings the router was fitted with. None: those its artefact names.
            kwargs: Any other option.

        Raises:
            ArtifactError: The artefact is damaged, foreign, too new, or belongs to another embedder.
            PoolError: Names of router and models differ.
        """
        from langchain_avengers.routing.router import ClusterRouter

        return cls(router=ClusterRouter.load(path, embeddings=embeddings), models=dict(models), **kwargs)

    # --- what it is ---

    @property
    def _llm_type(self) -> str:
        return "avengers"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """What the answers depend on, and nothing secret: also the key of cached answers."""
        fields = {
            name: _plain(getattr(self, name))
            for name in Settings.model_fields
            if name not in ("inner_callbacks", "progress", "timeout", "max_concurrency")
            and getattr(self, name) is not None
        }
        return {
            **fields,
            "pool": self._digests,
            "router": self._pipeline.fingerprint,
        }

    def __repr_args__(self) -> Any:
        """Names only: members may hold what does not belong into a log."""
        yield "models", list(self.models)
        yield "strategy", self.strategy
        yield "n_samples", self.n_samples

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        model = kwargs.get("model")
        params = LangSmithParams(
            ls_provider="avengers",
            ls_model_type="chat",
            ls_model_name=model if isinstance(model, str) else "+".join(self.models),
        )
        if (temperature := kwargs.get("temperature", self.temperature)) is not None:
            params["ls_temperature"] = temperature
        if (max_tokens := kwargs.get("max_tokens", self.max_tokens)) is not None:
            params["ls_max_tokens"] = max_tokens
        if stopped := stop or self.stop:
            params["ls_stop"] = stopped
        return params

    def _resolve_model_profile(self) -> ModelProfile | None:
        """What all members are capable of."""
        profiles = [
            Member(name, model).profile for name, model in self.models.items() if not isinstance(model, str)
        ]
        if len(profiles) < len(self.models) or not all(profiles):
            return None
        shared: dict[str, Any] = {}
        for key in set(profiles[0]).intersection(*profiles[1:]):
            values = [profile[key] for profile in profiles]
            if all(isinstance(v, bool) for v in values):
                shared[key] = all(values)
            elif all(isinstance(v, int) for v in values):
                shared[key] = min(values)
        return cast(ModelProfile, shared) or None

    def get_token_ids(self, text: str) -> list[int]:
        """Token ids of the text, as the first member that can tell counts them."""
        return self._count(
            lambda model: model.get_token_ids(text), lambda: super(ChatAvengers, self).get_token_ids(text)
        )

    def get_num_tokens(self, text: str) -> int:
        """Tokens of the text, as the first member that can tell counts them."""
        return self._count(
            lambda model: model.get_num_tokens(text), lambda: count_tokens_approximately([text])
        )

    def get_num_tokens_from_messages(
        self, messages: Sequence[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Tokens of the messages, as the first member that can tell counts them."""
        extra = {} if tools is None else {"tools": tools}
        return self._count(
            lambda model: model.get_num_tokens_from_messages(list(messages), **extra),
            lambda: count_tokens_approximately(messages),
        )

    def _count(self, ask: Callable[[BaseChatModel], T], otherwise: Callable[[], T]) -> T:
        causes = []
        for name, member in self._pipeline.members.items():
            if member.model is None:
                continue
            try:
                return ask(member.model)
            except Exception as error:
                causes.append(f"{name}: {describe(error)}")
        warnings.warn(
            f"no member counts tokens, the number is an estimate ({'; '.join(causes)})", stacklevel=3
        )
        return otherwise()

    # --- tools and structured output ---

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: dict[str, Any] | str | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools to every member, each in its provider's own form.

        Args:
            tools: The tools.
            tool_choice: A tool's name, `"auto"`, `"none"`, `"any"` or `"required"`, `True` for any, or a
                provider's dict.
            kwargs: Passed to each member's `bind_tools` (`strict`, `parallel_tool_calls`, ...).

        Raises:
            ValueError: `tool_choice` names no tool.
        """
        formatted = [convert_to_openai_tool(tool) for tool in tools]
        names = [
            t["function"]["name"] if "function" in t else t.get("name", t.get("type", "")) for t in formatted
        ]
        if isinstance(tool_choice, str) and tool_choice not in (*_TOOL_CHOICES, *names):
            raise ValueError(
                f"tool_choice {tool_choice!r} is none of {', '.join(_TOOL_CHOICES)} and names no tool: "
                + ", ".join(names)
            )
        if tool_choice not in (None, False):
            kwargs["tool_choice"] = "any" if tool_choice is True else tool_choice
        return self.bind(tools=formatted, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        method: Literal["function_calling", "json_schema", "json_mode"] = "function_calling",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Answers in the form of a schema. The samples vote by the parsed object; one that does not parse
        abstains.

        Args:
            schema: A pydantic class, a TypedDict class, a JSON schema or an OpenAI function.
            method: `"function_calling"`, `"json_schema"` or `"json_mode"`, each asked for in the member's
                own way.
            include_raw: Give `{"raw", "parsed", "parsing_error"}` instead of the parsed object alone.
            strict: Passed to the members where given.
            kwargs: Passed to the members.

        Raises:
            ValueError: The method is unknown, or `strict` is used with `"json_mode"`.
        """
        told = {
            "ls_structured_output_format": {"kwargs": {"method": method, "strict": strict}, "schema": schema}
        }
        pydantic_schema = isinstance(schema, type) and is_basemodel_subclass(schema)
        parser: Runnable[Any, Any]
        model = self.model_copy()
        llm: Runnable[LanguageModelInput, AIMessage]
        if method == "function_calling":
            name = convert_to_openai_tool(schema)["function"]["name"]
            options = {} if strict is None else {"strict": strict}
            llm = model.bind_tools([schema], tool_choice=name, **options, **told, **kwargs)
            parser = (
                PydanticToolsParser(tools=[cast(type[BaseModel], schema)], first_tool_only=True)
                if pydantic_schema
                else JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
            )
        elif method in ("json_schema", "json_mode"):
            if method == "json_mode" and strict is not None:
                raise ValueError("strict is not supported with method 'json_mode'")
            wanted: dict[str, Any] = {"schema": convert_to_json_schema(schema), "method": method}
            if strict is not None:
                wanted["strict"] = strict
            llm = model.bind(structured=wanted, **told, **kwargs)
            parser = (
                PydanticOutputParser(pydantic_object=cast(type[BaseModel], schema))
                if pydantic_schema
                else JsonOutputParser()
            )
        else:
            raise ValueError(f"unknown method {method!r}: function_calling, json_schema or json_mode")
        model._parser = partial(_parse, parser)
        if not include_raw:
            return llm | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        unparsed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=llm) | parsed.with_fallbacks([unparsed], exception_key="parsing_error")

    # --- one call ---

    def _turn(self, run_manager: Any, stop: list[str] | None, kwargs: dict[str, Any]) -> Turn:
        kwargs = dict(kwargs)
        controls = {name: kwargs.pop(name) for name in CONTROLS & kwargs.keys()}
        if (only := kwargs.pop("model", None)) is not None:
            if only not in self._pipeline.members:
                raise PoolError(f"model {only!r} is not in the pool: {', '.join(self._pipeline.members)}")
            controls["allowed_models"] = [only]
        for tracing_only in ("stream", "ls_structured_output_format", "structured_output_format"):
            kwargs.pop(tracing_only, None)
        tools = kwargs.pop("tools", None)
        tool_arguments: dict[str, Any] = {}
        if tools is not None:
            for name in ("tool_choice", "strict", "parallel_tool_calls", "response_format"):
                if name in kwargs:
                    tool_arguments[name] = kwargs.pop(name)
        options = Options(
            tools=tools,
            tool_arguments=tool_arguments,
            structured=kwargs.pop("structured", None),
            stop=stop,
            arguments=kwargs,
        )
        settings = self.controlled(controls)
        trace = Trace(None, settings.inner_callbacks)
        tell = None
        manager: Any = run_manager or _take_parent()
        if manager is not None:
            run_id = manager.run_id if run_manager is not None else manager.parent_run_id
            trace = Trace.under(
                run_id,
                manager.inheritable_handlers,
                tags=manager.inheritable_tags,
                metadata=manager.inheritable_metadata,
                inherit=settings.inner_callbacks,
            )
            trace.book_nothing()
            if settings.progress:
                child = CallbackManager(handlers=[], parent_run_id=run_id)
                child.set_handlers(manager.inheritable_handlers)
                tell = tell_by(RunnableConfig(callbacks=child))
        hidden = counters() if settings.inner_callbacks == "tracers" else ()
        return Turn.of(settings, options=options, trace=trace, parser=self._parser, tell=tell, hidden=hidden)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self._streams(run_manager, async_api=False, **kwargs):
            chunks = list(_reporting(self._stream(messages, stop, run_manager, **kwargs), run_manager))
            return _joined(chunks)
        turn = self._turn(run_manager, stop, kwargs)
        state = run(self._pipeline.walk(messages, turn))
        return ChatResult(generations=[ChatGeneration(message=_own(state))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self._streams(run_manager, async_api=True, **kwargs):
            chunks = [
                c
                async for c in _areporting(self._astream(messages, stop, run_manager, **kwargs), run_manager)
            ]
            return _joined(chunks)
        turn = self._turn(run_manager, stop, kwargs)
        state = await arun(self._pipeline.walk(messages, turn))
        return ChatResult(generations=[ChatGeneration(message=_own(state))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        turn = self._turn(run_manager, stop, kwargs)
        state, tasks = run(self._pipeline.head(messages, turn))
        if not _is_live(tasks, turn):
            state = run(self._pipeline.rest(state, tasks, turn))
            yield ChatGenerationChunk(message=as_chunk(_own(state)))
            return
        live = _Live(self._pipeline, state, tasks[0], turn)
        for request in live.requests():
            try:
                for chunk in request.stream():
                    yield live.take(chunk)
            except Exception as error:
                time.sleep(live.failed(error))
        run(self._pipeline.ballot(state, turn))
        yield live.last()

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        turn = self._turn(run_manager, stop, kwargs)
        state, tasks = await arun(self._pipeline.head(messages, turn))
        if not _is_live(tasks, turn):
            state = await arun(self._pipeline.rest(state, tasks, turn))
            yield ChatGenerationChunk(message=as_chunk(_own(state)))
            return
        live = _Live(self._pipeline, state, tasks[0], turn)
        for request in live.requests():
            try:
                async for chunk in request.astream():
                    yield live.take(chunk)
            except Exception as error:
                await asyncio.sleep(live.failed(error))
        await arun(self._pipeline.ballot(state, turn))
        yield live.last()

    # --- LangChain's entrances: what the config says of one call, and where the inner runs hang ---

    def _should_stream(self, *, async_api: bool, run_manager: Any = None, **kwargs: Any) -> bool:
        # Where there is a run to hang the inner ones under, `_generate` streams itself (see `_streams`).
        return run_manager is None and super()._should_stream(async_api=async_api, **kwargs)

    def _streams(self, run_manager: Any, *, async_api: bool, **kwargs: Any) -> bool:
        return run_manager is not None and super()._should_stream(
            async_api=async_api, run_manager=run_manager, **kwargs
        )

    def invoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Answer; see the class for what `config["configurable"]` takes."""
        return super().invoke(input, config, stop=stop, **{**kwargs, **_controls(config)})

    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Answer; see the class for what `config["configurable"]` takes."""
        return await super().ainvoke(input, config, stop=stop, **{**kwargs, **_controls(config)})

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Stream: `"direct"` the model's own chunks, other strategies the winner after the vote."""
        config, parent = self._prepared(CallbackManager, config)
        chunks = super().stream(input, config, stop=stop, **{**kwargs, **_controls(config)})
        token = _parent.set(parent)  # read by `_stream` before its first chunk
        try:
            first = next(chunks, None)
        finally:
            _parent.reset(token)
        if first is not None:
            yield first
            yield from chunks

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Stream: `"direct"` the model's own chunks, other strategies the winner after the vote."""
        config, parent = self._prepared(AsyncCallbackManager, config)
        chunks = super().astream(input, config, stop=stop, **{**kwargs, **_controls(config)})
        token = _parent.set(parent)
        try:
            first = await anext(chunks, None)
        finally:
            _parent.reset(token)
        if first is not None:
            yield first
            async for chunk in chunks:
                yield chunk

    def _chat_model_stream_v3(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        return super()._chat_model_stream_v3(input, config, **{**kwargs, **_controls(config)})

    async def _achat_model_stream_v3(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        return await super()._achat_model_stream_v3(input, config, **{**kwargs, **_controls(config)})

    def _prepared(
        self, kind: type[CallbackManager] | type[AsyncCallbackManager], config: RunnableConfig | None
    ) -> tuple[RunnableConfig, BaseCallbackManager]:
        """A config with its run's id and callbacks decided, and the manager the inner runs hang under.

        `BaseChatModel.stream` gives `_stream` no run manager.
        """
        config = ensure_config(config)
        config["run_id"] = config.get("run_id") or uuid4()
        manager = kind.configure(
            config.get("callbacks"), self.callbacks, self.verbose, config.get("tags"), self.tags
        )
        config["callbacks"] = manager
        parent = manager.copy()
        parent.parent_run_id = config["run_id"]
        parent.add_metadata(config.get("metadata") or {})
        return config, parent


class _Live:
    """One answer passed on token by token, with the next model in reserve until the first token is out."""

    def __init__(self, pipeline: Pipeline, state: State, task: Task, turn: Turn) -> None:
        self._pipeline, self._state, self._turn = pipeline, state, turn
        self._names = [
            task.model,
            *(r["name"] for r in state["decision"]["ranking"] if r["name"] != task.model),
        ]
        self._used = {c["id"] for m in state["messages"] if isinstance(m, AIMessage) for c in m.tool_calls}
        self._renamed: dict[str, str] = {}
        self._whole: AIMessageChunk | None = None
        self._name = task.model
        self._attempts = 0
        self._again = False

    def requests(self) -> Iterator[Request]:
        """The requests to try, until one has been streamed to its end."""
        state, plan = self._state, self._state["plan"]
        for name in self._names:
            self._name, self._attempts, self._again = name, 0, True
            plan["targets"] = {**dict.fromkeys(plan["targets"], 0), name: 1}
            plan["asked"] = {**plan["asked"], name: 1}
            while self._again:
                self._again, failures = False, len(state["failures"])
                with self._turn.trace.span("sample", {"model": name, "n": 1, "role": "sample"}) as span:
                    turn = replace(self._turn, trace=span.trace)
                    try:
                        request = self._pipeline.request(
                            self._pipeline.members[name], state["messages"], "sample", turn
                        )
                    except Exception as error:
                        self.failed(error)
                        continue
                    yield request
                    if self._whole is not None and len(state["failures"]) == failures and not self._again:
                        message = message_chunk_to_message(self._whole)
                        state["samples"] = [{"model": name, "role": "sample", "message": message}]
                        self._record(1, self._whole.usage_metadata, None)
                        span.outputs = {"messages": [message]}
                        return
        raise self._pipeline.failure(state, self._turn)

    def take(self, chunk: AIMessageChunk) -> ChatGenerationChunk:
        """Note a chunk and make it one of the pool's own."""
        chunk = chunk.model_copy(update={"id": None, "chunk_position": None})
        for call in chunk.tool_call_chunks:
            if call["id"] and call["id"] in self._used:
                call["id"] = self._renamed.setdefault(call["id"], f"call_{uuid4().hex[:24]}")
        self._whole = chunk if self._whole is None else self._whole + chunk
        # A copy: what LangChain writes on the chunk it passes on is not what the model said.
        return ChatGenerationChunk(message=chunk.model_copy())

    def failed(self, error: Exception) -> float:
        """Record a failure; seconds to wait before the next request.

        Raises:
            SamplingError: Tokens are out already, and cannot be taken back.
        """
        state, cause = self._state, describe(error)
        self._attempts += 1
        self._record(0, usage_of(error), cause)
        if self._whole is not None:
            raise SamplingError(f"{self._name} broke off in the middle of its answer: {cause}") from error
        wait = wait_before(error, self._attempts, self._turn.settings.retries())
        self._again = wait is not None
        if wait is None:
            state["failures"] = [*state["failures"], {"model": self._name, "role": "sample", "cause": cause}]
        return wait or 0.0

    def last(self) -> ChatGenerationChunk:
        """The chunk that ends the stream: what the answer says of itself, and the usage of other calls."""
        answer: AIMessage = self._state["answer"]
        whole = self._whole
        assert whole is not None
        metadata = {"avengers": answer.response_metadata["avengers"]}
        if "model_name" not in whole.response_metadata:
            metadata["model_name"] = self._name
        usage = answer.usage_metadata
        rest = (
            None
            if usage is None or usage == whole.usage_metadata
            else subtract_usage(usage, whole.usage_metadata)
        )
        return ChatGenerationChunk(
            message=AIMessageChunk(
                content=[] if isinstance(whole.content, list) else "",
                response_metadata=metadata,
                usage_metadata=rest,
                chunk_position="last",
            )
        )

    def _record(self, drawn: int, usage: UsageMetadata | None, error: str | None) -> None:
        call = {
            "model": self._name,
            "role": "sample",
            "asked": 1,
            "drawn": drawn,
            "usage": usage,
            "error": error,
        }
        self._state["calls"] = [*self._state["calls"], call]


def _is_live(tasks: list[Task], turn: Turn) -> bool:
    """Whether the first sample is the answer, whatever it says."""
    settings = turn.settings
    return (
        len(tasks) == 1
        and tasks[0].n == 1
        and (settings.strategy == "direct" or settings.n_samples == 1)
        and settings.strategy in ("direct", "self_consistency", "mixture", "aggregate")
    )


def _own(state: State) -> AIMessage:
    """The answer without the id of the member's run: the pool's run names it."""
    answer: AIMessage = state["answer"]
    return answer.model_copy(update={"id": None})


def _take_parent() -> BaseCallbackManager | None:
    parent = _parent.get()
    _parent.set(None)  # only for the call it was set for, not for pools inside the pool
    return parent


def _controls(config: RunnableConfig | None) -> dict[str, Any]:
    configured = ensure_config(config).get("configurable", {})
    return {name: configured[name] for name in CONTROLS & configured.keys()}


def _reporting(chunks: Iterator[ChatGenerationChunk], run_manager: Any) -> Iterator[ChatGenerationChunk]:
    for chunk in chunks:
        chunk.message.id = f"{LC_ID_PREFIX}-{run_manager.run_id}"
        run_manager.on_llm_new_token(chunk.message.content, chunk=chunk)
        yield chunk


async def _areporting(
    chunks: AsyncIterator[ChatGenerationChunk], run_manager: Any
) -> AsyncIterator[ChatGenerationChunk]:
    async for chunk in chunks:
        chunk.message.id = f"{LC_ID_PREFIX}-{run_manager.run_id}"
        await run_manager.on_llm_new_token(chunk.message.content, chunk=chunk)
        yield chunk


def _joined(chunks: list[ChatGenerationChunk]) -> ChatResult:
    return generate_from_stream(iter(chunks))


def _parse(parser: Runnable[Any, Any], message: AIMessage) -> Any:
    return parser.invoke(message, RunnableConfig(callbacks=[]))


def _plain(value: Any) -> Any:
    """A setting in a form that is the same in every process, and holds no key."""
    if isinstance(value, BaseChatModel):
        return _digest(Member("", value))
    if isinstance(value, Runnable):
        return hashlib.sha256(repr(value).encode()).hexdigest()[:16]
    if isinstance(value, Mapping | list | tuple | str | int | float):
        return value
    attributes = {k: _plain(v) for k, v in getattr(value, "__dict__", {}).items()}
    return f"{getattr(value, '__qualname__', type(value).__qualname__)} {attributes or ''}".strip()


def _router_of_environment() -> Any:
    from langchain_avengers.routing.router import ClusterRouter

    if not (folder := os.environ.get(ROUTER_VARIABLE)):
        raise PoolError(
            "no router: give router=ClusterRouter.load(folder), or name the folder in the environment variable "
            + ROUTER_VARIABLE
        )
    return ClusterRouter.load(folder)


def _digest(member: Member) -> str:
    """A short name of everything a member's answers depend on."""
    model = member.model
    # Where nothing says how a model differs from another, only the object itself does.
    named = model is not None and model._identifying_params
    text = model._get_llm_string() if model is not None and named else repr(member.runnable)
    text += repr(sorted(member.bound_arguments.items(), key=str))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
