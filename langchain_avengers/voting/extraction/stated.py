"""Answers that a reply announces: "Answer: X", "The answer is X", "#### X"."""

from __future__ import annotations

import re

from langchain_avengers.voting.extraction.answer import Answer
from langchain_avengers.voting.extraction.code import code_answer, is_code, is_whole
from langchain_avengers.voting.extraction.expression import has_unknown
from langchain_avengers.voting.extraction.markers import FINAL, NO_ANSWER, RESULT, STRONG, compiled, hints
from langchain_avengers.voting.extraction.question import Asked
from langchain_avengers.voting.extraction.spans import read_exact, read_span
from langchain_avengers.voting.extraction.text import SENTENCE, Block, undress

_FINAL, _FINAL_HINTS = compiled(FINAL), hints(FINAL)
_RESULT, _RESULT_HINTS = compiled(RESULT), hints(RESULT)
_MAX_MARKS = 24  # markers that are tried, from the last


def stated_answer(lines: str, blocks: list[Block], asked: Asked) -> Answer | None:
    """The answer behind the last "Answer:", "The answer is", "####" and their kin; a "final" or "correct"
    one counts more.
    """
    strong: list[tuple[int, int]] = []
    usual: list[tuple[int, int]] = []
    folded = lines.casefold()
    if any(hint in folded for hint in _FINAL_HINTS):
        for match in _FINAL.finditer(lines):
            (strong if STRONG.match(match[0]) else usual).append(match.span())
    for start, end in [*strong[: -_MAX_MARKS - 1 : -1], *usual[: -_MAX_MARKS - 1 : -1]]:
        span = _behind(lines, end)
        if NO_ANSWER.match(span) or _hypothetical(lines, start):
            continue
        if (
            "\x00" in span[:4]
            and (number := re.match(r"\s*\x00(\d+)\x00", span))
            and int(number[1]) < len(blocks)
        ):
            block = blocks[int(number[1])]
            if is_code(block.language, block.text):
                whole = block.closed or is_whole(block.text, block.language)
                return code_answer(block.text, block.language) if whole else None
            span = block.text
        answer = read_span(span, asked)
        if answer is not None and not (asked.number and has_unknown(answer)):
            return answer
    if asked.options or not any(hint in folded for hint in _RESULT_HINTS):
        return None
    tail = lines[-2_000:]
    for match in [*_RESULT.finditer(tail)][::-1][:3]:
        part = undress(SENTENCE.split(_behind(tail, match.end()), maxsplit=1)[0])
        if not part or len(part) >= 200 or (answer := read_exact(part, asked)) is None:
            continue
        if not (
            asked.number
            and (has_unknown(answer) or _CLAIM.search(lines, len(lines) - len(tail) + match.end()))
        ):
            return answer
    return None


# a later sentence that says a number
_CLAIM = re.compile(r"[.!?\n]\s+[^\n]{0,200}?[a-z]{2}[^\n]{0,200}?\d")


def _hypothetical(lines: str, start: int) -> bool:
    before = lines[max(0, start - 25) : start].casefold()
    return start > 0 and _IF.search(before) is not None


_SUBSTANCE = re.compile(r"[\w\x00½¼¾\\]")
_IF = re.compile(r"\b(?:if|whether|suppose|assume|unless)\s+(?:the|that)?\s*$")


def _behind(text: str, end: int) -> str:
    """What stands behind a marker: the rest of its line, or where that is empty the next one (all of a
    displayed formula).
    """
    rest = text[end : end + 3_000]
    line, _, more = rest.partition("\n")
    if not _SUBSTANCE.search(line) or line.strip() in ("\\[", "\\(", "$$", "$"):
        rest = (line + " " if line.strip() in ("\\[", "\\(", "$$", "$") else "") + more.lstrip()
        opening = next(
            (pair for pair in (("\\[", "\\]"), ("$$", "$$"), ("\\(", "\\)")) if rest.startswith(pair[0])),
            None,
        )
        if opening and (close := rest.find(opening[1], 2)) > 0:
            return rest[2:close].strip()
        line, _, more = rest.partition("\n")
    while more and (_UNFINISHED.search(line) or _GOES_ON.match(more)):
        following, _, more = more.lstrip().partition("\n")
        line = f"{line} {following}"
    return line


_UNFINISHED = re.compile(r"\d[^\n]*[-+*/=×÷]\s*$")  # an equation goes on in the next line
_GOES_ON = re.compile(r"\s*=\s*[-$€£\d(]")
