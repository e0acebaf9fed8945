"""Feedback folded into a router: it changes what it should, and only when that is not worse."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette")

from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.errors import RouterError
from langchain_avengers.serving.alarm import changes
from langchain_avengers.serving.exploring import chances
from langchain_avengers.serving.learning import learn
from langchain_avengers.serving.store import JudgedRequest, Store
from tests.fakes import HashEmbeddings
from tests.unit_tests.cli.conftest import Run, embedder, run  # noqa: F401 - fixtures

SUM = "What is {} + {}?"
PLACE = "Which city is the capital of country {}?"


@pytest.fixture
def router() -> ClusterRouter:
    """Calibration was wrong about sums: it saw `lucky` lead by a few rows."""
    rows = [{"query": SUM.format(i, 3), "scores": {"lucky": 1.0, "able": 0.7}} for i in range(10)]
    rows += [{"query": PLACE.format(i), "scores": {"lucky": 0.2, "able": 0.8}} for i in range(10)]
    return ClusterRouter(n_clusters=2, novelty_quantile=None).fit(
        ScoreTable.from_rows(rows), HashEmbeddings()
    )


def judged(count: int, truth: float, *, model: str = "lucky", seed: int = 0) -> list[JudgedRequest]:
    """Judged sums that `model` answered right with probability `truth`."""
    rng = np.random.default_rng(seed)
    return [
        JudgedRequest(f"r{i}", SUM.format(i, 5), model, 1.0, float(rng.random() < truth), (i,))
        for i in range(count)
    ]


def test_feedback_corrects_a_wrong_calibration(router: ClusterRouter) -> None:
    query = SUM.format(4, 5)
    assert router.route(query).chosen == ("lucky",)
    learned, lesson = learn(router, judged(150, 0.1))
    assert lesson.accepted
    assert lesson.difference.low > 0
    assert lesson.departures == 1.0
    assert learned.route(query).chosen == ("able",)
    assert learned.route(PLACE.format(3)).chosen == ("able",)
    assert router.route(query).chosen == ("lucky",)  # the one that serves stays as it is


def test_feedback_that_agrees_changes_nothing(router: ClusterRouter) -> None:
    learned, lesson = learn(router, judged(150, 0.95))
    assert lesson.accepted
    assert lesson.departures == 0.0
    assert lesson.difference.value == 0.0
    assert learned.route(SUM.format(4, 5)).chosen == ("lucky",)


def test_a_worse_router_is_refused(router: ClusterRouter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A router that would depart for a model of which the held-back feedback says that it is worse."""
    good = judged(150, 0.95)
    departs, _ = learn(router, judged(400, 0.0, seed=1))
    monkeypatch.setattr("langchain_avengers.serving.learning._updated", lambda *_: departs)
    kept, lesson = learn(router, good)
    assert not lesson.accepted
    assert lesson.difference.high < 0
    assert "worse and is refused" in lesson.verdict
    assert kept is router


def test_too_little_feedback_says_what_is_needed(router: ClusterRouter) -> None:
    unkept = [
        JudgedRequest("x", None, "lucky", 1.0, 1.0, (900,)),
        JudgedRequest("y", "q", "gone", 1.0, 1.0, (901,)),
    ]
    kept, lesson = learn(router, judged(30, 0.5) + unkept)
    assert kept is router
    assert not lesson.accepted
    assert lesson.verdict.startswith("30 judged requests can be used, and 67 are needed; 2 cannot")
    with pytest.raises(RouterError, match="share between 0 and 1"):
        learn(router, [], held_back=1.5)


def test_the_command(run: Run, embedder: HashEmbeddings, router: ClusterRouter, tmp_path: Path) -> None:  # noqa: F811
    folder, path = tmp_path / "router", tmp_path / "store.sqlite"
    router.save(folder)
    store = Store(path, keep_queries=True)
    about = {
        "model": "lucky", "strategy": "direct", "vote": {"confidence": 1.0}, "cost": None,
        "decision": {"clusters": [[0, 1.0]], "distance": 0.1, "novel": False},
    }  # fmt: skip

    async def fill() -> None:
        for request in judged(150, 0.1):
            await store.record(request.request_id, None, "f", about, str(request.query))
            await store.add_feedback(request.request_id, request.score, None, key_name=None)

    asyncio.run(fill())
    store.close()
    tried = run("learn", folder, "--from", path, "--dry-run")
    assert tried.code == 0, tried.err
    assert "nothing was saved" in tried.err
    done = run("learn", folder, "--from", path, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["accepted"] is True
    learned = ClusterRouter.load(folder, embeddings=HashEmbeddings())
    assert learned.route(SUM.format(4, 5)).chosen == ("able",)
    again = run("learn", folder, "--from", path)  # the same feedback does not count twice
    assert again.code == 1
    assert again.out.startswith("0 judged requests can be used")
    assert run("learn", folder, "--from", tmp_path / "none").code == 1


def test_chances_sum_to_one_and_leave_out_what_is_shown_to_be_worse() -> None:
    ranking = [
        {"name": "best", "score": 0.8, "stderr": 0.02},
        {"name": "near", "score": 0.79, "stderr": 0.02},
        {"name": "worse", "score": 0.5, "stderr": 0.02},
        {"name": "unknown", "score": 0.6, "stderr": None},
    ]
    found = chances(ranking, "best", 0.2)
    assert sum(found.values()) == pytest.approx(1)
    assert found["worse"] == 0
    assert found["best"] > 0.8
    assert 0 < found["near"] < 0.2
    assert 0 < found["unknown"] < 0.2
    assert chances(ranking, "best", 0.0)["best"] == 1
    assert chances(ranking, "best", 0.2) == found


def answers(count: int, truth: float, expected: float, seed: int) -> list[tuple[str, float, float]]:
    right = np.random.default_rng(seed).random(count) < truth
    return [("m", float(each), expected) for each in right]


def test_a_swapped_model_sounds_the_alarm_soon() -> None:
    for seed in range(20):
        stream = answers(2000, 0.7, 0.7, seed) + answers(300, 0.4, 0.7, 100 + seed)
        (change,) = changes(stream)
        assert not change.better
        assert 2000 < change.after <= 2200
        assert 1500 < change.since < change.after
        assert change.shift < -0.05


def test_no_alarm_while_the_expected_score_is_about_right() -> None:
    assert not any(
        changes(answers(5000, truth, 0.7, seed)) for seed in range(10) for truth in (0.66, 0.7, 0.74)
    )


def test_the_alarm_sounds_for_better_models_too() -> None:
    (change,) = changes(answers(600, 0.9, 0.5, 1))
    assert change.better
    assert change.since < 50
