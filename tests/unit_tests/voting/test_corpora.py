# ruff: noqa: E501 - a table reads best with its cases side by side
"""Answers in data, worked solutions, and short replies of any shape."""

from __future__ import annotations

from itertools import chain, pairwise

import pytest
from langchain_core.messages import AIMessage

from langchain_avengers.voting.answers import Answer, extract_answer, extract_message
from langchain_avengers.voting.equivalence import partition, same
from langchain_avengers.voting.voters import MajorityVoter, Sample
from tests.corpora import Case, formats, worked


def misread(case: Case) -> bool:
    """Whether the reply and the same answer by itself are not one answer."""
    read, plain = extract_answer(case.reply, case.question), extract_answer(case.plain, case.question)
    return read is None or plain is None or not same(read, plain, case.question)


@pytest.mark.parametrize("kind", formats.FORMATS)
def test_answers_in_data(kind: str) -> None:
    assert not [case for case in formats.cases(50) if case.kind == kind and misread(case)]


@pytest.mark.parametrize("kind", worked.KINDS)
def test_worked_solutions(kind: str) -> None:
    assert not [case for case in worked.cases(25) if case.kind == kind and misread(case)]


def test_a_vote_among_answers_in_data_is_one_class() -> None:
    question = (
        formats.STORIES[0].format(a=6, b=7)
        + '\n\nRespond as ```json\n{"reasoning": "...", "answer": "..."}\n```'
    )
    replies = [
        '{\n  "reasoning": "6 a day\nfor 7 days",\n  "answer": "42"\n}',
        'Here is the solution in the requested JSON format:\n```json\n{"reasoning": "\\( 6 \\times 7 \\)", "answer": 42}\n```',
        "{'reasoning': [('a', 6), ('b', 7)], 'answer': '42 pens'}",
        "<answer>42</answer>",
        '{"answer": {"value": 42, "unit": "pens"}, "confidence": 0.9}',
        "42",
    ]
    answers = [extract_answer(reply, question) for reply in replies]
    assert partition([answer for answer in answers if answer], question) == [0] * len(replies)


@pytest.mark.parametrize(
    ("reply", "question", "value"),
    [
        (
            '{"reasoning": "...", "capital": "Lima"}',
            'Give JSON: {"reasoning": "...", "capital": "..."}',
            "lima",
        ),
        ('{"final_answer": [3, 4.0], "work": "..."}', None, "[3, 4]"),
        ('{"answer": {"b": 1, "a": [1, 2.0]}}', None, '{"a":[1,2],"b":1}'),
        ('{"answer": "He said \\"hi\\""}', None, 'he said "hi'),
        ('{"thought": "x"}\n{"answer": 7}', None, "7"),
        ('{"reasoning": "6 * 7 = 42, so the answer is 42", "answer": null}', None, None),
    ],
)
def test_fields(reply: str, question: str | None, value: str | None) -> None:
    answer = extract_answer(reply, question)
    assert value is None or (answer is not None and answer.value == value)


def test_code_that_holds_an_object_stays_code() -> None:
    text = '```python\ndef answer():\n    return {"answer": 3}\n```'
    assert extract_answer(text, "Write a function answer() that returns a dictionary.").kind == "code"  # type: ignore[union-attr]


def test_tool_arguments_that_do_not_parse_strictly() -> None:
    broken = {
        "name": "solve",
        "args": '{"reasoning": "a\nb", "x": 4,}',
        "id": "1",
        "error": "",
        "type": "invalid_tool_call",
    }
    strict = {"name": "solve", "args": {"x": 4.0, "reasoning": "other"}, "id": "2", "type": "tool_call"}
    one = extract_message(AIMessage("", invalid_tool_calls=[broken]))  # type: ignore[list-item]
    assert one is not None
    assert one == extract_message(AIMessage("", tool_calls=[strict]))


CIRCUIT = "Below is a circuit.\nA: HIGH\nB: LOW\nC: HIGH\nWhat is the final output? Answer 0 or 1."
LOCK = "Buttons:\nA: Add 2\nB: Subtract 1\nC: Multiply by 3\nGive the shortest sequence of buttons that opens the lock."


@pytest.mark.parametrize(
    ("reply", "question", "value"),
    [
        ("0", CIRCUIT, "0"),
        ("1", CIRCUIT, "1"),
        ("B → C → C → B", LOCK, "b → c → c → b"),
        ("-0xA1AA4885", "Compute it. Reply in hexadecimal.", "-0xa1aa4885"),
        ("✅❌\n❌✅", "Fill in the grid.", "✅❌ ❌✅"),
        ("0 0 1 0 2 0 0 0 0", "How many blocks of each type? Write the count of each.", "0 0 1 0 2 0 0 0 0"),
        ("1 2 3\n4 5 6", "Rotate the matrix.", "1 2 3 4 5 6"),
        ("1 days, 19:48:00", "What is the time difference?", "1 days, 19:48:00"),
        (
            "Move disk 1 from Peg 1 to Peg 3\nMove disk 2 from Peg 1 to Peg 2",
            "Write the moves.",
            "move disk 1 from peg 1 to peg 3 move disk 2 from peg 1 to peg 2",
        ),
        (
            "If, of, pleased, with, located, MERCHANTABILITY, inventors, an",
            "Reverse the words.",
            "if, of, pleased, with, located, merchantability, inventors, an",
        ),
        (
            "Ann is a knight, and Bob is a knave",
            "Ann is a knight or a knave. Is Bob? Who is a knight, who is a knave?",
            "ann is a knight, and bob is a knave",
        ),
        ("]}", "Which brackets are missing?", "]}"),
        ("3D", "How many?", "3d"),
    ],
)
def test_a_short_reply_is_the_answer_as_a_whole(reply: str, question: str, value: str) -> None:
    answer = extract_answer(reply, question)
    assert answer is not None
    assert answer.value == value
    spaced = extract_answer(reply.upper().replace(" ", "  "), question)
    assert spaced is not None
    assert same(answer, spaced, question)


@pytest.mark.parametrize(
    ("reply", "question", "value"),
    [
        (
            "Let x be the hens. The equation is 3x + 5(x + 2) = 42, so 8x = 32, x = 4. Jonas has 4 hens.",
            "How many hens has Jonas?",
            "4",
        ),
        ("S = 2B, S = 16. Sven is currently 16 years old.", "How old is Sven?", "16"),
        ("16 * 7 = 112", "Simplify the fraction 1122/3042.", "112"),
        ("1122/3042", "Simplify the fraction 1122/3042.", "1122/3042"),
    ],
)
def test_worked_mathematics(reply: str, question: str, value: str) -> None:
    answer = extract_answer(reply, question)
    assert answer is not None
    assert answer.value == value


TEN = "How far?\n" + "\n".join(f"{letter}. {i * 10} km" for i, letter in enumerate("ABCDEFGHIJ", 1))


@pytest.mark.parametrize(
    "reply",
    [
        "\\boxed{87}\n\nThe answer is (F).",
        "6. The answer is (F).",
        "So x = \\boxed{61.3}. The answer is F.",
        "1. Look.\n2. The answer is (F).",
    ],
)
def test_a_stated_letter_beats_all_else(reply: str) -> None:
    assert extract_answer(reply, TEN) == Answer("choice", "F")


def vote(*texts: str) -> str:
    samples = [Sample(AIMessage(text)) for text in texts]
    return texts[MajorityVoter().vote(samples).winner]


def test_the_most_common_wording_of_the_winner_speaks() -> None:
    assert vote("27.0", "27", "27", "31") == "27"


def test_a_tie_of_texts_goes_to_the_one_most_like_the_others() -> None:
    assert (
        vote("plum fig pear lime", "red tan blue grey", "red tan blue pink", "red tan gold grey")
        == "red tan blue grey"
    )
    assert vote("12", "13", "14") == "12"  # numbers by their place, as ever


def test_equal_texts_are_one_class_whatever_they_hold() -> None:
    for case in chain(formats.cases(3, seed=1), worked.cases(3, seed=1)):
        for text, other in pairwise([case.reply, f" {case.reply}\n"]):
            one, two = extract_answer(text, case.question), extract_answer(other, case.question)
            assert (one is None) == (two is None)
            assert one is None or two is None or same(one, two, case.question)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"answer": 42, "reasoning": "We multiply 6 by', "42"),
        ('```json\n{"answer": "42",\n "reasoning": "We multiply', "42"),
        ('{"reasoning": "6 * 7", "answer": 4', None),  # may have become 42
    ],
)
def test_an_object_that_the_token_limit_cut_off(text: str, value: str | None) -> None:
    answer = extract_message(AIMessage(text, response_metadata={"finish_reason": "length"}))
    assert (answer and answer.value) == value
