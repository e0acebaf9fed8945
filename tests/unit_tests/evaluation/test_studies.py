"""Studies: what they measure, and that they go on where they were stopped."""

import json

import numpy as np
import pytest

from langchain_avengers import ClusterRouter
from langchain_avengers.errors import RouterError, TableError
from langchain_avengers.evaluation import studies as module
from langchain_avengers.evaluation.studies import ablate
from tests.unit_tests.evaluation.synthetic import MODELS, make_table

FAST = {"n_clusters": 3}


@pytest.fixture(scope="module")
def rows():
    return make_table(180)


def run(rows, studies, **kwargs):
    settings = {"seeds": 2, "n_jobs": 1, "params": FAST, **kwargs}
    return ablate(*rows, studies=studies, **settings)


def test_three_kinds_of_queries_need_three_clusters(rows):
    found = run(rows, ["clusters"], settings={"clusters": [1, 3]}, seeds=8)
    by_label = {row.setting: row for row in found.study("clusters")}
    assert list(by_label) == ["default", "K=1", "K=3"]
    assert by_label["K=1"].avg_acc.value < by_label["K=3"].avg_acc.value - 0.1
    assert by_label["K=1"].difference.sign == -1
    assert by_label["K=3"].difference.value == pytest.approx(0), "K=3 is the default here"
    assert by_label["K=3"].over_best_single.sign == 1
    assert by_label["K=3"].rows_interval.low < by_label["K=3"].rows_interval.value
    assert by_label["K=1"].detail["clusters"] == 1
    assert "default" in str(found)
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_interval_over_seeds_is_students(rows):
    from scipy import stats

    found = run(rows, ["size"], settings={"size": [0.2]}, seeds=4)
    row = found.study("size")[1]
    values = [
        run(rows, ["size"], settings={"size": [0.2]}, seeds=[s]).study("size")[1].avg_acc.value
        for s in range(4)
    ]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (row.avg_acc.value, row.avg_acc.low, row.avg_acc.high) == pytest.approx(
        (np.mean(values), low, high)
    )


def test_automatic_selection_stands_beside_all_subsets(rows):
    found = run(rows, ["models"], settings={"models": [1, 3]})
    three = found.study("models")[2]
    assert three.detail["subsets"] == 10
    assert three.detail["mean_subset"] < three.detail["best_subset"]
    assert three.avg_acc.value == pytest.approx(three.detail["best_subset"], abs=0.02), (
        "it finds the specialists"
    )


def test_other_studies_run(rows):
    small = {"clusterer": ["kmeans", "gmm"], "top_k": [(2, 6.0)], "strategy": ["direct", "all models"]}
    noise = np.random.default_rng(0).normal(size=(180, 4)).astype(np.float32)
    studies = ["clusterer", "scoring", "top_k", "embedder", "strategy"]
    found = run(rows, studies, settings=small, embedders={"noise": noise}, seeds=1)
    assert list(dict.fromkeys(row.study for row in found.rows)) == studies
    blind = found.study("embedder")[1]
    assert blind.avg_acc.value < found.study("embedder")[0].avg_acc.value - 0.1, (
        "an embedder without information"
    )
    direct, everyone = found.study("strategy")[1:]
    assert direct.difference.value == pytest.approx(0)
    assert everyone.detail["cost"] > direct.detail["cost"]
    assert any("One seed" in note for note in found.notes)


def test_a_stopped_study_goes_on(rows, tmp_path, monkeypatch):
    out = tmp_path / "cells.jsonl"
    sizes = {"settings": {"size": [0.2, 0.5]}, "out": out}
    calls = []
    real = module._cells

    def counted(*args):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(module, "_cells", counted)
    with pytest.raises(KeyboardInterrupt):
        run(rows, ["size"], **sizes)
    out.write_text(out.read_text() + '{"key": "half a li')
    with pytest.warns(UserWarning, match="line 4: not a finished cell"):
        found = run(rows, ["size"], **sizes)
    assert (found.reused, found.ran) == (3, 3)
    monkeypatch.setattr(module, "_cells", None)
    again = run(rows, ["size"], **sizes)
    assert (again.reused, again.ran) == (6, 0)
    assert again.rows == found.rows
    assert len(out.read_text().splitlines()) == 6


def test_other_rows_or_vectors_are_other_cells(rows, tmp_path):
    table, vectors = rows
    sizes = {"settings": {"size": [0.5]}, "out": tmp_path / "cells.jsonl", "seeds": 1}
    run(rows, ["size"], **sizes)
    assert run((table, vectors[:, ::-1].copy()), ["size"], **sizes).reused == 0
    assert run((table.select_models(MODELS[:4]), vectors), ["size"], **sizes).reused == 0
    assert run(rows, ["size"], **sizes).reused == 2


def test_processes_give_what_one_process_gives(rows):
    sizes = {"settings": {"size": [0.3]}}
    seen = []
    parallel = run(rows, ["size"], n_jobs=2, on_cell=lambda done, total: seen.append((done, total)), **sizes)
    alone = run(rows, ["size"], **sizes)
    assert [row.avg_acc for row in parallel.rows] == [row.avg_acc for row in alone.rows]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_fixed_test_set_is_used_whole(rows):
    test, test_vectors = make_table(60, seed=9)
    found = run(rows, ["size"], settings={"size": [0.5]}, test=test, test_vectors=test_vectors)
    assert found.study("size")[0].detail["rows"] == 180


def test_embeddings_are_kept(tmp_path):
    table, vectors = make_table(60)

    class Counting:
        model_name = "counting"
        calls = 0

        def embed_documents(self, texts):
            self.calls += 1
            return vectors[: len(texts)].tolist()

    embedder = Counting()
    for _ in range(2):
        ablate(table, embeddings=embedder, studies=["size"], settings={"size": [0.5]}, seeds=1, params=FAST, n_jobs=1,
               cache_dir=tmp_path)  # fmt: skip
    assert embedder.calls == 1
    assert len(list(tmp_path.glob("*.npy"))) == 1


def test_what_cannot_be_studied_is_said(rows):
    table, vectors = rows
    with pytest.raises(TableError, match="no study 'clustres'"):
        ablate(table, vectors, studies=["clustres"])
    with pytest.raises(TableError, match="needs several embedders"):
        ablate(table, vectors, studies=["embedder"])
    with pytest.raises(RouterError, match="seeds is 0"):
        ablate(table, vectors, studies=["size"], seeds=0)
    bare = type(table)(table.queries, table.models, table.scores)
    with pytest.raises(TableError, match="answers"):
        ablate(bare, vectors, studies=["strategy"])
    assert any("no costs" in note for note in run((bare, vectors), ["scoring"], seeds=1).notes)


def test_settings_that_differ_only_in_what_is_measured_share_a_router(rows, monkeypatch):
    fitted = []
    real = ClusterRouter.fit
    monkeypatch.setattr(ClusterRouter, "fit", lambda self, *a, **k: fitted.append(1) or real(self, *a, **k))
    found = run(rows, ["models"], settings={"models": [1, 2]}, seeds=2, n_jobs=1)
    assert [row.setting for row in found.study("models")] == ["default", "1 models", "2 models"]
    assert len(fitted) == 2


def test_every_task_is_left_out_in_turn(rows):
    found = run(rows, ["tasks"])
    whole, *each = found.study("tasks")
    assert [row.setting for row in each] == ["without algebra", "without code", "without history"]
    assert whole.avg_acc.value == pytest.approx(np.mean([row.avg_acc.value for row in each]))
    assert whole.over_best_single.value < 0.1, "a router cannot know the specialist of a kind it never saw"
    assert all(row.difference is None for row in each)


def test_the_papers_rank_rule_stands_in_the_study_of_top_k(rows):
    found = run(rows, ["top_k"], settings={"top_k": [(1, 6.0)]})
    assert [row.setting for row in found.study("top_k")] == [
        "default",
        "top_k=1 beta=6",
        "rank rule, top_k=1 beta=6",
    ]


def test_studies_are_drawn(rows, tmp_path):
    pytest.importorskip("matplotlib", reason="figures need the extra plots")
    from langchain_avengers.evaluation.study_report import write_study_report

    found = run(rows, ["size", "tasks"], settings={"size": [0.5]}, seeds=1)
    write_study_report(found, tmp_path / "studies.html", png=tmp_path / "png")
    html = (tmp_path / "studies.html").read_text(encoding="utf-8")
    for says in ("Share of the calibration rows", "Each task left out in turn", "one seed, so no intervals"):
        assert says in html
    assert {path.name for path in (tmp_path / "png").iterdir()} == {"size.png", "tasks.png"}
