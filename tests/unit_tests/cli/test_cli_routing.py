"""`avengers fit`, `inspect` and `route`."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.cli import common, output
from langchain_avengers.routing.summary import summarise
from tests.fakes import HashEmbeddings
from tests.unit_tests.cli.conftest import FACTS, SUMS, Run
from tests.unit_tests.routing.test_vote_learning import answered


def test_fit_embeds_and_saves(run: Run, tables: list[Path], embedder: HashEmbeddings, tmp_path: Path) -> None:
    outcome = run("fit", *tables, "--out", tmp_path / "r", "--clusters", 2, "--json")
    assert outcome.code == 0, outcome.err
    about = outcome.json()
    assert set(SUMS + FACTS) <= set(embedder.texts)
    assert (about["router"], about["rows"], about["clusters_count"]) == (str(tmp_path / "r"), 40, 2)
    assert about["score_on_these_rows"] == pytest.approx(0.95)
    assert about["embeddings"] == "HashEmbeddings"
    assert [model["name"] for model in about["models"]] == ["calc", "read"]
    assert about["models"][0] | {"cost": None} == {
        "name": "calc",
        "score": pytest.approx(0.55),
        "rows": 40,
        "cost": None,
        "clusters_led": 1,
    }
    assert about["models"][0]["cost"] == pytest.approx(0.001)
    assert sorted((c["model"], c["rows"], str(c["tasks"])) for c in about["clusters"]) == [
        ("calc", 20, "{'sums': 20}"),
        ("read", 20, "{'facts': 20}"),
    ]
    loaded = ClusterRouter.load(tmp_path / "r")
    assert loaded.models_ == ["calc", "read"]


def test_fit_prints_a_table(run: Run, tables: list[Path], embedder: HashEmbeddings, tmp_path: Path) -> None:
    outcome = run("fit", *tables, "--out", tmp_path / "r", "--clusters", 2)
    assert outcome.code == 0
    assert outcome.out.startswith(f"40 rows, 2 models, 2 clusters -> {tmp_path}/r\n")
    assert "mean score" in outcome.out
    assert "0.5500" in outcome.out
    assert "not held out: 0.9500" in outcome.out


def test_fit_on_vectors_loads_no_embedder(
    run: Run, tables: list[Path], vectors: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str | None = None) -> None:
        raise AssertionError("an embedding model was loaded")

    monkeypatch.setattr("langchain_avengers.routing.embeddings.default_embeddings", refuse)
    given = [part for path in vectors for part in ("--vectors", path)]
    outcome = run("fit", *tables, "--out", tmp_path / "r", "--clusters", 2, *given, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json()["embeddings"] is None
    whole = tmp_path / "whole.npy"
    np.save(whole, np.concatenate([np.load(path) for path in vectors]))
    again = run("fit", *tables, "--out", tmp_path / "r2", "--clusters", 2, "--vectors", whole, "--json")
    assert again.json()["fingerprint"] == outcome.json()["fingerprint"]
    assert "no embedding model is recorded" in run("inspect", tmp_path / "r").out


def test_fit_streams_a_column_of_vectors(
    run: Run, tables: list[Path], vectors: list[Path], embedder: HashEmbeddings, tmp_path: Path
) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    ScoreTable.read(tables).write(tmp_path / "t.parquet")
    X = np.concatenate([np.load(path) for path in vectors])
    stored = pq.read_table(tmp_path / "t.parquet").append_column("where", pa.array(X.tolist()))
    pq.write_table(stored, tmp_path / "t.parquet")
    given = ("--out", tmp_path / "r", "--clusters", 2, "--vectors")
    outcome = run("fit", tmp_path / "t.parquet", *given, "where", "--json")
    assert outcome.code == 0, outcome.err
    about = outcome.json()
    assert (about["rows"], about["clusters_count"], about["score_on_these_rows"]) == (40, 2, None)
    assert about["embeddings"] is None
    assert embedder.texts == []
    assert (
        "40 rows, 2 models, 2 clusters"
        in run("fit", tmp_path / "t.parquet", *given, "where", "--overwrite").out
    )
    given = ("--overwrite", *given)
    named = run("fit", tmp_path / "t.parquet", *given, "where", "--embeddings", "words", "--json")
    assert named.json()["embeddings"] == "HashEmbeddings"
    assert run("fit", tmp_path / "t.parquet", *given, "there").code == 1
    for table, *more in ((tables[0],), (tmp_path / "t.parquet", "--task", "sums")):
        assert run("fit", table, *given, "where", *more).code == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (np.ones((39, 4)), "39 vectors for 40 queries"),
        (np.ones(40), "not an array of numbers with one row a query"),
        (np.full((40, 4), "x"), "not an array of numbers"),
        (np.array([{"a": 1}], dtype=object), "not a .npy array of numbers"),
        (np.full((40, 4), np.nan), "vector 0 holds NaN"),
    ],
)
def test_wrong_vectors_are_refused(
    run: Run, tables: list[Path], tmp_path: Path, content: np.ndarray, says: str
) -> None:
    np.save(tmp_path / "v.npy", content, allow_pickle=True)
    outcome = run("fit", *tables, "--out", tmp_path / "r", "--clusters", 2, "--vectors", tmp_path / "v.npy")
    assert outcome.code == 1
    assert says in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_fit_passes_its_options_on(
    run: Run, tables: list[Path], embedder: HashEmbeddings, tmp_path: Path
) -> None:
    options = [
        "--clusterer",
        "birch",
        "--scoring",
        "balanced",
        "--cost-weight",
        0.25,
        "--seed",
        7,
        "--clusters",
        3,
    ]
    outcome = run("fit", *tables, "--out", tmp_path / "r", *options, "--json")
    assert outcome.code == 0, outcome.err
    parameters = outcome.json()["parameters"]
    wanted = {
        "clusterer": "birch",
        "scoring": "balanced",
        "cost_weight": 0.25,
        "random_state": 7,
        "n_clusters": 3,
    }
    assert {name: parameters[name] for name in wanted} == wanted
    for option, value in (("--clusterer", "magic"), ("--scoring", "magic"), ("--clusters", 1000)):
        outcome = run("fit", *tables, "--out", tmp_path / "r", "--overwrite", option, value)
        assert outcome.code == 1
        assert str(value) in outcome.err


def test_inspect(run: Run, router: Path, embedder: HashEmbeddings) -> None:
    before = len(embedder.texts)
    outcome = run("inspect", router)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith(
        f"{router}: 2 models, 2 clusters, 64 dimensions\nembeddings: HashEmbeddings\n"
    )
    assert "parameters: n_clusters=2" in outcome.out
    for text in ("calc", "read", "sums 20", "facts 20", "What is "):
        assert text in outcome.out
    about = run("inspect", router, "--json").json()
    assert about["sha256"] == sha256((Path(router) / "router.json").read_bytes()).hexdigest()
    assert f"sha256: {about['sha256']}" in outcome.out
    assert about["fingerprint"] == ClusterRouter.load(router).fingerprint_
    assert about["checks"] == []
    assert len(embedder.texts) == before


def test_checks_name_what_to_look_out_for() -> None:
    from langchain_avengers import ScoreTable

    table = ScoreTable(
        ["x", "y", "z"], ["a", "b", "c"], [[1, 0, 0], [0, 1, 0], [1, 0, 0.5]], costs=[[1, None, 1]] * 3
    )
    router = ClusterRouter(n_clusters=2).fit(table, vectors=np.eye(3))
    checks = "\n".join(summarise(router.fitted_).checks)
    assert "no embedding model is recorded" in checks
    assert "clusters with fewer than 10 rows: " in checks
    assert "the lead is within two standard errors: " in checks
    assert "models that lead no cluster: " in checks
    assert "models without a known cost: b" in checks


def test_inspect_refuses_what_is_no_router(run: Run, tmp_path: Path, router: Path) -> None:
    outcome = run("inspect", tmp_path / "none")
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    centroids = router / "centroids.npy"
    centroids.write_bytes(centroids.read_bytes()[:-4])
    outcome = run("inspect", router)
    assert outcome.code == 1
    assert outcome.err.startswith("avengers: ")
    assert outcome.err.count("\n") == 1


def test_route_one(run: Run, router: Path) -> None:
    outcome = run("route", router, "What is 3 plus 9?")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("calc   [cluster ")
    assert "stderr" in outcome.out
    decision = run("route", router, "Who wrote book number 99?", "--json").json()
    assert decision["query"] == "Who wrote book number 99?"
    assert decision["chosen"] == ["read"]
    assert [row["name"] for row in decision["ranking"]] == ["read", "calc"]


def test_route_several_and_stdin(run: Run, router: Path) -> None:
    queries = ["What is 3 plus 9?", "Who wrote book number 99?"]
    outcome = run("route", router, *queries)
    assert outcome.out == f"calc\t{queries[0]}\nread\t{queries[1]}\n"
    outcome = run("route", router, *queries, "--json")
    assert [line["chosen"] for line in outcome.lines()] == [["calc"], ["read"]]
    many = run("route", router, "-", "--json", "--top-n", 2, input="\n".join(queries * 50) + "\n\n  \n")
    assert [line["chosen"] for line in many.lines()] == [["calc", "read"], ["read", "calc"]] * 50
    assert run("route", router, "-", input="").out == ""


def test_route_options(run: Run, router: Path, vectors: list[Path]) -> None:
    query = "Who wrote book number 99?"
    assert run("route", router, query, "--models", "calc", "--json").json()["chosen"] == ["calc"]
    assert run("route", router, query, "--cost-weight", 0.9, "--json").json()["chosen"] == ["calc"]
    assert (
        run("route", router, query, "--top-n", 2, "--models", "calc,read", "--json").json()["chosen"][0]
        == "read"
    )
    outcome = run("route", router, query, "--models", "huge")
    assert outcome.code == 1
    assert "'huge'" in outcome.err
    assert run("route", router, query, "--top-n", 3).code == 1
    assert run("route", router, query, "--cost-weight", 2).code == 2
    assert run("route", router).code == 2
    assert run("route", router, query, "--vectors", vectors[0]).code == 2
    by_vector = run("route", router, "--vectors", vectors[1], "--json").lines()
    assert [line["chosen"] for line in by_vector] == [["read"]] * 20


def test_route_explain(run: Run, router: Path) -> None:
    outcome = run("route", router, "What is 3 plus 9?", "--explain")
    assert outcome.code == 0, outcome.err
    assert "Query: What is 3 plus 9?" in outcome.out
    assert "chosen" in outcome.out
    assert run("route", router, "What is 3 plus 9?", "--explain", "--json").json()["decision"]["chosen"] == [
        "calc"
    ]


def test_in_a_process_of_its_own(tables: list[Path], vectors: list[Path], tmp_path: Path) -> None:
    def avengers(*args: object) -> subprocess.CompletedProcess[str]:
        code = "from langchain_avengers.cli import main; main()"
        command = [sys.executable, "-c", code, *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    given = [part for path in vectors for part in ("--vectors", path)]
    done = avengers("fit", *tables, "--out", tmp_path / "r", "--clusters", 2, *given, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)["rows"] == 40
    done = avengers("route", tmp_path / "r", "--vectors", vectors[0], "--json")
    assert {json.loads(line)["chosen"][0] for line in done.stdout.splitlines()} == {"calc"}
    done = avengers("inspect", tmp_path / "r")
    assert done.returncode == 0
    assert "calc" in done.stdout


# -- what commands share


def test_plain_makes_json_of_anything(capsys: pytest.CaptureFixture[str]) -> None:
    data = {
        "nan": math.nan,
        "inf": [np.float32("inf"), -math.inf],
        "array": np.array([[1.5, np.nan]], np.float32),
        "number": np.int64(3),
        "path": Path("a"),
        "set": frozenset({1}),
        2: (True, None),
    }
    output.print_json(data)
    assert json.loads(capsys.readouterr().out) == {
        "nan": None,
        "inf": [None, None],
        "array": [[1.5, None]],
        "number": 3,
        "path": "a",
        "set": [1],
        "2": [True, None],
    }


def test_tables_do_not_interpret_or_cut_cells(capsys: pytest.CaptureFixture[str]) -> None:
    name = "[red]meta/llama-3:8b[/red]" + "x" * 60
    output.print_table(
        ("model", "score"), [(name, 0.5), ("b", math.nan), ("c", None), ("d", 2e-5), ("e", 0.0)]
    )
    out = capsys.readouterr().out
    assert name in out
    assert out.split()[-10:] == [name, "0.5000", "b", "-", "c", "-", "d", "2e-05", "e", "0"]


def test_equal_texts_are_embedded_once(embedder: HashEmbeddings) -> None:
    vectors = common.embed(embedder, ["a b", "c", "a b"], batch=2)
    assert embedder.texts == ["a b", "c"]
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[0], vectors[2])


def test_fit_says_what_vote_was_learned(run: Run, tmp_path: Path) -> None:
    table, X = answered()
    table.write(tmp_path / "t.jsonl")
    np.save(tmp_path / "t.npy", X)
    given = ("fit", tmp_path / "t.jsonl", "--vectors", tmp_path / "t.npy", "--clusters", 2, "--out")
    outcome = run(*given, tmp_path / "r")
    assert outcome.code == 0, outcome.err
    assert "The vote learned: asks for" in outcome.out
    policy = ClusterRouter.load(tmp_path / "r").policy_
    assert policy is not None
    outcome = run(*given, tmp_path / "s", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json()["vote"]["summary"] == policy.summary
