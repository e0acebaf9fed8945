"""Every example runs as it stands, without a key and without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from langchain_avengers import ClusterRouter
from langchain_avengers.errors import WeightsNotFoundError
from langchain_avengers.routing.embeddings import default_embeddings
from langchain_avengers.sandbox.isolation import isolation
from tests.fakes import toy_table
from tests.openai_server import OpenAIServer

FOLDER = Path(__file__).parents[2] / "examples"
SAYS = {
    "01_chain.py": ["Answer: 20", "Answer: Lima", "asked: sums", "confidence:"],
    "02_rag.py": ["Answer: Oslo"],
    "03_agent.py": ["42", "routed: Answer: 42 by toy-sums"],
    "04_checkpointing.py": ["waiting for: ('vote',)", "Answer: Tokyo", "asked: ['words']"],
    "05_own_voter.py": ["Answer: 19", "shortest"],
    "06_escalation.py": ["Answer: 13", "Answer: 17", "by toy-sums", "by toy-strong"],
    "07_langsmith.py": [
        "arithmetic (llm)",
        "  embed (chain)",
        "  sample (chain)",
        "    sums (llm)",
        "  vote (chain)",
    ],
    "08_code_voting.py": ["3 samples: median(", "2 samples: median(", "voter: execution, confidence: 0.60"],
    "serve_graph.py": ["Answer: 7"],
}


def test_every_example_is_here() -> None:
    assert {path.name for path in FOLDER.glob("*.py")} - {"_offline.py"} == set(SAYS)


@pytest.mark.parametrize(
    ("name", "way"), [*((name, "switch") for name in SAYS), ("01_chain.py", "environment")]
)
def test_it_runs_offline(name: str, way: str, tmp_path: Path) -> None:
    if name == "08_code_voting.py" and isolation() != "namespaces":
        pytest.skip("this kernel allows no namespaces here")
    kept = {
        name: value for name, value in os.environ.items() if "API_KEY" not in name and "TRACING" not in name
    }
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    environment = {**kept, **nowhere, "PYTHONHASHSEED": "0"}
    arguments = ["--offline"] if way == "switch" else []
    if way == "environment":
        environment["AVENGERS_OFFLINE"] = "1"
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(FOLDER / name), *arguments],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for text in SAYS[name]:
        assert text in done.stdout
    assert list(tmp_path.iterdir()) == [], "it left files behind"


def test_a_router_and_pool_of_ones_own_are_served(
    openai_server: Callable[..., OpenAIServer], tmp_path: Path
) -> None:
    pytest.importorskip("sentence_transformers", reason="needs the default embedder")
    try:
        embeddings = default_embeddings()
    except WeightsNotFoundError as missing:
        pytest.skip(str(missing))
    server = openai_server()
    router = ClusterRouter(n_clusters=2).fit(toy_table(), embeddings)
    router.save(tmp_path / "router")
    pool = {name: {"base_url": server.url, "model": f"served-{name}"} for name in ("sums", "places")}
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump({"models": pool}))
    own = {"AVENGERS_ROUTER": str(tmp_path / "router"), "AVENGERS_POOL": str(tmp_path / "pool.yaml")}
    done = subprocess.run(
        [sys.executable, str(FOLDER / "serve_graph.py")],
        env={**os.environ, **own}, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {record.model for record in server.requests} == {"served-sums"}
    assert done.stdout.strip()
