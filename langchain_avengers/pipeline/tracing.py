"""Callbacks and tags: what a trace shows of a query's inside, and what the caller's own stream does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any, Literal
from uuid import UUID

from langchain_core.callbacks import (
    BaseCallbackHandler,
    BaseCallbackManager,
    CallbackManager,
    adispatch_custom_event,
    dispatch_custom_event,
)
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.tracers import BaseTracer
from langchain_core.tracers.schemas import Run

from langchain_avengers._compat import is_tracer, open_runs, set_usage
from langchain_avengers.pipeline.sync_async import Job
from langchain_avengers.pipeline.usage import dollars_of, usage_of_request
from langchain_avengers.providers import TokenPrice

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
        cls, run_id: UUID | None, manager: BaseCallbackManager, inherit: Literal["tracers", "all"] = "tracers"
    ) -> Trace:
        """The steps hang under the run of that id, with what the manager hands down."""
        kept = [h for h in manager.inheritable_handlers if inherit == "all" or is_tracer(h)]
        if not kept:
            return cls(None, inherit)
        child = CallbackManager(handlers=[], parent_run_id=run_id)
        child.set_handlers(kept)
        child.add_tags(list(manager.inheritable_tags))
        # What the outer model is (`ls_model_name`, ...) is not true of the pool's models.
        child.add_metadata({k: v for k, v in manager.inheritable_metadata.items() if not k.startswith("ls_")})
        return cls(child, inherit)

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

    def config(self, price: TokenPrice | None = None, watch: CallWatch | None = None) -> RunnableConfig:
        """The config of a model's calls, whose `price` is in US dollars per million (input, output) tokens."""
        # An empty manager, not None: None would let the callbacks of the surrounding context in.
        manager: BaseCallbackManager = CallbackManager(handlers=[])
        if self.manager is not None:
            manager = self.manager.copy()
            tracers = [h for h in manager.handlers if isinstance(h, BaseTracer)]
            watching = [] if watch is None else [watch]
            manager.set_handlers([_UsagePerRequest(tracers, price), *watching, *manager.handlers])
        config = RunnableConfig(callbacks=manager)
        if self.inherit == "tracers":
            config["tags"] = [NOSTREAM]
        return config

    @property
    def is_heard(self) -> bool:
        """Whether somebody but tracers listens to the models' calls, who may pass on tokens as they come."""
        return self.manager is not None and not all(map(is_tracer, self.manager.handlers))

    def annotate(self, metadata: Mapping[str, Any]) -> None:
        """Add metadata to the run the steps hang under, while it is going on."""
        for run in self._runs():
            run.extra["metadata"] = {**run.extra.get("metadata", {}), **metadata}

    def leave_out_usage(self) -> None:
        """Keep usage off the run the steps hang under: it stands on the models' runs, and counts once."""
        for run in self._runs():
            set_usage(run, None)

    def _runs(self) -> Iterator[Run]:
        if self.manager is not None and self.manager.parent_run_id is not None:
            yield from open_runs(self.manager.handlers, self.manager.parent_run_id)


class Span:
    """One step of a query in a trace."""

    def __init__(self, trace: Trace) -> None:
        """Open at that place of the trace."""
        self.trace = trace
        self.outputs: dict[str, Any] = {}


class CallWatch(BaseCallbackHandler):
    """Notes of one model call whether anything of its answer is out already, and what it raised."""

    run_inline = True

    def __init__(self) -> None:
        """Nothing is out yet."""
        self.heard = False
        self.errors: list[BaseException] = []

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **_: Any) -> None:
        """A token went to whoever listens."""
        message = getattr(chunk, "message", None)
        if token or getattr(message, "tool_call_chunks", None):
            self.heard = True

    def on_stream_event(self, event: Any, **_: Any) -> None:
        """A part of a content block went to whoever listens."""
        if event.get("event") == "content-block-delta":
            self.heard = True

    def on_llm_error(self, error: BaseException, **_: Any) -> None:
        """The call failed."""
        self.errors.append(error)


class _UsagePerRequest(BaseCallbackHandler):
    """Tells LangSmith what a request used, and what that cost.

    Stands before the tracers, so that the usage is fixed before a run is sent.
    """

    run_inline = True

    def __init__(self, tracers: list[BaseTracer], price: TokenPrice | None) -> None:
        self._tracers = tracers
        self._price = price

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: Any) -> None:
        usage = usage_of_request(response)
        if usage is None:
            return
        told: dict[str, Any] = dict(usage)
        if self._price is not None:
            into, out = dollars_of(usage, self._price)
            told |= {"input_cost": into, "output_cost": out, "total_cost": into + out}
        for run in open_runs(self._tracers, run_id):
            set_usage(run, told)


def without(hidden: Sequence[ContextVar[Any]]) -> Context:
    """This context, with those variables empty."""
    context = copy_context()
    for var in hidden:
        context.run(var.set, None)
    return context


def progress_events(config: RunnableConfig) -> Callable[[dict[str, Any]], Job]:
    """What sends progress as custom events under the run of that config."""

    def emit(event: dict[str, Any]) -> Job:
        async def asynchronous() -> None:
            await adispatch_custom_event("avengers", event, config=config)
            _write(event)

        def synchronous() -> None:
            dispatch_custom_event("avengers", event, config=config)
            _write(event)

        return Job(synchronous, asynchronous)

    return emit


def _write(event: dict[str, Any]) -> None:
    from langgraph.config import get_stream_writer

    try:
        writer = get_stream_writer()
    except (RuntimeError, KeyError):  # not inside a graph
        return
    writer({"avengers": event})
