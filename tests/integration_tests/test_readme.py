"""The README's code does what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.readme import DRAWN, PAGES, draw
from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.pool import Pool
from tests.fakes import HashEmbeddings
from tests.openai_server import OpenAIServer

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def rows() -> list[dict[str, Any]]:
    sums = [
        {"query": f"What is {a} * {b}?", "task": "sums", "scores": {"qwen": 1, "llama": 0.2}}
        for a in range(4)
        for b in range(5)
    ]
    words = [
        {
            "query": f"Which city is the capital of {x}?",
            "task": "capitals",
            "scores": {"qwen": 0.1, "llama": 0.9},
        }
        for x in ("Peru", "Chile", "France", "Japan", "Egypt", "Kenya", "Norway", "Italy", "Spain", "India")
    ]
    return sums + words


def test_the_first_lines_route_sample_and_vote(
    openai_server: Callable[..., OpenAIServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sentence_transformers")
    server = openai_server(reply=lambda request: "Answer: 391")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    Path("scores.jsonl").write_text("\n".join(map(json.dumps, rows())), encoding="utf-8")
    names: dict[str, Any] = {}
    exec(blocks("python")[0], names)
    told = names["answer"].response_metadata["avengers"]
    assert told["decision"]["chosen"] == ["qwen"]
    assert told["vote"]["confidence"] == 1.0
    assert told["samples"]["drawn"] == 5


def test_the_ways_to_use_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("langchain")
    from langchain.agents import create_agent
    from langchain_core.language_models import FakeListChatModel
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate
    from langgraph.checkpoint.memory import InMemorySaver

    import langchain_avengers

    table = ScoreTable.from_rows(rows())
    router = ClusterRouter().fit(table, HashEmbeddings())
    monkeypatch.chdir(tmp_path)
    router.save("router")
    names = {name: getattr(langchain_avengers, name) for name in langchain_avengers.__all__}

    class FromHere(langchain_avengers.ChatAvengers):
        @classmethod
        def from_pretrained(cls, path: Any, **kwargs: Any) -> Any:
            return langchain_avengers.ChatAvengers.from_pretrained(
                path, embeddings=HashEmbeddings(), **kwargs
            )

    names |= {
        "create_agent": create_agent,
        "StrOutputParser": StrOutputParser,
        "InMemorySaver": InMemorySaver,
        "ChatAvengers": FromHere,
        "prompt": ChatPromptTemplate.from_messages([("human", "{question}")]),
        "models": {name: FakeListChatModel(responses=[f"I am {name}"]) for name in ("qwen", "llama")},
        "router": router,
        "table": table,
        "tools": [],
    }
    exec(blocks("python")[1], names)
    question = "Which city is the capital of Chile?"
    assert names["chain"].invoke({"question": question}) == "I am llama"
    assert names["agent"].invoke({"messages": [("human", question)]})["messages"][-1].content == "I am llama"
    state = names["graph"].invoke({"messages": [("human", question)]}, {"configurable": {"thread_id": "1"}})
    assert state["messages"][-1].content == "I am llama"
    assert names["name"].invoke(question) == "llama"


def test_evaluation_prints_a_verdict(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "langchain_avengers.routing.embeddings.default_embeddings", lambda name=None: HashEmbeddings()
    )
    monkeypatch.setenv("AVENGERS_EMBEDDINGS", "HashEmbeddings")  # which its routers name
    from langchain_avengers import evaluate  # noqa: F401 - the README's own import is run below

    exec(blocks("python")[2], {"table": ScoreTable.from_rows(rows()), "ClusterRouter": ClusterRouter})
    assert "Best Single" in capsys.readouterr().out


def test_the_pool_file_and_the_row_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN_KEY", "k")
    monkeypatch.setenv("LLAMA_KEY", "k")
    path = tmp_path / "pool.yaml"
    path.write_text(blocks("yaml")[0], encoding="utf-8")
    assert set(yaml.safe_load(path.read_text(encoding="utf-8"))["models"]) == {"qwen", "llama"}
    assert set(Pool.read(path).models) == {"qwen", "llama"}
    table = ScoreTable.from_rows([json.loads(blocks("json")[0])])
    assert table.models == ["qwen", "llama"]


def test_every_link_leads_somewhere_and_every_figure_is_kept() -> None:
    root = Path(__file__).parents[2]
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (root / target).exists(), target
    pages = [(root / path).read_text(encoding="utf-8") for path in PAGES]
    for name in DRAWN:
        assert any(f"<!-- {name} -->" in page for page in pages), name
    for page in pages:
        assert draw(page) == page, "run: python -m benchmarks.readme"


def test_every_command_named_is_there() -> None:
    from langchain_avengers.cli import COMMANDS

    for command in re.findall(r"^avengers ([a-z-]+)", "\n".join(blocks("bash")), re.MULTILINE):
        assert command in COMMANDS
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
