"""`avengers tune`."""

import json

import pytest

from langchain_avengers import ClusterRouter
from langchain_avengers.cli import main
from tests.unit_tests.routing.test_tuning import pool


@pytest.fixture
def saved(tmp_path):
    table, vectors = pool()
    ClusterRouter(n_clusters=3).fit(table, vectors=vectors).save(tmp_path / "router")
    return tmp_path / "router"


def run(*args):
    with pytest.raises(SystemExit) as ended:
        main([str(arg) for arg in args])
    return ended.value.code


def test_advice_is_shown_and_applied(saved, tmp_path, capsys):
    assert run("tune", saved) == 0
    said = capsys.readouterr()
    assert "cost weight: " in said.out
    assert "saves" in said.out
    assert "held-out score" in said.out
    assert "next: avengers tune" in said.err

    new = tmp_path / "new"
    assert run("tune", saved, "--cost-weight", "advised", "--models", 3, "--out", new, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert set(data["models"]) == {"a", "b", "c"}
    assert len(data["subsets"]) == 4
    applied = ClusterRouter.load(new)
    assert applied.cost_weight == data["cost_advice"]["cost_weight"] > 0
    assert set(applied.models_) == {"a", "b", "c"}
    assert set(ClusterRouter.load(saved).models_) == {"a", "b", "c", "all-round"}, "the first one stays"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--models", "2"], "need --out"),
        (["--cost-weight", "much", "--out", "new"], "'much'"),
        (["--rule", "best"], "greedy or leaders"),
    ],
)
def test_what_cannot_be_is_refused(saved, tmp_path, monkeypatch, capsys, args, says):
    monkeypatch.chdir(tmp_path)
    assert run("tune", saved, *args) == 2
    assert says in capsys.readouterr().err
