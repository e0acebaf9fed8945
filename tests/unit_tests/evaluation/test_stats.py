"""The bootstrap against scipy, and its coverage by simulation."""

import numpy as np
import pytest
from scipy import stats

from langchain_avengers.evaluation.stats import (
    Estimate,
    cost_estimate,
    difference_estimate,
    gain_estimate,
    interval,
    mean_estimate,
    over_strata,
    over_tasks,
    rows_to_tell,
    saving_estimate,
    stratum_means,
)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_percentile_interval_agrees_with_scipy(rng):
    ours = rng.binomial(1, 0.6, 400).astype(float)
    theirs = np.where(rng.random(400) < 0.7, ours, 1 - ours)
    _, resampled = stratum_means((ours - theirs)[:, None], np.zeros(400, int), n_boot=20_000, seed=1)
    low, high = interval(resampled[0, :, 0])
    expected = stats.bootstrap(
        (ours, theirs),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=2.6e-3)  # a row is 1/400


def test_standard_error_is_that_of_a_stratified_mean(rng):
    strata = np.repeat([0, 1, 2], [50, 200, 800])
    values = rng.normal(strata, 1 + strata)
    means, resampled = stratum_means(values[:, None], strata, n_boot=8000)
    exact = np.sqrt(sum(values[strata == s].var() / (strata == s).sum() for s in range(3))) / 3
    assert over_strata(means)[0] == pytest.approx(np.mean([values[strata == s].mean() for s in range(3)]))
    assert over_strata(resampled).std() == pytest.approx(exact, rel=0.03)


def test_the_95_percent_interval_covers_the_truth_about_95_times_in_100(rng):
    truth, covered, runs = 0.1, 0, 300
    for run in range(runs):
        ours = rng.random(150) < 0.6
        theirs = rng.random(150) < 0.5
        _, resampled = stratum_means((ours * 1.0 - theirs)[:, None], np.zeros(150, int), n_boot=400, seed=run)
        low, high = interval(resampled[0, :, 0])
        covered += low <= truth <= high
    assert stats.binomtest(covered, runs, 0.95).pvalue > 1e-3


def test_both_columns_see_the_same_rows(rng):
    values = rng.random(60)
    _, resampled = stratum_means(np.column_stack([values, values + 1]), np.repeat([0, 1], 30), n_boot=50)
    np.testing.assert_allclose(resampled[..., 1] - resampled[..., 0], 1)


def test_unmeasured_rows_are_left_out_not_counted_as_zero():
    values = np.array([[1.0], [np.nan], [1.0], [np.nan]])
    means, resampled = stratum_means(values, np.array([0, 0, 2, 3]), n_boot=200)
    assert means[:, 0].tolist() == pytest.approx([1, np.nan, 1, np.nan], nan_ok=True)
    assert set(resampled[0, :, 0][~np.isnan(resampled[0, :, 0])]) == {1.0}
    assert over_strata(means)[0] == 1


def test_blocks_do_not_change_what_is_drawn(monkeypatch, rng):
    values, strata = rng.random((40, 2)), np.repeat([0, 1], 20)
    whole = stratum_means(values, strata, n_boot=64, seed=5)[1]
    monkeypatch.setattr("langchain_avengers.evaluation.stats._CELLS", 100)
    np.testing.assert_allclose(stratum_means(values, strata, n_boot=64, seed=5)[1], whole)


def test_estimate_prints_and_knows_its_sign():
    estimate = Estimate.of(0.012, [0.003, 0.01, 0.02], confidence=0.9)
    assert estimate.sign == 1
    assert Estimate(0.0, -0.1, 0.1).sign == 0
    assert Estimate(-0.2, -0.3, -0.1).sign == -1
    assert estimate.points(signed=True).startswith("+1.20 [+0.")
    nothing = Estimate.of(float("nan"), [])
    assert nothing.to_dict() == {"value": None, "low": None, "high": None}
    assert (nothing.points(), nothing.sign, nothing.known) == ("-", 0, False)


@pytest.mark.parametrize(
    ("sizes", "ours", "theirs"),
    [
        ([20], 0.7, 0.6),
        ([2] * 20, 0.7, 0.6),
        ([1] * 20, 0.7, 0.6),
        ([40] * 5, 0.985, 0.975),
        ([200, 5, 1], 0.8, 0.6),
    ],
)
def test_intervals_cover_when_rows_are_few(sizes, ours, theirs):
    rng = np.random.default_rng(5)
    tasks = np.repeat(np.arange(len(sizes)), sizes)
    covered, runs = np.zeros(2), 300
    for _ in range(runs):
        x, y = rng.random(len(tasks)), rng.random(len(tasks))
        y = np.where(rng.random(len(tasks)) < 0.6, x, y)
        a, b = (x < ours).astype(float), (y < theirs).astype(float)
        mean, difference = mean_estimate(a, tasks), difference_estimate(a, b, tasks)
        covered += mean.low <= ours <= mean.high, difference.low <= ours - theirs <= difference.high
    assert (covered / runs >= 0.93).all(), covered / runs


def test_one_task_of_many_rows_has_the_exact_interval():
    values = np.r_[np.ones(180), np.zeros(20)]
    found = mean_estimate(values, np.zeros(200))
    low, high = stats.binomtest(180, 200).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((low, high), abs=2e-3)


def test_a_difference_of_nothing_has_an_interval_of_some_width():
    same = np.ones(20)
    found = difference_estimate(same, same, np.arange(20))
    assert found.value == 0
    assert found.low < -0.05 < 0.05 < found.high
    assert not difference_estimate([np.nan], [1.0], [0]).known


def test_gains_and_savings_have_the_sign_of_their_difference():
    rng = np.random.default_rng(2)
    tasks = np.repeat([0, 1], 200)
    ours, theirs = (rng.random(400) < 0.8).astype(float), (rng.random(400) < 0.5).astype(float)
    gain = gain_estimate(ours, theirs, tasks)
    assert gain.value == pytest.approx(over_tasks(ours, tasks) / over_tasks(theirs, tasks) - 1)
    assert gain.sign == difference_estimate(ours, theirs, tasks).sign == 1
    price = rng.lognormal(size=400)
    saving = saving_estimate(0.5 * price, price, tasks)
    assert (saving.value, saving.low, saving.high) == pytest.approx((0.5, 0.5, 0.5)), "paired: no spread"
    dear = cost_estimate(price, tasks)
    assert 0 < dear.low < dear.value < dear.high
    assert not saving_estimate([1.0, 2.0], [0.0, 0.0], [0, 0]).known
    assert not gain_estimate([1.0], [0.0], [0]).known


def test_rows_to_tell_narrow_the_interval_enough():
    assert rows_to_tell(Estimate(0.01, -0.03, 0.05), 100, 0.02) == 1500, "0.01 from 0 and from 0.02"
    assert rows_to_tell(Estimate(-0.02, -0.06, 0.02), 100, 0.02) == 1, "as good as told"
