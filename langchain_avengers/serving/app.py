"""The server: OpenAI's protocol over one pool, with keys, limits, health, metrics and feedback."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from langchain_avengers.errors import PoolError
from langchain_avengers.pool import Pool
from langchain_avengers.providers import describe
from langchain_avengers.serving.chat import Caller, Chat
from langchain_avengers.serving.engine import NAME, Engine
from langchain_avengers.serving.json_log import log_as_json
from langchain_avengers.serving.keys import KeyRing
from langchain_avengers.serving.limits import Gate, Rates, read_body
from langchain_avengers.serving.metrics import CONTENT_TYPE, Metrics
from langchain_avengers.serving.protocol import (
    ApiError,
    ChatRequest,
    ChunkWriter,
    completion,
    headers_of,
    read_json,
    told,
)
from langchain_avengers.serving.sessions import Sessions
from langchain_avengers.serving.store import Store

T = TypeVar("T")

VARIABLE = "AVENGERS_SERVE"
"""Holds the settings, as JSON, for `from_environment`."""

_log = logging.getLogger(__name__)
_LARGE = 256 * 1024
"""Bytes from which on a body is read as JSON in a thread."""


class ServerSettings(BaseModel):
    """How a server runs. It holds no secret.

    Attributes:
        router: Folder of the saved router.
        pool: Pool file.
        options: Fields of `Settings`, such as `strategy` and `n_samples`.
        embeddings: Name of the router's embedding model; None: the one that its artefact names.
        keys: Keys file; see `KeyRing`.
        store: SQLite file for feedback and sessions; None: no feedback, sessions in this process.
        keep_queries: Store the text of each query.
        explore: Share of whole answers for which another model may be drawn; see `chances`.
        max_body: Bytes of a request's body.
        max_concurrent: Requests at work at once.
        max_queue: Requests that may wait.
        queue_seconds: Time one may wait.
        body_seconds: Time a client has to send a body, and to take each event of a stream.
        answer_seconds: Time an answer may take.
        reload_seconds: Time between two looks at the router's folder; 0: it is read once.
        session_seconds: Time after which a session that was not used is forgotten by the store.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    router: Path
    pool: Path
    options: dict[str, Any] = Field(default_factory=dict)
    embeddings: str | None = None
    keys: Path | None = None
    store: Path | None = None
    keep_queries: bool = False
    explore: float = Field(default=0, ge=0, le=1)
    max_body: int = Field(default=20_000_000, ge=1)
    max_concurrent: int = Field(default=512, ge=1)
    max_queue: int = Field(default=1024, ge=0)
    queue_seconds: float = Field(default=30, gt=0)
    body_seconds: float = Field(default=30, gt=0)
    answer_seconds: float = Field(default=600, gt=0)
    reload_seconds: float = Field(default=2, ge=0)
    session_seconds: float = Field(default=7 * 86400, gt=0)


def from_environment() -> Starlette:
    """The app that the variable `AVENGERS_SERVE` describes, with its log: each process of `avengers serve` runs it."""
    log_as_json()
    return create_app(ServerSettings.model_validate_json(os.environ[VARIABLE]))


def create_app(settings: ServerSettings, *, engine: Engine | None = None) -> Starlette:
    """An ASGI app that serves a pool.

    Args:
        settings: How it runs.
        engine: A pool that is loaded already; by default the settings' router and pool file.

    Raises:
        AvengersError: Router, pool, keys or store cannot be read.

    Example:
        ```python
        app = create_app(ServerSettings(router="router/", pool="pool.yaml"))
        uvicorn.run(app)
        ```
    """
    return _Server(settings, engine or load_engine(settings)).app


def load_engine(settings: ServerSettings) -> Engine:
    """The settings' router and pool.

    Raises:
        AvengersError: The router or the pool file cannot be read, or they do not fit.
    """
    embeddings = None
    if settings.embeddings is not None:
        from langchain_avengers.routing.embeddings import default_embeddings

        embeddings = default_embeddings(settings.embeddings)
    return Engine(settings.router, Pool.read(settings.pool), settings.options, embeddings)


class FeedbackRequest(BaseModel):
    """The body of a request to `/v1/feedback`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    request_id: str = Field(min_length=1, max_length=100)
    score: float = Field(ge=0, le=1, allow_inf_nan=False)
    comment: str | None = Field(default=None, max_length=10_000)


class _Server:
    def __init__(self, settings: ServerSettings, engine: Engine) -> None:
        self.settings, self.engine = settings, engine
        self.keys = KeyRing.read(settings.keys)
        self.store = Store(settings.store, keep_queries=settings.keep_queries) if settings.store else None
        if self.store is None and any(key.dollars_per_day for key in self.keys.keys):
            raise PoolError("a key has dollars_per_day, which needs a store: --store FILE")
        self.metrics, self.rates = Metrics(), Rates()
        self.gate = Gate(settings.max_concurrent, settings.max_queue, settings.queue_seconds)
        self.chat = Chat(engine, self.metrics, Sessions(self.store), self.store, settings.explore)
        self.ready, self.created = False, int(time.time())
        self.app = Starlette(
            routes=[
                Route("/v1/chat/completions", self._endpoint(self._completions), methods=["POST"]),
                Route("/v1/models", self._endpoint(self._models)),
                Route("/v1/models/{name:path}", self._endpoint(self._model)),
                Route("/v1/feedback", self._endpoint(self._feedback), methods=["POST"]),
                Route("/metrics", self._endpoint(self._metrics)),
                Route("/healthz", self._healthz),
                Route("/readyz", self._readyz),
            ],
            exception_handlers={HTTPException: _http_error},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        # The embedder loads now, not at the first request.
        await self.engine.model.router.aembed("Is the embedder there?")  # type: ignore[union-attr]  # never None
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch())
            self.ready = True
            try:
                yield
            finally:
                self.ready = False
                watching.cancel()
        if self.store is not None:
            await asyncio.to_thread(self.store.close)

    async def _watch(self) -> None:
        while self.settings.reload_seconds:
            await asyncio.sleep(self.settings.reload_seconds)
            if outcome := await self.engine.reload():
                self.metrics.reloads.labels(outcome).inc()
            if self.store is not None:
                await self.store.forget_sessions(self.settings.session_seconds)

    # --- endpoints ---

    async def _completions(self, request: Request, caller: Caller) -> Response:
        if caller.key is not None and caller.key.requests_per_minute:
            self.rates.spend(caller.key.name, caller.key.requests_per_minute)
        body = await read_body(request, self.settings.max_body, self.settings.body_seconds)
        asked = await _off_loop_when_large(ChatRequest.read, body)
        caller.session = request.headers.get("x-session-id")
        await self._check_budget(caller)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.gate.pass_through())
            self.metrics.at_work.inc()
            stack.callback(self.metrics.at_work.dec)
            if asked.stream:
                writer = ChunkWriter(caller.request_id, int(time.time()), asked)
                events = self.chat.stream(asked, caller, writer)
                try:
                    async with asyncio.timeout(self.settings.answer_seconds):
                        first = await _unless_left(request, anext(events))
                except TimeoutError:
                    raise ApiError(504, "no answer in time", code="timeout") from None
                return _Events(first, events, stack.pop_all(), self.settings, lambda: self._say(caller, 200))
            try:
                async with asyncio.timeout(self.settings.answer_seconds):
                    answers = await _unless_left(request, self.chat.answer(asked, caller))
            except TimeoutError:
                raise ApiError(504, "no answer in time", code="timeout") from None
        data = completion(caller.request_id, int(time.time()), asked, answers)
        return JSONResponse(data, headers=headers_of(told(answers[0])))

    async def _check_budget(self, caller: Caller) -> None:
        key = caller.key
        if self.store is None or key is None or key.dollars_per_day is None:
            return
        if await self.store.spent_today(key.name) >= key.dollars_per_day:
            raise ApiError(
                429, "this key has spent its budget for today", code="insufficient_quota",
                retry_after=86400 - time.time() % 86400,
            )  # fmt: skip

    async def _models(self, request: Request, caller: Caller) -> Response:
        return JSONResponse({"object": "list", "data": [self._about(name) for name in self._names(caller)]})

    async def _model(self, request: Request, caller: Caller) -> Response:
        name = request.path_params["name"]
        self.engine.controls(name)
        return JSONResponse(self._about(name))

    def _names(self, caller: Caller) -> list[str]:
        allowed = caller.key.models if caller.key else None
        names = self.engine.names()
        return [n for n in names if allowed is None or n not in self.engine.members or n in allowed]

    def _about(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self.created, "owned_by": NAME}

    async def _feedback(self, request: Request, caller: Caller) -> Response:
        if self.store is None:
            raise ApiError(404, "this server keeps no feedback: start it with --store FILE")
        body = read_json(await read_body(request, 100_000, self.settings.body_seconds))
        try:
            given = FeedbackRequest.model_validate(body)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise ApiError(400, f"{field}: {first['msg']}", param=field[:200]) from None
        number = await self.store.add_feedback(
            given.request_id, given.score, given.comment, key_name=caller.key_name
        )
        self.metrics.feedback.inc()
        return JSONResponse({"object": "feedback", "id": number, "request_id": given.request_id})

    async def _metrics(self, request: Request, caller: Caller) -> Response:
        return Response(await asyncio.to_thread(self.metrics.text), media_type=CONTENT_TYPE)

    async def _healthz(self, request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def _readyz(self, request: Request) -> Response:
        state = {
            "status": "ready" if self.ready else "not ready",
            "router": self.engine.fingerprint,
            "members": {name: each["state"] for name, each in self.engine.model.health().items()},
            "at_work": self.gate.inside,
            "waiting": self.gate.waiting,
        }
        return JSONResponse(state, status_code=200 if self.ready else 503)

    # --- what every endpoint has ---

    def _endpoint(
        self, handler: Callable[[Request, Caller], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """The handler with the key checked, errors in OpenAI's form, a count and a line in the log."""

        async def endpoint(request: Request) -> Response:
            caller = Caller(f"chatcmpl-{uuid4().hex}")
            caller.log["path"] = request.scope["route"].path
            try:
                caller.key = self.keys.authenticate(request.headers.get("authorization"))
                response = await handler(request, caller)
            except ApiError as error:
                response = _error(error)
                caller.log["error"] = error.message
            except Exception as error:  # a defect: the client learns that, the log learns which
                _log.exception("request %s: %s", caller.request_id, describe(error))
                response = _error(ApiError(500, "the server failed"))
            response.headers["x-request-id"] = caller.request_id
            if not isinstance(response, _Events):
                self._say(caller, response.status_code)
            return response

        return endpoint

    def _say(self, caller: Caller, status: int) -> None:
        """Count a request, and log it: names and numbers, no content."""
        self.metrics.requests.labels(caller.log["path"], str(status)).inc()
        seconds = round(time.perf_counter() - caller.started, 4)
        line = {"request": caller.request_id, "key": caller.key_name, "status": status, "seconds": seconds}
        caller.log.pop("stored", None)
        _log.info("request", extra={"fields": {**line, **caller.log}})


class _Events(StreamingResponse):
    """A stream of events. It gives its place at the gate back when it ends, however it ends."""

    def __init__(
        self,
        first: bytes,
        events: AsyncIterator[bytes],
        held: AsyncExitStack,
        settings: ServerSettings,
        ended: Callable[[], None],
    ) -> None:
        async def all_of_them() -> AsyncIterator[bytes]:
            yield first
            async for event in events:
                yield event

        super().__init__(all_of_them(), media_type="text/event-stream", headers={"cache-control": "no-cache"})
        self._events, self._held, self._settings, self._ended = events, held, settings, ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, each within the time that a client has to take it."""

        async def in_time(message: Message) -> None:
            async with asyncio.timeout(self._settings.body_seconds):
                await send(message)

        try:
            async with asyncio.timeout(self._settings.answer_seconds):
                await super().__call__(scope, receive, in_time)
        except TimeoutError:
            _log.warning("a stream was cut off: it took too long, or its client did not read")
            raise
        finally:
            close = getattr(self._events, "aclose", None)
            if close is not None:
                await close()
            await self._held.aclose()
            self._ended()


async def _unless_left(request: Request, answer: Awaitable[T]) -> T:
    """The answer; it is given up when the client leaves.

    Raises:
        ApiError: The client left. Nobody reads it.
    """
    working = asyncio.ensure_future(answer)
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ApiError(499, "the client left", kind="client_closed_request")
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _off_loop_when_large(read: Callable[[bytes], T], body: bytes) -> T:
    return await asyncio.to_thread(read, body) if len(body) >= _LARGE else read(body)


def _error(error: ApiError) -> Response:
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after)))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error.body, status_code=error.status, headers=headers)


async def _http_error(request: Request, error: Exception) -> Response:
    """A wrong path or method in OpenAI's form."""
    assert isinstance(error, HTTPException)
    return _error(ApiError(error.status_code, f"{request.method} {request.url.path[:200]}: {error.detail}"))
