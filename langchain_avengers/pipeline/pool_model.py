"""One model of the pool: what it is wrapped in, what it can do, and how tools and arguments reach it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from langchain_core.globals import get_llm_cache
from langchain_core.language_models import BaseChatModel, BaseLanguageModel
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig
from langchain_core.runnables.config import merge_configs
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.pregel import Pregel

from langchain_avengers._compat import raw_step, without_own_retries
from langchain_avengers.errors import PoolError
from langchain_avengers.pipeline.health import CircuitBreaker

REFUSAL_HOLDS = 600.0
"""Seconds for which a refusal of `n` is remembered."""


@dataclass(frozen=True)
class CallOptions:
    """What goes along with the messages to every model: tools, an output schema, stop sequences, other
    arguments.
    """

    tools: Sequence[Any] | None = None
    tool_arguments: Mapping[str, Any] = field(default_factory=dict)
    structured: Mapping[str, Any] | None = None
    stop: list[str] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


class GivenTools:
    """Tools as the caller gave them, beside the form in which traces and caches see them.

    Every provider formats tools in its own way, and reads more of them than their schema: `strict`, cache
    control, tools that the provider itself runs.
    """

    def __init__(self, tools: Sequence[Any]) -> None:
        """Take the tools."""
        self.tools = list(tools)
        self.formatted = [_formatted(tool) for tool in tools]

    @property
    def names(self) -> list[str]:
        """The tools' names; a provider's own tool without one has its type."""
        return [
            tool["function"]["name"] if "function" in tool else tool.get("name", tool.get("type", ""))
            for tool in self.formatted
        ]

    def __repr__(self) -> str:
        """The same for the same tools, as the repr is part of cache keys."""
        return f"GivenTools({', '.join(self.names)})"


@dataclass(frozen=True)
class BoundModel:
    """A model made ready for one call's options: what to call, and with which arguments."""

    runnable: Runnable[Any, Any]
    arguments: dict[str, Any]
    config: RunnableConfig
    rate_limiter: BaseRateLimiter | None = None


class PoolModel:
    """One model of the pool, whatever it is wrapped in."""

    def __init__(
        self,
        name: str,
        runnable: Any,
        takes_n: bool | None = None,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        """Take a model into the pool.

        Args:
            name: The router's name of the model.
            runnable: A chat model, or a runnable around one: bound arguments, fallbacks, retries.
            takes_n: Whether it draws `n` samples in one request; None: tried when the model has an `n` field.
            breaker: Lets it rest when it fails.

        Raises:
            PoolError: It is neither.
        """
        if not isinstance(runnable, Runnable) or (
            isinstance(runnable, BaseLanguageModel) and not isinstance(runnable, BaseChatModel)
        ):
            raise PoolError(f"model {name!r} is no chat model but a {type(runnable).__name__}")
        if isinstance(runnable, Pregel):
            raise PoolError(
                f"model {name!r} is a graph, whose output is a state: give graph | (lambda state: "
                "state['messages'][-1])"
            )
        self.name = name
        self.runnable = runnable = without_own_retries(runnable)
        self.breaker = breaker or CircuitBreaker(name)
        self._plain = _unwrap(runnable)
        core = self._plain.runnable
        fields = type(core).model_fields if isinstance(core, BaseChatModel) else {}
        self.own_n: int | None = getattr(core, "n", None) if "n" in fields else None
        self._takes_n = (
            takes_n if takes_n is not None else "n" in fields and not getattr(core, "streaming", False)
        )
        self._n_refused_at: float | None = None

    @property
    def takes_n(self) -> bool:
        """Whether `n` samples are asked for in one request; one that refused is asked again after a while."""
        refused = self._n_refused_at
        return self._takes_n and (refused is None or time.monotonic() - refused > REFUSAL_HOLDS)

    def refuses_n(self) -> None:
        """Remember that the model refused a request for `n` samples."""
        self._n_refused_at = time.monotonic()

    @property
    def model(self) -> BaseChatModel | None:
        """The chat model itself; None when it is out of sight inside another runnable."""
        core = self._plain.runnable
        return core if isinstance(core, BaseChatModel) else None

    @cached_property
    def provider(self) -> str:
        """The provider's name, as LangChain tells it to tracers."""
        told = self.model._get_ls_params() if self.model is not None else {}
        return str(told.get("ls_provider") or "unknown")

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
        except Exception:  # a wrapper may raise anything when asked for a method of what it wraps
            return False

    def bind(self, options: CallOptions) -> BoundModel:
        """Bind a call's tools or output schema, in the provider's own form, and its arguments.

        Raises:
            Exception: Whatever the model raises that cannot bind them.
        """
        plain = self._plain
        target: Any = plain.runnable
        if options.structured is not None:
            # Each provider has its own way to ask for a schema: the bound model inside its wrapper has it.
            target = raw_step(target.with_structured_output(**options.structured, include_raw=True))
        elif options.tools is not None:
            target = target.bind_tools(list(options.tools), **self._tool_arguments(options))
        bound = _unwrap(target)
        arguments = {**plain.arguments, **bound.arguments, **options.arguments}
        if not arguments.get("tools", True):
            del arguments["tools"]  # providers refuse an empty list
        if options.stop:
            arguments["stop"] = options.stop
        runnable, limiter = _bare(bound.runnable)
        return BoundModel(runnable, arguments, merged(plain.config, bound.config), limiter)

    def _tool_arguments(self, options: CallOptions) -> Mapping[str, Any]:
        """The options of `bind_tools`, with a choice of tools in the provider's own words."""
        choice = options.tool_arguments.get("tool_choice")
        if choice == "required":
            choice = "any"  # the word that LangChain's integrations share
        elif choice == "none" and self.model is not None and self.model._llm_type == "anthropic-chat":
            choice = {"type": "none"}  # takes any other string for the name of a tool
        return options.tool_arguments if choice is None else {**options.tool_arguments, "tool_choice": choice}


def _formatted(tool: Any) -> dict[str, Any]:
    """A tool in OpenAI's form; one that a provider runs itself stays as it is."""
    if isinstance(tool, dict) and tool.get("type", "function") not in ("function", "object"):
        return tool
    return convert_to_openai_tool(tool)


def _unwrap(runnable: Any) -> BoundModel:
    """Take bound arguments off a runnable, innermost first, so that later ones win."""
    layers = []
    while isinstance(runnable, RunnableBinding):
        layers.append(runnable)
        runnable = runnable.bound
    arguments: dict[str, Any] = {}
    config = RunnableConfig()
    for layer in reversed(layers):
        arguments |= layer.kwargs
        config = merged(config, layer.config)
    return BoundModel(runnable, arguments, config)


def _bare(runnable: Runnable[Any, Any]) -> tuple[Runnable[Any, Any], BaseRateLimiter | None]:
    """The model without its cache and its rate limiter, and the limiter.

    n samples of one prompt are n samples, not one and its copies; time spent waiting for the limiter is not the
    model's.
    """
    if not isinstance(runnable, BaseChatModel):
        return runnable, None
    limiter = runnable.rate_limiter
    caches = runnable.cache is not False and (runnable.cache or get_llm_cache() is not None)
    if not caches and limiter is None:
        return runnable, None
    return runnable.model_copy(update={"cache": False, "rate_limiter": None}), limiter


def merged(outer: RunnableConfig, inner: RunnableConfig) -> RunnableConfig:
    """Both configs; the inner one wins."""
    return merge_configs(outer, inner) if outer and inner else outer or inner
