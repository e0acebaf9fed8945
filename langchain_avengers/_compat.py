"""The hooks into other libraries that have no public way. Each has a test in `tests/unit_tests/test_compat.py`.

When a library changes one of these, its test fails, and only this file has to follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import cache, cached_property
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableBinding
from langchain_core.tracers import BaseTracer
from langchain_core.tracers._streaming import _StreamingCallbackHandler
from langchain_core.tracers.context import _configure_hooks
from langchain_core.tracers.schemas import Run
from langsmith.run_trees import RunTree

_BOOKING = "avengers_booking"


def raw_step(structured: Any) -> Runnable[Any, Any]:
    """The bound model inside what `with_structured_output(include_raw=True)` gives.

    Every provider asks for a schema in its own way; LangChain gives no public access to the bound model alone.
    """
    step: Runnable[Any, Any] = structured.first.steps__["raw"]
    return step


def without_own_retries(runnable: Any) -> Any:
    """A copy of a chat model whose provider's client makes each request once, on any event loop.

    Requests that a client makes by itself are seen in no account. A model of langchain-openai shares one
    asynchronous HTTP client with all others, whose connections die with the event loop that opened them. Bindings
    around a model are kept; anything else is returned as it is.
    """
    if isinstance(runnable, RunnableBinding):
        bound = without_own_retries(runnable.bound)
        return runnable if bound is runnable.bound else runnable.model_copy(update={"bound": bound})
    if not isinstance(runnable, BaseChatModel) or "max_retries" not in type(runnable).model_fields:
        return runnable
    copied = runnable.model_copy(update={"max_retries": 0})
    for name, value in vars(type(copied)).items():  # clients that were built at first use
        if isinstance(value, cached_property):
            vars(copied).pop(name, None)
    if "root_async_client" in type(copied).model_fields:
        _once_on_any_loop(copied)
    return copied


def _once_on_any_loop(model: Any) -> None:
    """The same for the clients that a model of langchain-openai builds when it is made."""
    own_http = model.http_async_client is not None or model.openai_proxy
    for root, name, http in (
        ("root_client", "client", None),
        ("root_async_client", "async_client", None if own_http else _any_loop_client()),
    ):
        if (client := getattr(model, root)) is not None:
            options = {} if http is None else {"http_client": http}
            client = client.with_options(max_retries=0, **options)
            setattr(model, root, client)
            setattr(model, name, client.chat.completions)


@cache
def _any_loop_client() -> Any:
    from langchain_avengers._http import AnyLoopClient

    return AnyLoopClient()


def is_tracer(handler: BaseCallbackHandler) -> bool:
    """Whether a handler writes a trace. The event streams are tracers too, but pass what they see to the caller."""
    return isinstance(handler, BaseTracer) and not isinstance(handler, _StreamingCallbackHandler)


def usage_counters() -> tuple[ContextVar[Any], ...]:
    """Where this context keeps handlers that LangChain adds to every call, such as `get_usage_metadata_callback`.

    They take the pool's own run for what it is, one model call with its usage. Its models' calls would come twice.
    """
    held = ((hook[0], hook[0].get()) for hook in _configure_hooks)
    return tuple(var for var, handler in held if handler is not None and not isinstance(handler, BaseTracer))


def open_runs(handlers: Sequence[BaseCallbackHandler], run_id: Any) -> Iterator[Run]:
    """The run of that id in every tracer, while it is going on, with `extra` filled."""
    for handler in handlers:
        run = handler.run_map.get(str(run_id)) if isinstance(handler, BaseTracer) else None
        if run is not None:
            run.extra = {**(run.extra or {})}
            yield run


def set_usage(run: Run, usage: Mapping[str, Any] | None) -> None:
    """Fix the usage that LangSmith is told of a run, whatever its messages say; None: no usage at all.

    LangSmith adds up the usage of all choices of a request, each of which holds the whole request's, and that of
    a run and its children. It offers no way to say otherwise, so the run's class is replaced by one that does.
    Runs of other tracers report in their own way and are left alone.
    """
    if type(run) in (RunTree, _RunWithUsage):
        run.extra[_BOOKING] = None if usage is None else dict(usage)
        object.__setattr__(run, "__class__", _RunWithUsage)


class _RunWithUsage(RunTree):
    """A run whose usage is what `set_usage` fixed."""

    def patch(self, **kwargs: Any) -> None:
        usage = self.extra.pop(_BOOKING, None)
        metadata = {k: v for k, v in self.extra.get("metadata", {}).items() if k != "usage_metadata"}
        self.extra["metadata"] = {**metadata, "usage_metadata": usage} if usage else metadata
        for batch in (self.outputs or {}).get("generations", []):
            for generation in batch:
                said = generation.get("message", {}).get("kwargs", {}) if isinstance(generation, dict) else {}
                said.pop("usage_metadata", None)
        super().patch(**kwargs)
