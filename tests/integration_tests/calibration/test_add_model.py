"""`avengers add-model`, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from langchain_avengers import ClusterRouter
from langchain_avengers.calibration.runner import acalibrate
from langchain_avengers.cli import app
from tests.fakes import HashEmbeddings
from tests.openai_server import OpenAIServer, graded

SUMS = {f"What is {i} + 3?": str(i + 3) for i in range(20)}
CAPITALS = {f"Name the capital of country number {i}.": f"City {i}" for i in range(20)}


@pytest.fixture
async def calibrated(tmp_path: Path, openai_server: Callable[..., OpenAIServer]) -> OpenAIServer:
    """A router over one model that knows sums, its store, and a pool file with a newcomer that knows everything."""
    server = openai_server(
        by_model={"old": graded(SUMS, {}), "new": graded({**SUMS, **CAPITALS}, {})}, models=["old", "new"]
    )
    questions = [
        {"query": query, "answer": answer, "task": "s" if query in SUMS else "c"}
        for query, answer in {**SUMS, **CAPITALS}.items()
    ]
    table = await acalibrate({"old": server.chat_model("old")}, questions, out=tmp_path / "table")
    ClusterRouter(n_clusters=2).fit(table, HashEmbeddings()).save(tmp_path / "router")
    entries = {
        name: {"base_url": server.url, "price": {"input": 1.0, "output": 1.0}} for name in ("old", "new")
    }
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump({"models": entries}, sort_keys=False))
    return server


def test_a_model_joins_asked_by_a_budget_under_a_progress_bar(
    calibrated: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "langchain_avengers.routing.embeddings.default_embeddings", lambda name=None: HashEmbeddings()
    )
    monkeypatch.setenv("AVENGERS_EMBEDDINGS", "HashEmbeddings")  # which its routers name
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if someone were looking
    before = len(calibrated.requests)
    command = ["add-model", "new", "--router", str(tmp_path / "router"), "--pool", str(tmp_path / "pool.yaml"),
               "--table", str(tmp_path / "table"), "--budget", "8"]  # fmt: skip
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "larger")])
    assert done.exit_code == 0, done.output
    asked = calibrated.requests[before:]
    assert {record.model for record in asked} == {"new"}
    assert len(asked) == 8
    assert "8/8" in done.stderr
    assert "questions asked" in done.stdout
    router = ClusterRouter.load(tmp_path / "larger", embeddings=HashEmbeddings())
    assert router.models_ == ["old", "new"]
    assert router.route("Name the capital of country number 99.").chosen == ("new",)
    assert ClusterRouter.load(tmp_path / "router", embeddings=HashEmbeddings()).models_ == ["old"]

    again = CliRunner().invoke(app, [*command, "--json"])  # answered already: nothing is asked
    assert json.loads(again.stdout)["questions"] == 8
    assert "8/8" not in again.stderr
    assert len(calibrated.requests) == before + 8


def test_a_wrong_name_is_one_line(calibrated: OpenAIServer, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["add-model", "nobody", "--router", str(tmp_path / "router"), "--pool", str(tmp_path / "pool.yaml"),
              "--table", str(tmp_path / "table")],
    )  # fmt: skip
    assert done.exit_code == 1
    assert "no model 'nobody' was given; there are old, new" in done.stderr
    assert done.stdout == ""
