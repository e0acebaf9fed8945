"""Routers of people who may mean harm: nothing is run, nothing is chosen, and every damage is one clear error."""

from __future__ import annotations

import json
import tempfile
import warnings
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import DeterministicFakeEmbedding

from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.errors import ArtifactError, RouterError
from langchain_avengers.routing import embeddings as embedders
from langchain_avengers.routing.card import router_card
from langchain_avengers.routing.trust import DEFAULT, allowed_name, check_model_folder
from tests.unit_tests.routing.mutations import mutate

ROWS = 120


def small_router(**params: Any) -> ClusterRouter:
    """A router of four dimensions, with recorded answers, so that it has a learned vote."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 2, (ROWS, 3)).astype(float)
    answers = np.array(
        [["right" if right else f"wrong {i % 3}" for right in row] for i, row in enumerate(scores)]
    )
    table = ScoreTable(
        [f"question {i}" for i in range(ROWS)],
        ["a", "b", "c"],
        scores,
        tasks=["t", "u"] * (ROWS // 2),
        costs=rng.random((ROWS, 3)),
        answers=answers.astype(object),
    )
    vectors = rng.standard_normal((ROWS, 4))
    return ClusterRouter(**params).fit(table, DeterministicFakeEmbedding(size=4), vectors=vectors)


@cache
def originals() -> tuple[tuple[bytes, bytes], ...]:
    """`router.json` and `centroids.npy` of several kinds of routers."""
    found = []
    for params in (
        {"n_clusters": 4, "n_clusterings": 2, "linear_weight": 0.3},
        {},
        {"n_clusters": 3, "top_k": 2},
        {"n_clusters": 2, "scoring": "balanced", "cost_weight": 0.5},
    ):
        with tempfile.TemporaryDirectory() as folder:
            small_router(**params).save(folder)
            found.append(
                ((Path(folder) / "router.json").read_bytes(), (Path(folder) / "centroids.npy").read_bytes())
            )
    return tuple(found)


def check(folder: Path, router: bytes, array: bytes) -> str:
    """Load a router and use it: "refused" in one line, or "read" and of use."""
    (folder / "router.json").write_bytes(router)
    (folder / "centroids.npy").write_bytes(array)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # numpy's, of NaN and overflow
        try:
            loaded = ClusterRouter.load(folder)
        except ArtifactError as error:
            said = str(error)
        else:
            _use(loaded)
            return "read"
    assert said.isprintable()
    assert len(said) < 1_000 + len(str(folder))
    return "refused"


def _use(loaded: ClusterRouter) -> None:
    """Whatever was read gives finite decisions, a card and a copy."""
    for vector in np.eye(loaded.centroids_.shape[1], dtype=np.float32)[:3]:
        explained = loaded.explain_vector(vector, query="q")
        json.dumps(explained.to_dict(), allow_nan=False)
        assert "\x1b" not in str(explained)
    loaded.choose(np.ones((2, loaded.centroids_.shape[1])))
    assert "\x1b" not in router_card(loaded.fitted_)
    with tempfile.TemporaryDirectory() as copy:
        loaded.save(copy)
        assert ClusterRouter.load(copy).fingerprint_ == loaded.fingerprint_


@given(seed=st.integers(0, 2**32))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_every_damaged_router_is_one_clear_error_or_of_use(seed: int) -> None:
    kinds = originals()
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder), *mutate(*kinds[seed % len(kinds)], seed))


def _changed(change: Any) -> tuple[bytes, bytes]:
    router, array = originals()[0]
    fields = json.loads(router)
    changed = change(fields)
    if isinstance(changed, bytes):
        array = changed
        fields["array"]["sha256"] = sha256(array).hexdigest()
    return json.dumps(fields).encode(), array


def _header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(64)


HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000, 4), }\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["array"].update(shape=[10**12, 4]), "rows or the dimension"),
        (lambda s: _header(HUGE), "expected float32"),
        (lambda s: s["array"].update(sha256="../../../../etc/passwd"), "array.sha256"),
        (lambda s: s["calibration"].update(cluster_tasks="x"), "calibration.cluster_tasks"),
        (lambda s: s["calibration"].update(examples=[["q"]]), "examples has not one part for each cluster"),
        (lambda s: s["calibration"].update(examples=[[7]]), "calibration.examples.0.0"),
        (lambda s: s["calibration"].update(curve=[3]), "calibration.curve.0"),
        (lambda s: s["calibration"].update(tasks=3), "calibration.tasks"),
        (lambda s: s["calibration"].update(rows=True), "calibration.rows"),
        (lambda s: s["linear"].update(share="NaN"), "linear.share"),
        (lambda s: s["parameters"].update(prior_strength=10**400), "parameters.prior_strength|damaged"),
        (lambda s: s["parameters"].update(top_k=[1]), "parameters.top_k"),
        (lambda s: s["statistics"][0]["counts"][0].__setitem__(0, 10**30), r"statistics.0.counts.0.0"),
        (lambda s: s["statistics"][0].update(counts=[[-1.0] * 3]), "statistics.0.counts"),
        (lambda s: s["embedding"].update(name=7), "embedding.name"),
        (lambda s: s["embedding"].update(fingerprint="0" * 16), "fingerprint of the embedder is not"),
        (lambda s: s["models"].__setitem__(0, "\ud83d"), "models.0"),
        (lambda s: s.update(policy=[]), "policy"),
        (lambda s: s.update(schema_version=10**400), "schema_version|written by"),
    ],
)  # fmt: skip
def test_hostile_fields_are_named(tmp_path: Path, change: Any, message: str) -> None:
    router, array = _changed(change)
    (tmp_path / "router.json").write_bytes(router)
    (tmp_path / "centroids.npy").write_bytes(array)
    with pytest.raises(ArtifactError, match=message) as caught:
        ClusterRouter.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_file_too_large_to_be_a_router_is_not_read(tmp_path: Path) -> None:
    small_router(n_clusters=2).save(tmp_path)
    with (tmp_path / "router.json").open("r+b") as file:
        file.truncate(1 << 40)  # a hole, not a terabyte
    with pytest.raises(ArtifactError, match="no router is so large"):
        ClusterRouter.load(tmp_path)


def test_a_digest_pins_the_whole_router(tmp_path: Path) -> None:
    small_router(n_clusters=2).save(tmp_path)
    digest = sha256((tmp_path / "router.json").read_bytes()).hexdigest()
    assert ClusterRouter.load(tmp_path, sha256=digest).models_ == ["a", "b", "c"]
    with pytest.raises(ArtifactError, match="not the router you named"):
        ClusterRouter.load(tmp_path, sha256="0" * 64)
    array = bytearray((tmp_path / "centroids.npy").read_bytes())
    array[-1] ^= 1
    (tmp_path / "centroids.npy").write_bytes(array)
    with pytest.raises(ArtifactError, match="SHA-256 differs"):
        ClusterRouter.load(tmp_path, sha256=digest)
    with pytest.raises(ArtifactError, match="not a router on the hub"):
        ClusterRouter.load(tmp_path, revision="v1")


# --- what a router names is not loaded on its word ---


@pytest.mark.parametrize("name", ["attacker/emb", "/srv/models/emb", "./emb", "sentence-transformers/other"])
def test_a_router_does_not_decide_what_is_loaded(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AVENGERS_EMBEDDINGS", raising=False)
    asked: list[str | None] = []

    def load(name: str | None = None) -> DeterministicFakeEmbedding:
        asked.append(name)
        return DeterministicFakeEmbedding(size=4)

    monkeypatch.setattr(embedders, "default_embeddings", load)
    small_router(n_clusters=2).save(tmp_path)
    path = tmp_path / "router.json"
    fields = json.loads(path.read_text())
    fields["embedding"]["name"] = name
    path.write_text(json.dumps(fields))
    router = ClusterRouter.load(tmp_path)
    with pytest.raises(ArtifactError, match="does not decide what is loaded: pass that embedder"):
        router.route("question 3")
    assert not asked
    router.route_vector([1, 0, 0, 0])  # needs no embedder
    assert ClusterRouter.load(tmp_path, trust_embedder=name).route("question 3").chosen
    assert ClusterRouter.load(tmp_path, trust_embedder=["other", f"{name}@abc"]).route("question 3").chosen
    monkeypatch.setenv("AVENGERS_EMBEDDINGS", name)
    assert ClusterRouter.load(tmp_path).route("question 3").chosen
    assert asked == [name, f"{name}@abc", name]


def test_the_default_embedder_needs_no_word() -> None:
    assert allowed_name(DEFAULT) == DEFAULT
    assert allowed_name("a/b", ["a/b@abc"]) == "a/b@abc"


MODULES = [
    {"type": "sentence_transformers.models.Transformer", "path": ""},
    {"type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling", "path": "1_Pooling"},
    {"type": "sentence_transformers.models.Dense", "path": "2_Dense"},
]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("modules.json", [{"type": "attacker/emb--evil.Evil", "path": ""}], "code of its own"),
        ("modules.json", [{"type": "evil.Evil", "path": ""}], "code of its own"),
        ("modules.json", [{"type": "sentence_transformers.models.Router", "path": ""}], "code of its own"),
        ("modules.json", [{"type": "sentence_transformers.util.import_from_string", "path": ""}], "code of its own"),
        ("modules.json", [{"type": "sentence_transformers.x.Pooling\n.Evil", "path": ""}], "code of its own"),
        ("modules.json", [{"type": MODULES[0]["type"], "path": "../../elsewhere"}], "leads out of the folder"),
        ("modules.json", [{"type": MODULES[0]["type"], "path": "/srv"}], "leads out of the folder"),
        ("modules.json", {"type": "evil"}, "not a list of modules"),
        ("config.json", {"auto_map": {"AutoModel": "evil.Evil"}}, "auto_map"),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}, "auto_map"),
        ("adapter_config.json", {"base_model_name_or_path": "attacker/base"}, "adapter"),
        ("2_Dense/config.json", {"activation_function": "torch.hub.load"}, "not one of torch.nn"),
        ("2_Dense/config.json", {"auto_map": {}}, "auto_map"),
    ],
)  # fmt: skip
def test_a_folder_of_weights_that_names_code_is_refused(
    tmp_path: Path, file: str, content: Any, message: str
) -> None:
    (tmp_path / "2_Dense").mkdir()
    for name, fine in (
        ("modules.json", MODULES),
        ("config.json", {"model_type": "bert"}),
        ("2_Dense/config.json", {"activation_function": "torch.nn.modules.activation.Tanh"}),
        ("model.safetensors", 0),
    ):
        (tmp_path / name).write_text(json.dumps(fine))
    check_model_folder(tmp_path)
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(RouterError, match=message):
        check_model_folder(tmp_path)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(RouterError, match="safetensors alone"):
        check_model_folder(tmp_path)
