"""`avengers ask`, against a server of the OpenAI protocol."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.openai_server import Call, Fault, OpenAIServer
from tests.unit_tests.cli.conftest import Run

Server = Callable[..., OpenAIServer]
SUM = "What is 2 plus 5?"
KEY = "sk-secret-for-tests"


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a pool file: the router's two models, and others, on a server."""
    monkeypatch.setenv("POOL_KEY", KEY)

    def write(server: OpenAIServer, *more: str) -> Path:
        entry = {"base_url": server.url, "api_key_env": "POOL_KEY", "price": {"input": 1.0, "output": 2.0}}
        path = tmp_path / "pool.yaml"
        path.write_text(yaml.safe_dump({"models": dict.fromkeys(("calc", "read", *more), entry)}))
        return path

    return write


def by_model(call: Call) -> str:
    return {"calc": f"Answer: {7 if call.repeat < 4 else 8}", "read": "Answer: Homer", "large": "Answer: 9"}[
        call.model
    ]


def test_ask(run: Run, router: Path, openai_server: Server, pool: Callable[..., Path]) -> None:
    server = openai_server(reply=by_model)
    outcome = run("ask", router, SUM, "--pool", pool(server), "--n-samples", 5, "--json")
    assert outcome.code == 0, outcome.err
    about = outcome.json()
    assert about["answer"] == "Answer: 7"
    assert about["model"] == "calc"
    assert about["decision"]["chosen"] == ["calc"]
    assert [(row["value"], row["count"]) for row in about["vote"]["tally"]] == [("7", 4), ("8", 1)]
    assert about["vote"]["confidence"] == pytest.approx(0.8)
    assert about["samples"]["drawn"] == 5
    usage = about["usage"]
    assert usage["total_tokens"] == server.counts.total_tokens
    assert about["cost"] == pytest.approx((usage["input_tokens"] + 2 * usage["output_tokens"]) / 1e6)
    assert not about["cost_is_estimate"]
    assert server.keys == {KEY}
    assert KEY not in outcome.out + outcome.err


def test_ask_prints_the_answer_first_and_how_it_came_about(
    run: Run, router: Path, openai_server: Server, pool: Callable[..., Path]
) -> None:
    server = openai_server(reply=by_model)
    outcome = run("ask", router, "-", "--pool", pool(server), input=f"{SUM}\n")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("Answer: 7\n")
    for line in (
        "model       calc (self_consistency)",
        "confidence  0.80",
        "samples     5 drawn, 0 failed",
        "cost        $",
    ):
        assert line in outcome.out


def test_ask_escalates_to_a_model_the_router_does_not_know(
    run: Run, router: Path, openai_server: Server, pool: Callable[..., Path]
) -> None:
    server = openai_server(
        reply=lambda call: "Answer: 9" if call.model == "large" else f"Answer: {call.repeat}"
    )
    outcome = run(
        "ask",
        router,
        SUM,
        "--pool",
        pool(server, "large"),
        "--strategy",
        "escalate",
        "--escalate-to",
        "large",
        "--json",
    )
    assert outcome.code == 0, outcome.err
    assert outcome.json()["answer"] == "Answer: 9"
    assert len(server.of_model("large")) == 1
    assert outcome.json()["cost"] == pytest.approx(
        (server.counts.prompt_tokens + 2 * server.counts.completion_tokens) / 1e6
    )
    assert outcome.err == ""
    outcome = run("ask", router, SUM, "--pool", pool(server, "large"))
    assert outcome.err == "note: the router does not know large: not asked\n"


def test_ask_with_models_named_on_the_command_line(
    run: Run, router: Path, openai_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("langchain")
    server = openai_server(reply="Answer: 7")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    models = ["--model", "calc=openai:small", "--model", "read=openai:large"]
    outcome = run("ask", router, SUM, *models, "--strategy", "direct", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json()["answer"] == "Answer: 7"
    assert [record.model for record in server.requests] == ["small"]
    outcome = run("ask", router, SUM, "--model", "calc=nobody:x", "--model", "read=openai:large")
    assert outcome.code == 1
    assert outcome.err.startswith("avengers: model 'calc': ")
    outcome = run("ask", router, SUM, *models[:2])
    assert outcome.code == 1
    assert "read" in outcome.err


def test_ask_when_no_model_answers(
    run: Run, router: Path, openai_server: Server, pool: Callable[..., Path]
) -> None:
    server = openai_server(faults=[Fault("bad_request")])
    outcome = run("ask", router, SUM, "--pool", pool(server))
    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err.startswith("avengers: no model answered: ")
    assert outcome.err.count("\n") == 1
    assert KEY not in outcome.err
