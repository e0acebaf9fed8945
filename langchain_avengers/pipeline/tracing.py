"""Callbacks, tags and usage: what a trace shows of a query's inside, and what the caller's own stream does
not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any, Literal, cast
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager, CallbackManager
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.tracers import BaseTracer
from langchain_core.tracers._streaming import _StreamingCallbackHandler
from langchain_core.tracers.context import _configure_hooks
from langchain_core.tracers.schemas import Run
from langsmith.run_trees import RunTree

from langchain_avengers.providers import token_cost

_BOOKING = "avengers_booking"
NOSTREAM = "nostream"
"""LangGraph's tag for a model whose tokens are not the graph's answer."""


class Trace:
    """The place in a trace where a query's steps hang.

    Only tracers are inherited: another handler (a token stream, a counter) would take every sample for an
    answer of its own. Tracers are synchronous and quick, so the same spans serve the synchronous and the
    asynchronous path.
    """

    def __init__(
        self, manager: BaseCallbackManager | None, inherit: Literal["tracers", "all"] = "tracers"
    ) -> None:
        """Choose the place.

        Args:
            manager: Of the run the steps hang under; `None` hangs them nowhere.
            inherit: `"tracers"`, or `"all"` callbacks.
        """
        self.manager = manager
        self.inherit = inherit

    @classmethod
    def under(
        cls,
        run_id: UUID | None,
        handlers: list[BaseCallbackHandler],
        *,
        tags: list[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        inherit: Literal["tracers", "all"] = "tracers",
    ) -> Trace:
        """The steps hang under the run of that id."""
        kept = [h for h in handlers if inherit == "all" or _traces(h)]
        if not kept:
            return cls(None, inherit)
        manager = CallbackManager(handlers=[], parent_run_id=run_id)
        manager.set_handlers(kept)
        manager.add_tags(list(tags or []))
        # What the outer model is (`ls_model_name`, ...) is not true of the members.
        manager.add_metadata({k: v for k, v in (metadata or {}).items() if not k.startswith("ls_")})
        return cls(manager, inherit)

    @contextmanager
    def span(self, name: str, inputs: Mapping[str, Any]) -> Iterator[Span]:
        """One step as a run of its own; what it sets on the span becomes the run's outputs."""
        if not isinstance(self.manager, CallbackManager):
            yield Span(self)
            return
        run = self.manager.on_chain_start({"name": name}, dict(inputs), name=name)
        span = Span(Trace(run.get_child(), self.inherit))
        try:
            yield span
        except BaseException as error:
            run.on_chain_error(error)
            raise
        run.on_chain_end(span.outputs)

    def config(self, price: tuple[float, float] | None = None) -> RunnableConfig:
        """The config of a member's calls, whose `price` is in US dollars per million (input, output)
        tokens.
        """
        # An empty manager, not None: None would let the callbacks of the surrounding context in.
        manager: BaseCallbackManager = CallbackManager(handlers=[])
        if self.manager is not None:
            manager = self.manager.copy()
            tracers = [h for h in manager.handlers if isinstance(h, BaseTracer)]
            manager.set_handlers([_Booker(tracers, price), *manager.handlers])
        config = RunnableConfig(callbacks=manager)
        if self.inherit == "tracers":
            config["tags"] = [NOSTREAM]
        return config

    def annotate(self, metadata: Mapping[str, Any]) -> None:
        """Add metadata to the run the steps hang under, while it is going on."""
        for run in self._runs():
            run.extra["metadata"] = {**run.extra.get("metadata", {}), **metadata}

    def book_nothing(self) -> None:
        """Keep usage off the run the steps hang under: it stands on the members' runs, and counts once."""
        for run in self._runs():
            _book(run, None)

    def _runs(self) -> Iterator[Run]:
        if self.manager is not None and self.manager.parent_run_id is not None:
            yield from _running(self.manager.handlers, self.manager.parent_run_id)


def counters() -> tuple[ContextVar[Any], ...]:
    """Where this context keeps handlers that LangChain adds to every call, such as `get_usage_metadata_callback`.

    They take the pool's own run for what it is, one model call with its usage; its members' calls would come twice.
    """
    held = ((hook[0], hook[0].get()) for hook in _configure_hooks)
    return tuple(var for var, handler in held if handler is not None and not isinstance(handler, BaseTracer))


def without(hidden: Sequence[ContextVar[Any]]) -> Context:
    """This context, with those variables empty."""
    context = copy_context()
    for var in hidden:
        context.run(var.set, None)
    return context


class Span:
    """One step of a query in a trace."""

    def __init__(self, trace: Trace) -> None:
        """Open at that place of the trace."""
        self.trace = trace
        self.outputs: dict[str, Any] = {}


def _traces(handler: BaseCallbackHandler) -> bool:
    # The event and log streams are tracers too, but what they trace goes to the caller as it comes.
    return isinstance(handler, BaseTracer) and not isinstance(handler, _StreamingCallbackHandler)


def _running(handlers: Sequence[BaseCallbackHandler], run_id: UUID) -> Iterator[Run]:
    for handler in handlers:
        run = handler.run_map.get(str(run_id)) if isinstance(handler, BaseTracer) else None
        if run is not None:
            run.extra = {**(run.extra or {})}
            yield run


class _BookedRun(RunTree):
    """A run whose usage is what was booked on it, whatever its messages say."""

    def patch(self, **kwargs: Any) -> None:
        usage = self.extra.pop(_BOOKING, None)
        metadata = {k: v for k, v in self.extra.get("metadata", {}).items() if k != "usage_metadata"}
        self.extra["metadata"] = {**metadata, "usage_metadata": usage} if usage else metadata
        for batch in (self.outputs or {}).get("generations", []):
            for generation in batch:
                said = generation.get("message", {}).get("kwargs", {}) if isinstance(generation, dict) else {}
                said.pop("usage_metadata", None)
        super().patch(**kwargs)


def _book(run: Run, usage: Mapping[str, Any] | None) -> None:
    if type(run) in (RunTree, _BookedRun):  # runs of another make report in their own way
        run.extra[_BOOKING] = None if usage is None else dict(usage)
        object.__setattr__(run, "__class__", _BookedRun)


class _Booker(BaseCallbackHandler):
    """Books on a member's run what its request used, and what that cost.

    Left alone a tracer adds up the usage of all choices of a request, each of which holds the whole
    request's. Stands before the tracers, so that a run is booked before it is sent.
    """

    run_inline = True

    def __init__(self, tracers: list[BaseTracer], price: tuple[float, float] | None) -> None:
        self._tracers = tracers
        self._price = price

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: Any) -> None:
        usage = usage_of_request(response)
        if usage is None:
            return
        booked: dict[str, Any] = dict(usage)
        if self._price is not None:
            into, out = token_cost(self._price, usage["input_tokens"], usage["output_tokens"])
            booked |= {"input_cost": into, "output_cost": out, "total_cost": into + out}
        for run in _running(self._tracers, run_id):
            _book(run, booked)


def usage_of_request(result: LLMResult) -> UsageMetadata | None:
    """What one request used; None where the provider does not tell.

    Providers that take `n` report the whole request's usage, and set it on every choice: it is counted once.
    """
    messages = [g.message for g in result.generations[0] if isinstance(g, ChatGeneration)]
    usages = [m.usage_metadata for m in messages if isinstance(m, AIMessage) and m.usage_metadata]
    if usages and all(usage == usages[0] for usage in usages):
        usages = usages[:1]
    total: UsageMetadata | None = None
    for usage in usages:
        total = add_usage(total, counted(usage))
    return total


def counted(usage: Mapping[str, Any]) -> UsageMetadata:
    """Usage in what `add_usage` can add: numbers of tokens, no dollars."""
    return cast(UsageMetadata, {k: v for k, v in usage.items() if not isinstance(v, float)})
