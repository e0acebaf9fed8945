"""The learned vote: what it learns from answers whose errors are known, and that it goes through JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from langchain_core.messages import AIMessage

from langchain_avengers.voting.policy import NEVER, Ballots, Plan, VotePolicy, log_odds, rounds
from langchain_avengers.voting.policy_fitting import MIN_ROWS, RecordedAnswers, fit_policy
from langchain_avengers.voting.voters import MajorityVoter, Sample, resolve_voter

NAMES = ("good", "fair", "copy", "poor")


def recorded(
    n: int = 800, *, accuracy: tuple[float, ...] = (0.62, 0.58, 0.58, 0.5), draws: int = 1
) -> RecordedAnswers:
    """Answers among four; class 0 is right. `copy` says what `fair` says, in nine cases of ten."""
    rng = np.random.default_rng(0)
    m = len(accuracy)
    right = rng.random((n, m, draws)) < np.array(accuracy)[None, :, None]
    labels = np.where(right, 0, rng.integers(1, 4, (n, m, draws)))
    if m > 2:
        same = rng.random(n) < 0.9
        labels[same, 2] = labels[same, 1]
    scores = (labels == 0).astype(float)
    # classes are numbered by first appearance, as in the package
    for row in labels.reshape(n, -1):
        names: dict[int, int] = {}
        row[:] = [names.setdefault(label, len(names)) for label in row.tolist()]
    return RecordedAnswers(labels, scores, np.tile(accuracy, (n, 1)))


def folds(n: int) -> np.ndarray:
    return np.arange(n) % 4


@pytest.fixture(scope="module")
def policy() -> VotePolicy:
    fitted = fit_policy(NAMES, recorded(), folds(800))
    assert fitted is not None
    return fitted


def test_a_vote_of_independent_models_beats_the_best_of_them(policy: VotePolicy) -> None:
    plan = policy.plans[0]
    assert policy.single == "good"
    assert plan.most > 1
    assert plan.score > policy.single_score + 0.03
    assert plan.gain > 1.96 * plan.stderr
    assert "first, for" in policy.summary


def test_a_model_that_repeats_another_adds_little(policy: VotePolicy) -> None:
    expected = dict(zip(NAMES, (0.62, 0.58, 0.58, 0.5), strict=True))
    alone = policy.chances(expected, [("good", 0), ("fair", 1)])
    copied = policy.chances(expected, [("good", 0), ("fair", 1), ("copy", 1)])
    joined = policy.chances(expected, [("good", 0), ("fair", 0), ("copy", 1)])
    assert alone[0] > alone[1]
    assert joined[0] > copied[1]


def test_chances_are_those_of_being_right(policy: VotePolicy) -> None:
    answers = recorded()
    chances = policy.weights.chances(Ballots.of(answers.labels, answers.expected))
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-9)
    best = chances[:, :-1].argmax(axis=1)
    right = np.array([answers.scores[i][answers.labels[i] == label].mean() for i, label in enumerate(best)])
    sure = np.array([policy.calibrated(chances[i, label], 4) for i, label in enumerate(best)])
    assert abs(sure.mean() - right.mean()) < 0.03
    assert right[sure > np.median(sure)].mean() > right[sure <= np.median(sure)].mean() + 0.2


def test_one_strong_model_among_weak_ones_stays_alone() -> None:
    fitted = fit_policy(NAMES, recorded(accuracy=(0.95, 0.3, 0.3, 0.3)), folds(800))
    assert fitted is not None
    assert fitted.plans[0].only == "good" or fitted.plans[0].most == 1
    assert "alone" in fitted.summary


def test_several_answers_of_one_model() -> None:
    fitted = fit_policy(["good"], recorded(accuracy=(0.6,), draws=5), folds(800))
    assert fitted is not None
    assert fitted.draws == (5,)
    assert fitted.plans[0].most > 1
    some = fitted.chances({"good": 0.6}, [("good", 0), ("good", 0), ("good", 1)])
    more = fitted.chances({"good": 0.6}, [("good", 0), ("good", 0), ("good", 0)])
    assert more[0] > some[0] > some[1]


def test_too_few_rows_teach_nothing() -> None:
    answers = recorded(MIN_ROWS - 1)
    assert fit_policy(NAMES, answers, folds(len(answers))) is None
    unread = replace(recorded(), labels=np.full((800, 4, 1), -1))
    assert fit_policy(NAMES, unread, folds(800)) is None


def test_it_goes_through_json(policy: VotePolicy) -> None:
    back = VotePolicy.from_dict(json.loads(json.dumps(policy.to_dict())))
    assert back.to_dict() == policy.to_dict()
    asked = [("good", 0), ("poor", 1)]
    assert back.chances({"good": 0.6, "poor": 0.3}, asked) == policy.chances(
        {"good": 0.6, "poor": 0.3}, asked
    )


@pytest.mark.parametrize("part", ["weights", "plans", "calibration"])
def test_a_damaged_policy_is_refused(policy: VotePolicy, part: str) -> None:
    data = json.loads(json.dumps(policy.to_dict()))
    data[part] = {
        "weights": {**data["weights"], "shared": [1.0]},
        "plans": [{"last": 3}],
        "calibration": [1.0],
    }[part]
    with pytest.raises((ValueError, TypeError)):
        VotePolicy.from_dict(data)


def test_a_model_that_joined_later_votes_too(policy: VotePolicy) -> None:
    strong = policy.chances({"good": 0.6, "new": 0.9}, [("good", 0), ("new", 1)])
    weak = policy.chances({"good": 0.6, "new": 0.1}, [("good", 0), ("new", 1)])
    assert len(strong) == 2
    assert np.isfinite([*strong, *weak]).all()


def test_an_answer_that_cannot_be_read_gives_no_class(policy: VotePolicy) -> None:
    assert policy.chances({"good": 0.6}, [("good", -1)]) == []
    silent = policy.chances({"good": 0.6, "fair": 0.5}, [("good", 0), ("fair", -1)])
    assert len(silent) == 1


def test_cheaper_plans_ask_less(policy: VotePolicy) -> None:
    first, *cheaper = policy.plans
    assert policy.plan(0.0) == first
    assert all(plan.cost < first.cost for plan in cheaper)
    assert policy.plan(1.0).cost == min(plan.cost for plan in policy.plans)
    costs = [policy.plan(w).cost for w in (0.001, 0.01, 0.1, 0.5)]
    assert costs == sorted(costs, reverse=True)


def test_the_order_of_a_plan() -> None:
    plan = Plan(first=2, most=9, repeat=0.15)
    expected = np.array([0.5, 0.7, 0.1])
    assert plan.order(expected, np.array([2, 2, 1])) == [1, 1, 0, 0, 2]
    assert replace(plan, repeat=0.3).order(expected, np.array([2, 2, 1])) == [1, 0, 1, 0, 2]
    costs = np.array([0.1, 1.0, 0.01])
    assert replace(plan, thrift=1.0).order(expected, np.array([1, 1, 1]), costs) == [0, 2, 1]


def test_rounds() -> None:
    assert rounds(1) == (1,)
    assert rounds(7) == (1, 2, 3, 4, 5, 6, 7)
    plan = Plan(first=3, most=9)
    assert [plan.next_size(n) for n in (0, 1, 3, 6, 8, 9)] == [3, 3, 4, 8, 9, 9]


def test_log_odds_are_finite() -> None:
    assert np.isfinite(log_odds([0.0, 1.0])).all()
    assert NEVER > 1


# -- the voter


def samples(*given: tuple[str, str]) -> list[Sample]:
    scores = dict(zip(NAMES, (0.62, 0.58, 0.58, 0.5), strict=True))
    return [Sample(AIMessage(f"Answer: {text}"), model, scores[model]) for model, text in given]


def test_the_learned_voter_elects_the_most_probable_answer(policy: VotePolicy) -> None:
    voter = resolve_voter("auto", weights="learned", policy=policy)
    vote = voter.vote(samples(("good", "12"), ("fair", "13"), ("poor", "13")))
    chances = policy.chances(
        {"good": 0.62, "fair": 0.58, "poor": 0.5}, [("good", 0), ("fair", 1), ("poor", 1)]
    )
    assert [c.weight for c in vote.tally] == sorted(chances, reverse=True)
    assert vote.confidence == policy.calibrated(max(chances), 3)


def test_a_majority_keeps_its_winner_and_gets_a_confidence(policy: VotePolicy) -> None:
    given = samples(("good", "12"), ("poor", "13"), ("poor", "13"), ("poor", "14"))
    plain, sure = MajorityVoter().vote(given), MajorityVoter(policy=policy).vote(given)
    assert plain.winner == sure.winner
    assert plain.confidence == 0.5
    assert sure.confidence < plain.confidence


def test_learned_weights_need_a_policy() -> None:
    with pytest.raises(ValueError, match="needs a policy"):
        MajorityVoter("learned")
