"""LangChain's standard suite with members that talk HTTP, where they differ: streamed, voted, asked of two models.

The suite without HTTP is among the unit tests.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

from langchain_avengers import ChatAvengers
from tests.fakes import toy_router
from tests.openai_server import OpenAIServer

MODELS = ("sums", "places")


def png(width: int = 4, height: int = 3) -> bytes:
    """A white picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\xff" * 3 * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def serve_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the suite here the files that it would fetch from the internet."""

    def get(url: str, **kwargs: Any) -> httpx.Response:
        content = {"png": png(), "pdf": b"%PDF-1.4\n%%EOF", "wav": b"RIFF\x24\0\0\0WAVEfmt "}[
            url.rsplit(".", 1)[1]
        ]
        return httpx.Response(200, content=content)

    monkeypatch.setattr(httpx, "get", get)
    monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "tests")


class _Suite(ChatModelIntegrationTests):
    """How the suite builds its pool."""

    strategy: str
    n_samples: int
    output_version = "v0"
    url = "http://127.0.0.1:9/v1"

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatAvengers

    @property
    def chat_model_params(self) -> dict[str, Any]:
        members = {
            name: ChatOpenAI(
                model=name, base_url=self.url, api_key="sk-test", max_retries=0, stream_usage=True
            )
            for name in MODELS
        }
        return {
            "router": toy_router(MODELS),
            "models": members,
            "strategy": self.strategy,
            "n_samples": self.n_samples,
            "output_version": self.output_version,
        }

    @property
    def has_tool_calling(self) -> bool:
        return True

    @property
    def has_tool_choice(self) -> bool:
        return True

    @property
    def has_structured_output(self) -> bool:
        return True

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def returns_usage_metadata(self) -> bool:
        return True

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        return True

    @property
    def supports_image_tool_message(self) -> bool:
        return True

    @property
    def supports_pdf_tool_message(self) -> bool:
        return True

    @property
    def supports_pdf_inputs(self) -> bool:
        return True

    @property
    def supports_audio_inputs(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def enable_vcr_tests(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "places"

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _server(cls) -> Iterator[None]:
        with OpenAIServer(models=MODELS) as server:
            cls.url = server.url
            yield

    @pytest.fixture(autouse=True)
    def _files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        serve_files(monkeypatch)

    @pytest.fixture(scope="class")
    @classmethod
    def vcr_config(cls) -> dict[str, Any]:
        """The server is here: nothing is recorded."""
        return {"ignore_localhost": True}


class TestDirect(_Suite):
    strategy, n_samples = "direct", 1


class TestSelfConsistencyOf5(_Suite):
    strategy, n_samples = "self_consistency", 5


class TestMixtureOf5(_Suite):
    strategy, n_samples = "mixture", 5


class TestDirectWithContentBlocks(_Suite):
    strategy, n_samples = "direct", 1
    output_version = "v1"


class TestSelfConsistencyOf5WithContentBlocks(_Suite):
    strategy, n_samples = "self_consistency", 5
    output_version = "v1"
