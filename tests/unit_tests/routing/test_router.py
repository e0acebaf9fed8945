"""ClusterRouter: the scoring rules by hand, invariants, bad input, the pool's changes."""

from __future__ import annotations

import json
import math
import pickle
import warnings
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import DeterministicFakeEmbedding

from langchain_avengers import ClusterRouter, RoutingDecision, ScoreTable
from langchain_avengers.errors import ArtifactError, RouterError
from langchain_avengers.routing.clusterers import CLUSTERERS
from langchain_avengers.routing.embeddings import check_embedder
from langchain_avengers.routing.scoring import ClusterStats

RNG = np.random.default_rng(0)


def blobs(n_blobs: int = 4, per: int = 15, d: int = 8, *, seed: int = 0, noise: float = 0.05):
    """Well separated unit vectors, and a table in which model `m{b}` is right on blob b and mostly wrong elsewhere."""
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.standard_normal((d, d)))[0][:n_blobs]
    label = np.repeat(np.arange(n_blobs), per)
    X = centres[label] + noise * rng.standard_normal((len(label), d))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    right = rng.random((len(label), n_blobs)) < 0.3
    right[np.arange(len(label)), label] = True
    costs = np.tile([0.001 * (m + 1) for m in range(n_blobs)], (len(label), 1))
    table = ScoreTable(
        [f"question {i} of blob {b}" for i, b in enumerate(label)],
        [f"m{b}" for b in range(n_blobs)],
        right.astype(float),
        tasks=[f"task{b % 2}" for b in label],
        costs=costs,
    )
    return table, X.astype(np.float32), label, centres.astype(np.float32)


@pytest.mark.parametrize("clusterer", CLUSTERERS)
def test_every_clusterer_finds_the_blobs(clusterer: str) -> None:
    table, X, label, _ = blobs()
    router = ClusterRouter(n_clusters=4, clusterer=clusterer).fit(table, vectors=X)
    assert router.n_clusters_ == 4
    assert router.centroids_.shape == (4, 8)
    assert router.centroids_.dtype == np.float32
    assert router.cluster_scores_.shape == router.cluster_counts_.shape == (4, 4)
    assert (router.choose(X) == label).all()
    assert router.score(table, vectors=X) == 1.0


def test_mean_is_the_posterior_mean_by_hand() -> None:
    table = ScoreTable(["a", "b", "c"], ["x", "y"], [[1, 0], [0.5, 0], [0, 1]])
    router = ClusterRouter(n_clusters=2, prior_strength=2).fit(table, vectors=[[1, 0], [1, 0.01], [0, 1]])
    near = int(router.assign([[1, 0]])[0])
    g = (1 + 0.5 + 0) / 3
    assert router.cluster_scores_[near, 0] == pytest.approx((2 * 0.75 + 2 * g) / (2 + 2))
    assert router.cluster_scores_[1 - near, 1] == pytest.approx((1 * 1 + 2 * (1 / 3)) / (1 + 2))
    decision = router.route_vector([1, 0.005])
    assert decision.chosen == ("x",)
    assert decision.ranking[0].n == 2
    assert decision.clusters == ((near, 1.0),)


def test_rank_rule_agrees_row_by_row_with_plain_python() -> None:
    rng = np.random.default_rng(5)
    X = rng.standard_normal((300, 12))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    table = ScoreTable([f"q{i}" for i in range(300)], list("abcde"), rng.integers(0, 11, (300, 5)) / 10)
    router = ClusterRouter(n_clusters=9, scoring="rank", top_k=1, beta=6, novelty_quantile=None).fit(
        table, vectors=X
    )
    raw = router.fitted_.stats.means(0.0)
    overall = [float(np.mean(table.scores[:, m])) for m in range(5)]
    queries = rng.standard_normal((200, 12))
    chosen = router.choose(queries)
    for query, got in zip(queries, chosen, strict=True):
        length = math.sqrt(sum(v * v for v in query))
        unit = [float(v) / length for v in query]
        distances = [
            1 - sum(a * float(b) for a, b in zip(unit, centroid, strict=True))
            for centroid in router.centroids_
        ]
        nearest = min(range(9), key=lambda k: distances[k])
        shares = {nearest: math.exp(-6 * distances[nearest]) / math.exp(-6 * distances[nearest])}
        totals = [0.0] * 5
        for k, share in shares.items():
            ranking = sorted(range(5), key=lambda m: (-raw[k][m], -overall[m], "abcde"[m]))
            for m in range(5):
                totals[m] += share / (ranking.index(m) + 0.1)
        assert totals[got] == max(totals)
        assert router.route_vector(query).chosen == ("abcde"[got],)


def test_rank_over_several_clusters_weighs_them_by_softmax() -> None:
    rng = np.random.default_rng(6)
    X = rng.standard_normal((200, 6))
    table = ScoreTable([f"q{i}" for i in range(200)], list("abc"), rng.random((200, 3)))
    router = ClusterRouter(n_clusters=7, scoring="rank", top_k=3, beta=4, novelty_quantile=None).fit(
        table, vectors=X
    )
    query = rng.standard_normal(6)
    unit = query / np.linalg.norm(query)
    distances = 1 - router.centroids_ @ unit
    close = np.argsort(distances)[:3]
    weights = np.exp(-4 * distances[close])
    decision = router.route_vector(query)
    assert [k for k, _ in decision.clusters] == close.tolist()
    assert [share for _, share in decision.clusters] == pytest.approx(
        (weights / weights.sum()).tolist(), abs=1e-5
    )


def test_balanced_by_hand() -> None:
    table = ScoreTable(
        ["a", "b"], ["cheap", "dear", "middle"], [[0.5, 1.0, 0.8]] * 2, costs=[[0.001, 0.101, 0.021]] * 2
    )
    router = ClusterRouter(n_clusters=1, scoring="balanced", novelty_quantile=None).fit(
        table, vectors=[[1, 0], [1, 0.1]]
    )
    # α = 1 − cost_weight: dear at performance alone, cheap at cost alone, middle between: 0.6α + 0.8(1−α)
    for cost_weight, expected in ((0.0, "dear"), (1.0, "cheap"), (0.5, "middle")):
        assert router.route_vector([1, 0], cost_weight=cost_weight).chosen == (expected,)
        assert router.models_[router.choose([[1, 0]], cost_weight=cost_weight)[0]] == expected


def test_cost_weight_walks_from_best_to_cheapest() -> None:
    table, X, _, _ = blobs()
    router = ClusterRouter(n_clusters=4).fit(table, vectors=X)
    costs = [
        np.mean([0.001 * (m + 1) for m in router.choose(X, cost_weight=w)]) for w in (0, 0.25, 0.5, 0.75, 1)
    ]
    assert costs == sorted(costs, reverse=True)
    assert set(router.choose(X, cost_weight=1.0)) == {0}


def test_unknown_cost_is_never_free() -> None:
    table, X, _, _ = blobs()
    priced = ScoreTable(
        table.queries,
        table.models,
        table.scores,
        costs=np.where(np.arange(4) == 2, np.nan, 0.01) * np.ones((60, 1)),
    )
    router = ClusterRouter(n_clusters=4).fit(priced, vectors=X)
    with pytest.raises(RouterError, match="none is known of 'm2'"):
        router.route_vector(X[0], cost_weight=0.5)
    with pytest.raises(RouterError, match="none is known of 'm2'"):
        router.choose(X, cost_weight=0.5)
    assert router.route_vector(X[0], cost_weight=0.5, models=["m0", "m1"]).chosen[0] in ("m0", "m1")
    with pytest.raises(RouterError, match="knows no costs"):
        ClusterRouter(n_clusters=4, scoring="rank").fit(table, vectors=X).choose(X, cost_weight=0.5)


def test_ties_go_to_global_mean_then_cost_then_name() -> None:
    X = [[1, 0], [1, 0], [0, 1], [0, 1]]
    queries = list("abcd")
    by_mean = ScoreTable(queries, ["z", "y"], [[1, 1], [1, 1], [0, 1], [0, 1]])
    router = ClusterRouter(n_clusters=2, prior_strength=0).fit(by_mean, vectors=X)
    assert router.route_vector([1, 0]).chosen == ("y",)
    equal = [[1, 1], [1, 1], [0, 0], [0, 0]]
    by_cost = ScoreTable(queries, ["a", "b"], equal, costs=[[2, 1]] * 4)
    assert ClusterRouter(n_clusters=2).fit(by_cost, vectors=X).route_vector([1, 0]).chosen == ("b",)
    unknown_last = ScoreTable(queries, ["a", "b"], equal, costs=[[np.nan, 1]] * 4)
    assert ClusterRouter(n_clusters=2).fit(unknown_last, vectors=X).route_vector([1, 0]).chosen == ("b",)
    for names in (["b", "a"], ["a", "b"]):
        router = ClusterRouter(n_clusters=2).fit(ScoreTable(queries, names, equal), vectors=X)
        assert router.route_vector([1, 0]).chosen == ("a",)
        assert router.models_[router.choose([[1, 0]])[0]] == "a"


def test_missing_scores_are_not_zero() -> None:
    scores = [[1, None], [1, 0.9], [None, 0.9], [0.1, None], [0.1, 0.9]]
    table = ScoreTable(
        list("abcde"), ["x", "y"], [[np.nan if v is None else v for v in row] for row in scores]
    )
    router = ClusterRouter(n_clusters=1, prior_strength=0).fit(
        table, vectors=[[1, 0.1 * i] for i in range(5)]
    )
    assert router.cluster_scores_[0].tolist() == pytest.approx([2.2 / 4, 0.9])
    assert router.cluster_counts_[0].tolist() == [4, 3]


def test_a_model_without_rows_in_a_cluster_stands_at_its_global_mean() -> None:
    table = ScoreTable(list("abcd"), ["x", "y"], [[0.2, 0.8], [0.2, 0.8], [0.5, np.nan], [0.5, np.nan]])
    router = ClusterRouter(n_clusters=2, prior_strength=0).fit(
        table, vectors=[[1, 0], [1, 0], [0, 1], [0, 1]]
    )
    decision = router.route_vector([0, 1])
    assert decision.chosen == ("y",)
    assert decision.ranking[0].n == 0
    assert decision.ranking[0].score == pytest.approx(0.8)
    assert decision.ranking[0].stderr is None


def test_novel_queries_go_by_the_global_ranking() -> None:
    table, X, _, centres = blobs(n_blobs=3, d=8)
    router = ClusterRouter(n_clusters=3).fit(table, vectors=X)
    away = np.linalg.svd(centres)[2][-1]  # orthogonal to every blob
    decision = router.route_vector(away)
    best = router.models_[int(np.argmax(router.global_scores_))]
    assert decision.novel
    assert decision.clusters == ()
    assert decision.chosen == (best,)
    assert router.models_[router.choose([away])[0]] == best
    assert not router.route_vector(centres[0]).novel
    assert (
        not ClusterRouter(n_clusters=3, novelty_quantile=None).fit(table, vectors=X).route_vector(away).novel
    )


@pytest.mark.parametrize("scoring", ["mean", "rank", "balanced"])
@pytest.mark.parametrize("top_k", [1, 3])
@pytest.mark.parametrize("n_clusters", [5, "auto"])
def test_choose_and_route_vector_agree(scoring: str, top_k: int, n_clusters: int | str) -> None:
    table, X, _, _ = blobs(noise=0.6, per=30)
    router = ClusterRouter(n_clusters=n_clusters, scoring=scoring, top_k=top_k).fit(table, vectors=X)
    queries = RNG.standard_normal((80, 8))
    one_by_one = [router.route_vector(q).chosen[0] for q in queries]
    assert [router.models_[m] for m in router.choose(queries)] == one_by_one
    if scoring != "rank":
        weighed = [router.route_vector(q, cost_weight=0.3, models=["m3", "m1"]).chosen[0] for q in queries]
        got = router.choose(queries, cost_weight=0.3, models=["m3", "m1"])
        assert [router.models_[m] for m in got] == weighed


def test_decision_is_json_safe_and_ranked() -> None:
    table, X, _, _ = blobs()
    router = ClusterRouter(n_clusters=4).fit(table, vectors=X)
    decision = router.route_vector(X[0], top_n=2)
    assert RoutingDecision.from_dict(json.loads(json.dumps(decision.to_dict(), allow_nan=False))) == decision
    assert [row.score for row in decision.ranking] == sorted(
        (row.score for row in decision.ranking), reverse=True
    )
    assert decision.chosen == tuple(row.name for row in decision.ranking[:2])


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 40), models=st.integers(1, 5), auto=st.booleans())
@settings(max_examples=25, deadline=None)
def test_row_order_and_repetition_change_nothing(seed: int, rows: int, models: int, auto: bool) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, 5)).astype(np.float32)
    scores = rng.integers(0, 3, (rows, models)) / 2
    scores[rng.random((rows, models)) < 0.2] = np.nan
    scores[0, :] = 1.0
    names = [f"m{i}" for i in range(models)]
    queries = [f"q{i}" for i in rng.integers(0, 10, rows)]  # repeats
    order = rng.permutation(rows)
    params = {} if auto else {"n_clusters": int(rng.integers(1, rows + 1)), "novelty_quantile": 0.9}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer clusters than asked for
        one = ClusterRouter(**params).fit(ScoreTable(queries, names, scores), vectors=X)
        two = ClusterRouter(**params).fit(
            ScoreTable([queries[i] for i in order], names, scores[order]), vectors=X[order]
        )
    probe = rng.standard_normal((30, 5))
    assert one.fingerprint_ == two.fingerprint_
    assert (one.choose(probe) == two.choose(probe)).all()
    assert all(one.route_vector(q) == two.route_vector(q) for q in probe[:5])


def test_auto_finds_the_structure_and_says_how() -> None:
    table, X, label, _ = blobs(n_blobs=4, per=40)
    router = ClusterRouter(linear_weight=0.0, n_clusterings=1, novelty_quantile=1.0).fit(table, vectors=X)
    assert [len(part.centroids) for part in router.fitted_.clusterings] == [8]  # finer ones add nothing
    assert (router.choose(X) == label).all()
    assert (ClusterRouter(novelty_quantile=1.0).fit(table, vectors=X).choose(X) == label).all()
    assert [point["n_clusters"] for point in router.curve_] == [8, 16, 32]
    assert min(point["behind"] for point in router.curve_) == 0


def test_auto_asks_the_best_model_when_routing_wins_nothing() -> None:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((200, 6))
    table = ScoreTable(
        [f"q{i}" for i in range(200)], ["good", "bad"], np.column_stack([np.ones(200), np.zeros(200)])
    )
    router = ClusterRouter().fit(table, vectors=X)
    assert set(router.choose(X)) == {0}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_clusters": 0}, "n_clusters is 0"),
        ({"n_clusters": 2.5}, "n_clusters is 2.5"),
        ({"n_clusters": True}, "n_clusters is True"),
        ({"n_clusters": 61}, "more than the table's 60 rows"),
        ({"clusterer": "dbscan"}, "clusterer is 'dbscan'"),
        ({"scoring": "best"}, "scoring is 'best'"),
        ({"prior_strength": -1}, "prior_strength is -1"),
        ({"prior_strength": math.nan}, "prior_strength is nan"),
        ({"top_k": 0}, "top_k is 0"),
        ({"beta": -0.1}, "beta is -0.1"),
        ({"cost_weight": 1.5}, "cost_weight is 1.5"),
        ({"novelty_quantile": 2}, "novelty_quantile is 2"),
        ({"n_clusterings": 0}, "n_clusterings is 0"),
        ({"linear_weight": 1}, "linear_weight is 1"),
        ({"random_state": -1}, "random_state is -1"),
        ({"scoring": "rank", "n_clusterings": 2}, "belong to scoring='mean'"),
        ({"scoring": "rank", "cost_weight": 0.5}, "knows no costs"),
    ],
)
def test_bad_parameters_are_named(params: dict, message: str) -> None:
    table, X, _, _ = blobs()
    with pytest.raises(RouterError, match=message):
        ClusterRouter(**params).fit(table, vectors=X)


def test_bad_vectors_are_named() -> None:
    table, X, _, _ = blobs()
    wrong = X.copy()
    wrong[7, 2] = np.nan
    for vectors, message in (
        (wrong, "vector 7 holds NaN"),
        (np.vstack([X[:3] * 0, X[3:]]), r"vector 0 is all zeros \(and 2 more\)"),
        (X[:10], "10 vectors for 60 rows"),
        (X[0], r"shape \(8,\)"),
        ([["a"] * 8] * 60, "not an array of numbers"),
    ):
        with pytest.raises(RouterError, match=message):
            ClusterRouter(n_clusters=2).fit(table, vectors=vectors)
    router = ClusterRouter(n_clusters=2).fit(table, vectors=X)
    for call, message in (
        (lambda: router.choose(X[:, :5]), r"shape \(60, 5\)"),
        (lambda: router.choose(wrong), "vector 7"),
        (lambda: router.route_vector(X[0, :5]), r"shape \(5,\)"),
        (lambda: router.route_vector(wrong[7]), "NaN"),
        (lambda: router.route_vector(X[0] * 0), "all zeros"),
        (lambda: router.route_vector(X[0], top_n=5), "top_n is 5; there are 4"),
        (lambda: router.route_vector(X[0], models=["m9"]), "does not know 'm9'; it knows 'm0'"),
        (lambda: router.route_vector(X[0], models=[]), "models is empty"),
        (lambda: router.route_vector(X[0], models="m1"), "give a list of names"),
        (lambda: router.route_vector(X[0], cost_weight=-1), "cost_weight is -1"),
        (lambda: router.select_models(9), "n is 9"),
        (lambda: ClusterRouter().choose(X), "not fitted"),
        (lambda: router.score(table.select_models(["m0"]), vectors=X), "no scores of 'm1'"),
    ):
        with pytest.raises(RouterError, match=message):
            call()
    assert router.choose(np.empty((0, 8))).shape == (0,)


def test_a_model_nobody_measured_is_an_error() -> None:
    table = ScoreTable(["a", "b"], ["x", "y"], [[1, np.nan], [0, np.nan]])
    with pytest.raises(RouterError, match="no score is known of 'y'"):
        ClusterRouter(n_clusters=1).fit(table, vectors=[[1, 0], [0, 1]])


@pytest.mark.parametrize("n_clusters", [1, "auto"])
def test_one_row_and_one_model_work(n_clusters: int | str) -> None:
    router = ClusterRouter(n_clusters=n_clusters).fit(ScoreTable(["a"], ["x"], [[0.5]]), vectors=[[1, 0]])
    assert router.route_vector([1, 0]).chosen == ("x",)
    assert router.route_vector([0, 1]).chosen == ("x",)


def test_duplicate_queries_give_fewer_clusters_and_say_so() -> None:
    table = ScoreTable(["same"] * 6, ["x", "y"], [[1, 0]] * 6)
    with pytest.warns(UserWarning, match="1 clusters instead of 3"):
        router = ClusterRouter(n_clusters=3).fit(table, vectors=[[1, 0]] * 6)
    assert router.n_clusters_ == 1


def test_add_update_and_remove_models() -> None:
    table, X, _, centres = blobs()
    router = ClusterRouter(n_clusters=4).fit(table.select_models(["m0", "m1", "m2"]), vectors=X)
    clusters = router.centroids_.copy()
    router.add_model("m3", table, vectors=X)
    whole = ClusterRouter(n_clusters=4).fit(table, vectors=X)
    assert (router.centroids_ == clusters).all()
    assert (router.choose(X) == whole.choose(X)).all()
    with pytest.raises(RouterError, match="has 'm3' already"):
        router.add_model("m3", table, vectors=X)
    with pytest.raises(RouterError, match="no score of 'm9'"):
        router.add_model("m9", table, vectors=X)
    # enough rows that say m1 is right on blob 0 and m0 wrong turn the decision there
    n = 200
    news = ScoreTable([f"new {i}" for i in range(n)], ["m1", "m0"], [[1, 0]] * n)
    before = router.cluster_counts_.sum()
    router.update(news, vectors=np.tile(centres[0], (n, 1)))
    assert router.route_vector(centres[0]).chosen == ("m1",)
    assert router.cluster_counts_.sum() == before + 2 * n
    assert router.seen(["new 3", "never"]).tolist() == [True, False]
    with pytest.raises(RouterError, match="does not know 'zz'"):
        router.update(ScoreTable(["q"], ["zz"], [[1]]), vectors=[centres[0]])
    router.remove_model("m1")
    assert router.models_ == ["m0", "m2", "m3"]
    assert router.route_vector(centres[1]).chosen[0] in router.models_
    router.remove_model("m0")
    router.remove_model("m2")
    with pytest.raises(RouterError, match="only model"):
        router.remove_model("m3")


def test_update_equals_a_fit_on_all_rows_with_the_same_clusters() -> None:
    table, X, _, _ = blobs(per=40)
    half = np.arange(len(table)) % 2 == 0
    router = ClusterRouter(n_clusters=4).fit(table.select_rows(half), vectors=X[half])
    router.update(table.select_rows(~half), vectors=X[~half])
    whole = ClusterRouter(n_clusters=4).fit(table, vectors=X)
    match = whole.assign(router.centroids_)
    assert router.cluster_scores_ == pytest.approx(whole.cluster_scores_[match], abs=1e-6)


def test_the_linear_part_follows_an_update() -> None:
    table, X, _, _ = blobs(per=60, noise=0.4)
    router = ClusterRouter(linear_weight=0.5).fit(table, vectors=X)
    flipped = ScoreTable(
        [f"f{i}" for i in range(len(X) * 3)], table.models, np.tile(1 - table.scores, (3, 1))
    )
    before = router.fitted_.linear.weights.copy()
    router.update(flipped, vectors=np.tile(X, (3, 1)))
    assert (before * router.fitted_.linear.weights).sum() < (before * before).sum() * 0.5


def test_scores_by_task_follow_every_change() -> None:
    table, X, label, _ = blobs()
    router = ClusterRouter(n_clusters=4).fit(table.select_models(["m0", "m1", "m2"]), vectors=X)
    by_task = np.array([table.scores[label % 2 == t].mean(axis=0) for t in (0, 1)])
    assert router.task_scores_ == pytest.approx(by_task[:, :3])
    router.add_model("m3", table, vectors=X)
    assert router.task_scores_ == pytest.approx(by_task)
    router.update(ScoreTable(["n"], ["m1"], [[0.25]], tasks=["another"]), vectors=X[:1])
    assert router.task_scores_[0] == pytest.approx([np.nan, 0.25, np.nan, np.nan], nan_ok=True)
    assert router.task_scores_[1:] == pytest.approx(by_task)
    router.remove_model("m0")
    assert router.task_scores_[1:] == pytest.approx(by_task[:, 1:])


def test_the_linear_part_has_a_share_when_scores_are_linear() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1500, 12))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    scores = (rng.random((1500, 2)) < 0.5 + 1.2 * X[:, :2]).astype(float)
    router = ClusterRouter().fit(ScoreTable([f"q{i}" for i in range(1500)], ["a", "b"], scores), vectors=X)
    assert router.linear_share_ > 0.3
    assert ClusterRouter(linear_weight=0.25).fit(
        ScoreTable([f"q{i}" for i in range(1500)], ["a", "b"], scores), vectors=X
    ).linear_share_ == pytest.approx(0.25)


def test_select_models_counts_clusters_topped() -> None:
    table = ScoreTable(
        list("abcdef"),
        ["half", "one", "never"],
        [[1, 0, 0.9], [1, 0, 0.9], [1, 0, 0.9], [1, 0, 0.9], [0, 1, 0.9], [0, 1, 0.9]],
    )
    X = [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]]
    router = ClusterRouter(n_clusters=3, prior_strength=0).fit(table, vectors=X)
    assert router.select_models(2, rule="leaders") == ["half", "one"]
    assert router.select_models(3, rule="leaders") == ["half", "one", "never"]


def test_explanation_prints_why() -> None:
    table, X, _, _ = blobs()
    router = ClusterRouter(n_clusters=4).fit(table, vectors=X)
    explanation = router.explain_vector(X[0], query="what is it?")
    text = str(explanation)
    assert text.splitlines()[0] == "Query: what is it?"
    assert "→ m0" in text
    assert "chosen" in text
    json.dumps(explanation.to_dict(), allow_nan=False)


async def test_embedding_normalises_checks_and_keeps_order() -> None:
    embedder = DeterministicFakeEmbedding(size=16)
    queries = [f"q{i % 7}" for i in range(20)]
    table = ScoreTable(queries, ["x", "y"], RNG.integers(0, 2, (20, 2)))
    router = ClusterRouter(n_clusters=3).fit(table, embedder)
    assert np.linalg.norm(router.embed_many(queries), axis=1) == pytest.approx(1, abs=1e-5)
    assert (router.embed_many(queries)[13] == router.embed_many(["q6"])[0]).all()
    assert (await router.aembed("hello") == router.embed("hello")).all()
    assert await router.aroute("hello") == router.route("hello") == router.route_many(["a", "hello"])[1]
    assert router.route_many([]) == []
    assert router.embeddings_name == "DeterministicFakeEmbedding"


def test_copies_decide_alike() -> None:
    table, X, _, _ = blobs()
    router = ClusterRouter().fit(table, DeterministicFakeEmbedding(size=8), vectors=X)
    for twin in (deepcopy(router), pickle.loads(pickle.dumps(router))):
        assert twin.fingerprint_ == router.fingerprint_
        assert twin.route_vector(X[3]) == router.route_vector(X[3])


def test_parameters_as_in_scikit_learn() -> None:
    from sklearn.base import clone

    router = ClusterRouter(n_clusters=7, beta=2.0)
    assert clone(router).get_params() == router.get_params()
    assert router.set_params(beta=3.0).beta == 3.0
    assert repr(router) == "ClusterRouter(n_clusters=7, beta=3.0)"
    with pytest.raises(RouterError, match="unknown parameter 'gamma'"):
        router.set_params(gamma=1)


def test_a_wrong_embedder_is_refused_when_asked_to_route() -> None:
    table, _, _, _ = blobs()
    router = ClusterRouter(n_clusters=2).fit(table, DeterministicFakeEmbedding(size=8))
    with pytest.raises(ArtifactError, match="gives 9 dimensions"):
        check_embedder(DeterministicFakeEmbedding(size=9), router.fitted_.embedder, router.fitted_.width)


def test_a_joining_model_of_few_rows_is_expected_at_the_clusters_level() -> None:
    """Two models, one 0.2 above the other in both clusters: nothing sets models apart but a margin."""
    counts = np.array([[100.0, 100.0], [100.0, 100.0]])
    means = np.array([[0.9, 0.7], [0.4, 0.2]])
    pool = ClusterStats(counts, counts * means, counts * means, *np.zeros((4, 2, 2)))
    # five rows, all in the easy cluster, where it stands a tenth below the level of 0.8
    rows = np.array([[5.0], [0.0]])
    joining = ClusterStats(rows, rows * 0.7, rows * 0.7, *np.zeros((4, 2, 1)))
    lent = pool.prior_from_pool(joining)
    assert lent.lent_counts.tolist() == [[5.0], [5.0]]  # as many rows as its own, no more
    np.testing.assert_allclose(lent.means(0.0)[:, 0], [0.7, 0.2], atol=0.01)
    # the global mean alone would call it 0.7 in the hard cluster, above every other model
    assert joining.means(0.0)[1, 0] == pytest.approx(0.7)


def test_what_the_pool_lends_gives_way_to_rows() -> None:
    table, X, _, _ = blobs(4, 300)
    router = ClusterRouter(n_clusters=4).fit(table.select_models(table.models[:2]), vectors=X)
    name = table.models[2]
    router.add_model(name, table.select_models([name]), vectors=X)
    whole = ClusterRouter(n_clusters=4).fit(table, vectors=X)
    place = whole.assign(router.centroids_)  # the same clusters under other numbers
    np.testing.assert_allclose(router.cluster_scores_[:, 2], whole.cluster_scores_[place, 2], atol=0.06)


def test_a_pool_of_one_model_lends_nothing() -> None:
    stats = ClusterStats(*np.ones((7, 2, 1)))
    joining = ClusterStats(*np.zeros((7, 2, 1)))
    assert stats.prior_from_pool(joining) is joining


def test_queries_the_embedder_cannot_tell_apart_are_warned_of() -> None:
    class Cut(DeterministicFakeEmbedding):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return super().embed_documents([text[:10] for text in texts])

    table = ScoreTable([f"Here are five examples. {i}" for i in range(9)], ["a", "b"], np.ones((9, 2)))
    with pytest.warns(UserWarning, match="9 different queries have only 1 different vectors"):
        ClusterRouter().fit(table, Cut(size=8))


def test_rows_are_no_table() -> None:
    with pytest.raises(RouterError, match=r"fit takes a ScoreTable, not a list: ScoreTable.from_rows"):
        ClusterRouter().fit([{"query": "x", "scores": {"a": 1.0}}])  # type: ignore[arg-type]


async def test_half_a_character_is_embedded_as_one_that_stands_for_it(tmp_path: Path) -> None:
    class Strict(DeterministicFakeEmbedding):
        """As tokenizers do, refuses what UTF-8 has no place for."""

        def embed_query(self, text: str) -> list[float]:
            text.encode()
            return super().embed_query(text)

    table = ScoreTable([f"q{i} \ud83d" for i in range(6)], ["x", "y"], np.eye(6, 2))
    router = ClusterRouter(n_clusters=2).fit(table, Strict(size=8))
    assert router.route("how \ud83d") == await router.aroute("how \ud83d") == router.route("how \ufffd")
    assert router.seen(["q1 \ud83d", "q1"]).tolist() == [True, False]
    router.update(table)
    router.save(tmp_path)
    assert ClusterRouter.load(tmp_path).fingerprint_ == router.fingerprint_
    for wrong in (
        ScoreTable(["q"], ["x", "y"], [[1, 0]], tasks=["t\ud83d"]),
        ScoreTable(["q"], ["x", "y\ud83d"], [[1, 0]]),
    ):
        with pytest.raises(RouterError, match="holds half a character"):
            ClusterRouter(n_clusters=1).fit(wrong, vectors=[[1.0, 0.0]])
    with pytest.raises(RouterError, match="holds half a character"):
        router.update(ScoreTable(["q"], ["x"], [[1]], tasks=["t\ud83d"]))
    with pytest.raises(RouterError, match="holds half a character"):
        router.add_model("z\ud83d", ScoreTable(["q"], ["z\ud83d"], [[1]]))


@pytest.mark.parametrize("params", [{}, {"top_k": 2}, {"linear_weight": 0.3}, {"novelty_quantile": 0.9}])
@pytest.mark.parametrize("width", [3, 64, 1024])
def test_choose_and_route_vector_agree_however_close_it_is(params: dict, width: int) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((160, width)).astype(np.float32)
    table = ScoreTable([f"q{i}" for i in range(160)], list("abcd"), rng.integers(0, 2, (160, 4)))
    router = ClusterRouter(**{"n_clusters": 12, "novelty_quantile": None, **params}).fit(table, vectors=X)
    centroids = router.centroids_.astype(np.float64)
    # as far from one centroid as from another, to the last digit and around it
    one, two = centroids[rng.integers(0, 12, 300)], centroids[rng.integers(0, 12, 300)]
    length = np.linalg.norm(one - two, axis=1, keepdims=True) + 1e-12
    across = (one - two) / length
    share = ((one**2).sum(1) - (two**2).sum(1))[:, None] / 2 / length
    along = 0.02 * rng.standard_normal((300, width)) + one + two
    along -= (along * across).sum(1, keepdims=True) * across
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    between = (share * across + np.sqrt(1 - share**2) * along) * 10.0 ** rng.integers(-3, 4, (300, 1))
    vectors = np.nextafter(between.astype(np.float32), rng.choice([-np.inf, np.inf], 300)[:, None]).astype(
        "f4"
    )
    chosen = router.choose(vectors)
    assert [router.models_[m] for m in chosen] == [router.route_vector(v).chosen[0] for v in vectors]
    assert (chosen[:7] == router.choose(vectors[:7])).all(), "whatever the size of the batch"


def test_a_decision_says_why() -> None:
    table, X, _, _ = blobs()
    router = ClusterRouter(n_clusters=4, novelty_quantile=1.0).fit(table, vectors=X)
    best = table.models[int(table.scores.mean(axis=0).argmax())]
    reasons = set()
    for x in X[::7]:
        decision = router.route_vector(x)
        assert decision.best_overall == best
        assert RoutingDecision.from_dict(decision.to_dict()) == decision
        if decision.chosen[0] == best:
            assert decision.reason == f"{best} is the best here and over all rows"
        else:
            assert f"points above {best}, the best over all rows" in decision.reason
        reasons.add(decision.chosen[0] == best)
    assert reasons == {True, False}
    assert router.route_vector(-X.mean(axis=0)).reason.startswith("far from every calibration query")
    others = [name for name in table.models if name != best]
    assert router.route_vector(X[0], models=others).best_overall in others
