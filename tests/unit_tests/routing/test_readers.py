"""Readers: every format, on the real files where they are at hand and on small own ones."""

from __future__ import annotations

import csv
import gzip
import json
import math
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from langchain_avengers import ScoreTable
from langchain_avengers.errors import TableError
from langchain_avengers.routing.readers import FORMATS, sniff, task_of

DATA = Path(os.environ.get("AVENGERS_DATA", Path(__file__).parents[4] / "shared" / "data"))
needs_data = pytest.mark.skipif(not (DATA / "routerdc").is_dir(), reason="the benchmark data are not at hand")
NAN = math.nan
Put = Callable[[str, Any], Path]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Writes a file: text, bytes, a list as JSON Lines."""

    def put(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            content = "".join(json.dumps(row) + "\n" for row in content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return put


def cells(table: ScoreTable) -> list[list[float | None]]:
    return [[None if math.isnan(x) else round(float(x), 6) for x in row] for row in table.scores]


def error(path: Any, **kwargs: Any) -> str:
    with pytest.raises(TableError) as caught:
        ScoreTable.read(path, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message


# -- the real files


@needs_data
def test_routerdc_gives_the_published_figures() -> None:
    test = ScoreTable.read(DATA / "routerdc" / "test")
    assert len(test) == 9408
    sizes = {task: (test.tasks or []).count(task) for task in test.task_names}
    assert sizes == {"arc_challenge": 352, "cmmlu": 3475, "gsm8k": 1319, "humaneval": 49, "mmlu": 4213}
    means = [100 * test.task_mean(test.scores[:, model]) for model in range(7)]
    assert test.models[int(np.argmax(means))] == "cognitivecomputations/dolphin-2.9-llama3-8b"
    assert round(max(means), 2) == 54.56
    assert round(100 * test.task_mean(test.scores.max(axis=1)), 2) == 77.52
    experts = [
        test.select_rows([i for i, task in enumerate(test.tasks or []) if task == name]).mean_scores().max()
        for name in test.task_names
    ]
    assert round(100 * float(np.mean(experts)), 2) == 58.70


@needs_data
def test_routerdc_train_and_test_have_the_same_tasks_and_models() -> None:
    train, test = (ScoreTable.read(DATA / "routerdc" / part) for part in ("train", "test"))
    assert len(train) == 5935
    assert train.task_names == test.task_names
    assert train.models == test.models
    assert len(set(train.queries) & set(test.queries)) == 19


@needs_data
def test_routerdc_kinds_of_scores() -> None:
    folder = DATA / "routerdc" / "test"
    assert set(np.unique(ScoreTable.read(folder / "mmlu_test.json").scores)) == {0, 1}
    fractions = ScoreTable.read(folder / "gsm8k-test.json").scores
    assert len(np.unique(fractions)) == 11
    as_they_are = ScoreTable.read(folder / "mmlu_test.json", probabilities=False)
    assert len(np.unique(as_they_are.scores)) > 1000


@needs_data
def test_routerbench() -> None:
    table = ScoreTable.read(DATA / "routerbench" / "arc_challenge_train.csv")
    assert len(table) == 1039
    assert len(table.models) == 11
    assert table.task_names == ["arc-challenge"]
    assert int(np.isnan(table.scores).sum()) == 92
    assert table.costs is not None
    assert not np.isnan(table.costs).any()
    assert table.answers is not None
    assert table.answers[0, table.models.index("gpt-4-1106-preview")] in "ABCD"
    assert table.queries[0].startswith("George wants to warm his hands")
    assert round(float(table.mean_scores()[table.models.index("gpt-4-1106-preview")]), 2) == 0.95


# -- formats, on own files


def test_native(put: Put) -> None:
    rows = [
        {
            "query": "What is 7 + 5?",
            "task": "sums",
            "scores": {"a": 1.0, "b": 0.4},
            "costs": {"a": 2e-5},
            "answers": {"a": "12"},
        },
        {"query": [{"role": "user", "content": "Hi"}], "task": "chat", "scores": {"a": None}},
    ]
    table = ScoreTable.read(put("t.jsonl", rows))
    assert cells(table) == [[1, 0.4], [None, None]]
    assert ScoreTable.read(put("list.json", json.dumps(rows, indent=1))) == table
    assert ScoreTable.read(put("one.json", json.dumps(rows[0]))) == table.select_rows([0])
    assert ScoreTable.read(put("bom.jsonl", b"\xef\xbb\xbf" + put("t.jsonl", rows).read_bytes())) == table
    crlf = put("t.jsonl", rows).read_bytes().replace(b"\n", b"\r\n\r\n")
    assert ScoreTable.read(put("crlf.jsonl", b"\n \n" + crlf)) == table
    assert ScoreTable.read(put("t.jsonl.gz", gzip.compress(crlf))) == table


def test_avengers_and_avengers_pro(put: Put) -> None:
    plain = {"query": "q", "dataset": "aime", "index": 0, "records": {"m1": True, "m2": 0, "m3": None}}
    pro = plain | {
        "usages": {"m1": {"cost": 0.5, "prompt_tokens": 3}, "m2": {"prompt_tokens": 1}, "m3": None}
    }
    table = ScoreTable.read(put("train.jsonl", [plain, plain]))
    assert cells(table) == [[1, 0, None]] * 2
    assert table.tasks == ["aime"] * 2
    assert table.costs is None
    table = ScoreTable.read(put("data.json", json.dumps([pro])))
    assert table.costs is not None
    np.testing.assert_array_equal(table.costs, np.array([[0.5, NAN, NAN]], np.float32))
    assert "usages of 'm1': a row is an object, not a float" in error(
        put("x.jsonl", [plain | {"usages": {"m1": 0.5}}])
    )


def test_routerdc_rule(put: Put) -> None:
    def file(*scores: float) -> Path:
        return put(
            "math_train.json",
            json.dumps([{"question": "q", "scores": {"a": s}, "cluster_id": 1} for s in scores]),
        )

    assert cells(ScoreTable.read(file(0.51, 0, 1))) == [[1], [0], [1]]
    assert cells(ScoreTable.read(file(0.3, 0, 1))) == [[0.3], [0], [1]]
    assert cells(ScoreTable.read(file(0.3, 0, 1), probabilities=True)) == [[1], [0], [1]]
    assert cells(ScoreTable.read(file(0.51, 0, 1), probabilities=False)) == [[0.51], [0], [1]]
    assert ScoreTable.read(file(1)).tasks == ["math"]


def result(model: str, dataset: str, scores: list[float | None], **extra: Any) -> str:
    """A result file as LLMRouterBench's storage writes it."""
    records = [
        {
            "index": i,
            "origin_query": f"{dataset} {i}?",
            "prompt": f"Q: {dataset} {i}?",
            "prompt_tokens": 15,
            "completion_tokens": 5,
            "cost": 0.001 * i,
            "score": score,
            "prediction": str(i),
            "ground_truth": "4",
            "raw_output": f"So {i}.",
            "extra_fields": {},
        }
        for i, score in enumerate(scores, start=1)
    ]
    head = {
        "performance": 0.5,
        "cost": 0.1,
        "counts": len(records),
        "model_name": model,
        "dataset_name": dataset,
    }
    return json.dumps(head | {"split": "test", "demo": False} | extra | {"records": records}, indent=2)


def test_llmrouterbench_folder(put: Put, tmp_path: Path) -> None:
    for model, scores in {"m/1": [1, 0], "m_2": [None, 0.5]}.items():
        folder = f"bench/aime/test/{model.replace('/', '_')}"
        put(f"{folder}/aime-test-{model[:1]}-20250102_000000.json", result(model, "aime", scores))
    put("bench/bbh/test/m_2/bbh-test-m_2-20250101_000000.json", result("m_2", "bbh", [1]))
    table = ScoreTable.read(tmp_path / "bench")
    assert table.models == ["m/1", "m_2"]
    assert table.queries == ["Q: aime 1?", "Q: aime 2?", "Q: bbh 1?"]
    assert table.tasks == ["aime", "aime", "bbh"]
    assert cells(table) == [[1, None], [0, 0.5], [None, 1]]
    assert table.costs is not None
    np.testing.assert_allclose(table.costs[:2], [[0.001, 0.001], [0.002, 0.002]])
    assert table.answers is not None
    assert table.answers[0].tolist() == ["So 1.", "So 1."]


def test_llmrouterbench_takes_the_newest_run_and_says_so(put: Put, tmp_path: Path) -> None:
    folder = "bench/aime/test/m"
    put(f"{folder}/aime-test-m-20250103_000000.json", result("m", "aime", [1]))
    put(f"{folder}/aime-test-m-20250102_235959.json", result("m", "aime", [0]))
    put(f"{folder}/aime-test-m-20250104_000000.json", result("m", "aime", [0], demo=True))
    with pytest.warns(UserWarning, match="2 LLMRouterBench files were not read: demo runs, or older runs"):
        table = ScoreTable.read(tmp_path / "bench")
    assert cells(table) == [[1]]


def test_llmrouterbench_without_names_takes_those_of_the_folders(put: Put) -> None:
    data = {
        "records": [{"index": 1, "origin_query": "q?", "score": 1, "prediction": ["x"], "raw_output": None}]
    }
    table = ScoreTable.read(put("bench/gpqa/test/glm/20250101.json", json.dumps(data)))
    assert (table.models, table.tasks, table.queries) == (["glm"], ["gpqa"], ["q?"])
    assert table.answers is not None
    assert table.answers[0, 0] == '["x"]'


def test_llmrouterbench_files_larger_than_the_head(put: Put) -> None:
    text = result("m", "aime", [1]).replace("So 1.", "x" * (1 << 21))
    assert ScoreTable.read(put("a/b/c/big.json", text)).models == ["m"]


HEADER = [
    "",
    "sample_id",
    "prompt",
    "eval_name",
    "m1",
    "org/m2",
    "m1|model_response",
    "org/m2|model_response",
]
HEADER += ["m1|total_cost", "org/m2|total_cost", "oracle_model_to_route_to"]


def csv_text(*rows: list[Any]) -> str:
    import io

    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def test_routerbench_own(put: Put) -> None:
    rows = [
        [
            0,
            "x.1",
            str(["2 + 2?\nA) 4\nB) 5"]),
            "arc",
            "1.0",
            "",
            "['A']",
            str(["line\n'two'"]),
            "0.001",
            "2e-4",
            "m1",
        ],
        [1, "x.2", str(["first", "second"]), "mtbench", "0.25", "0", "[not a list", "plain", "0", "", "m1"],
    ]
    table = ScoreTable.read(put("rb.csv", csv_text(HEADER, *rows)))
    assert table.models == ["m1", "org/m2"]
    assert table.queries == ["2 + 2?\nA) 4\nB) 5", "first\n\nsecond"]
    assert table.tasks == ["arc", "mtbench"]
    assert cells(table) == [[1, None], [0.25, 0]]
    assert table.answers is not None
    assert table.answers.tolist() == [["A", "line\n'two'"], ["[not a list", "plain"]]
    assert table.costs is not None
    np.testing.assert_array_equal(table.costs, np.array([[0.001, 2e-4], [0, NAN]], np.float32))


def test_embedllm(put: Put) -> None:
    header = ["prompt_id", "model_id", "category_id", "label", "model_name", "category", "prompt"]
    rows = [
        [0, 0, 3, 1, "a", "mmlu", "q0"],
        [0, 1, 3, 0, "b", "mmlu", "q0"],
        [1, 0, 5, 0, "a", "gsm8k", "q1"],
        [0, 1, 3, 1, "b", "mmlu", "q0"],
    ]
    table = ScoreTable.read(put("train.csv", csv_text(header, *rows)))
    assert (table.models, table.queries, table.tasks) == (["a", "b"], ["q0", "q1"], ["mmlu", "gsm8k"])
    assert cells(table) == [[1, 1], [0, None]]  # of two labels the higher, as in the authors' code
    ids_only = [[row[i] for i in (0, 1, 3, 6)] for row in [header, *rows[:3]]]
    assert ScoreTable.read(put("x_train.csv", csv_text(*ids_only))).models == ["0", "1"]


def test_csv_wide_and_long(put: Put) -> None:
    wide = csv_text(
        ["id", "question", "task", "score:a", "score:b", "cost:a", "answer:b"],
        [7, "x", "t", 1, "", 0.5, "yes"],
        [8, "y", "t", "True", "nan", "", ""],
    )
    table = ScoreTable.read(put("w.csv", "\ufeff" + wide.replace("\n", "\r\n")))
    assert cells(table) == [[1, None], [1, None]]
    assert (table.queries, table.tasks) == (["x", "y"], ["t", "t"])
    assert table.answers is not None
    assert table.answers.tolist() == [[None, "yes"], [None, None]]
    bare = ScoreTable.read(put("bare.csv", csv_text(["query", "a", "b"], ["x", 0.5, 1])))
    assert (bare.models, bare.tasks, cells(bare)) == (["a", "b"], None, [[0.5, 1]])
    long = ScoreTable.read(
        put(
            "l.csv",
            csv_text(
                ["query", "model", "score", "cost", "response"], ["x", "a", 1, 2, "A"], ["x", "b", 0, "", ""]
            ),
        )
    )
    assert cells(long) == [[1, 0]]
    assert long.answers is not None
    assert long.answers.tolist() == [["A", None]]


def test_a_long_field_is_no_obstacle(put: Put) -> None:
    before = csv.field_size_limit()
    answer = "x" * 300_000
    table = ScoreTable.read(put("w.csv", csv_text(["query", "score:a", "answer:a"], ["q", 1, answer])))
    assert table.answers is not None
    assert table.answers[0, 0] == answer
    assert csv.field_size_limit() == before


def test_pandas_wide_and_long() -> None:
    pd = pytest.importorskip("pandas")
    wide = pd.DataFrame(
        {"query": ["x", "y"], "task": ["t", "u"], "a": [1.0, NAN], "b": [True, False], "id": [1, 2]}
    )
    table = ScoreTable.from_pandas(wide)
    assert (table.models, table.tasks, cells(table)) == (["a", "b"], ["t", "u"], [[1, 1], [None, 0]])
    assert ScoreTable.from_pandas(wide, task="all").tasks == ["all", "all"]
    # as pivoted tables come: an index of its own, a name for the columns
    long = (
        wide.drop(columns="id")
        .melt(["query", "task"], var_name="model", value_name="score")
        .set_index("task")
        .reset_index()
    )
    assert cells(ScoreTable.from_pandas(long)) == [[1, 1], [None, 0]]
    with pytest.raises(TableError, match=r"frame, row 1, model 'a': scores is 3, not in"):
        ScoreTable.from_pandas(pd.DataFrame({"query": ["x", "y"], "a": [1, 3]}))
    with pytest.raises(TableError, match=r"frame: no column named query, question or prompt"):
        ScoreTable.from_pandas(pd.DataFrame({"text": ["x"], "a": [1]}))
    with pytest.raises(TableError, match=r"frame: no column of scores"):
        ScoreTable.from_pandas(pd.DataFrame({"query": ["x"]}))
    with pytest.raises(TableError, match=r"frame, row 0: the score of 'lang' is 'en'"):
        ScoreTable.from_pandas(pd.DataFrame({"query": ["x"], "lang": ["en"], "a": [1]}))
    with pytest.raises(TableError, match=r"frame: column 'lang' is not known"):
        ScoreTable.from_pandas(pd.DataFrame({"query": ["x"], "lang": ["en"], "score:a": [1]}))
    with pytest.raises(
        TableError, match=r"row 1: model 'a' has answered this query already, at frame, row 0"
    ):
        ScoreTable.from_pandas(pd.DataFrame({"query": ["x", "x"], "model": ["a", "a"], "score": [1, 0]}))
    with pytest.raises(TableError, match=r"no rows"):
        ScoreTable.from_pandas(pd.DataFrame({"query": [], "a": []}))


def test_parquet_of_other_tools(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = tmp_path / "x.parquet"
    messages = [[{"role": "user", "content": "Hi"}], [{"role": "user", "content": "Ho"}]]
    pd.DataFrame({"query": messages, "a": [1, None], "category": ["t", "u"]}).to_parquet(path)
    table = ScoreTable.read(path)
    assert (table.queries, table.tasks, cells(table)) == (["Hi", "Ho"], ["t", "u"], [[1], [None]])
    assert ScoreTable.from_pandas(pd.read_parquet(path)) == table
    path.write_bytes(path.read_bytes()[:100])
    assert error(path).startswith(f"{path}: not a readable Parquet file: ")


# -- tasks, several files, folders


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("mmlu_train.json", "mmlu"),
        ("mmlu_test.json", "mmlu"),
        ("gsm8k-train.json", "gsm8k"),
        ("arc_challenge_train.json", "arc_challenge"),
        ("humaneval_test.json.gz", "humaneval"),
        ("mmlu.dev.jsonl", "mmlu"),
        ("mmlu validation.csv", "mmlu"),
        ("train.json", "train"),
        ("contest.json", "contest"),
        ("a/b/latest.jsonl", "latest"),
        ("gpt-4.1.jsonl", "gpt-4.1"),
    ],
)
def test_task_of(name: str, task: str) -> None:
    assert task_of(name) == task


def test_tasks_of_several_files(put: Put, tmp_path: Path) -> None:
    one = put("t/sums_train.jsonl", [{"query": "x", "scores": {"a": 1}}])
    two = put("t/sub/b.jsonl", [{"query": "y", "scores": {"b": 1}, "task": "own"}])
    put("t/notes.txt", "not a table")
    put("t/.hidden.jsonl", "not a table")
    table = ScoreTable.read(tmp_path / "t")
    assert (table.queries, table.tasks) == (["y", "x"], ["own", "sums"])
    assert cells(table) == [[1, None], [None, 1]]
    assert ScoreTable.read([one, str(two)]).queries == ["x", "y"]
    assert ScoreTable.read([one, two], task="all").tasks == ["all", "all"]
    assert ScoreTable.read(one).tasks is None
    assert ScoreTable.read(one, task="sums").tasks == ["sums"]


# -- what is wrong is named: file, line, field


def test_files_that_cannot_be_read(put: Put, tmp_path: Path) -> None:
    assert error(tmp_path / "none.jsonl") == f"{tmp_path}/none.jsonl: no such file or folder"
    (tmp_path / "empty").mkdir()
    assert "no file in it ends in .jsonl" in error(tmp_path / "empty")
    assert "no file is given" in error([])
    assert "an empty file" in error(put("e.jsonl", " \n"))
    assert "an empty file" in error(put("e.csv", ""))
    rows = [{"query": "x", "scores": {"a": 1}}]
    assert "format 'xml' is not known; give one of auto, native" in error(put("t.jsonl", rows), format="xml")
    assert "a pickle can run code" in error(put("rb.pkl", pickle.dumps(rows)))
    assert "a pickle can run code" in error(put("rb.json", pickle.dumps(rows)))
    assert "a pickle can run code" in error(put("rb.csv", pickle.dumps(rows)), format="csv")
    assert "Git LFS pointer" in error(
        put("x.json", "version https://git-lfs.github.com/spec/v1\noid sha256:2c\n")
    )
    assert "zip archive" in error(put("x.parquet", b"PK\x03\x04rest"))
    assert "cannot be read" in error(put("x.jsonl.gz", gzip.compress(b'{"query": 1}' * 99)[:30]))
    assert "neither JSON, Parquet nor a CSV header" in error(put("x.csv", "just some words\n"))
    assert "which is no known format" in error(put("x.jsonl", [{"prompt": "x", "score": 1}]))
    assert "holds no object" in error(put("x.json", "[1, 2]"))
    assert "holds no object" in error(put("x.json", "[]"))


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_refuses_what_is_not_of_it(put: Put, name: str) -> None:
    for content in ("[1]", '{"a": 1}', "a,b\n1,2\n", "\x00\x01", "[" * 100_000, "{" * 10):
        path = put("x.dat", content)
        assert str(path) in error(path, format=name)


def test_lines_are_named(put: Put) -> None:
    good = '{"query": "x", "scores": {"a": 1}}\n'
    for bad, says in [
        ('{"query": "y", "scores": {"a": 1}\n', "not JSON"),
        ('{"query": "y", "scores": {"a": 2}}\n', "the score of 'a' is 2"),
        ('{"query": "y"}\n', "field 'scores' is missing"),
        ('{"query": "y", "scores": {"a": 1, "a": 0}}\n', "'a' stands twice"),
        ('{"query": "y", "scores": {"a": 1}, "extra": 1}\n', "unknown field 'extra'"),
        ("17\n", "a row is an object"),
        ('{"query": "y", "scores": {"a": Infinity}}\n', "the score of 'a' is inf"),
    ]:
        message = error(put("t.jsonl", good + "\n" + good + bad))
        assert message.startswith(f"{put('t.jsonl', '')}, line 4: "), message
        assert says in message
    path = put("t.jsonl", good.encode() + b'{"query": "\xff"}\n')
    assert error(path) == f"{path}, line 2: not UTF-8 text (byte 11 of the line)"
    path = put("t.json", '[{"question": "x", "scores": {"a": 1}},\n {"question": "x"}]')
    assert error(path) == f"{path}, item 2: field 'scores' is missing"
    path = put("t.json", '[{"question": "x", "scores": {"a": 1}},\n {"question": "x",}]')
    assert error(path).startswith(f"{path}: not JSON: ")
    assert "line 2, column" in error(path)
    path = put("t.jsonl", [{"query": "q", "records": {"a": 7}}])
    assert error(path) == f"{path}, line 1: the score of 'a' is 7 (int); give a number in [0, 1], or null"


def test_csv_lines_and_columns_are_named(put: Put) -> None:
    header = "query,score:a,score:b\n"
    for bad, says in [
        ("z,1\n", "2 fields, and 3 columns"),
        ("z,1,0,0\n", "4 fields, and 3 columns"),
        ("z,1,good\n", "column 'score:b': 'good' is not a number"),
        ("z,1,7\n", "the score of 'b' is 7.0"),
        (" ,1,0\n", "query is empty"),
        ('"z,1,0\n', "not readable CSV"),
    ]:
        path = put("t.csv", header + '"two\nlines",1,0\n' + bad)
        message = error(path)
        assert message.startswith((f"{path}, line 4", f"{path}: not readable CSV, after line 3")), message
        assert says in message
    assert "two columns are named 'a'" in error(put("t.csv", "query,a,a\nx,1,1\n"))
    assert "no column named query" in error(put("t.csv", "text,a\nx,1\n"))
    assert "not UTF-8" in error(put("t.csv", b"query,a\n\xff,1\n"))
    assert "no rows" in error(put("t.csv", "query,a\n"))
    assert "has costs or answers and no column of scores" in error(
        put("t.csv", "prompt,a,a|total_cost,b|total_cost\nx,1,0,0\n")
    )


def test_llmrouterbench_records_are_named(put: Put) -> None:
    good = json.loads(result("m", "aime", [1, 0]))
    good["records"][1].pop("score")
    path = put("bench/aime/test/m/r.json", json.dumps(good))
    assert error(path) == f"{path}, record 2: field 'score' is missing"
    good["records"] = {"a": 1}
    path.write_text(json.dumps(good))
    assert "records is a dict, not a list" in error(path, format="llmrouterbench")


@settings(max_examples=60, deadline=None)
@example(content=b"\x1f\x8b", ending=".jsonl")
@example(content=b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xff\xff\xff", ending=".csv")
@given(content=st.binary(max_size=200), ending=st.sampled_from([".jsonl", ".json", ".csv", ".parquet"]))
def test_no_content_gives_another_error_than_ours(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str
) -> None:
    path = tmp_path_factory.mktemp("f") / f"x{ending}"
    path.write_bytes(content)
    for name in ("auto", *FORMATS):
        with pytest.raises(TableError) as caught:
            ScoreTable.read(path, format=name)
        assert str(path) in str(caught.value)


def test_sniff_knows_every_format(put: Put) -> None:
    files = {
        "native": put("a.jsonl", [{"query": "x", "scores": {"a": 1}}]),
        "avengers": put("b.jsonl", [{"query": "x", "records": {"a": 1}, "dataset": "d"}]),
        "routerdc": put("c.json", json.dumps([{"question": "x", "scores": {"a": 1}}], indent=2)),
        "llmrouterbench": put("d.json", result("m", "d", [1])),
        "routerbench": put("e.csv", csv_text(HEADER)),
        "embedllm": put("f.csv", "prompt_id,model_id,category_id,label,model_name,category,prompt\n"),
        "csv": put("g.csv", "query,a\n"),
        "parquet": put("h.bin", b"PAR1rest"),
    }
    assert {name: sniff(path) for name, path in files.items()} == {name: name for name in FORMATS}


@pytest.mark.parametrize("start", [b'{"query": "', b'query,score:a\n"'])
def test_a_small_file_that_unpacks_to_one_huge_line_is_refused(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(start)
        for _ in range(65):
            file.write(b"a" * (1 << 20))
    with pytest.raises(TableError, match="longer than 64 MiB"):
        ScoreTable.read(path)
