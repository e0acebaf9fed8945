"""Subsets of models and advice on cost, found by cross-validation at `fit`."""

import numpy as np
import pytest

from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.errors import RouterError
from langchain_avengers.routing.tuning import stratified_folds


def pool(n=240, *, seed=0, costs=True):
    """Three kinds of queries, a specialist each, and a dear model that is middling at all of them."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 3
    vectors = rng.normal(0, 0.2, (n, 6)).astype(np.float32)
    vectors[np.arange(n), kind] += 2
    chance = np.full((n, 4), 0.25)
    chance[np.arange(n), kind] = 0.95
    chance[:, 3] = 0.6
    scores = (rng.random((n, 4)) < chance).astype(float)
    prices = np.tile([0.001, 0.001, 0.001, 0.02], (n, 1)) if costs else None
    names = ["a", "b", "c", "all-round"]
    return ScoreTable(
        [f"q{i}" for i in range(n)], names, scores, tasks=[f"t{k}" for k in kind], costs=prices
    ), vectors


@pytest.fixture(scope="module")
def router():
    table, vectors = pool()
    return ClusterRouter(n_clusters=3).fit(table, vectors=vectors)


def test_subsets_grow_and_exchange(router):
    assert router.select_models(1) == ["all-round"]
    assert set(router.select_models(3)) == {"a", "b", "c"}, "the first model found gives way"
    assert len(router.select_models(4)) == 4
    scores = [subset.score for subset in router.subsets_]
    assert scores[2] > scores[1] > scores[0]


def test_the_papers_rule_is_kept_by_name(router):
    assert set(router.select_models(3, rule="leaders")) == {"a", "b", "c"}
    with pytest.raises(RouterError, match="'greedy' or 'leaders'"):
        router.select_models(2, rule="best")
    with pytest.raises(RouterError, match="n is 9"):
        router.select_models(9)


def test_advice_on_cost_saves_and_is_kept(router, tmp_path):
    advice = router.cost_advice_
    assert advice.saving > 0.8
    assert advice.difference >= advice.stderr > 0
    router.save(tmp_path / "router")
    again = ClusterRouter.load(tmp_path / "router")
    assert again.cost_advice_ == advice
    assert again.subsets_ == router.subsets_


def test_a_changed_pool_has_no_advice_and_still_has_subsets(router, tmp_path):
    router.save(tmp_path / "router")
    smaller = ClusterRouter.load(tmp_path / "router")
    smaller.remove_model("a")
    assert smaller.cost_advice_ is None
    assert smaller.subsets_ == []
    assert smaller.select_models(1) == ["all-round"]
    assert set(smaller.select_models(3)) == {"b", "c", "all-round"}


def test_few_rows_or_unknown_costs_give_no_advice():
    few, vectors = pool(30)
    assert ClusterRouter(n_clusters=2).fit(few, vectors=vectors).subsets_ == []
    free, vectors = pool(90, costs=False)
    found = ClusterRouter(n_clusters=3).fit(free, vectors=vectors)
    assert found.cost_advice_ is None
    assert len(found.subsets_) == 4


def test_labels_without_signal_give_no_advice():
    rng = np.random.default_rng(3)
    table, vectors = pool(300)
    even = ScoreTable(
        table.queries,
        table.models,
        (rng.random((300, 4)) < 0.5).astype(float),
        tasks=table.tasks,
        costs=np.full((300, 4), 0.01),
    )
    assert ClusterRouter(n_clusters=3).fit(even, vectors=vectors).cost_advice_ is None


def test_folds_are_even_in_every_stratum():
    strata = np.repeat([0, 1], [100, 13])
    fold = stratified_folds(strata, 5, seed=0)
    for stratum in (0, 1):
        assert np.ptp(np.bincount(fold[strata == stratum], minlength=5)) <= 1
