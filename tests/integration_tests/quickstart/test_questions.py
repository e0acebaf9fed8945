"""The built-in questions and their grading."""

from __future__ import annotations

from collections import Counter

import pytest

from langchain_avengers.calibration.graders import exact
from langchain_avengers.calibration.questions import question_from
from langchain_avengers.quickstart.experts import EXAMPLES
from langchain_avengers.quickstart.questions import LabelledRow, questions


def is_right(answer: str, row: LabelledRow) -> bool:
    """As `calibrate` grades the quickstart's answers."""
    return exact(question_from(row), answer) == 1


def test_questions_are_different_and_evenly_of_four_kinds() -> None:
    every = questions()
    assert len({question["query"] for question in every}) == len(every) == 128
    assert set(Counter(question["task"] for question in every).values()) == {32}
    assert set(Counter(question["task"] for question in questions(16)).values()) == {4}


def test_no_example_of_an_expert_is_a_question() -> None:
    shown = {text for examples in EXAMPLES.values() for text, _ in examples}
    assert not shown & {question["query"] for question in questions()}


def test_sums_are_right() -> None:
    for question in questions():
        if question["task"] == "sums":
            a, b = question["query"].removeprefix("What is ").removesuffix("?").split(" + ")
            assert question["reference"] == [str(int(a) + int(b))]


@pytest.mark.parametrize("question", questions(), ids=lambda question: question["query"])
def test_every_reference_is_right_and_another_kinds_is_not(question: LabelledRow) -> None:
    other = next(each for each in questions() if each["task"] != question["task"])
    assert all(is_right(answer, question) for answer in question["reference"])
    assert is_right(f"{question['reference'][0]}.", question)
    assert not is_right(other["reference"][0], question)
    assert not is_right("", question)


@pytest.mark.parametrize(
    ("text", "answer", "right"),
    [
        ("What is 9 + 9?", "The answer is 18", True),
        ("What is 9 + 9?", "81", False),
        ("What is the capital of Mexico?", "mexico city", True),
        ("What is the capital of Italy?", "Italy", False),
        ("Is this review positive or negative? It leaks and nobody will fix it.", "Negative", True),
        ("Is this review positive or negative? It leaks and nobody will fix it.", "positive", False),
        ("What is the opposite of 'big'?", "little", True),
        ("What is the opposite of 'big'?", "big", False),
    ],
)
def test_grading(text: str, answer: str, right: bool) -> None:
    question = next(question for question in questions() if question["query"] == text)
    assert is_right(answer, question) is right
