"""How a request leaves for a chat model: by the model's own client, without its retries, cache and redirects.

The store must know whether a failed request was sent. A model of the OpenAI protocol gets an HTTP client that tells;
of any other model, the request counts as sent when its client is called, and the error says when it found no
connection.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from langchain_core.messages import BaseMessage
from langchain_core.outputs import Generation

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


class Ask(Protocol):
    """The way to ask a model."""

    async def __call__(
        self, messages: list[BaseMessage], n: int, sent: Callable[[], None], **arguments: Any
    ) -> Sequence[Generation]:
        """Ask for `n` answers in one request; `sent` is called when it is on its way."""
        ...


_KEEP_ALIVE = 2.0
"""Seconds. Servers close idle connections after 5 s, and a request sent at that moment would be lost."""

_sent: ContextVar[Callable[[], None]] = ContextVar("sent")
"""Of the request that this task makes; the client's hooks take no arguments of ours."""


@contextlib.asynccontextmanager
async def connect(model: BaseChatModel) -> AsyncIterator[Ask]:
    """The way to ask a model. Requests are neither retried nor cached, so each can be counted."""
    update: dict[str, Any] = {"cache": False}
    if "max_retries" in type(model).model_fields:
        update["max_retries"] = 0
    root = getattr(model, "root_async_client", None)
    async with contextlib.AsyncExitStack() as stack:
        tells = root is not None and not _has_own_client(model)
        if root is not None:
            options: dict[str, Any] = {"max_retries": 0}
            if tells:
                options["http_client"] = await stack.enter_async_context(_client(model))
            client = root.with_options(**options)
            update |= {"root_async_client": client, "async_client": client.chat.completions}
        own = model.model_copy(update=update)

        async def ask(
            messages: list[BaseMessage], n: int, sent: Callable[[], None], **arguments: Any
        ) -> Sequence[Generation]:
            several: dict[str, Any] = {"n": n} if n > 1 else {}
            if tells:
                _sent.set(sent)
            else:
                sent()
            return (await own.agenerate([messages], **several, **arguments)).generations[0]

        yield ask


def _has_own_client(model: BaseChatModel) -> bool:
    """Whether the caller gave the model an HTTP client; one that a pool file gave it is replaced."""
    client = getattr(model, "http_async_client", None)
    if client is None:
        return False
    from langchain_avengers._http import AnyLoopClient

    return not isinstance(client, AnyLoopClient)


def _client(model: BaseChatModel) -> Any:
    """A client that tells when it sends; the runner bounds how many requests there are, and how long they take."""
    from langchain_avengers._http import async_http_client, no_limits

    proxy = getattr(model, "openai_proxy", None)
    return async_http_client(
        _watch, proxy=proxy or None, limits=no_limits(keepalive_expiry=_KEEP_ALIVE), timeout=None
    )


async def _watch(request: Any) -> None:
    sent = _sent.get()

    async def trace(event: str, info: Any) -> None:  # httpx documents these events
        if event.endswith("send_request_headers.started") and info["request"].method != b"CONNECT":
            sent()

    request.extensions["trace"] = trace
