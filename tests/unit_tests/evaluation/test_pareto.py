"""The front and the choice of a weight of cost, with a real router."""

import pytest

from langchain_avengers import ClusterRouter
from langchain_avengers.errors import RouterError, TableError
from langchain_avengers.evaluation.evaluate import evaluate
from langchain_avengers.evaluation.pareto import choose_cost_weight, sweep_costs
from tests.unit_tests.evaluation.synthetic import fitted, make_table


@pytest.fixture(scope="module")
def router():
    return fitted(n_clusters=3)


def test_specialists_keep_the_quality_of_the_dear_all_round_model_for_less(router):
    table, vectors = make_table(240, seed=4)
    front = sweep_costs(router, table, vectors=vectors, n_boot=300)
    assert front.best_single == "maker/all-round"
    assert front.keeps.difference.value >= 0
    assert front.cost_save.low > 0.8, "the specialists cost a tenth or less"
    assert front.perf_gain.sign == 1
    costs = [point.cost for point in front.points]
    assert costs[-1] == min(costs), "weight 1 looks at cost alone"
    assert front.points[0].avg_acc >= max(point.avg_acc for point in front.points) - 0.01
    assert 0 <= front.pareto_dist.value < 0.2


def test_the_weight_is_chosen_on_calibration_rows_by_cross_validation():
    table, vectors = make_table(200, seed=5)
    weight, points = choose_cost_weight(
        ClusterRouter(n_clusters=3), table, vectors=vectors, cost_weights=[0, 0.1, 1]
    )
    by_weight = {point.cost_weight: point for point in points}
    assert by_weight[weight].difference.value >= 0
    assert by_weight[1].difference.value < 0, "the cheapest model alone is worse"
    assert weight in (0, 0.1)


def test_what_is_missing_is_said():
    table, vectors = make_table(30, costs=False)
    with pytest.raises(TableError, match="no costs"):
        choose_cost_weight(ClusterRouter(n_clusters=2), table, vectors=vectors)
    priced, vectors = make_table(30)
    with pytest.raises(RouterError, match="at least 2"):
        choose_cost_weight(ClusterRouter(n_clusters=2), priced, vectors=vectors, folds=1)
    with pytest.raises(TableError, match="fewer than 40 folds"):
        choose_cost_weight(ClusterRouter(n_clusters=2), priced, vectors=vectors, folds=40)


def test_routers_that_know_no_costs_are_still_evaluated():
    table, vectors = make_table(90, seed=6)
    for router, says in (
        (fitted(90, n_clusters=3, costs=False), "knows no cost of maker/algebra"),
        (ClusterRouter(n_clusters=3, scoring="rank").fit(*_fit_rows()), "scoring='rank'"),
    ):
        found = evaluate(router, table, vectors=vectors, n_boot=50)
        assert found.pareto is None
        assert any(says in note for note in found.notes)


def _fit_rows():
    class Given:
        def embed_documents(self, texts):
            return make_table(90)[1].tolist()

        def embed_query(self, text):
            return make_table(90)[1][0].tolist()

    return make_table(90)[0], Given()
