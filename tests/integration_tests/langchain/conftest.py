"""A pool over HTTP for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from langchain_avengers import ChatAvengers
from tests.fakes import toy_router
from tests.openai_server import OpenAIServer

MODELS = ("sums", "places")
Pool = Callable[..., tuple[ChatAvengers, OpenAIServer]]


@pytest.fixture
def pool(openai_server: Callable[..., OpenAIServer]) -> Pool:
    """Makes a pool of two models on a server; `server` and `member` are keyword arguments of those."""

    def make(
        reply: Any = None,
        *,
        server: dict[str, Any] | None = None,
        member: dict[str, Any] | None = None,
        models: tuple[str, ...] = MODELS,
        **kwargs: Any,
    ) -> tuple[ChatAvengers, OpenAIServer]:
        running = openai_server(reply, **(server or {}))
        members = {name: running.chat_model(name, **(member or {})) for name in models}
        return ChatAvengers(router=toy_router(models), models=members, **{"n_samples": 3, **kwargs}), running

    return make
