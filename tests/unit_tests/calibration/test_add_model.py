from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import Embeddings

from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.calibration.add_model import _shares, add_model, budget_rows, choose_rows
from langchain_avengers.calibration.runner import calibrate
from langchain_avengers.errors import CalibrationError, PoolError, RouterError
from tests.unit_tests.calibration.test_runner import Model, model


class Places(Embeddings):
    """Questions of one kind lie near each other."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        numbers = [int(text[1:]) if text[1:].isdigit() else 0 for text in texts]
        return [[1.0, 0.0, number % 7 / 50] if number < 30 else [0.0, 1.0, 0.1] for number in numbers]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


ROWS = [{"query": f"q{i}", "answer": str(i)} for i in range(40)]


@pytest.fixture
def calibrated(tmp_path: Path) -> tuple[ClusterRouter, Path]:
    models = {
        "a": model(wrong={f"q{i}" for i in range(0, 40, 2)}),
        "b": model(wrong={f"q{i}" for i in range(30)}),
    }
    table = calibrate(models, ROWS, out=tmp_path / "table")
    return ClusterRouter(n_clusters=2).fit(table, Places()), tmp_path / "table"


def test_only_the_new_model_is_asked_and_only_within_budget(calibrated: tuple[ClusterRouter, Path]) -> None:
    router, folder = calibrated
    new, bystander = model(), model()
    table = add_model(router, "new", {"a": bystander, "new": new}, folder, budget=8)
    assert router.models_ == ["a", "b", "new"]
    assert len(new.calls) == len(table) <= 8
    assert bystander.calls == []
    assert router.route("q2").chosen == ("new",)
    with pytest.raises(RouterError, match="has 'new' already, by 8 questions"):
        add_model(router, "new", {"new": new}, folder)
    with pytest.raises(RouterError, match="has 'a' already, and not by add-model"):
        add_model(router, "a", {"a": bystander}, folder)
    assert bystander.calls == []


def test_a_larger_budget_adds_to_a_model_that_the_router_has(calibrated: tuple[ClusterRouter, Path]) -> None:
    router, folder = calibrated
    new = model()
    add_model(router, "new", {"new": new}, folder, budget=6)
    assert len(add_model(router, "new", {"new": new}, folder, budget=15)) == 15
    assert (len(new.calls), len(set(new.calls))) == (15, 15)
    assert router.models_ == ["a", "b", "new"]
    once = ClusterRouter.load(_saved(router, folder), embeddings=Places())
    assert once.cluster_counts_[:, 2].sum() == 15


def _saved(router: ClusterRouter, folder: Path) -> Path:
    router.save(folder / "router")
    return folder / "router"


def test_an_interrupted_onboarding_asks_nothing_twice(calibrated: tuple[ClusterRouter, Path]) -> None:
    router, folder = calibrated

    class Failing(Model):
        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            if len(self.calls) >= 3:
                raise type("DownError", (Exception,), {"status_code": 401})("down")
            return super()._generate(*args, **kwargs)

    first = Failing(calls=[], script=[])
    with pytest.warns(UserWarning, match="not everything was measured"):
        add_model(router, "new", {"new": first}, folder, budget=10, max_concurrency=1)
    router.remove_model("new")
    second = model()
    table = add_model(router, "new", {"new": second}, folder, budget=10)
    assert len(table) == 10
    assert not {*first.calls[:3]} & {*second.calls}


def test_a_larger_budget_adds_to_what_was_asked(calibrated: tuple[ClusterRouter, Path]) -> None:
    router, folder = calibrated
    few, more = model(), model()
    add_model(router, "new", {"new": few}, folder, budget=6)
    router.remove_model("new")
    table = add_model(router, "new", {"new": more}, folder, budget=15, seed=9)
    assert len(table) == 15
    assert (len(few.calls), len(more.calls)) == (6, 9)
    assert not {*few.calls} & {*more.calls}
    router.remove_model("new")
    assert len(add_model(router, "new", {"new": more}, folder, budget=3)) == 15  # what is paid for counts


def test_choice_keeps_to_the_budget_and_reaches_every_cluster() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(200, 4))
    table = ScoreTable([f"q{i}" for i in range(200)], ["a", "b"], rng.integers(0, 2, (200, 2)))
    router = ClusterRouter(n_clusters=5).fit(table, vectors=vectors)
    labels = router.assign(vectors)
    for budget in (5, 20, 0.25, 500):
        rows = choose_rows(router, table, budget, vectors=vectors)
        assert len(rows) == len(set(rows.tolist())) <= budget_rows(budget, 200)
        assert set(labels[rows]) == set(range(5))
    assert (
        choose_rows(router, table, 20, vectors=vectors).tolist()
        == choose_rows(router, table, 20, vectors=vectors).tolist()
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(1, 80))
def test_shares_of_the_budget(labels: list[int], budget: int) -> None:
    shares = _shares(np.array(labels), budget)
    assert sum(shares.values()) <= budget
    assert all(1 <= count <= labels.count(cluster) for cluster, count in shares.items())
    if budget >= len(set(labels)):
        assert set(shares) == set(labels)


def test_errors(calibrated: tuple[ClusterRouter, Path], tmp_path: Path) -> None:
    router, folder = calibrated
    with pytest.raises(PoolError, match="no model 'x' was given; there are y"):
        add_model(router, "x", {"y": model()}, folder)
    with pytest.raises(CalibrationError, match="holds no calibration store"):
        add_model(router, "x", {"x": model()}, tmp_path / "none")
    with pytest.raises(CalibrationError, match="budget must be positive"):
        add_model(router, "x", {"x": model()}, folder, budget=0)
