"""The site's first page, followed to the letter: from its two files to a routed, voted answer."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import HashEmbeddings
from tests.openai_server import Call, OpenAIServer
from tests.unit_tests.cli.conftest import Run, embedder, run  # noqa: F401

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "index.md").read_text(encoding="utf-8")
FILES = DOCS / "first_router"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_shows_its_files() -> None:
    assert blocks("yaml") == [(FILES / "pool.yaml").read_text(encoding="utf-8")]
    assert blocks("json")[0].strip() in (FILES / "questions.jsonl").read_text(encoding="utf-8").splitlines()


def test_from_an_empty_folder_to_an_answer(
    openai_server: Callable[..., OpenAIServer],
    run: Run,  # noqa: F811
    embedder: HashEmbeddings,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    questions = (FILES / "questions.jsonl").read_text(encoding="utf-8")
    key = {row["query"]: row for row in map(json.loads, questions.splitlines())}
    key["What is 17 * 23?"] = {"answer": "391", "task": "sums"}
    expert = {"sums": "qwen2.5:1.5b", "capitals": "llama3.2:1b"}

    def reply(call: Call) -> str:
        asked = next(row for query, row in key.items() if query in call.text)
        return f"Answer: {asked['answer']}" if call.model == expert[asked["task"]] else "Answer: unknown"

    server = openai_server(reply=reply)
    monkeypatch.chdir(tmp_path)
    Path("questions.jsonl").write_text(questions, encoding="utf-8")
    pool = (FILES / "pool.yaml").read_text(encoding="utf-8")
    Path("pool.yaml").write_text(pool.replace("http://localhost:11434/v1", server.url), encoding="utf-8")

    said = ""
    for line in "".join(blocks("bash")).splitlines():
        program, *arguments = shlex.split(line)
        assert program == "avengers"
        outcome = run(*arguments)
        assert outcome.code == 0, (line, outcome.out, outcome.err)
        said = outcome.out
    assert said.startswith("Answer: 391\n")
    assert "model       qwen" in said

    names: dict[str, Any] = {}
    exec(blocks("python")[0], names)
    assert names["answer"].text == "Answer: Nairobi"
