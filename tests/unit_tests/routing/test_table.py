"""ScoreTable: what it takes, what it refuses, and that nothing is lost on the way through a file."""

from __future__ import annotations

import json
import math
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from langchain_avengers import ScoreTable
from langchain_avengers.errors import AvengersError, TableError

NAN = math.nan


def small() -> ScoreTable:
    return ScoreTable(
        ["7 + 5?", "Capital of Peru?", "7 + 5?"],
        ["small", "large"],
        [[1, 0.5], [0, None], [NAN, NAN]],
        tasks=["sums", "facts", "sums"],
        costs=[[0.1, NAN], [0, 2], [0, 0]],
        answers=[["12", None], ["Lima", "Lima"], [None, None]],
    )


# any Unicode text that is not blank, lone surrogates too
texts = st.text(st.characters(), min_size=1, max_size=12).filter(lambda text: bool(text.strip()))
clean = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda t: bool(t.strip())
)


@st.composite
def tables(draw: st.DrawFn, words: st.SearchStrategy[str] = texts) -> ScoreTable:
    n, m = draw(st.integers(1, 8)), draw(st.integers(1, 4))

    def matrix(cells: st.SearchStrategy[Any]) -> list[list[Any]]:
        return draw(st.lists(st.lists(cells, min_size=m, max_size=m), min_size=n, max_size=n))

    scores = matrix(st.none() | st.floats(0, 1, width=32))
    scores[draw(st.integers(0, n - 1))][draw(st.integers(0, m - 1))] = 0.1
    return ScoreTable(
        draw(st.lists(words, min_size=n, max_size=n)),
        draw(st.lists(words, min_size=m, max_size=m, unique=True)),
        scores,
        tasks=draw(st.none() | st.lists(words, min_size=n, max_size=n)),
        costs=matrix(st.none() | st.floats(0, 1e6, width=32)) if draw(st.booleans()) else None,
        answers=matrix(st.none() | words) if draw(st.booleans()) else None,
    )


# -- construction


def test_what_is_given_is_what_is_there() -> None:
    table = small()
    assert table.queries == ["7 + 5?", "Capital of Peru?", "7 + 5?"]
    assert table.models == ["small", "large"]
    assert table.tasks == ["sums", "facts", "sums"]
    assert table.scores.dtype == np.float32
    np.testing.assert_array_equal(table.scores, np.array([[1, 0.5], [0, NAN], [NAN, NAN]], np.float32))
    assert table.costs is not None
    np.testing.assert_array_equal(table.costs, np.array([[0.1, NAN], [0, 2], [0, 0]], np.float32))
    assert table.answers is not None
    assert table.answers.tolist() == [["12", None], ["Lima", "Lima"], [None, None]]
    assert table.messages is None
    assert len(table) == 3


def test_a_table_cannot_be_changed() -> None:
    given = np.array([[1.0, 0.5]], np.float32)
    table = ScoreTable(["q"], ["a", "b"], given, costs=[[1, 2]], answers=[["x", "y"]])
    given[0, 0] = 0.25
    assert table.scores[0, 0] == 1
    for array in (table.scores, table.costs, table.answers):
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 0
    with pytest.raises(AttributeError):
        table.queries = ["other"]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"queries": [], "scores": np.zeros((0, 2))}, "no rows"),
        ({"models": [], "scores": [[], []]}, "no models"),
        ({"models": ["a", "a"]}, "'a' is named twice"),
        ({"models": ["a", ""]}, "'' is not text"),
        ({"models": ["a", 3]}, "3 is not text"),
        ({"queries": "ab"}, "queries is one text"),
        ({"queries": ["x", "  "]}, "row 1: query is empty"),
        ({"queries": ["x", 7]}, "row 1: query is 7 (int)"),
        ({"scores": [[0, 1.5], [0, 0]]}, "row 0, model 'b': scores is 1.5, not in [0, 1]"),
        ({"scores": [[0, 1], [-0.1, 0]]}, "row 1, model 'a': scores is -0.1, not in [0, 1]"),
        ({"scores": [[0, 1 + 1e-9], [0, 0]]}, "not in [0, 1]"),
        ({"scores": [[0, math.inf], [0, 0]]}, "row 0, model 'b': scores is inf"),
        ({"scores": [[NAN, None], [None, NAN]]}, "no score is measured in any of the 2 rows"),
        ({"scores": [[0, 1]]}, "scores has shape (1, 2)"),
        ({"scores": [0, 1]}, "scores has shape (2,)"),
        ({"scores": [[0, 1], [0]]}, "not a rectangle of numbers"),
        ({"scores": [["good", 1], [0, 0]]}, "not a rectangle of numbers"),
        ({"costs": [[0, -1], [0, 0]]}, "row 0, model 'b': costs is -1, negative"),
        ({"costs": [[0, 1e39], [0, 0]]}, "row 0, model 'b': costs is inf"),
        ({"costs": [[0, 1, 2], [0, 0, 0]]}, "costs has shape (2, 3)"),
        ({"answers": [["x", 5], [None, None]]}, "row 0, model 'b': the answer is 5 (int)"),
        ({"answers": [["x", "y"]]}, "answers has shape (1, 2)"),
        ({"tasks": ["t"]}, "1 tasks for 2 queries"),
        ({"tasks": ["t", ""]}, "row 1: task '' is not a name"),
        ({"tasks": ["t", None]}, "row 1: task None is not a name"),
    ],
)
def test_what_is_wrong_is_named(kwargs: dict[str, Any], says: str) -> None:
    arguments = {"queries": ["x", "y"], "models": ["a", "b"], "scores": [[0, 1], [1, 0]], **kwargs}
    with pytest.raises(TableError) as caught:
        ScoreTable(**arguments)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, AvengersError)
    assert isinstance(caught.value, ValueError)


def test_nothing_known_has_one_form() -> None:
    bare = ScoreTable(["q"], ["a"], [[1]])
    assert ScoreTable(["q"], ["a"], [[1]], costs=[[NAN]], answers=[[None]]) == bare
    assert bare.costs is None
    assert bare.answers is None


def test_a_query_of_messages_keeps_them_and_is_its_last_human_text() -> None:
    as_dicts = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "And"},
                {"type": "image"},
                {"type": "text", "text": "this?"},
            ],
        },
        {"role": "tool", "content": "12", "tool_call_id": "1"},
    ]
    as_objects = [SystemMessage("Be brief."), HumanMessage("Hi"), AIMessage("Hello"), HumanMessage("Why?")]
    as_pairs = [("system", "Be brief."), ("human", "Why?")]
    table = ScoreTable([as_dicts, "plain", as_objects, as_pairs], ["a"], [[1]] * 4)
    assert table.queries == ["And\nthis?", "plain", "Why?", "Why?"]
    assert table.messages is not None
    assert table.messages[0] == as_dicts
    assert table.messages[1] is None
    assert [message["role"] for message in table.messages[2] or ()] == ["system", "user", "assistant", "user"]
    assert ScoreTable.from_rows(table.rows()) == table
    assert table.select_rows([1]).messages is None


@pytest.mark.parametrize(
    "query",
    [[], [{"role": "assistant", "content": "x"}], [{"role": "user"}], [3], [{"role": "user", "content": ""}]],
)
def test_messages_without_a_human_text_are_refused(query: Any) -> None:
    with pytest.raises(TableError, match=r"^row 0: "):
        ScoreTable([query], ["a"], [[1]])


# -- native rows


def test_rows_are_plain_data_and_short_decimals() -> None:
    row = next(small().rows())
    assert row == {
        "query": "7 + 5?",
        "task": "sums",
        "scores": {"small": 1.0, "large": 0.5},
        "costs": {"small": 0.1},
        "answers": {"small": "12"},
    }
    json.dumps(list(small().rows()), allow_nan=False)


def test_missing_and_null_are_not_measured() -> None:
    table = ScoreTable.from_rows(
        [
            {"query": "x", "scores": {"a": 1, "b": None}, "costs": {"a": None}},
            {"query": "y", "scores": {"c": True}, "id": 7, "metadata": {"any": "thing"}},
            {"query": "z", "scores": {"a": None}},
        ]
    )
    assert table.models == ["a", "b", "c"]
    np.testing.assert_array_equal(
        table.scores, np.array([[1, NAN, NAN], [NAN, NAN, 1], [NAN] * 3], np.float32)
    )
    assert table.tasks is None
    assert table.costs is None


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("text", "a row is an object"),
        ({"scores": {"a": 1}}, "field 'query' is missing"),
        ({"query": "x"}, "field 'scores' is missing"),
        ({"query": "x", "scores": {}}, "scores is empty"),
        ({"query": "x", "scores": None}, "scores is null"),
        ({"query": "x", "scores": [1, 0]}, "scores is [1, 0] (list)"),
        ({"query": "x", "scores": {"a": 2}}, "the score of 'a' is 2 (int)"),
        ({"query": "x", "scores": {"a": "1"}}, "the score of 'a' is '1' (str)"),
        ({"query": "x", "scores": {"a": 10**400}}, "the score of 'a' is"),
        ({"query": "x", "scores": {"a": -math.inf}}, "the score of 'a' is -inf"),
        ({"query": "x", "scores": {" ": 1}}, "the model name ' '"),
        ({"query": "x", "scores": {"a": 1}, "costs": {"a": -1}}, "the cost of 'a' is -1"),
        (
            {"query": "x", "scores": {"a": 1}, "costs": {"b": 1}},
            "costs names 'b', which has no score in any row",
        ),
        ({"query": "x", "scores": {"a": 1}, "answers": {"a": 1}}, "the answer of 'a' is 1 (int)"),
        ({"query": "x", "scores": {"a": 1}, "task": 3}, "task is 3 (int)"),
        ({"query": "x", "scores": {"a": 1}, "score": 1}, "unknown field 'score'"),
        ({"query": None, "scores": {"a": 1}}, "query is null"),
    ],
)
def test_a_wrong_row_is_named_by_number_and_field(row: Any, says: str) -> None:
    with pytest.raises(TableError) as caught:
        ScoreTable.from_rows([{"query": "fine", "scores": {"a": 1}}, row])
    assert str(caught.value).startswith("row 1: ")
    assert says in str(caught.value)
    assert len(str(caught.value)) < 200


def test_no_rows_and_half_a_task_are_errors() -> None:
    with pytest.raises(TableError, match="no rows"):
        ScoreTable.from_rows([])
    with pytest.raises(TableError, match="row 1: no task, while other rows have one"):
        ScoreTable.from_rows(
            [{"query": "x", "scores": {"a": 1}, "task": "t"}, {"query": "x", "scores": {"a": 1}}]
        )
    with pytest.raises(TableError, match="no score is measured"):
        ScoreTable.from_rows([{"query": "x", "scores": {"a": None}}])


@settings(max_examples=60, deadline=None)
@given(tables())
def test_rows_and_from_rows_are_inverse(table: ScoreTable) -> None:
    assert ScoreTable.from_rows(table.rows()) == table


# -- files


@settings(max_examples=40, deadline=None)
@given(table=tables())
def test_write_and_read_jsonl_are_inverse(
    tmp_path_factory: pytest.TempPathFactory, table: ScoreTable
) -> None:
    path = tmp_path_factory.mktemp("t") / "table.jsonl"
    table.write(path)
    assert ScoreTable.read(path) == table


@settings(max_examples=25, deadline=None)
@given(table=tables(clean))
def test_write_and_read_parquet_are_inverse(
    tmp_path_factory: pytest.TempPathFactory, table: ScoreTable
) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path_factory.mktemp("t") / "table.parquet"
    table.write(path)
    assert ScoreTable.read(path) == table


def test_messages_survive_both_files(tmp_path: Path) -> None:
    table = ScoreTable([[{"role": "user", "content": "x"}], "y"], ["a"], [[1], [0]], tasks=["t", "t"])
    for name in ("t.jsonl", "t.parquet"):
        table.write(tmp_path / name)
        assert ScoreTable.read(tmp_path / name) == table


def test_a_table_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "t.jsonl"
    small().write(path)
    before = path.read_bytes()

    def broken(self: ScoreTable) -> Any:
        yield {"query": "half"}
        raise KeyboardInterrupt

    monkeypatch.setattr(ScoreTable, "rows", broken)
    with pytest.raises(KeyboardInterrupt):
        small().write(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["t.jsonl"]


def test_a_written_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    small().write(tmp_path / "t.jsonl")
    assert (tmp_path / "t.jsonl").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"t\.csv: a table is written as \.jsonl or \.parquet"):
        small().write(tmp_path / "t.csv")
    assert not list(tmp_path.iterdir())


# -- split


@settings(max_examples=60, deadline=None)
@given(table=tables(), share=st.floats(0.05, 0.95), seed=st.integers(-5, 5))
def test_a_split_is_a_partition_of_the_queries(table: ScoreTable, share: float, seed: int) -> None:
    if len(set(table.queries)) < 2:
        with pytest.raises(TableError, match="two different queries"):
            table.split(share, seed=seed)
        return
    train, test = table.split(share, seed=seed)
    assert not set(train.queries) & set(test.queries)
    for part in (train, test):  # whole rows, in their order
        rows = [i for i, query in enumerate(table.queries) if query in set(part.queries)]
        assert part == table.select_rows(rows)
    assert sorted(train.queries + test.queries) == sorted(table.queries)
    again = table.split(share, seed=seed)
    assert again == (train, test)


@settings(max_examples=40, deadline=None)
@given(table=tables(), data=st.data())
def test_the_side_of_a_query_does_not_depend_on_the_order_of_rows(
    table: ScoreTable, data: st.DataObject
) -> None:
    if len(set(table.queries)) < 2:
        return
    order = data.draw(st.permutations(range(len(table))))
    assert set(table.split()[1].queries) == set(table.select_rows(order).split()[1].queries)


def test_a_split_keeps_the_share_in_every_task() -> None:
    tasks = ["a"] * 100 + ["b"] * 50 + ["c"] * 7 + ["d"] * 2 + ["e"]
    table = ScoreTable([f"q{i}" for i in range(160)], ["m"], np.ones((160, 1)), tasks=tasks)
    train, test = table.split(0.3, seed=1)
    counts = {task: (test.tasks or []).count(task) for task in "abcde"}
    assert counts == {"a": 30, "b": 15, "c": 2, "d": 1, "e": 0}
    assert len(train) + len(test) == 160
    assert table.split(0.3, seed=2)[1].queries != test.queries


def test_one_row_tasks_are_shared_out() -> None:
    table = ScoreTable(
        [f"q{i}" for i in range(100)], ["m"], np.ones((100, 1)), tasks=[f"t{i}" for i in range(100)]
    )
    assert len(table.split(0.3)[1]) == 30


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, NAN])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(TableError, match="test_size"):
        small().split(share)


# -- selections and sums


def test_select_rows() -> None:
    table = small()
    assert table.select_rows([2, 0]).queries == ["7 + 5?", "7 + 5?"]
    assert table.select_rows(np.array([False, True, False])).queries == ["Capital of Peru?"]
    assert table.select_rows(slice(1, None)).tasks == ["facts", "sums"]
    assert table.select_rows([-1, -1]).scores.shape == (2, 2)
    assert table.select_rows(range(3)) == table
    for wrong, says in [
        ([], "no row"),
        ([False] * 3, "no row"),
        ([3], "row 3 is not in the table"),
        ([-4], "row -4 is not in the table"),
        ([True], "mask has shape"),
        ([[0]], "shape"),
        ([0.5], "float"),
        (["a"], "list of numbers"),
    ]:
        with pytest.raises(TableError, match=says):
            table.select_rows(wrong)


def test_select_models() -> None:
    table = small().select_models(["large"])
    assert table.models == ["large"]
    assert len(table) == 3
    np.testing.assert_array_equal(table.scores[:, 0], np.array([0.5, NAN, NAN], np.float32))
    assert small().select_models(["large", "small"]).models == ["large", "small"]
    with pytest.raises(TableError, match="not in the table: huge; it has small, large"):
        small().select_models(["huge"])
    with pytest.raises(TableError, match="twice"):
        small().select_models(["small", "small"])
    with pytest.raises(TableError, match="no models"):
        small().select_models([])


def test_concat_takes_the_models_of_all() -> None:
    one = ScoreTable(["x"], ["a", "b"], [[1, 0]], tasks=["t"], costs=[[1, 2]])
    two = ScoreTable(["y"], ["c", "a"], [[0.5, 0.25]], tasks=["u"], answers=[["C", None]])
    joined = ScoreTable.concat([one, two])
    assert joined == one.concat(two) == ScoreTable.concat(one, two)
    assert joined.models == ["a", "b", "c"]
    np.testing.assert_array_equal(joined.scores, np.array([[1, 0, NAN], [0.25, NAN, 0.5]], np.float32))
    assert joined.costs is not None
    np.testing.assert_array_equal(joined.costs, np.array([[1, 2, NAN], [NAN] * 3], np.float32))
    assert joined.answers is not None
    assert joined.answers.tolist() == [[None] * 3, [None, None, "C"]]
    assert not joined.scores.flags.writeable
    with pytest.raises(TableError, match="table 1 has no tasks"):
        one.concat(ScoreTable(["z"], ["a"], [[1]]))
    with pytest.raises(TableError, match="no table"):
        ScoreTable.concat([])


@settings(max_examples=40, deadline=None)
@given(tables(), st.data())
def test_concat_of_parts_is_the_whole(table: ScoreTable, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(table)))
    parts = [table.select_rows(rows) for rows in (range(cut), range(cut, len(table))) if len(rows)]
    assert ScoreTable.concat(parts) == table


def test_means() -> None:
    table = small()
    np.testing.assert_allclose(table.mean_scores(), [0.5, 0.5])
    assert np.isnan(table.select_rows([1]).mean_scores()[1])
    assert table.task_names == ["facts", "sums"]
    assert table.task_means([1, 0, 0.5]) == {"facts": 0.0, "sums": 0.75}
    assert table.task_mean([1, 0, 0.5]) == 0.375
    assert table.task_mean([1, NAN, 0.5]) == 0.75  # a task without a value is left out
    assert math.isnan(table.task_mean([NAN] * 3))
    assert ScoreTable(["x", "y"], ["a"], [[1], [0]]).task_mean([1, 0]) == 0.5
    with pytest.raises(TableError, match="values have shape"):
        table.task_mean([1, 0])


def test_repr_is_a_summary() -> None:
    assert repr(small()) == (
        "ScoreTable(3 queries x 2 models, 2 tasks, 50.0% measured, costs, answers)\n"
        "  0.500  large\n"
        "  0.500  small"
    )
    many = ScoreTable(["q"], [f"m{i}" for i in range(12)], [[1] * 12])
    assert repr(many).splitlines()[0] == "ScoreTable(1 queries x 12 models, all measured)"
    assert repr(many).splitlines()[-1] == "  ... and 2 more"


def test_equality() -> None:
    table = small()
    assert table == small()
    assert table != small().select_models(["large", "small"])
    assert table != table.with_task("t")
    assert table != "table"
    assert pickle.loads(pickle.dumps(table)) == table  # what joblib does
    with pytest.raises(TypeError):
        hash(table)


# -- samples


ROW = {
    "query": "7 + 5?",
    "task": "sums",
    "samples": {
        "small": [
            {"answer": "12", "score": 1.0},
            {"answer": "13", "score": 0},
            {"answer": None, "score": None},
        ],
        "large": [{"answer": "12", "score": None}],
    },
    "metadata": {"reference": "12"},
}


def sampled() -> ScoreTable:
    other = {
        "query": "Capital of Peru?",
        "task": "facts",
        "scores": {"large": 1},
        "answers": {"large": "Lima"},
    }
    return ScoreTable.from_rows([ROW, other])


def test_the_score_of_samples_is_the_mean_of_the_graded_ones() -> None:
    table = sampled()
    np.testing.assert_array_equal(table.scores, np.array([[0.5, NAN], [NAN, 1]], np.float32))
    assert table.answers is not None
    assert table.answers.tolist() == [["12", "12"], [None, "Lima"]]
    assert table.recorded(0, 0) == (("12", 1.0), ("13", 0.0), (None, None))
    assert table.recorded(1, 1) == (("Lima", 1.0),)
    assert table.recorded(1, 0) == ()
    assert table.n_samples.tolist() == [[3, 1], [0, 1]]


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet"])
def test_samples_go_through_files(name: str, tmp_path: Path) -> None:
    sampled().write(tmp_path / name)
    assert ScoreTable.read(tmp_path / name) == sampled()


def test_samples_stay_with_their_rows_and_models() -> None:
    table = sampled()
    assert table.samples is not None
    assert table.select_rows([1]).samples is None
    assert table.select_rows([1, 0]).recorded(1, 0) == table.recorded(0, 0)
    assert table.select_models(["large", "small"]).recorded(0, 1) == table.recorded(0, 0)
    assert table.concat(table).recorded(2, 0) == table.recorded(0, 0)
    train, test = table.split(0.5)
    assert ScoreTable.concat([train, test]).select_models(table.models).n_samples.sum() == 5
    assert table != ScoreTable(table.queries, table.models, table.scores, tasks=table.tasks)


def test_samples_at_construction() -> None:
    table = ScoreTable(["q"], ["a", "b"], [[None, 1]], samples=[[[("x", 1), ("y", 0)], None]])
    assert table.scores.tolist() == [[0.5, 1]]
    assert table.recorded(0, 0) == (("x", 1.0), ("y", 0.0))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"samples": {"small": "12"}}, "row 0: the samples of 'small' are '12' (str)"),
        ({"samples": {"small": [3]}}, "row 0: a sample of 'small' is 3 (int)"),
        ({"samples": {"small": [{"text": "12"}]}}, "the unknown field 'text'"),
        ({"samples": {"small": [{"answer": "12", "score": 2}]}}, "the score of 'small' is 2"),
        ({"samples": {"small": [{"answer": 12, "score": 1}]}}, "the answer of 'small' is 12 (int)"),
        ({"scores": {"small": 0.9}}, "the score of 'small' is 0.9, and its samples have the mean 0.5"),
    ],
)
def test_samples_that_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(TableError) as caught:
        ScoreTable.from_rows([ROW | change])
    assert says in str(caught.value)
