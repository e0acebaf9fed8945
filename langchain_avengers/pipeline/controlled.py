"""A chat model that reads controls of one call from its config, and knows its own run while it streams.

LangChain gives `_generate` neither the config's `configurable` nor, while it streams, a run manager.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, get_type_hints
from uuid import uuid4

from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackManager, CallbackManager
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langchain_core.runnables.utils import ConfigurableFieldSpec
from langchain_core.utils.utils import LC_ID_PREFIX

from langchain_avengers.pipeline.settings import CONTROLS, Controls, controls_in


class OuterCall(NamedTuple):
    """What the caller's config says: the manager that inner runs hang under, and what is configured."""

    parent: BaseCallbackManager | None = None
    configurable: Mapping[str, Any] = {}


_outer: ContextVar[OuterCall | None] = ContextVar("avengers_outer_call", default=None)


class PerRequest(BaseRateLimiter):
    """A pool's rate limiter: it lets LangChain's one call a query pass, and stands before each request instead."""

    def __init__(self, each: BaseRateLimiter) -> None:
        """Keep the limiter of each request."""
        self.each = each

    def acquire(self, *, blocking: bool = True) -> bool:
        """Let the query pass."""
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        """Let the query pass."""
        return True


class ControlledChatModel(BaseChatModel):
    """The entrances of a chat model, with the controls in the config handed on as arguments of the call."""

    def invoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Answer; see the class for what `config["configurable"]` takes."""
        with _outside(None, config):
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
        with _outside(None, config):
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
        config, parent = self._with_parent(CallbackManager, config)
        chunks = super().stream(input, config, stop=stop, **{**kwargs, **_controls(config)})
        with _outside(parent, config):  # read by `_stream` before its first chunk
            first = next(chunks, None)
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
        config, parent = self._with_parent(AsyncCallbackManager, config)
        chunks = super().astream(input, config, stop=stop, **{**kwargs, **_controls(config)})
        with _outside(parent, config):
            first = await anext(chunks, None)
        if first is not None:
            yield first
            async for chunk in chunks:
                yield chunk

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """The controls that `config["configurable"]` takes."""
        hints = get_type_hints(Controls)
        return [
            ConfigurableFieldSpec(id=name, name=name, annotation=hints[name], is_shared=True)
            for name in sorted(CONTROLS)
        ]

    def _chat_model_stream_v3(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        return super()._chat_model_stream_v3(input, config, **{**kwargs, **_controls(config)})

    async def _achat_model_stream_v3(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        return await super()._achat_model_stream_v3(input, config, **{**kwargs, **_controls(config)})

    def _should_stream(self, *, async_api: bool, run_manager: Any = None, **kwargs: Any) -> bool:
        # When there is a run to hang the inner ones under, `_generate` streams itself (see `_streams`).
        return run_manager is None and super()._should_stream(async_api=async_api, **kwargs)

    def _streams(self, run_manager: Any, *, async_api: bool, **kwargs: Any) -> bool:
        """Whether `_generate` has to answer by way of the stream."""
        return run_manager is not None and super()._should_stream(
            async_api=async_api, run_manager=run_manager, **kwargs
        )

    def _with_parent(
        self, kind: type[CallbackManager] | type[AsyncCallbackManager], config: RunnableConfig | None
    ) -> tuple[RunnableConfig, BaseCallbackManager]:
        """A config with its run's id and callbacks decided, and the manager the inner runs hang under."""
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


@contextmanager
def _outside(parent: BaseCallbackManager | None, config: RunnableConfig | None) -> Iterator[None]:
    """Hand what the config says to the call that begins now."""
    token = _outer.set(OuterCall(parent, (config or {}).get("configurable") or {}))
    try:
        yield
    finally:
        _outer.reset(token)


def take_outer_call() -> OuterCall:
    """What the config of the call that begins now says."""
    outer = _outer.get()
    _outer.set(None)  # only for the call it was set for, not for pools inside the pool
    return outer or OuterCall()


def reported(chunks: Iterator[ChatGenerationChunk], run_manager: Any) -> Iterator[ChatGenerationChunk]:
    """Tell the run's handlers of each chunk."""
    for chunk in chunks:
        chunk.message.id = f"{LC_ID_PREFIX}-{run_manager.run_id}"
        run_manager.on_llm_new_token(chunk.message.content, chunk=chunk)
        yield chunk


async def areported(
    chunks: AsyncIterator[ChatGenerationChunk], run_manager: Any
) -> AsyncIterator[ChatGenerationChunk]:
    """Tell the run's handlers of each chunk."""
    async for chunk in chunks:
        chunk.message.id = f"{LC_ID_PREFIX}-{run_manager.run_id}"
        await run_manager.on_llm_new_token(chunk.message.content, chunk=chunk)
        yield chunk


def _controls(config: RunnableConfig | None) -> dict[str, Any]:
    return controls_in(ensure_config(config).get("configurable", {}))
