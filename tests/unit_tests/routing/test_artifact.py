"""The saved router: what is read back, what is refused, what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.errors import ArtifactError
from langchain_avengers.routing import artifact

RNG = np.random.default_rng(2)


def fitted(n: int = 80, *, seed: int = 0, embedder: bool = True, **params) -> ClusterRouter:
    rng = np.random.default_rng(seed)
    scores = rng.random((n, 3))
    scores[rng.random((n, 3)) < 0.1] = np.nan
    table = ScoreTable(
        [f"question {i}" for i in range(n)],
        ["a", "b", "ç/1"],
        scores,
        tasks=["t", "u"] * (n // 2),
        costs=rng.random((n, 3)),
    )
    if embedder:
        return ClusterRouter(**params).fit(table, DeterministicFakeEmbedding(size=12))
    return ClusterRouter(**params).fit(table, vectors=rng.standard_normal((n, 12)))


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"n_clusters": 5},
        {"n_clusters": 5, "scoring": "rank", "top_k": 3},
        {"n_clusters": 4, "scoring": "balanced", "cost_weight": 0.4},
    ],
)
@pytest.mark.parametrize("embedder", [True, False])
def test_a_router_read_back_decides_alike(tmp_path: Path, params: dict, embedder: bool) -> None:
    router = fitted(embedder=embedder, **params)
    router.save(tmp_path / "r")
    twin = ClusterRouter.load(
        tmp_path / "r", embeddings=DeterministicFakeEmbedding(size=12) if embedder else None
    )
    queries = RNG.standard_normal((60, 12))
    assert [twin.route_vector(q, top_n=2) for q in queries] == [
        router.route_vector(q, top_n=2) for q in queries
    ]
    assert (twin.choose(queries) == router.choose(queries)).all()
    assert twin.fingerprint_ == router.fingerprint_
    assert twin.get_params() == router.get_params()
    assert twin.seen(["question 3", "other"]).tolist() == [True, False]
    assert (twin.cluster_tasks_, twin.examples_, twin.curve_) == (
        router.cluster_tasks_,
        router.examples_,
        router.curve_,
    )
    if embedder:
        assert twin.route("question 5") == router.route("question 5")
    # and it can be changed and saved again
    twin.remove_model("b")
    twin.save(tmp_path / "r")
    assert ClusterRouter.load(tmp_path / "r").models_ == ["a", "ç/1"]


def test_the_files_are_plain_json_and_one_float_array(tmp_path: Path) -> None:
    router = fitted(n_clusters=5)
    router.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "centroids.npy", "router.json"]
    state = json.loads((tmp_path / "router.json").read_text(encoding="utf-8"))
    array = np.load(tmp_path / "centroids.npy", allow_pickle=False)
    assert state["schema_version"] == artifact.SCHEMA_VERSION
    assert state["models"] == ["a", "b", "ç/1"]
    assert state["embedding"]["name"] == "DeterministicFakeEmbedding"
    assert array.dtype == np.float32
    assert (array[:5] == router.centroids_).all()


def _edit(change):
    def damage(folder: Path) -> None:
        path = folder / "router.json"
        state = json.loads(path.read_text(encoding="utf-8"))
        change(state)
        path.write_text(json.dumps(state), encoding="utf-8")

    return damage


def _array(content: object, *, fix_digest: bool = True):
    def damage(folder: Path) -> None:
        from hashlib import sha256

        path = folder / "centroids.npy"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            np.save(path, content, allow_pickle=True)
        if fix_digest:
            _edit(lambda state: state["array"].update(sha256=sha256(path.read_bytes()).hexdigest()))(folder)

    return damage


NAN = np.full((6, 12), np.nan, dtype=np.float32)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "router.json").unlink(), "no such file; a router is a folder"),
        (lambda folder: (folder / "router.json").write_bytes(b"\xff\xfe{"), "cannot be read"),
        (lambda folder: (folder / "router.json").write_text('{"kind": '), "damaged or no JSON"),
        (lambda folder: (folder / "router.json").write_text("[" * 100_000), "damaged or no JSON"),
        (lambda folder: (folder / "router.json").write_text('{"some": "file"}'), "not a router"),
        (lambda folder: (folder / "router.json").write_text("[1]"), "not a router"),
        (
            _edit(lambda s: s.update(schema_version=99, package_version="9.9")),
            "written by langchain-avengers 9.9 with schema 99",
        ),
        (_edit(lambda s: s.update(schema_version="1")), "schema_version is '1'"),
        (_edit(lambda s: s.pop("models")), "field 'models' is missing"),
        (_edit(lambda s: s.update(models=["a", "a", "b"])), "models are not names"),
        (_edit(lambda s: s["parameters"].update(exec="rm")), "damaged"),
        (_edit(lambda s: s["parameters"].update(top_k=-2)), "top_k is -2"),
        (_edit(lambda s: s["statistics"][0].update(sums=[[1]])), "statistics have another shape"),
        (_edit(lambda s: s["array"].update(clusters=[3])), "does not have the rows"),
        (_edit(lambda s: s["embedding"].update(dimension=5)), "the dimension"),
        (_edit(lambda s: s["calibration"].update(query_digests="***")), "damaged"),
        (lambda folder: (folder / "centroids.npy").unlink(), "the router is incomplete"),
        (_array(b"", fix_digest=False), "SHA-256 differs|incomplete"),
        (_array(np.zeros((6, 12), np.float32), fix_digest=False), "SHA-256 differs"),
        (_array(b"not an array"), "not an array of plain numbers"),
        (_array(np.array([{"pickled": 1}], dtype=object)), "not an array of plain numbers"),
        (_array(np.zeros((6, 12))), "expected float32"),
        (_array(NAN), "NaN or infinity"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(tmp_path: Path, damage, message: str) -> None:
    fitted(n_clusters=5).save(tmp_path)
    damage(tmp_path)
    with pytest.raises(ArtifactError, match=message) as caught:
        ClusterRouter.load(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_truncated_array_is_refused(tmp_path: Path) -> None:
    fitted(n_clusters=5).save(tmp_path)
    path = tmp_path / "centroids.npy"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ArtifactError, match="SHA-256 differs"):
        ClusterRouter.load(tmp_path)


def test_an_array_of_another_router_is_refused(tmp_path: Path) -> None:
    fitted(n_clusters=5).save(tmp_path / "one")
    fitted(n_clusters=5, seed=1, embedder=False).save(tmp_path / "two")
    os.replace(tmp_path / "two" / "centroids.npy", tmp_path / "one" / "centroids.npy")
    with pytest.raises(ArtifactError, match="another router"):
        ClusterRouter.load(tmp_path / "one")


def test_the_wrong_embedder_is_refused(tmp_path: Path) -> None:
    class Other(DeterministicFakeEmbedding):
        def embed_query(self, text: str) -> list[float]:
            return super().embed_query(text + "!")

    fitted(n_clusters=5).save(tmp_path)
    with pytest.raises(ArtifactError, match="not the embedder the router was fitted with"):
        ClusterRouter.load(tmp_path, embeddings=Other(size=12))
    with pytest.raises(ArtifactError, match="gives 13 dimensions"):
        ClusterRouter.load(tmp_path, embeddings=DeterministicFakeEmbedding(size=13))


def test_an_unnamed_folder_and_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such file"):
        ClusterRouter.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtifactError):
        ClusterRouter.load(tmp_path / "file")
    with pytest.raises(ArtifactError, match="cannot be written"):
        fitted(n_clusters=2).save(tmp_path / "file")


@pytest.mark.parametrize("step", range(1, 9))
def test_a_save_cut_off_at_any_step_leaves_a_whole_router(tmp_path: Path, step: int, monkeypatch) -> None:
    old, new = fitted(n_clusters=5), fitted(n_clusters=6, seed=9, embedder=False)
    old.save(tmp_path)

    class Killed(BaseException):
        pass

    done = 0
    for name in ("replace", "fsync"):
        real = getattr(os, name)

        def count(*args, real=real, **kwargs):
            nonlocal done
            done += 1
            if done == step:
                raise Killed
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, count)
    with pytest.raises(Killed):
        new.save(tmp_path)
    monkeypatch.undo()
    assert ClusterRouter.load(tmp_path).fingerprint_ in (old.fingerprint_, new.fingerprint_)
    old.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".")) == [
        "README.md",
        "centroids.npy",
        "router.json",
    ]


def test_a_killed_process_leaves_a_whole_router(tmp_path: Path) -> None:
    fitted(n_clusters=5).save(tmp_path / "r")
    code = (
        "import sys; from langchain_avengers import ClusterRouter\n"
        "r = ClusterRouter.load(sys.argv[1]); print('ready', flush=True)\n"
        "while True:\n    r.remove_model(r.models_[0]) if len(r.models_) > 1 else None\n    r.save(sys.argv[1])\n"
    )
    for pause in (0.0, 0.01, 0.03):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "r")], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(pause or 0.001)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        ClusterRouter.load(tmp_path / "r").route_vector(np.ones(12))


@pytest.mark.parametrize("name", ["defaults", "three_clusters", "rank"])
def test_a_router_of_version_0_1_0_decides_as_it_did(name: str) -> None:
    folder = Path(__file__).parent / "routers_0_1_0" / name
    router = ClusterRouter.load(folder)
    kept = json.loads((folder / "decisions.json").read_text())
    for vector, expected in zip(kept["vectors"], kept["decisions"], strict=True):
        found = router.route_vector(vector).to_dict()
        assert found["chosen"] == expected["chosen"]
        assert [cluster for cluster, _ in found["clusters"]] == [
            cluster for cluster, _ in expected["clusters"]
        ]
        assert found["novel"] == expected["novel"]
        assert found["distance"] == pytest.approx(expected["distance"], abs=1e-5)
        for ours, theirs in zip(found["ranking"], expected["ranking"], strict=True):
            assert ours["name"] == theirs["name"]
            assert ours["score"] == pytest.approx(theirs["score"], abs=1e-5)
