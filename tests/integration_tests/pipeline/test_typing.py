"""A user's own `mypy --strict` sees every wrong call."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from langchain_avengers.pipeline.middleware import MiddlewareOptions
from langchain_avengers.pipeline.settings import PoolOptions, Settings

RIGHT = """
from langchain_core.language_models import FakeListChatModel
from langchain_avengers import AvengersMiddleware, ChatAvengers, ClusterRouter, create_avengers_graph

router = ClusterRouter()
models = {"a": FakeListChatModel(responses=["x"]), "b": FakeListChatModel(responses=["y"])}
pool = ChatAvengers(router=router, models=models, strategy="mixture", n_samples=3, tags=["t"], budget={"samples": 3})
named = ChatAvengers(router=router, models={"a": "openai:gpt-4.1", "b": models["b"].bind(stop=["."])})
graph = create_avengers_graph(router, models, voter="majority", timeout=3.0)
vote = graph.invoke({"messages": []})["vote"]
middleware = AvengersMiddleware(router, models, sticky=False, cost_weight=0.5)
"""
WRONG = [
    "ChatAvengers(router=router, models=models, n_sample=3)",
    'ChatAvengers(router=router, models=models, strategy="best")',
    'ChatAvengers(router=router, models={"a": 3})',
    "ChatAvengers(router=7, models=models)",
    'create_avengers_graph(router, models, voter="loudest")',
    "create_avengers_graph(router, models, top_m=2)",
    'create_avengers_graph("folder", models)',
    "AvengersMiddleware(router, models, n_samples=5)",
    'ChatAvengers.from_pretrained("folder", models=models, budget={"sample": 3})',
    'ChatAvengers(router=router, models=models, timeout="soon")',
]


def test_a_type_checker_sees_every_wrong_call(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="needs the dependency group: lint")
    program = tmp_path / "program.py"
    program.write_text(RIGHT + "\n".join(WRONG) + "\n")
    settings = tmp_path / "mypy.ini"
    settings.write_text("[mypy]\nstrict = true\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(settings), str(program)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = {int(line) for line in re.findall(r"program\.py:(\d+): error", done.stdout)}
    first = RIGHT.count("\n") + 1
    assert found == set(range(first, first + len(WRONG))), done.stdout


def test_the_typed_options_are_the_settings() -> None:
    assert set(PoolOptions.__annotations__) == set(Settings.model_fields)
    assert set(MiddlewareOptions.__annotations__) <= set(Settings.model_fields)
