"""A served pool of two models on loopback, whose members are another server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
import uvicorn
import yaml

from langchain_avengers.pool import Pool
from langchain_avengers.serving.app import ServerSettings, create_app
from langchain_avengers.serving.engine import Engine
from tests.fakes import HashEmbeddings, toy_router
from tests.openai_server import OpenAIServer

MEMBER_KEY = "sk-member-secret-0123456789"


@dataclass
class Served:
    """A running server, its members' server, and its files."""

    url: str
    members: OpenAIServer
    router: Path
    server: uvicorn.Server

    def client(self, key: str = "none", **options: Any) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, **{"max_retries": 0, **options})

    def async_client(self, key: str = "none", **options: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, **{"max_retries": 0, **options})


Serve = Callable[..., Served]


@contextlib.contextmanager
def running(app: Any) -> Iterator[tuple[str, uvicorn.Server]]:
    """The app on a free port, in a thread of its own."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=20)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", server
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()


@pytest.fixture
def serve(
    openai_server: Callable[..., OpenAIServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Serve]:
    """Serves a pool; `members` and `pool` are keyword arguments of the members' server and of each pool entry."""
    monkeypatch.setenv("MEMBER_KEY", MEMBER_KEY)
    with contextlib.ExitStack() as stack:

        def start(
            reply: Any = None,
            *,
            members: dict[str, Any] | None = None,
            pool: dict[str, Any] | None = None,
            options: dict[str, Any] | None = None,
            more: tuple[str, ...] = (),
            **settings: Any,
        ) -> Served:
            server = openai_server(reply, **(members or {}))
            entry = {
                "base_url": server.url,
                "api_key_env": "MEMBER_KEY",
                "price": {"input": 1.0, "output": 2.0},
                **(pool or {}),
            }
            pool_file = tmp_path / "pool.yaml"
            pool_file.write_text(yaml.safe_dump({"models": dict.fromkeys(("sums", "places", *more), entry)}))
            router = tmp_path / "router"
            if not router.exists():
                toy_router().save(router)
            chosen = ServerSettings(
                router=router, pool=pool_file, options={"n_samples": 3, **(options or {})},
                **{"reload_seconds": 0.05, **settings},
            )  # fmt: skip
            engine = Engine(router, Pool.read(pool_file), chosen.options, HashEmbeddings())
            url, running_server = stack.enter_context(running(create_app(chosen, engine=engine)))
            return Served(url, server, router, running_server)

        yield start
