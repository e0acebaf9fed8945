"""Errors of a lead, paired by row."""

import numpy as np
import pytest

from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.routing.pairing import correlations, lead_stderr


def test_correlations_are_those_of_numpy_within_clusters():
    rng = np.random.default_rng(0)
    scores = rng.random((60, 3))
    labels = np.repeat([0, 1, 2], 20)
    apart = scores - np.array([scores[labels == k].mean(axis=0) for k in range(3)])[labels]
    np.testing.assert_allclose(correlations(scores, labels), np.corrcoef(apart.T), atol=1e-12)
    scores[:30, 0] = np.nan
    found = correlations(scores, labels)
    np.testing.assert_allclose(found, found.T)
    assert np.isfinite(found).all()
    assert correlations(np.ones((4, 2)), np.zeros(4, int)).tolist() == [[1, 0], [0, 1]]


def test_paired_error_of_a_lead_is_that_of_the_differences():
    rng = np.random.default_rng(1)
    ease = rng.random(400)
    one, other = (ease < 0.7).astype(float), (ease + rng.normal(0, 0.1, 400) < 0.6).astype(float)
    errors = [x.std(ddof=1) / 20 for x in (one, other)]
    known = correlations(np.column_stack([one, other]), np.zeros(400, int))[0, 1]
    assert lead_stderr(*errors, known) == pytest.approx((one - other).std(ddof=1) / 20)
    assert lead_stderr(*errors, known) < 0.6 * np.hypot(*errors)
    assert np.isnan(lead_stderr(np.nan, 0.1, 0.0))


def test_a_sure_lead_is_kept_on_disk_and_through_changes_of_the_pool(tmp_path):
    rng = np.random.default_rng(2)
    ease = rng.random(200)
    scores = np.column_stack([ease < 0.7, ease < 0.6, rng.random(200) < 0.5]).astype(float)
    table = ScoreTable([f"q{i}" for i in range(200)], ["a", "b", "c"], scores)
    vectors = np.tile([[1.0, 0.0]], (200, 1)) + rng.normal(0, 0.01, (200, 2))
    router = ClusterRouter(n_clusters=1).fit(table, vectors=vectors)
    explained = router.explain_vector(vectors[0])
    assert explained.decision.ranking[0].name == "a"
    assert "either" not in str(explained).split("b ")[1].splitlines()[0], (
        "paired, a leads b in every row that differs"
    )
    assert explained.lead_stderrs["b"] < explained.lead_stderrs["c"]
    router.save(tmp_path / "r")
    again = ClusterRouter.load(tmp_path / "r")
    assert again.explain_vector(vectors[0]).lead_stderrs["b"] == pytest.approx(
        explained.lead_stderrs["b"], rel=0.01
    )
    again.remove_model("c")
    again.add_model("c", table.select_models(["c"]), vectors=vectors)
    known = again.fitted_.calibration.correlations
    assert known.shape == (3, 3)
    assert known[0, 2] == 0
    assert known[0, 1] > 0.5
