"""Fixtures of the tests with real parts. Only these start servers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.openai_server import OpenAIServer


@pytest.fixture
def openai_server() -> Iterator[Callable[..., OpenAIServer]]:
    """Starts servers, with the arguments of `OpenAIServer`; all are stopped after the test."""
    with contextlib.ExitStack() as stack:

        def start(*args: Any, **kwargs: Any) -> OpenAIServer:
            return stack.enter_context(OpenAIServer(*args, **kwargs))

        yield start
