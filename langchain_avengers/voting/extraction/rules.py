"""The rules by which a reply is read, in the order in which they are tried."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from langchain_avengers.voting.extraction.answer import Answer
from langchain_avengers.voting.extraction.choices import conclude_choice, match_option, read_choice
from langchain_avengers.voting.extraction.code import is_code, read_code
from langchain_avengers.voting.extraction.conclusion import OPENS, concludes, final_number, read_yes_no
from langchain_avengers.voting.extraction.expression import canonical_expression
from langchain_avengers.voting.extraction.picking import number_answer
from langchain_avengers.voting.extraction.quantity import parse_quantity, plain_math
from langchain_avengers.voting.extraction.question import Asked
from langchain_avengers.voting.extraction.spans import (
    LABELLED,
    MAX_PHRASE,
    MAX_WHOLE,
    MAX_WORDS,
    choice_answer,
    declines,
    phrase,
    read_data,
    read_exact,
    read_span,
    without_echo,
)
from langchain_avengers.voting.extraction.stated import stated_answer
from langchain_avengers.voting.extraction.structured import answer_field, find_data, find_fields, is_data
from langchain_avengers.voting.extraction.text import (
    BOLD,
    SENTENCE,
    WORD,
    Block,
    answer_part,
    boxed,
    cut_off,
    normal_form,
    open_box,
    plain,
    split_fences,
    undress,
)

_T = TypeVar("_T")
_MAX_PROSE = 20_000  # characters of prose, beside code, that are searched
_MAX_FIELD = 400  # characters of an answer field that holds no reasoning
_MARK = re.compile(r"\x00\d+\x00")
_ONLY_BLOCK = re.compile(r"\s*\x00\d+\x00\s*")
_SHORT_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d{0,8}[1-9])?")
_WORDY = re.compile(r"nswer|[.!?] \S+ \S|\\boxed|答", re.I)


class _lazy(Generic[_T]):
    """A property that is computed when first needed; `functools.cached_property` without its lock."""

    def __init__(self, compute: Callable[[Any], _T]) -> None:
        self._compute = compute
        self._name = compute.__name__

    def __get__(self, instance: Any, owner: type | None = None) -> _T:
        value = instance.__dict__[self._name] = self._compute(instance)
        return value


class Reply:
    """A reply and the views of it that rules share, each made when first needed.

    Attributes:
        body: The part of the model's text that answers; not empty.
        asked: What its question fixes.
        tagged: The body stood in answer tags.
    """

    def __init__(self, body: str, asked: Asked, *, tagged: bool = False) -> None:
        self.body = body
        self.asked = asked
        self.tagged = tagged

    @_lazy
    def _parts(self) -> tuple[str, list[Block]]:
        return split_fences(self.body)

    @property
    def outline(self) -> str:
        """`body` with a mark in place of every fenced block."""
        return self._parts[0]

    @property
    def blocks(self) -> list[Block]:
        """The fenced blocks."""
        return self._parts[1]

    @_lazy
    def prose(self) -> str:
        """The outline with the text of fences that hold neither code nor data in place; of a long one both ends."""
        prose = self.outline
        for i, block in enumerate(self.blocks):
            if not is_code(block.language, block.text) and not is_data(block.language):
                prose = prose.replace(f"\x00{i}\x00", f"\n{block.text}\n", 1)
        if len(prose) > _MAX_PROSE:  # an answer stands at the beginning or at the end
            prose = f"{prose[:2_000]}\n\n{prose[2_000 - _MAX_PROSE :]}"
        return prose

    @_lazy
    def lines(self) -> str:
        """The prose without Markdown."""
        return plain(self.prose)

    @_lazy
    def data(self) -> list[Any]:
        """The values of the data in the reply, the likeliest to hold its answer first."""
        if "{" not in self.body and "[" not in self.body and not self.blocks:
            return []
        return list(find_data(self.body, self.blocks, loose=not self.asked.code))

    @_lazy
    def lines_without_marks(self) -> str:
        """The lines without the marks of blocks."""
        return _MARK.sub(" ", self.lines)

    @_lazy
    def has_code(self) -> bool:
        """Whether a block holds code."""
        return any(is_code(block.language, block.text) for block in self.blocks)


@dataclass(frozen=True)
class Rule:
    """A way to read a reply.

    Attributes:
        name: What it reads.
        read: Gives the answer, or `None` when the rule does not apply.
        ends: When the rule gave none and this holds, the reply has no answer: later rules are not tried.
    """

    name: str
    read: Callable[[Reply], Answer | None]
    ends: Callable[[Reply], bool] = lambda reply: False


def read_reply(text: str, asked: Asked) -> Answer | None:
    """The answer of a model's text, by the first rule that gives one."""
    return explain_reply(text, asked)[1]


def explain_reply(text: str, asked: Asked) -> tuple[str, Answer | None]:
    """The name of the rule that decided and the answer it gave; the name is empty for an empty reply."""
    body, tagged = answer_part(text)
    if not body:
        return "", None
    reply = Reply(body, asked, tagged=tagged)
    for rule in RULES:
        if (answer := rule.read(reply)) is not None or rule.ends(reply):
            return rule.name, answer
    return "", None


def _short_reply(reply: Reply) -> Answer | None:
    """A letter or a number by itself, which most replies are; many times faster than the other rules."""
    body, asked = reply.body, reply.asked
    if (
        len(body) >= 40
        or body.count(" ") >= 6
        or "\n" in body
        or body[0] in "{`~"
        or _WORDY.search(body) is not None
    ):
        return None
    if not asked.options and _SHORT_NUMBER.fullmatch(body):
        value = "0" if body == "-0" else body
        return Answer("number", value, float(value))
    if not asked.number and (letter := read_choice(body, asked.options)):
        return Answer("choice", letter)
    quantity = None if asked.options else parse_quantity(body)
    return None if quantity is None else number_answer(quantity, asked)


def _code_asked_for(reply: Reply) -> Answer | None:
    return read_code(reply.outline, reply.blocks, reply.asked) if reply.asked.code else None


def _answer_field(reply: Reply) -> Answer | None:
    """The answer field of an object, of `key: value` lines or of a table in the reply."""
    for value in reply.data:
        for item in reversed(value) if isinstance(value, list) else (value,):
            if isinstance(item, dict) and (answer := _field(item, reply.asked)) is not None:
                return answer
    return None


def _field(value: dict[Any, Any], asked: Asked) -> Answer | None:
    if (field := answer_field(value, asked.fields)) is None:
        return None
    if isinstance(field, str) and len(field) > _MAX_FIELD:  # it holds a worked answer
        return read_reply(field, asked)
    return read_data(value, asked)


def _field_line(reply: Reply) -> Answer | None:
    fields = find_fields(reply.lines)
    if not fields or (text := answer_field(fields, reply.asked.fields)) is None:
        return None
    return read_exact(undress(text), reply.asked) or (
        read_span(text, reply.asked) if answer_field(fields, strict=True) is not None else None
    )


def _data_alone(reply: Reply) -> Answer | None:
    return _data(reply) if reply.body[0] in "{[" or _ONLY_BLOCK.fullmatch(reply.outline) else None


def _data(reply: Reply) -> Answer | None:
    """The object or list in the reply, all of it."""
    for value in reply.data:
        if isinstance(value, dict | list):
            return read_data(value, reply.asked)
    return None


def _boxed(reply: Reply) -> Answer | None:
    if (inner := boxed(reply.prose)) is None:
        return None
    factorial = re.search(r"[\w)]!$", inner) is not None  # elsewhere the mark ends a sentence
    answer = (None if factorial else read_span(inner, reply.asked)) or canonical_expression(inner)
    if reply.asked.options and (answer is None or answer.kind != "choice"):
        stated = _stated(reply) or choice_answer(conclude_choice(reply.lines, reply.asked.options))
        return stated if stated is not None and stated.kind == "choice" else answer
    return answer


def _has_box(reply: Reply) -> bool:
    return boxed(reply.prose) is not None or open_box(reply.prose)


def _stated(reply: Reply) -> Answer | None:
    return stated_answer(reply.lines, reply.blocks, reply.asked)


def _breaks_off(reply: Reply) -> bool:
    return (
        not (reply.tagged or reply.asked.whole)
        and cut_off(reply.body)
        and all(block.closed for block in reply.blocks)
    )


def _option(reply: Reply) -> Answer | None:
    """The option an unmarked text chooses. Prose as long as an essay may still answer a question that merely
    lists things.
    """
    options, lines = reply.asked.options, reply.lines
    if not options:
        return None
    first = lines.strip().split("\n", 1)[0]
    opening = read_choice(first, options) if len(first) < 400 else None
    ended = conclude_choice(lines, options)
    if opening and (ended is None or ended == opening or len(lines) == len(first)):
        return Answer("choice", opening)
    if ended or opening:
        return choice_answer(ended or opening)
    symbols = _is_symbols(lines)
    value = None if symbols else final_number(lines, Asked(number=True, given=reply.asked.given))
    if value is not None and (letter := match_option(value.value, options)):
        return Answer("choice", letter)
    if len(lines) > 600:
        return free_answer(lines)
    if _says_nothing(reply) or _LETTER.fullmatch(lines.strip()):
        return None
    # the list was none to choose from, or the reply is of another mind: it is an answer all the same
    picks_none = reply.asked.choice and not reply.tagged and _ONLY_WORDS.fullmatch(lines) is not None
    if not picks_none and (symbols or reply.tagged or len(lines.split()) <= MAX_WORDS):
        return read_exact(undress(lines), reply.asked) or phrase(reply.body, reply.asked, MAX_PHRASE)
    return None


def _yes_no(reply: Reply) -> Answer | None:
    return read_yes_no(reply.lines) if reply.asked.yes_no else None


def _nothing(reply: Reply) -> Answer | None:
    return None


def _says_nothing(reply: Reply) -> bool:
    """Whether the reply declines, or only announces what does not follow."""
    lines = reply.lines
    return declines(lines) or (len(lines) < 40 and lines.rstrip().endswith((":", "：")))


def _whole(reply: Reply) -> Answer | None:
    """A reply that is nothing but a number, list, expression or data."""
    text = reply.lines_without_marks.strip()
    if reply.has_code or len(text) > 400 or "\n" in text:
        return None
    return read_exact(whole, reply.asked) if (whole := undress(text)) else None


def _as_one(reply: Reply) -> Answer | None:
    """A reply without sentences (a grid, moves, a line of signs), or what a question for several parts gets: no part
    of it stands for it.
    """
    asked, text = reply.asked, reply.body.strip()
    if reply.has_code or reply.data or len(text) > MAX_PHRASE:
        return None
    if _is_symbols(text):
        return phrase(undress(text), asked, MAX_PHRASE)
    if asked.number or not (asked.whole or reply.tagged) or _WORKED.search(text) is not None:
        return None
    if introduced := _INTRODUCED.match(text):
        text = text[introduced.end() :]
    return phrase(undress(text), asked, MAX_WHOLE if asked.whole else MAX_PHRASE)


def _is_symbols(text: str) -> bool:
    """Whether a text is made of numbers and signs, with few words, as no sentence is."""
    if "=" in text or "≈" in text:
        return False
    tokens = text.split()
    words = sum(1 for token in tokens if _WORDLIKE.fullmatch(token))
    return len(tokens) > 1 and words * 2.5 < len(tokens) and len(set(tokens)) > words


_WORDLIKE = re.compile(r"[^\W\d_][\w'’-]+[.,;:!?)]*")
_WORKED = re.compile(r"=\s?[-$€£]?\d[^\n]*[.\n]\s*\S*[A-Za-z]{2}|\bstep \d", re.I)
_ONLY_WORDS = re.compile(r"(?:[^\W\d_]|[\s.,;:!?*'’\"()-])*+")
_LETTER = re.compile(r"\W*[A-Za-z]\W*")
_INTRODUCED = re.compile(
    r"(?:[A-Z][^\n:]{0,80}):\s*\n+|(?:The|Here|Your|My|Output|Result|Answer)\b[^\n:]{0,60}:\s+"
)


def _opening_number(reply: Reply) -> Answer | None:
    """A number by itself in the first line, which the rest explains."""
    lines = reply.lines_without_marks
    if not reply.asked.number or (opening := OPENS.match(lines)) is None or concludes(lines):
        return None
    quantity = parse_quantity(undress(opening[0]))
    return None if quantity is None else number_answer(quantity, reply.asked)


def _final_number(reply: Reply) -> Answer | None:
    if reply.has_code and not reply.asked.number:
        return None
    return final_number(reply.prose, reply.asked)


def _code(reply: Reply) -> Answer | None:
    return read_code(reply.prose, reply.blocks, reply.asked)


def _code_breaks_off(reply: Reply) -> bool:
    last = reply.blocks[-1] if reply.blocks else None
    return last is not None and not last.closed and is_code(last.language, last.text)


def _free(reply: Reply) -> Answer | None:
    return None if "\\boxed" in reply.prose else free_answer(reply.body)


def _short_text(reply: Reply) -> Answer | None:
    """A short phrase, without what only repeats the question."""
    if "\\boxed" in reply.prose:
        return None
    asked = reply.asked
    text = reply.lines_without_marks.strip()
    if len(text) > 300 or text.startswith("\\"):
        return None
    if opening := re.match(r"(yes|no|true|false)(?:[.!;:]|,(?! \w+,)|\s*$)", text, re.I):
        return Answer("text", opening[1].casefold())
    sentences = [s for s in SENTENCE.split(text) if s and s.strip()]
    bold = [
        part for part in BOLD.findall(_MARK.sub(" ", reply.prose)) if not part.rstrip().endswith((":", "："))
    ]
    if asked.words and (labelled := LABELLED.fullmatch(text)):
        text = labelled[1]
    if (
        len(sentences) <= 2
        and len(bold) == 1
        and len(text.split()) > len(bold[0].split())
        and len(bold[0].split()) <= 5
    ):
        value = normal_form(plain_math(without_echo(bold[0], asked)))
    elif len(sentences) == 1 and len(text.split()) <= 2 * MAX_WORDS:
        text = without_echo(text, asked)
        if len(text.split()) > MAX_WORDS:
            return None
        value = normal_form(plain_math(text))
    else:
        return None
    return Answer("text", value) if re.search(r"\w", value) else phrase(text, asked, MAX_PHRASE)


def free_answer(body: str) -> Answer | None:
    """The whole text as prose."""
    value = re.sub(r"\s+", " ", body.replace("\x00", " ")).strip()
    return Answer("free", value) if WORD.search(_FENCES.sub("", value)) else None


_FENCES = re.compile(r"[`~]{3,}\w*")


RULES: tuple[Rule, ...] = (
    Rule("short reply", _short_reply),
    Rule("answer field of data", _answer_field),
    Rule("code that was asked for", _code_asked_for),
    Rule("data alone", _data_alone),
    Rule("box", _boxed, ends=_has_box),
    Rule("answer field of lines", _field_line),
    Rule("stated answer", _stated),
    Rule("broken off", _nothing, ends=_breaks_off),
    Rule("lettered option", _option, ends=lambda reply: bool(reply.asked.options)),
    Rule("yes or no", _yes_no),
    Rule("declined", _nothing, ends=_says_nothing),
    Rule("whole reply", _whole),
    Rule("reply as one", _as_one),
    Rule("opening number", _opening_number),
    Rule("final number", _final_number),
    Rule("code", _code, ends=_code_breaks_off),
    Rule("data", _data),
    Rule("short text", _short_text),
    Rule("prose", _free),
)
"""Every rule, in the order in which they are tried."""
