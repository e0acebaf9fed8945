"""LangChain's standard suite through `ChatOpenAI` pointed at a served pool: drawn token by token, and voted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

from langchain_avengers.pool import ModelSpec, Pool
from langchain_avengers.serving.app import ServerSettings, create_app
from langchain_avengers.serving.engine import Engine
from tests.fakes import HashEmbeddings, toy_router
from tests.integration_tests.langchain.test_standard import serve_files
from tests.integration_tests.serving.conftest import running
from tests.openai_server import OpenAIServer


class _Suite(ChatModelIntegrationTests):
    served_model: str
    url: str

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _served(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        folder: Path = tmp_path_factory.mktemp("served") / "router"
        toy_router().save(folder)
        with OpenAIServer(models=["sums", "places"]) as members:
            pool = Pool([ModelSpec(name=name, base_url=members.url) for name in ("sums", "places")])
            engine = Engine(folder, pool, {"n_samples": 3}, HashEmbeddings())
            with running(create_app(ServerSettings(router=folder, pool=folder), engine=engine)) as (url, _):
                cls.url = f"{url}/v1"
                yield

    @pytest.fixture(autouse=True)
    def _files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        serve_files(monkeypatch)

    @pytest.fixture(scope="class")
    @classmethod
    def vcr_config(cls) -> dict[str, Any]:
        """The server is here: nothing is recorded."""
        return {"ignore_localhost": True}

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": self.served_model, "base_url": self.url, "api_key": "none", "max_retries": 0, "stream_usage": True
        }  # fmt: skip

    @property
    def has_tool_choice(self) -> bool:
        return True

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
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
    def supports_image_tool_message(self) -> bool:
        return True

    @property
    def supports_pdf_tool_message(self) -> bool:
        return True

    @property
    def enable_vcr_tests(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "places"


class TestDirect(_Suite):
    served_model = "avengers:direct"


class TestVoted(_Suite):
    served_model = "avengers"
