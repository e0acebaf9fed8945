"""The pool as one chat model."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Literal, Self, TypeVar, cast
from uuid import uuid4

from langchain_core.caches import BaseCache
from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    BaseCallbackHandler,
    BaseCallbackManager,
    CallbackManager,
    CallbackManagerForLLMRun,
)
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import subtract_usage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import Runnable, RunnableConfig, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel, ConfigDict, PrivateAttr, SecretStr, SkipValidation
from typing_extensions import Unpack

from langchain_avengers._compat import usage_counters
from langchain_avengers.errors import PoolError
from langchain_avengers.pipeline.controlled import (
    ControlledChatModel,
    PerRequest,
    areported,
    reported,
    take_outer_call,
)
from langchain_avengers.pipeline.from_pool import unpacked
from langchain_avengers.pipeline.health import ModelHealth, logger
from langchain_avengers.pipeline.nodes import CallContext, Pipeline
from langchain_avengers.pipeline.pool_model import CallOptions, GivenTools, PoolModel
from langchain_avengers.pipeline.sampling import as_chunk
from langchain_avengers.pipeline.settings import CONTROLS, Models, PoolOptions, Router, Settings
from langchain_avengers.pipeline.state import PipelineState
from langchain_avengers.pipeline.sync_async import arun, astream, run, stream
from langchain_avengers.pipeline.tracing import Trace, progress_events
from langchain_avengers.providers import describe

T = TypeVar("T")
ROUTER_VARIABLE = "AVENGERS_ROUTER"
_NOT_OF_ANSWERS = {"inner_callbacks", "progress", "timeout", "max_concurrency", "rest_after", "rest_seconds"}
_FIXED = {"escalate_to", "aggregator", "judge", "sample_in_one_request", "rest_after", "rest_seconds"}
_FOR_ONE_CALL = CONTROLS | set(Settings.model_fields) - _FIXED - {"temperature", "max_tokens", "stop"}
_TOOL_CHOICES = ("auto", "none", "any", "required")


class ChatModelOptions(PoolOptions, total=False):
    """The keyword arguments of `ChatAvengers`: `Settings`, and what every chat model of LangChain takes."""

    streaming: bool
    api_key: SecretStr | str | None
    name: str | None
    cache: BaseCache | bool | None
    verbose: bool
    callbacks: list[BaseCallbackHandler] | BaseCallbackManager | None
    tags: list[str] | None
    metadata: dict[str, Any] | Literal["brief", "full"] | None
    custom_get_token_ids: Callable[[str], list[int]] | None
    rate_limiter: BaseRateLimiter | None
    disable_streaming: bool | Literal["tool_calling"]
    output_version: str | None
    profile: ModelProfile | None


class ChatAvengers(ControlledChatModel, Settings):
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

    router: SkipValidation[Router | None] = None
    models: SkipValidation[Models]
    streaming: bool = False
    """Answer `invoke` by way of the stream: with the strategy `direct`, the model's own."""
    api_key: SecretStr | None = None
    """Taken so that standard parameters fit. Members have keys of their own."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=())

    _pipeline: Pipeline = PrivateAttr()
    _pipeline_is_set: bool = PrivateAttr(default=False)
    _digests: dict[str, str] = PrivateAttr()
    _identity: dict[str, Any] | None = PrivateAttr(default=None)
    _parser: Callable[[AIMessage], Any] | None = PrivateAttr(default=None)

    def __init__(
        self, *, models: Models, router: Router | None = None, **options: Unpack[ChatModelOptions]
    ) -> None:
        """Take the options listed at the class."""
        if router is None:  # not in a validator: pydantic would hide the kind of error
            router = _router_of_environment()
        members, unpacked_options = unpacked(router, models, options)
        super().__init__(models=members, router=router, **unpacked_options)
        self.strategy = self.strategy_for(router)
        if self.rate_limiter is not None and not isinstance(self.rate_limiter, PerRequest):
            self.rate_limiter = PerRequest(self.rate_limiter)
        self._install(Pipeline(router, members, self))
        if self.profile is None:
            self.profile = self._resolve_model_profile()
        if self.temperature == 0 and self.strategy != "direct" and self.n_samples != 1:
            logger.warning(
                "temperature=0: samples of one model will be alike, and a vote on them says little"
            )

    def replace(self, *, router: Router | None = None, models: Models | None = None) -> None:
        """Swap the router, the models, or both, while calls go on: a call that has begun ends as it began.

        Models whose names stay keep their health.

        Raises:
            PoolError: Names of router and models differ, or a value is no chat model. Nothing has changed then.
        """
        router = self.router if router is None else router
        assert router is not None
        models, _ = unpacked(router, self.models if models is None else models, {})
        self._install(Pipeline(router, models, self, self._pipeline))
        self.__dict__.update(router=router, models=models)

    def _install(self, pipeline: Pipeline) -> None:
        """Answer by this pipeline from now on."""
        self._digests = {name: _digest(model) for name, model in pipeline.models.items()}
        self._identity = None
        self._pipeline = pipeline
        self._pipeline_is_set = True

    def __setattr__(self, name: str, value: Any) -> None:
        """Check what is set on a pool, and make it hold everywhere."""
        if not getattr(self, "_pipeline_is_set", False):
            super().__setattr__(name, value)
        elif name in Settings.model_fields:
            settings = self.controlled({name: value})
            pipeline = Pipeline(self._pipeline.router, self.models, settings, self._pipeline)
            self.__dict__[name] = getattr(settings, name)
            self._install(pipeline)
        elif name == "router":
            self.replace(router=value)
        elif name == "models":
            self.replace(models=value)
        else:
            super().__setattr__(name, value)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other options, checked as those of a new pool."""
        copied = super().model_copy(deep=deep)
        for name, value in (update or {}).items():
            if name not in type(self).model_fields:
                raise ValueError(f"ChatAvengers has no option {name!r}")
            setattr(copied, name, value)
        return copied

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike[str],
        *,
        models: Models,
        embeddings: Embeddings | None = None,
        trust_embedder: str | Collection[str] = (),
        sha256: str | None = None,
        revision: str | None = None,
        **options: Unpack[ChatModelOptions],
    ) -> Self:
        """Load a saved router and put models behind its names.

        Args:
            path: Folder of the saved router, or its name on the hub.
            models: A chat model for each of the router's models.
            embeddings: The embeddings the router was fitted with. None: those its artefact names, if they are allowed.
            trust_embedder: Names of embedders that may be loaded when the artefact names them: see
                `ClusterRouter.load`.
            sha256: SHA-256 of `router.json`, if you know it.
            revision: Commit, tag or branch of a router on the hub.
            options: Any other option.

        Raises:
            ArtifactError: The artefact is damaged, foreign, too new, or belongs to another embedder.
            PoolError: Names of router and models differ.
        """
        from langchain_avengers.routing.router import ClusterRouter

        router = ClusterRouter.load(
            path, embeddings=embeddings, trust_embedder=trust_embedder, sha256=sha256, revision=revision
        )
        return cls(router=router, models=models, **options)

    # --- what it is ---

    @property
    def _llm_type(self) -> str:
        return "avengers"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """What the answers depend on, and nothing secret: also the key of cached answers."""
        if self._identity is None:
            fields = {
                name: getattr(self, name) for name in Settings.model_fields if name not in _NOT_OF_ANSWERS
            }
            self._identity = {name: _plain(value) for name, value in fields.items() if value is not None}
        fingerprint = str(getattr(self.router, "fingerprint_", ""))
        return {**self._identity, "pool": self._digests, "router": fingerprint}

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
        """What all models are capable of of which that is known."""
        if not getattr(self, "_pipeline_is_set", False):
            return None  # models given as strings are not built yet
        profiles = [model.profile for model in self._pipeline.models.values() if model.profile]
        if not profiles:
            return None
        shared: dict[str, Any] = {}
        for key in set(profiles[0]).intersection(*profiles[1:]):
            values = [profile[key] for profile in profiles]
            if all(isinstance(v, bool) for v in values):
                shared[key] = all(values)
            elif all(isinstance(v, int) for v in values):
                shared[key] = min(values)
        return cast(ModelProfile, shared) or None

    def health(self) -> dict[str, ModelHealth]:
        """How each model is doing: whether it rests, how many queries it answered and failed, its last error."""
        return self._pipeline.health()

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
        for name, model in self._pipeline.models.items():
            if model.model is None:
                continue
            try:
                return ask(model.model)
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
        given = GivenTools(tools)
        if isinstance(tool_choice, str) and tool_choice not in (*_TOOL_CHOICES, *given.names):
            raise ValueError(
                f"tool_choice {tool_choice!r} is none of {', '.join(_TOOL_CHOICES)} and names no tool: "
                + ", ".join(given.names)
            )
        if tool_choice not in (None, False):
            kwargs["tool_choice"] = "any" if tool_choice is True else tool_choice
        return self.bind(tools=given.formatted, given_tools=given, **kwargs)

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

    def _context(
        self, run_manager: Any, stop: list[str] | None, kwargs: dict[str, Any], *, streams: bool = False
    ) -> CallContext:
        """What belongs to one call: its settings, its options, its place in the trace."""
        kwargs = dict(kwargs)
        if fixed := sorted(_FIXED & kwargs.keys()):
            raise ValueError(f"{fixed[0]} cannot be set for one call: use pool.model_copy(update={{...}})")
        controls = {name: kwargs.pop(name) for name in _FOR_ONE_CALL & kwargs.keys()}
        if (only := kwargs.pop("model", None)) is not None:
            if only not in self._pipeline.models:
                raise PoolError(f"model {only!r} is not in the pool: {', '.join(self._pipeline.models)}")
            controls["allowed_models"] = [only]
        settings = self.controlled({k: v for k, v in controls.items() if v is not None or k not in CONTROLS})
        trace, emit = Trace(None, settings.inner_callbacks), None
        outer = take_outer_call()
        manager: Any = run_manager or outer.parent
        if manager is not None:
            run_id = manager.run_id if run_manager is not None else manager.parent_run_id
            trace = Trace.under(run_id, manager, settings.inner_callbacks)
            trace.leave_out_usage()
            if settings.progress:
                child = CallbackManager(handlers=[], parent_run_id=run_id)
                child.set_handlers(manager.inheritable_handlers)
                emit = progress_events(RunnableConfig(callbacks=child))
        limiter = self.rate_limiter
        return CallContext.of(
            settings,
            limiter.each if isinstance(limiter, PerRequest) else None,
            options=_options(stop, kwargs),
            trace=trace,
            parser=self._parser,
            emit=emit,
            hidden=usage_counters() if settings.inner_callbacks == "tracers" else (),
            streams=streams,
            config=RunnableConfig(configurable=dict(outer.configurable)),
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self._streams(run_manager, async_api=False, **kwargs):
            chunks = reported(self._stream(messages, stop, run_manager, **kwargs), run_manager)
            return generate_from_stream(chunks)
        context = self._context(run_manager, stop, kwargs)
        return _result(run(self._pipeline.answer(messages, context)))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self._streams(run_manager, async_api=True, **kwargs):
            chunks = areported(self._astream(messages, stop, run_manager, **kwargs), run_manager)
            return generate_from_stream(iter([chunk async for chunk in chunks]))
        context = self._context(run_manager, stop, kwargs)
        return _result(await arun(self._pipeline.answer(messages, context)))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        context = self._context(run_manager, stop, kwargs, streams=True)
        passed_on = _PassedOn(messages)
        for message in stream(self._pipeline.answer(messages, context)):
            yield passed_on.chunk(message)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        context = self._context(run_manager, stop, kwargs, streams=True)
        passed_on = _PassedOn(messages)
        async for message in astream(self._pipeline.answer(messages, context)):
            yield passed_on.chunk(message)


class _PassedOn:
    """The chunks of a model, made the pool's own as they are passed on."""

    def __init__(self, messages: Sequence[BaseMessage]) -> None:
        self._used = {c["id"] for m in messages if isinstance(m, AIMessage) for c in m.tool_calls}
        self._renamed: dict[str, str] = {}
        self._whole: AIMessageChunk | None = None

    def chunk(self, message: AIMessage) -> ChatGenerationChunk:
        """A chunk of the model, or the finished answer, as the pool's next chunk."""
        if not isinstance(message, AIMessageChunk):
            return ChatGenerationChunk(message=self._last(message))
        chunk = message.model_copy(update={"id": None, "chunk_position": None})
        for call in chunk.tool_call_chunks:
            if call["id"] and call["id"] in self._used:
                call["id"] = self._renamed.setdefault(call["id"], f"call_{uuid4().hex[:24]}")
        self._whole = chunk if self._whole is None else self._whole + chunk
        # A copy: what LangChain writes on the chunk it passes on is not what the model said.
        return ChatGenerationChunk(message=chunk.model_copy())

    def _last(self, answer: AIMessage) -> AIMessageChunk:
        """What ends the stream: the whole answer, or what it says of itself and the usage of other calls."""
        whole = self._whole
        if whole is None:
            return as_chunk(_own(answer))
        told = {
            k: answer.response_metadata[k]
            for k in ("avengers", "model_name")
            if k not in whole.response_metadata
        }
        usage = answer.usage_metadata
        same = usage is None or usage == whole.usage_metadata
        return AIMessageChunk(
            content=[] if isinstance(whole.content, list) else "",
            response_metadata=told,
            usage_metadata=None if same else subtract_usage(usage, whole.usage_metadata),
            chunk_position="last",
        )


def _options(stop: list[str] | None, kwargs: dict[str, Any]) -> CallOptions:
    """The arguments of a call as what goes along to every model."""
    for tracing_only in ("stream", "ls_structured_output_format", "structured_output_format"):
        kwargs.pop(tracing_only, None)
    tools, given = kwargs.pop("tools", None), kwargs.pop("given_tools", None)
    if given is not None and tools == given.formatted:  # else other tools were bound since
        tools = given.tools
    with_tools = (
        ("tool_choice", "strict", "parallel_tool_calls", "response_format") if tools is not None else ()
    )
    return CallOptions(
        tools=tools,
        tool_arguments={name: kwargs.pop(name) for name in with_tools if name in kwargs},
        structured=kwargs.pop("structured", None),
        stop=stop,
        arguments=kwargs,
    )


def _result(state: PipelineState) -> ChatResult:
    answer = state["answer"]
    assert answer is not None
    return ChatResult(generations=[ChatGeneration(message=_own(answer))])


def _own(answer: AIMessage) -> AIMessage:
    """The answer without the id of the model's run: the pool's run names it."""
    return answer.model_copy(update={"id": None})


def _parse(parser: Runnable[Any, Any], message: AIMessage) -> Any:
    return parser.invoke(message, RunnableConfig(callbacks=[]))


def _plain(value: Any) -> Any:
    """A setting in a form that is the same in every process, and holds no key."""
    if isinstance(value, BaseChatModel):
        return _digest(PoolModel("", value))
    if isinstance(value, Runnable):
        return hashlib.sha256(repr(value).encode()).hexdigest()[:16]
    if isinstance(value, Mapping | list | tuple | str | int | float):
        return value
    attributes = {k: _plain(v) for k, v in getattr(value, "__dict__", {}).items()}
    return f"{getattr(value, '__qualname__', type(value).__qualname__)} {attributes or ''}".strip()


def _router_of_environment() -> Router:
    from langchain_avengers.routing.router import ClusterRouter

    if not (folder := os.environ.get(ROUTER_VARIABLE)):
        raise PoolError(
            "no router: give router=ClusterRouter.load(folder), or name the folder in the environment variable "
            + ROUTER_VARIABLE
        )
    return ClusterRouter.load(folder)


def _digest(model: PoolModel) -> str:
    """A short name of everything a model's answers depend on."""
    chat = model.model
    # When nothing says how a model differs from another, only the object itself does.
    named = chat is not None and chat._identifying_params
    text = chat._get_llm_string() if chat is not None and named else repr(model.runnable)
    text += repr(sorted(model.bound_arguments.items(), key=str))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
