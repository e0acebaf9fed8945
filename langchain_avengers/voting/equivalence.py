"""When two answers are the same answer, and the partition of many answers that follows from it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

from langchain_avengers.voting.extraction.answer import Answer
from langchain_avengers.voting.extraction.quantity import known_unit
from langchain_avengers.voting.extraction.question import NOTHING, Asked, read_question
from langchain_avengers.voting.mathematics import POOL, MathTime, math_verify_installed

_WORDED = ("free", "json")  # kinds that agree when they differ in case alone
_TRUTH = {"yes": "true", "no": "false"}


def same(a: Answer, b: Answer, question: str | None = None) -> bool:
    """Whether two answers are the same answer to the question.

    Numbers agree by value: 1/2, 0.5 and 50 %; a number without a unit agrees with the same one with any, km
    and m only after conversion, and one written to three or more decimals with the one it rounds. Where the
    question asks for a percentage, 50 agrees with 50 % and with 0.5; where it fixes the unit, a bare number
    is taken in it. Expressions and lists agree when math-verify (the extra `math`) says so. Everything else
    agrees when its canonical form does: code by its syntax tree, JSON and tool calls with their keys sorted
    and 1.0 as 1, text by its Unicode- and case-folded form.

    Symmetric, but not always transitive: `partition` makes classes of it.
    """
    return _same(a, b, read_question(question), MathTime())


def partition(
    answers: Sequence[Answer], question: str | None = None, *, spent: MathTime | None = None
) -> list[int]:
    """Group answers that are the same.

    Classes are the connected components of `same`, so they depend neither on the order of the answers nor
    on how often one occurs; only their numbers follow first appearance.

    Args:
        answers: The answers.
        question: The question they answer.
        spent: Takes up the time spent on comparing expressions, and how many comparisons were given up. Without
            it a warning tells of them.

    Returns:
        The class of each answer, numbered 0, 1, ... by first appearance.
    """
    asked = read_question(question)
    keys = [(answer.kind, answer.value, answer.unit) for answer in answers]
    distinct = dict(zip(keys, answers, strict=True))
    parent = {key: key for key in distinct}

    def root(key: tuple[str, str, str]) -> tuple[str, str, str]:
        while parent[key] != key:
            key = parent[key]
        return key

    families: dict[str, list[tuple[str, str, str]]] = {}
    folded: dict[tuple[str, str], tuple[str, str, str]] = {}
    for key in distinct:
        if key[0] in _WORDED:
            parent[key] = folded.setdefault((key[0], key[1].casefold()), key)
        elif (family := _family(key[0], asked)) is not None:
            families.setdefault(family, []).append(key)
    account = MathTime() if spent is None else spent
    for members in families.values():
        # by value, so that the pairs of plain numbers that cannot agree are never looked at
        members.sort(key=lambda key: (_place(distinct[key]), key))
        one_unit = len({key[2] for key in members}) == 1
        for i, first in enumerate(members):
            a = distinct[first]
            plain = None if asked.percent else a.number
            for second in members[i + 1 :]:
                b = distinct[second]
                if a.unit == b.unit and _far(plain, b.number):
                    if one_unit:
                        break
                    continue
                if root(first) != root(second) and _same(a, b, asked, account):
                    parent[root(second)] = root(first)
    if spent is None and account.note:
        warnings.warn(account.note, stacklevel=2)
    numbers: dict[tuple[str, str, str], int] = {}
    return [numbers.setdefault(root(key), len(numbers)) for key in keys]


def _far(small: float | None, large: float | None) -> bool:
    """Whether of two numbers the second is too large to agree with the first, however they are rounded."""
    return small is not None and large is not None and large - small > 0.011 + 1e-8 * abs(large)


def _place(answer: Answer) -> float:
    return float("inf") if answer.number is None else answer.number


def needs_time(answers: Sequence[Answer | None]) -> bool:
    """Whether comparing these may ask math-verify, which takes milliseconds to seconds: not for an event
    loop's thread.
    """
    return any(a is not None and a.kind in ("math", "list") for a in answers) and math_verify_installed()


def _family(kind: str, asked: Asked) -> str | None:
    """Kinds whose members may agree although their canonical forms differ."""
    if kind in ("number", "math", "list"):
        return "quantity"
    return "truth" if kind == "text" and asked.yes_no else None


def _same(a: Answer, b: Answer, asked: Asked, spent: MathTime) -> bool:
    if a.kind == b.kind == "number":
        return _same_number(a, b, asked)
    if a.kind == b.kind and (a.value == b.value or a.value.casefold() == b.value.casefold()):
        return True
    if a.kind == b.kind == "text" and asked.yes_no:
        return _TRUTH.get(a.value, a.value) == _TRUTH.get(b.value, b.value)
    if _family(a.kind, asked) == "quantity" == _family(b.kind, asked):
        if a.kind == b.kind == "list" and (equal := _same_list(a.value, b.value)) is not None:
            return equal
        if {a.kind, b.kind} == {"list", "number"} or not math_verify_installed():
            return False
        return POOL.equal(_latex(a), _latex(b), spent)
    return False


# --- numbers ------------------------------------------------------------------------------------------------


def _same_number(a: Answer, b: Answer, asked: Asked) -> bool:
    if a.number is None or b.number is None:
        return a.value == b.value
    x, y = a.number, b.number
    if asked.simplest and "/" in a.value and "/" in b.value:
        return a.value == b.value
    if a.unit or b.unit:
        unit_a, unit_b = known_unit(a.unit), known_unit(b.unit)
        if unit_a is None and unit_b is not None and asked.unit is not None:
            unit_a = asked.unit
        if unit_b is None and unit_a is not None and asked.unit is not None:
            unit_b = asked.unit
        if unit_a is not None and unit_b is not None:
            if unit_a[0] != unit_b[0]:
                return False
            if unit_a[1] != unit_b[1]:
                return _equal(x * float(unit_a[1]), y * float(unit_b[1]))
    if _equal(x, y) or _rounds(a, b) or _rounds(b, a):
        return True
    if not asked.percent:
        return False
    (small, share), (large, _) = sorted(((x, a.unit), (y, b.unit)), key=lambda pair: abs(pair[0]))
    return share != "%" and abs(small) <= 1 and _equal(100 * small, large)


def _equal(x: float, y: float) -> bool:
    return abs(x - y) <= 1e-9 * max(abs(x), abs(y))


def _rounds(short: Answer, long: Answer) -> bool:
    """Whether `short`, given to three decimals (or two, with four digits) or more, is `long` rounded or cut
    off.
    """
    whole, _, decimals = short.value.lstrip("-").partition(".")
    places = len(decimals)
    if (
        places < 2
        or (places < 3 and len(whole.lstrip("0")) < 2)
        or short.number is None
        or long.number is None
    ):
        return False
    if "/" not in long.value and len(long.value.partition(".")[2]) <= places:
        return False
    error = (abs(long.number) - abs(short.number)) * 10**places
    return -0.500001 <= error < 1 and short.number * long.number >= 0


def _same_list(a: str, b: str) -> bool | None:
    """Lists of plain numbers, element by element; `None` when math-verify has to say."""
    if a[:1] in "([" or b[:1] in "([":
        if (a[:1], a[-1:]) != (b[:1], b[-1:]):
            # `1, 2, 3` and `[1, 2, 3]` are the same answer; an interval and a tuple are not
            return a.strip("[]") == b.strip("[]") if "(" not in a + b and ")" not in a + b else False
        a, b = a[1:-1], b[1:-1]
    parts = [text.split(", ") for text in (a, b)]
    if len(parts[0]) != len(parts[1]):
        return False
    values = []
    for part in (*parts[0], *parts[1]):
        if not re.fullmatch(r"-?\d+(?:\.\d+|/\d+)?", part):
            return None
        top, _, bottom = part.partition("/")
        values.append(Answer("number", part, float(top) / float(bottom or 1)))
    half = len(parts[0])
    return all(_same_number(x, y, NOTHING) for x, y in zip(values[:half], values[half:], strict=True))


# --- mathematics --------------------------------------------------------------------------------------------


def _latex(answer: Answer) -> str:
    if answer.kind == "list" and answer.value[:1] not in "([":
        return f"\\{{{answer.value}\\}}"
    return answer.value
