"""LangChain's own tests of a chat model, over scripted members."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_avengers import ChatAvengers
from tests.fakes import FakeRouter, says, toy_router

CASES = [("direct", 1), ("self_consistency", 5), ("mixture", 5)]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}", autouse=True)
def _case(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    request.instance.case = request.param
    request.instance.folder = tmp_path / "router"


class TestChatAvengers(ChatModelUnitTests):
    case: tuple[str, int] = CASES[0]
    folder: Path

    @property
    def chat_model_class(self) -> type[ChatAvengers]:
        return ChatAvengers

    @property
    def chat_model_params(self) -> dict[str, Any]:
        strategy, n = self.case
        return {
            "router": FakeRouter(),
            "models": {"sums": says("Answer: 12"), "places": says("Paris")},
            "strategy": strategy,
            "n_samples": n,
        }

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        """The environment names the folder of the router."""
        toy_router().save(self.folder)
        params = {name: value for name, value in self.chat_model_params.items() if name != "router"}
        return {"AVENGERS_ROUTER": str(self.folder)}, params, {"n_samples": self.case[1]}

    @property
    def has_tool_choice(self) -> bool:
        return True

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def has_tool_calling(self) -> bool:
        return True

    @property
    def has_structured_output(self) -> bool:
        return True

    @property
    def returns_usage_metadata(self) -> bool:
        return True

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "places"
