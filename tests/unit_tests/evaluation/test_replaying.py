"""A replay runs the real nodes on recorded answers: what a strategy asks, what it costs, and what it is sure of."""

from __future__ import annotations

import numpy as np
import pytest

from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.errors import PoolError, TableError
from langchain_avengers.evaluation import Replay, replay
from langchain_avengers.pipeline.settings import Strategy
from tests.unit_tests.routing.test_vote_learning import answered

ROW = {
    "query": "What is 7 + 5?",
    "samples": {
        "a": [{"answer": "12", "score": 1.0}, {"answer": "13", "score": 0.0}, {"answer": "13", "score": 0.0}],
        "b": [{"answer": "12", "score": 1.0}],
    },
    "costs": {"a": 0.5, "b": 0.25},
}
OTHER = {"query": "What is 1 + 1?", "scores": {"b": 0.0}, "answers": {"b": "3"}}


@pytest.fixture(scope="module")
def table() -> ScoreTable:
    return ScoreTable.from_rows([ROW, OTHER])


@pytest.fixture(scope="module")
def router() -> ClusterRouter:
    fitted = ScoreTable(["x", "y"], ["a", "b"], [[1, 0], [1, 0]], costs=[[0.5, 0.25], [0.5, 0.25]])
    return ClusterRouter(n_clusters=1).fit(fitted, vectors=np.eye(2))


def run(router: ClusterRouter, table: ScoreTable, strategy: Strategy, **settings: object) -> Replay:
    return replay(router, table, vectors=np.eye(2), strategy=strategy, **settings)  # type: ignore[arg-type]


def test_one_answer_of_the_routed_model(router: ClusterRouter, table: ScoreTable) -> None:
    result = run(router, table, "direct")
    assert result.scores.tolist() == [1.0, 0.0]  # the second query has an answer of b alone
    assert result.samples.tolist() == [1, 1]
    assert result.costs[0] == 0.5
    assert np.isnan(result.costs[1])


def test_a_majority_of_recorded_samples(router: ClusterRouter, table: ScoreTable) -> None:
    result = run(router, table, "self_consistency", n_samples=3)
    assert result.scores.tolist() == [0.0, 0.0]
    assert result.samples.tolist() == [3, 1]  # what is not recorded is not drawn
    assert result.costs[0] == 1.5
    assert result.confidences[0] == pytest.approx(2 / 3)


def test_several_models(router: ClusterRouter, table: ScoreTable) -> None:
    result = run(router, table, "mixture", n_samples=2, top_n=2)
    assert result.scores.tolist() == [1.0, 0.0]
    assert result.costs[0] == 0.75


def test_a_row_that_no_model_may_answer(router: ClusterRouter, table: ScoreTable) -> None:
    result = run(router, table, "direct", allowed_models=["a"])
    assert np.isnan(result.scores[1])
    assert result.samples[1] == 0


def test_a_stronger_model_answers(router: ClusterRouter, table: ScoreTable) -> None:
    result = run(router, table, "escalate", n_samples=3, escalate_to="b")
    assert result.scores.tolist() == [1.0, 0.0]
    assert result.samples.tolist() == [4, 1]


def test_what_cannot_be_replayed(router: ClusterRouter, table: ScoreTable) -> None:
    with pytest.raises(ValueError, match="no recorded score"):
        run(router, table, "aggregate")
    with pytest.raises(PoolError, match="learned vote"):
        run(router, table, "learned")
    with pytest.raises(TableError, match="router's a"):
        run(router, table.select_models(["b"]), "direct")
    with pytest.raises(TableError, match="1 vectors for 2 rows"):
        replay(router, table, vectors=[[1.0, 0.0]], strategy="direct")


def test_the_learned_vote_beats_the_best_model_on_other_rows() -> None:
    table, X = answered()
    fitted = ClusterRouter(n_clusters=2).fit(table, vectors=X)
    test, V = answered(200, seed=1)
    result = replay(fitted, test, vectors=V)
    single = test.scores.mean(axis=0).max()
    assert np.nanmean(result.scores) > single
    assert abs(result.confidences.mean() - np.nanmean(result.scores)) < 0.1
    cheap = replay(fitted, test, vectors=V, cost_weight=0.9)
    assert cheap.samples.mean() == 1


async def test_it_runs_where_a_loop_runs_already(router: ClusterRouter, table: ScoreTable) -> None:
    assert run(router, table, "direct").scores[0] == 1.0
