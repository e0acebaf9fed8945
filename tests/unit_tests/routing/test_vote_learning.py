"""A router fitted on recorded answers learns a vote, keeps it on disk, and goes on without one where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.errors import ArtifactError
from langchain_avengers.routing.vote_learning import recorded_classes
from tests.fakes import hash_vector

MODELS = ["one", "two", "three"]


def answered(n: int = 240, *, seed: int = 0) -> tuple[ScoreTable, np.ndarray]:
    """Sums whose answers are right in six cases of ten, independently of each other."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        a, b = 10 + i, int(rng.integers(10, 99))
        texts = [str(a + b if rng.random() < 0.6 else a + b + int(rng.integers(1, 5))) for _ in MODELS]
        scores = {name: float(text == str(a + b)) for name, text in zip(MODELS, texts, strict=True)}
        rows.append(
            {
                "query": f"What is {a} + {b}?",
                "scores": scores,
                "answers": dict(zip(MODELS, texts, strict=True)),
            }
        )
    table = ScoreTable.from_rows(rows)
    return table, np.array([hash_vector(query) for query in table.queries], dtype=np.float32)


@pytest.fixture(scope="module")
def fitted() -> ClusterRouter:
    table, X = answered()
    return ClusterRouter(n_clusters=2).fit(table, vectors=X)


def test_a_router_learns_the_vote_of_recorded_answers(fitted: ClusterRouter) -> None:
    policy = fitted.policy_
    assert policy is not None
    assert list(policy.models) == MODELS
    assert policy.n_rows == 240
    assert policy.plans[0].score > policy.single_score


def test_without_answers_there_is_no_policy() -> None:
    table, X = answered()
    plain = ScoreTable(table.queries, table.models, table.scores)
    assert ClusterRouter(n_clusters=2).fit(plain, vectors=X).policy_ is None
    assert ClusterRouter(n_clusters=2).fit(table, vectors=X, learn_vote=False).policy_ is None
    few = table.select_rows(np.arange(20))
    assert ClusterRouter(n_clusters=2).fit(few, vectors=X[:20]).policy_ is None


def test_the_order_of_the_rows_does_not_matter(fitted: ClusterRouter) -> None:
    table, X = answered()
    order = np.random.default_rng(1).permutation(len(table))
    other = ClusterRouter(n_clusters=2).fit(table.select_rows(order), vectors=X[order])
    assert other.policy_ is not None
    assert fitted.policy_ is not None
    assert other.policy_.to_dict() == fitted.policy_.to_dict()
    assert other.fingerprint_ == fitted.fingerprint_


def test_a_policy_goes_to_disk_and_back(fitted: ClusterRouter, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    back = ClusterRouter.load(tmp_path)
    assert back.policy_ is not None
    assert fitted.policy_ is not None
    assert back.policy_.to_dict() == fitted.policy_.to_dict()


def test_an_artefact_without_a_policy_loads(fitted: ClusterRouter, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    path = tmp_path / "router.json"
    state = json.loads(path.read_text())
    del state["policy"]
    path.write_text(json.dumps(state))
    assert ClusterRouter.load(tmp_path).policy_ is None


def test_a_damaged_policy_is_named(fitted: ClusterRouter, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    path = tmp_path / "router.json"
    state = json.loads(path.read_text())
    state["policy"]["weights"]["shared"] = [1.0]
    path.write_text(json.dumps(state))
    with pytest.raises(ArtifactError, match="'shared' are not 6 numbers"):
        ClusterRouter.load(tmp_path)


def test_a_policy_outlives_changes_of_the_pool() -> None:
    table, X = answered()
    router = ClusterRouter(n_clusters=2).fit(table, vectors=X)
    router.remove_model("two")
    assert router.policy_ is not None
    router.update(table.select_models(["one"]), vectors=X)
    assert router.policy_ is not None


def test_classes_of_recorded_answers() -> None:
    table = ScoreTable.from_rows(
        [
            {
                "query": "What is 7 + 5?",
                "samples": {
                    "a": [{"answer": "12", "score": 1}, {"answer": "The answer is 12.", "score": 1}],
                    "b": [{"answer": "13", "score": 0}, {"answer": None, "score": None}],
                },
            },
            {"query": "What is 1 + 1?", "scores": {"b": 1}, "answers": {"b": "2"}},
        ]
    )
    labels, scores = recorded_classes(table)
    assert labels.tolist() == [[[0, 0], [1, -1]], [[-2, -2], [0, -2]]]
    np.testing.assert_array_equal(scores[0], [[1, 1], [0, np.nan]])
