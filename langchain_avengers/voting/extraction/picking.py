"""Which of several numbers in a sentence it concludes on."""

from __future__ import annotations

import re
from fractions import Fraction

from langchain_avengers.voting.extraction.answer import Answer
from langchain_avengers.voting.extraction.quantity import Quantity, canonical, find_numbers, known_unit
from langchain_avengers.voting.extraction.question import NOTHING, Asked

RIGHT_SIDE = re.compile(r"(?:=|≈|\\approx)\s*")
_SO = re.compile(
    r"(?:\ba (?:grand )?total of"
    r"|[,;]\s*(?:and\s+)?(?:so|therefore|thus|hence|which means|giving|making|leaving)|\b(?:therefore|thus|hence))\b",
    re.I,
)
# what opens the side remark of a result: `makes $18 a day by selling 9 eggs`, `covers 180 miles in 3 hours`
_ASIDE = re.compile(
    r"\b(?:by|because|since|from|at|with|when|if|given|after|using|for|in|out of|than|per|to"
    r" (?:have|get|reach|make))\b",
    re.I,
)


def pick_number(sentence: str, numbers: list[Quantity], worked: str = "", asked: Asked = NOTHING) -> Quantity:
    """Of several numbers in a concluding sentence the one it concludes on.

    In order: what the last equation in it, else before it, comes to; then of its last clause, without side remarks and
    without the numbers the question states, the last.
    """
    if len(numbers) == 1:
        return numbers[0]
    sides = [m.end() for m in RIGHT_SIDE.finditer(sentence)]
    if sides and (right := [n for n in numbers if n.start >= sides[-1]]):
        return (
            right[0] if not re.match(r"[^-+*/x×÷=]{0,40}[-+*/x×÷]", sentence[right[0].end :]) else right[-1]
        )
    if worked:
        equations = [m.end() for m in RIGHT_SIDE.finditer(worked)][-3:]
        for end in reversed(equations):
            result = next(find_numbers(worked[end : end + 40]), None)
            if result is not None and (same := [n for n in numbers if n.value == result.value]):
                return same[-1]
    if asked.unit is not None:
        fitting = {n.value for n in numbers if _unit_of(sentence, n) == asked.unit} - asked.given
        if len(fitting) == 1:
            value = fitting.pop()
            return next(n for n in numbers if n.value == value)
    if asked.noun:
        counted = [
            n
            for n in numbers
            if asked.noun in sentence[n.end : n.end + 40].casefold()[: len(asked.noun) + 12]
        ]
        if len(counted) == 1:
            return counted[0]
    for cue in _SO.finditer(sentence):
        numbers = [n for n in numbers if n.start >= cue.end()] or numbers
    if asked.given:
        numbers = [n for n in numbers if n.value not in asked.given] or numbers
    aside = _ASIDE.search(sentence, numbers[0].end)
    return [n for n in numbers if aside is None or n.start < aside.start()][-1]


def _unit_of(sentence: str, number: Quantity) -> tuple[str, Fraction] | None:
    word = _WORD_AFTER.match(sentence, number.end)
    return known_unit(word[1] if word else number.unit)


_WORD_AFTER = re.compile(r"\s{0,3}([A-Za-z°¢]{1,20})")


def number_answer(quantity: Quantity, asked: Asked) -> Answer:
    """A quantity as an answer; a percentage counts in percent when the question asks for one."""
    value = quantity.value * 100 if quantity.percent and asked.percent else quantity.value
    try:
        number: float | None = float(value)
    except OverflowError:
        number = None
    written = quantity.written if asked.simplest else ""
    unit = "%" if quantity.percent and asked.percent else quantity.unit
    return Answer("number", written or canonical(value), number, unit)


def agree(numbers: list[Quantity]) -> bool:
    """Whether all have the same value."""
    return len(numbers) == 1 or len({n.value for n in numbers}) == 1
