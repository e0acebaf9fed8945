from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_avengers.calibration.graders import GRADERS, check_reference
from langchain_avengers.calibration.questions import FIELDS, Question, question_from, read_dataset
from langchain_avengers.errors import CalibrationError


def test_jsonl_with_messages_tasks_and_further_fields(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
             {"role": "ai", "content": "Hello"}, {"role": "human", "content": "2 + 2?"}]  # fmt: skip
    rows = [
        {"question": "7 + 5?", "answer": 12, "dataset": "sums", "tests": ["x"]},
        {"messages": turns, "answer": 4},
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    one, two = read_dataset(path)
    assert (one.query, one.reference, one.task, one.data) == ("7 + 5?", 12, "sums", {"tests": ["x"]})
    assert [m["role"] for m in two.messages] == ["system", "user", "assistant", "user"]
    assert two.text == "2 + 2?"
    assert isinstance(two.query, list)


def test_csv_with_mapped_fields(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text('Problem,Key,Kind\n"a, b?",B,geo\n')
    (question,) = read_dataset(path, {"query": "Problem", "reference": "Key", "task": "Kind"})
    assert (question.text, question.reference, question.task) == ("a, b?", "B", "geo")


def test_dotted_fields_and_choices() -> None:
    row = {
        "item": {"stem": "Colour of the sky?"},
        "choices": {"text": ["red", "blue"], "label": ["A", "B"]},
        "answer": "B",
    }
    question = question_from(row, {"query": "item.stem"})
    assert question.text == "Colour of the sky?\nA. red\nB. blue"
    assert question_from({"query": "q", "choices": ["x", "y"]}).text == "q\nA. x\nB. y"


def test_llmrouterbench_results_give_every_question_once(tmp_path: Path) -> None:
    for model in ("m1", "m2"):
        folder = tmp_path / "gsm" / model
        folder.mkdir(parents=True)
        records = [
            {
                "index": 0,
                "origin_query": "q",
                "prompt": "q!",
                "ground_truth": "4",
                "score": 1.0,
                "prediction": "4",
            }
        ]
        (folder / "r.json").write_text(
            json.dumps({"model_name": model, "dataset_name": "gsm", "records": records})
        )
    (question,) = read_dataset(tmp_path)
    assert (question.text, question.reference, question.task) == ("q!", "4", "gsm")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("q.jsonl", '{"query": "a"}\n{oops\n', "line 2: not JSON"),
        ("q.jsonl", "[1]\n", "item 1: must be a JSON object"),
        ("q.jsonl", '{"answer": 1}\n', "line 1: has no question"),
        ("q.jsonl", '{"query": [{"role": "user"}]}\n', "line 1: a message must have role and content"),
        ("q.jsonl", '{"query": [{"role": "x", "content": "a"}]}\n', "message role 'x'"),
        ("q.jsonl", '{"query": [{"role": "ai", "content": "a"}]}\n', "the last message must be the user's"),
        ("q.jsonl", "", "holds no questions"),
        ("q.csv", "query\na,b\n", "line 2: has more fields"),
        ("q.json", '{"a": 1}', "must hold a list"),
        ("q.txt", "a", "neither"),
    ],
)
def test_bad_datasets_name_file_and_line(tmp_path: Path, name: str, text: str, says: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(CalibrationError, match=says) as caught:
        list(read_dataset(path))
    assert str(path) in str(caught.value)


def test_unknown_fields_and_files() -> None:
    with pytest.raises(CalibrationError, match="field 'q' cannot be mapped"):
        question_from({}, {"q": "x"})
    with pytest.raises(CalibrationError, match="no field 'x' \\(mapped to query\\)"):
        question_from({"y": 1}, {"query": "x"})
    with pytest.raises(CalibrationError, match="no such file"):
        list(read_dataset("nowhere.jsonl"))


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1), json_values, st.dictionaries(st.text(), json_values, max_size=3))
def test_a_question_survives_the_store(text: str, reference: Any, data: dict[str, Any]) -> None:
    question = Question(({"role": "user", "content": text},), reference, "t", None, data)
    again = Question.from_json(question.to_json())
    assert again == question
    assert (again.key(), again.grading_digest()) == (question.key(), question.grading_digest())
    other = Question(({"role": "user", "content": text + "!"},), (reference, 1), "t", None, data)
    assert other.key() != question.key()
    assert other.grading_digest() != question.grading_digest()


def test_huggingface_folder_and_parquet(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"question": ["a?", "b?"], "answer": ["1", "2"]}
    data = datasets.Dataset.from_dict(rows)
    data.save_to_disk(str(tmp_path / "saved"))
    data.to_parquet(str(tmp_path / "q.parquet"))
    datasets.DatasetDict({"train": data, "test": data}).save_to_disk(str(tmp_path / "splits"))
    for source in (tmp_path / "saved", tmp_path / "q.parquet", f"hf:{tmp_path / 'splits'}@test"):
        assert [q.reference for q in read_dataset(source)] == ["1", "2"]
    with pytest.raises(CalibrationError, match="has the splits train, test; name one"):
        list(read_dataset(f"hf:{tmp_path / 'splits'}"))
    with pytest.raises(CalibrationError, match="no split 'dev'"):
        list(read_dataset(f"hf:{tmp_path / 'splits'}@dev"))


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("q.jsonl", '{"query": "a"}'.encode("utf-16"), "line 1: not UTF-8 text"),
        ("q.jsonl", b'{"query": "\\ud83d"}', "line 1: holds half of a character"),
        ("q.jsonl", b'{"query": "a", "x": ' + b"[" * 100_000, "line 1: not readable JSON"),
        ("q.jsonl", b'{"query": "a", "answer": ' + b"9" * 5000 + b"}", "line 1: not readable JSON"),
        ("q.jsonl", b'{"query": "a", "choices": 3}', "line 1: choices must be a list"),
        ("q.jsonl", b'{"query": "a", "choices": {"text": ["x"], "label": ["A", "B"]}}', "line 1: cannot be read"),
        ("q.jsonl", b'{"query": [{"role": ["x"], "content": "a"}]}', "line 1: cannot be read"),
        ("q.jsonl", b'{"query": [{"role": "user", "content": 3}]}', "line 1: a message's content"),
        ("q.json", b"\xff\xfe[", "not UTF-8"),
        ("q.json", b'{"model_name": "m", "records": [3]}', "record 1: must be an object"),
        ("q.json", b'{"model_name": "\\ud83d", "records": [{"prompt": "\\ud83d"}]}', "half of a character"),
        ("q.json", b"[" * 100_000, "not readable JSON"),
        ("q.csv", 'query\n"\ud83d"'.encode("utf-8", "surrogatepass"), "not UTF-8"),
        ("q.csv", b'query\n"' + b"x" * 200_000, "line 1: is not CSV: field larger"),
        ("q.csv", b"query\n\x00\x01", "line 2"),
    ],
)  # fmt: skip
def test_a_hostile_dataset_is_one_line_with_its_place(
    tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    if name == "q.csv" and b"\x00" in data:
        with contextlib.suppress(CalibrationError):
            list(read_dataset(path))
        return
    with pytest.raises(CalibrationError, match=says) as caught:
        list(read_dataset(path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from([*FIELDS, "query", "messages", "role"]), json_values, max_size=5))
def test_any_row_is_a_question_or_a_calibration_error(row: dict[str, Any]) -> None:
    with contextlib.suppress(CalibrationError):
        (question,) = read_dataset([row])
        for grader in GRADERS:
            with contextlib.suppress(CalibrationError):
                check_reference(question, grader, 1)
