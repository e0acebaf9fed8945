"""HTTP clients for chat models of the OpenAI protocol: bounded responses, no redirects, any number of event loops.

Import it only when a client is made: it loads the openai package.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from importlib import import_module
from typing import Any
from weakref import WeakKeyDictionary

import openai

# The library that the installed openai package is built on; the two have the same interface.
_httpx: Any = import_module("httpx2" if int(openai.__version__.partition(".")[0]) >= 3 else "httpx")

MAX_RESPONSE_BYTES = 16 * 2**20
"""Bytes of one response. An answer of 100,000 tokens takes about half a megabyte."""

MAX_STREAM_BYTES = 64 * 2**20
"""Bytes of one streamed response, in which each token takes some 300."""

MAX_VALUES = 100_000
"""JSON objects and lists of one response, or of one event of a stream. The client builds a Python object of each, so
that three megabytes of `{}` would take a minute and 700 MB."""


class ResponseTooLargeError(Exception):
    """A server sent more than the bounds above, or a compressed body that nobody asked for."""


class _Bounded(_httpx.SyncByteStream, _httpx.AsyncByteStream):  # type: ignore[misc]  # of either library
    """A response's body that ends with an error when it grows too long."""

    def __init__(self, stream: Any, is_stream: bool) -> None:
        self._stream, self._is_stream = stream, is_stream
        self._bytes = self._values = 0

    def __iter__(self) -> Iterator[bytes]:
        for part in self._stream:
            self._count(part)
            yield part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            self._count(part)
            yield part

    def _count(self, part: bytes) -> None:
        self._bytes += len(part)
        bound = MAX_STREAM_BYTES if self._is_stream else MAX_RESPONSE_BYTES
        if self._bytes > bound:
            raise ResponseTooLargeError(f"the response is longer than {bound >> 20} MB")
        if self._is_stream and (found := max(part.rfind(b"\n\n"), part.rfind(b"\n\r\n"))) >= 0:
            self._values, part = 0, part[found:]  # a further event has begun
        self._values += part.count(b"{") + part.count(b"[")
        if self._values > MAX_VALUES:
            raise ResponseTooLargeError(f"the response is longer than {MAX_VALUES} JSON objects")

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _bound(response: Any) -> None:
    """Called before the body is read. Compressed bodies are refused: a small one may unpack to gigabytes."""
    encoding = response.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise ResponseTooLargeError(f"the response is compressed ({encoding[:20]}), which was not asked for")
    is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
    response.stream = _Bounded(response.stream, is_stream)


async def _abound(response: Any) -> None:
    _bound(response)


def _options(options: dict[str, Any], hooks: dict[str, list[Any]]) -> dict[str, Any]:
    headers = {"Accept-Encoding": "identity"}
    return {**options, "headers": headers, "follow_redirects": False, "event_hooks": hooks}


def http_client(**options: Any) -> openai.DefaultHttpxClient:
    """A blocking client. `options` are those of `httpx.Client`."""
    return openai.DefaultHttpxClient(**_options(options, {"response": [_bound]}))


def async_http_client(
    before: Callable[[Any], Awaitable[None]] | None = None, **options: Any
) -> openai.DefaultAsyncHttpxClient:
    """A client for one event loop.

    Args:
        before: Awaited with each request before it is sent.
        **options: Those of `httpx.AsyncClient`.
    """
    hooks: dict[str, list[Any]] = {"request": [before] if before else [], "response": [_abound]}
    return openai.DefaultAsyncHttpxClient(**_options(options, hooks))


def at_once(requests: int) -> Any:
    """So many connections, each of which carries one request at a time; further requests wait for one."""
    return _httpx.Limits(max_connections=requests, max_keepalive_connections=requests)


def no_limits(keepalive_expiry: float) -> Any:
    """No bound on connections; idle ones are closed after `keepalive_expiry` seconds."""
    return _httpx.Limits(
        max_connections=None, max_keepalive_connections=None, keepalive_expiry=keepalive_expiry
    )


class AnyLoopClient(openai.DefaultAsyncHttpxClient):
    """A client that any number of event loops may use, one after another or at once.

    A connection belongs to the loop that opened it. So each loop gets connections of its own; those of a closed
    loop are dropped.
    """

    def __init__(self, **options: Any) -> None:
        """Take the options of `httpx.AsyncClient`."""
        super().__init__(**options)
        self._of_a_loop = dict(options)
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()

    async def send(self, request: Any, **options: Any) -> Any:
        """Send a request by the running loop's connections."""
        loop = asyncio.get_running_loop()
        if (client := self._by_loop.get(loop)) is None:
            for other in [other for other in self._by_loop if other.is_closed()]:
                del self._by_loop[other]
            client = self._by_loop[loop] = async_http_client(**self._of_a_loop)
        return await client.send(request, **options)

    async def aclose(self) -> None:
        """Close the running loop's connections."""
        if (client := self._by_loop.pop(asyncio.get_running_loop(), None)) is not None:
            await client.aclose()
        await super().aclose()
