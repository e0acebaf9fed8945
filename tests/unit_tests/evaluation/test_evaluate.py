"""`evaluate` on a table small enough to work by hand."""

import json
import warnings

import numpy as np
import pytest

from langchain_avengers import ScoreTable
from langchain_avengers.errors import RouterError, TableError
from langchain_avengers.evaluation import baselines
from langchain_avengers.evaluation.evaluate import NotHeldOutWarning, evaluate
from langchain_avengers.evaluation.pareto import sweep_costs


def test_every_baseline_by_hand(router, table):
    found = evaluate(router, table, n_boot=200)
    acc = {result.name: result.avg_acc.value for result in found.results}
    assert acc == pytest.approx(
        {
            "Router": (1 + 3 / 4) / 2,
            "Random": (3 / 4 + 1 / 2) / 2,
            "Best Single": (1 + 1 / 4) / 2,
            "Max Expert": (1 + 3 / 4) / 2,
            "Oracle": 1.0,
            "x": (1 + 1 / 4) / 2,
            "y": (1 / 2 + 3 / 4) / 2,
        }
    )
    assert found.best_single == "x"
    assert found["Best Single"].difference.value == pytest.approx(0.25)
    assert found["Router"].difference is None
    assert found["Router"].tasks == {"a": 1.0, "b": 0.75}
    assert found.traffic == {"x": 2, "y": 4}
    assert {
        name: metric.value for name, metric in found.metrics.items() if name != "ParetoDist"
    } == pytest.approx(
        {
            "AvgAcc": 0.875,
            "Gain@R": 0.875 / 0.625 - 1,
            "Gain@B": 0.4,
            "Gap@O": 0.125,
            "PerfGain": 0.4,
            "CostSave": 0.75,  # y everywhere is as accurate as x at a quarter of the cost
        }
    )


def test_costs_are_averaged_as_accuracy_is(router, table):
    found = evaluate(router, table, n_boot=50)
    assert found["Router"].cost.value == pytest.approx((0.04 + 0.01) / 2)
    assert found["Oracle"].cost.value == pytest.approx(((0.04 + 0.01) / 2 + (3 * 0.01 + 0.04) / 4) / 2), (
        "cheapest"
    )
    assert found.pareto.keeps.cost_weight >= 0.5
    assert found.pareto.keeps.saving.value == pytest.approx(0.75)


def test_by_task_and_by_cluster(router, table):
    found = evaluate(router, table, n_boot=50)
    assert [part.name for part in found.tasks] == ["a", "b"]
    b = found.tasks[1]
    assert (b.n, b.router, b.best_single, b.chosen, b.chosen_share) == (4, 0.75, 0.25, "y", 1.0)
    assert (b.best, b.best_score, b.difference.value) == ("y", 0.75, 0.5)
    assert [part.n for part in found.clusters] == [2, 4]


def test_rows_seen_in_fitting_warn_and_mark(router, table):
    router.fitted_on = frozenset({"q0", "q5"})
    with pytest.warns(NotHeldOutWarning, match="2 of 6 rows were seen"):
        found = evaluate(router, table, n_boot=50)
    assert (found.held_out, found.in_training_set) == (False, 2)
    assert found.verdict.startswith("NOT HELD OUT")
    assert "2 of 6 rows were seen in fitting" in str(found)
    router.fitted_on = frozenset()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evaluate(router, table, n_boot=50).held_out


def test_rows_seen_in_fitting_can_be_left_out(router, table):
    router.fitted_on = frozenset({"q0", "q5"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluate(router, table, leave_out_seen=True)
    assert (found.held_out, found.n) == (True, 4)
    assert "2 rows that were seen in fitting are left out." in found.notes
    router.fitted_on = frozenset(table.queries)
    with pytest.raises(RouterError, match="every one of these rows"):
        evaluate(router, table, leave_out_seen=True)


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ([0, 1] * 60, "beats Best Single (x) by 50.00 points"),
        ([0] * 120, "no better than Best Single (x): +0.00 points"),
        ([1, 0] * 60, "worse than Best Single (x) by 50.00 points"),
    ],
)
def test_the_verdict_calls_the_router_what_it_is(router, choices, says):
    # x is right on the even rows, y on the odd ones
    scores = [[1, 0], [0, 1]] * 60
    router.choices, router.clusters = choices, [0] * 120
    found = evaluate(router, ScoreTable([f"q{i}" for i in range(120)], ["x", "y"], scores), n_boot=300)
    assert says in found.verdict
    assert found.pareto is None
    assert found.metrics["CostSave"] is None
    assert any("no costs" in note for note in found.notes)


def test_unmeasured_scores_leave_both_sides_of_a_difference(router):
    nan = np.nan
    scores = [[1, 0], [nan, 1], [0, 1], [1, nan], [nan, nan]]
    router.choices = [0, 1, 1, 1, 0]
    router.clusters = [0] * 5
    found = evaluate(router, ScoreTable([f"q{i}" for i in range(5)], ["x", "y"], scores), n_boot=100)
    # router is measured on rows 0, 1, 2; x on rows 0, 2, 3; both on rows 0 and 2
    assert found.n == 4
    assert found["Router"].avg_acc.value == 1
    assert found["Router"].measured == 0.75
    assert found["x"].avg_acc.value == pytest.approx(2 / 3)
    assert found["x"].difference.value == pytest.approx(0.5)
    assert any("1 rows without any score" in note for note in found.notes)
    assert any("not measured" in note for note in found.notes)


def test_models_the_router_lacks_are_left_out_and_models_it_needs_are_asked_for(router, table):
    more = ScoreTable(table.queries, ["z", "y", "x"], np.column_stack([[1.0] * 6, table.scores[:, ::-1]]))
    found = evaluate(router, more, n_boot=50)
    assert "z" not in {result.name for result in found.results}
    assert found["Router"].avg_acc.value == pytest.approx(5 / 6)
    assert any("left out: z" in note for note in found.notes)
    with pytest.raises(RouterError, match="no scores of y"):
        evaluate(router, table.select_models(["x"]))


def test_knn_needs_calibration_rows_and_says_so(router, table):
    without = evaluate(router, table, n_boot=50)
    assert any("kNN left out" in note for note in without.notes)
    with pytest.raises(KeyError):
        without["kNN"]
    angle = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [0.0, 0.9], [0.2, 1.0]])
    choices = baselines.nearest_neighbours(
        angle, angle, np.asarray(table.scores, float), np.array([0, 1]), ks=[2]
    )
    assert choices[0].tolist() == [0, 0, 1, 0, 1, 0], "rows 3 and 5 are each other's neighbours: a tie, so x"
    found = evaluate(
        router, table, calibration=table, calibration_vectors=np.arange(6)[:, None] + 1.0, k=3, n_boot=50
    )
    assert found["kNN"].detail == "k=3"


def test_ties_go_to_the_first_by_name_whatever_the_order_of_columns():
    assert baselines.best_index(np.array([0.5, 0.9, 0.9]), ["a", "c", "b"]) == 2
    with pytest.raises(RouterError):
        baselines.best_index(np.array([np.nan]), ["a"])


def test_ties_of_neighbours_go_to_the_better_model():
    scores = np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    rows = baselines.CalibrationRows(np.eye(4), scores, np.zeros(4, int), ["a", "z"])
    assert rows.order.tolist() == [1, 0]
    assert baselines.knn(rows, np.eye(4)[:1], k=1)[0].tolist() == [1]


def test_learned_baselines_find_what_there_is_to_find():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 6))
    left = vectors[:, 0] > 0
    scores = np.column_stack([left, ~left]).astype(float)
    rows = baselines.CalibrationRows(vectors[:200], scores[:200], np.zeros(200, int), ["x", "y"])
    best = scores[200:].argmax(axis=1)
    for learn in (baselines.knn, baselines.ridge, baselines.strong_weak):
        choices, detail = learn(rows, vectors[200:])
        assert (choices == best).mean() > 0.85, learn.__name__
        assert detail
    three = baselines.CalibrationRows(vectors, np.column_stack([scores, left]), np.zeros(300, int), [*"xyz"])
    assert baselines.strong_weak(three, vectors) is None
    alike = baselines.CalibrationRows(vectors, np.ones((300, 2)), np.zeros(300, int), ["x", "y"])
    assert baselines.strong_weak(alike, vectors) is None


def test_neighbours_are_as_many_as_leave_one_out_finds_best():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(60, 2))
    scores = np.column_stack([vectors[:, 0] > 0.8, vectors[:, 0] <= 0.8]).astype(float)
    rows = baselines.CalibrationRows(vectors, scores, np.zeros(60, int), ["x", "y"])
    assert baselines.knn(rows, vectors)[1] in ("k=3", "k=5", "k=10"), "50 of 60 are nearly all"


def test_the_verdict_says_where_a_baseline_wins(router):
    queries = [f"q{i}" for i in range(240)]
    vectors = np.column_stack([np.arange(240) % 2, 1 - np.arange(240) % 2]).astype(float)
    table = ScoreTable(queries, ["x", "y"], [[1, 0], [0, 1]] * 120)
    router.choices, router.clusters = [0] * 240, [0] * 240
    found = evaluate(router, table, vectors=vectors, calibration=table, calibration_vectors=vectors)
    assert found.outcome == "no better"
    for says in ("kNN (k=3) beats the router by 50.00 points", "Ridge (linear", "Strong/weak (strong: x)"):
        assert says in found.verdict


@pytest.mark.parametrize(
    ("gains", "losses", "ties", "outcome"),
    [
        (60, 10, 30, "better"),
        (10, 60, 30, "worse"),
        (100, 110, 9800, "no better"),
        (3, 2, 15, "too few rows"),
        (5, 0, 0, "too few rows"),
    ],
)
def test_the_verdict_is_one_of_four(router, gains, losses, ties, outcome):
    scores = [[0, 1]] * gains + [[1, 0]] * losses + [[1, 1]] * ties
    router.choices, router.clusters = [1] * len(scores), [0] * len(scores)
    found = evaluate(router, ScoreTable([f"q{i}" for i in range(len(scores))], ["x", "y"], scores), n_boot=1)
    assert found.outcome == outcome
    assert (found.more_rows > 0) == (outcome == "too few rows")
    assert ("more rows are needed" in found.verdict) == (outcome == "too few rows")


def test_oracle_takes_the_cheapest_of_equally_good_answers():
    scores = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.5, np.nan, 0.2]])
    costs = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [np.nan, 0.0, 0.0]])
    assert baselines.oracle(scores, costs).choices.tolist() == [1, 2, 0]


def test_an_evaluation_is_json_and_text(router, table):
    found = evaluate(router, table, n_boot=50)
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["metrics"]["Gain@B"]["value"] == pytest.approx(0.4)
    assert {row["name"] for row in data["results"]} >= {
        "Router",
        "Random",
        "Best Single",
        "Max Expert",
        "Oracle",
    }
    text = str(found)
    assert max(map(len, text.splitlines())) <= 110
    for word in ("beats Best Single (x)", "Gap@O", "By cluster", "kNN left out", "$ / 1000"):
        assert word in text or word.startswith("beats")


def test_the_same_seed_gives_the_same_intervals(router, table):
    assert (
        evaluate(router, table, n_boot=80, seed=4).to_dict()
        == evaluate(router, table, n_boot=80, seed=4).to_dict()
    )


def test_a_front_needs_costs(router, table):
    with pytest.raises(TableError, match="no costs"):
        sweep_costs(router, ScoreTable(table.queries, table.models, table.scores))
    front = sweep_costs(router, table, cost_weights=[0, 1], n_boot=50)
    assert [point.cost_weight for point in front.points] == [0, 1]
    assert "saves 75.0 %" in front.sentence()


def test_the_deployed_vote_is_judged_with_its_answers_and_costs():
    from tests.unit_tests.evaluation.synthetic import fitted, make_table

    table, vectors = make_table(120, seed=1)
    found = evaluate(fitted(), table, vectors=vectors)
    assert found.voted is not None
    voted = found["Routed and voted"]
    assert voted.kind == "router"
    assert f"{found.voted.answers:.1f} answers a query" in voted.detail
    assert voted.cost is not None
    assert found.voted.answers >= 1
    assert voted.cost.value > 0
    assert "Confidence of the vote: off by" in str(found)
    plain, vectors = make_table(120, seed=1, answers=False)
    assert evaluate(fitted(), plain, vectors=vectors).voted is None
