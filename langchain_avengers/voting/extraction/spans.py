"""The answer of a short span: a box, the rest of an "Answer:" line, a data field, a whole short reply."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from langchain_avengers.voting.extraction.answer import Answer
from langchain_avengers.voting.extraction.choices import conclude_choice, match_option, read_choice
from langchain_avengers.voting.extraction.expression import (
    CLOCK,
    EQUATION,
    read_clock,
    read_compound,
    read_expression,
    read_list,
)
from langchain_avengers.voting.extraction.picking import agree, number_answer, pick_number
from langchain_avengers.voting.extraction.quantity import find_numbers, parse_quantity, plain_math
from langchain_avengers.voting.extraction.question import Asked
from langchain_avengers.voting.extraction.structured import (
    answer_field,
    canonical_json,
    folded,
    load_data,
    looks_like_data,
    voting_fields,
)
from langchain_avengers.voting.extraction.text import SENTENCE, normal_form, undress

MAX_WORDS = 10  # of a short text, which votes as a string; longer texts are prose
MAX_WHOLE = 800  # characters of words that are an answer as a whole
MAX_PHRASE = 4_000  # characters of a grid, a list or what an answer field holds
_CLAUSE = re.compile(
    r"\s*(?:,?\s*\b(?:because|since|due to|given that|assuming|where|whereas|although)\b"
    r"|,\s*(?:which|as|so|not|but|and)\b|;|\s[-–—]\s|，因为|因为|，"
    r"|\s\((?!\d)|\s=>|\n)",
    re.I,
)


def read_span(span: str, asked: Asked, *, short: bool = True) -> Answer | None:
    """The answer a short span states, where it is known to hold one: a box, the rest of an "Answer:" line,
    a data field.

    `short` allows a phrase as the answer.
    """
    text = undress(span)
    if not text:
        return None
    if (not asked.number or _LONE_LETTER.fullmatch(text)) and len(text) < 2_000:
        # first with its dress: the bracket of `(b)` tells a letter from a word
        dressed = text if len(text) == 1 else span.strip()
        letter = read_choice(dressed, asked.options)
        if letter or (dressed != text and (letter := read_choice(text, asked.options))):
            return choice_answer(letter)
    if len(text) <= 400 and (answer := read_exact(text, asked)) is not None:
        return as_option(answer, text, asked)
    sentence = undress(SENTENCE.split(text, maxsplit=1)[0])
    clause = undress(_CLAUSE.split(sentence, maxsplit=1)[0])
    for part in dict.fromkeys((sentence, clause)):
        if part and part != text and len(part) <= 400 and (answer := read_exact(part, asked)) is not None:
            return as_option(answer, part, asked)
    if verdict := _VERDICT.match(sentence):
        return Answer("text", verdict[1].casefold())
    numbers = list(find_numbers(plain_math(sentence)))
    words = len(sentence.split())
    if (
        numbers
        and (asked.number or words > 4 or any(n.unit or n.percent for n in numbers))
        and (words > 2 or asked.number)
    ):
        chosen = (
            numbers[-1]
            if "=" in sentence
            else numbers[0]
            if agree(numbers)
            else pick_number(sentence, numbers, asked=asked)
        )
        if asked.number or len(numbers) == 1 or "=" in sentence:
            return as_option(number_answer(chosen, asked), sentence, asked)
    if asked.options:
        return choice_answer(match_option(sentence, asked.options)) or choice_answer(
            conclude_choice(sentence, asked.options)
        )
    if short and words <= MAX_WORDS and len(sentence) <= 120 and not declines(sentence):
        value = normal_form(plain_math(without_echo(clause or sentence, asked)))
        return Answer("text", value) if re.search(r"\w", value) else None
    return None


_LONE_LETTER = re.compile(r"\(?[A-J]\)?")
_VERDICT = re.compile(
    r"(?:(?:(?:most|very) )?(?:likely|probably|definitely|clearly|certainly|simply|technically|generally|a|an"
    r"|clear|simple|resounding) )*(yes|no(?=\s*(?:[^\w\s]|$))|true|false)\b",
    re.I,
)


def read_exact(text: str, asked: Asked) -> Answer | None:
    """`text` as a number, list, data or expression, when all of it is one."""
    if not text:
        return None
    if (quantity := parse_quantity(text)) is not None:
        return number_answer(quantity, asked)
    solved = EQUATION.fullmatch(plain_math(text).strip("$ ")) if "=" in text else None
    if solved is not None and (quantity := parse_quantity(solved[1])) is not None:
        return number_answer(quantity, asked)
    if (duration := read_compound(text)) is not None:
        return number_answer(duration, asked)
    if (listed := read_list(text, keep_order=asked.ordered)) is not None:
        return listed
    if text[0] in "{[" and looks_like_data(text):
        try:
            return read_data(load_data(text), asked)
        except ValueError:
            pass
    if text[0].isdigit() and ":" in text and CLOCK.fullmatch(clock := plain_math(text).strip()):
        return read_clock(clock)
    return read_expression(text)


def read_value(value: Any, asked: Asked) -> Answer | None:
    """The answer that a data field holds; `None` also when it holds a text too long to be one."""
    if value is None:
        return None
    if isinstance(value, bool):
        return Answer("text", str(value).casefold())
    if isinstance(value, list | tuple | Mapping) or hasattr(value, "model_dump"):
        return read_data(value, asked)
    text = str(value).strip()
    return read_span(text, asked) or phrase(text, asked, MAX_PHRASE) if text else None


def read_data(value: Any, asked: Asked) -> Answer | None:
    """Structured data in canonical form, or the answer that its answer field holds. Fields of reasoning and
    confidence do not vote.
    """
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping):
        if (field := answer_field(value, asked.fields)) is not None:
            unit = next((str(value[name]) for name in value if folded(name) in _UNIT_FIELDS), "")
            if unit and isinstance(field, int | float | str) and not isinstance(field, bool):
                field = f"{field} {unit}" if parse_quantity(str(field)) is not None else field
            return read_value(field, asked)
        voting = voting_fields(value)
        if len(voting) == 1 < len(value):
            return read_value(next(iter(voting.values())), asked)
        value = voting
    elif isinstance(value, str):
        return read_value(value, asked)
    elif (
        isinstance(value, list | tuple)
        and len(value) == 1
        and not isinstance(value[0], list | tuple | Mapping)
    ):
        return read_value(value[0], asked)
    try:
        text = canonical_json(value)
    except ValueError:
        return None
    if isinstance(value, list | tuple) and (listed := read_list(text)) is not None:
        return listed
    return Answer("json", text)


_UNIT_FIELDS = ("unit", "units", "currency")


def phrase(text: str, asked: Asked, most: int) -> Answer | None:
    """A text of at most `most` characters in normal form, whatever it holds; `None` when it holds nothing."""
    text = text.strip()
    if not text or len(text) > most or declines(text):
        return None
    value = normal_form(plain_math(text))
    if not _SUBSTANCE.search(value):  # `]}` and `+-` are answers, `...` and `---` are none
        value = re.sub(r"\s+", " ", text)
        if not _SYMBOL.search(value):
            return None
    return Answer("text", value)


_SUBSTANCE = re.compile(r"[^\W_]")
_SYMBOL = re.compile(r"[^\s\x00.…·,:;!?'\"`~#*_–—|-]")


def as_option(answer: Answer, text: str, asked: Asked) -> Answer:
    """The option that `answer` is the text of; else `answer`."""
    if asked.options and (letter := match_option(text, asked.options)):
        return Answer("choice", letter)
    return answer


# --- choices, yes and no ------------------------------------------------------------------------------------


def choice_answer(letter: str | None) -> Answer | None:
    """A letter as an answer."""
    return None if letter is None else Answer("choice", letter)


_DECLINE = re.compile(
    r"\W*(?:(?:i'?m )?sorry\b.{0,60}?)?(?:i (?:do not|don't|cannot|can't|am not able to|am unable"
    r" to|'m unable to|'m not able to|'m not sure|am not sure)|"
    r"i'm (?:not sure|unable|not able)|i (?:apologize|do)$|unfortunately,? i\b|it is"
    r" (?:impossible|not possible) to|there is not enough|"
    r"cannot be determined from|not enough information|as an ai\b|i'm sorry|n/?a$|none$|unknown$|unsure$)",
    re.I,
)


def declines(text: str) -> bool:
    """Whether a short text says that it does not know or will not answer."""
    text = text.replace("’", "'")
    return len(text) < 400 and (_DECLINE.match(text) or _UNDECIDED.search(text)) is not None


_UNDECIDED = re.compile(
    r"\banswer\b[^.\n]{0,40}\bis (?:not (?:known|clear|certain|possible)|un(?:known|clear|certain)|impossible)"
    r"|\b(?:it|this|that|answer) (?:cannot|can't|can not) be (?:determined|answered|known|calculated)\W*$",
    re.I,
)


_FILLER = frozenset(
    (
        *("the", "a", "an", "this", "that", "it", "its", "he", "she", "they", "his", "her", "their", "there"),
        *(
            "is",
            "are",
            "was",
            "were",
            "be",
            "by",
            "to",
            "in",
            "on",
            "at",
            "of",
            "and",
            "or",
            "but",
            "so",
            "with",
        ),
    )
)


_SUBJECT = re.compile(r"^[^,;]*?\b(?:is|are|was|were)\s+")
_PRONOUN = re.compile(r"^(?:it|this|that|he|she|they|there|these|those)(?:'s| is| are| was| were)\s+", re.I)
_COPULAS = re.compile(r"\b(?:is|are|was|were)\b|,|;")
LABELLED = re.compile(r"[A-Z][a-z]+(?: [a-z]+)?:\s+(\S[^\n]{0,60})")


def without_echo(text: str, asked: Asked) -> str:
    """`text` without the words at its ends that only repeat the question: of `The capital of France is Paris`,
    asked for the capital of France, `Paris`.
    """
    if not asked.words or asked.whole or " " not in text:
        return text
    text = _PRONOUN.sub("", text)
    words = text.split()
    folded = [word.strip(".,;:!?\"'()*").casefold() for word in words]
    news = [i for i, word in enumerate(folded) if word not in asked.words and word not in _FILLER]
    if not news:  # a choice of the question's own words
        return text if len(_COPULAS.findall(text)) > 1 else _SUBJECT.sub("", text) or text
    first, last = news[0], news[-1] + 1
    # words that only join others are left out beside words of the question, not by themselves
    if not any(word in asked.words and word not in _FILLER for word in folded[:first]):
        first = 0
    if not any(word in asked.words and word not in _FILLER for word in folded[last:]):
        last = len(words)
    return " ".join(words[first:last])
