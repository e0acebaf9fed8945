"""The time to read a reply grows with its length, not with the square of it."""

from __future__ import annotations

import time
from itertools import cycle

import pytest
from langchain_core.messages import AIMessage

from langchain_avengers.voting.answers import extract_message
from langchain_avengers.voting.extraction.question import read_question
from tests.corpora.hostile import Hostile, cases

QUESTIONS = (
    None,
    "Which gas?\nA) oxygen\nB) carbon dioxide\nC) nitrogen\nD) helium",
    "How many dollars does she have?",
    "Is it so?",
    "Write a function f.",
    'Reply as ```json\n{"answer": 1}\n```',
    "Sort the list of words.",
)
ENOUGH = 0.5  # seconds of this process; a text of 80,000 characters that takes less is no danger
SQUARE = 40  # a time that grows with the length is 8 times as much, one that grows with its square 64 times


def seconds(text: str, question: str | None) -> float:
    """Processor time, which the load of the machine does not change."""
    started = time.process_time()
    extract_message(AIMessage(text), question)
    return time.process_time() - started


@pytest.mark.parametrize(("case", "question"), zip(cases(), cycle(QUESTIONS)))
def test_reading_is_linear(case: Hostile, question: str | None) -> None:
    long = seconds(case.text(80_000), question)
    assert long < ENOUGH or long < SQUARE * min(seconds(case.text(10_000), question) for _ in range(3))


def test_there_are_enough_patterns() -> None:
    assert len(list(cases())) >= 200


@pytest.mark.parametrize("case", cases())
def test_reading_a_question_is_linear(case: Hostile) -> None:
    started = time.process_time()
    read_question(case.text(80_000))
    assert time.process_time() - started < 2 * ENOUGH
