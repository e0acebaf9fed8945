"""What a worked answer without a marker concludes: its final number, or yes and no."""

from __future__ import annotations

import re
from fractions import Fraction

from langchain_avengers.voting.extraction.answer import Answer
from langchain_avengers.voting.extraction.expression import (
    CLOCK,
    MEASURES,
    has_unknown,
    read_clock,
    read_compound,
    read_list,
)
from langchain_avengers.voting.extraction.picking import RIGHT_SIDE, agree, number_answer, pick_number
from langchain_avengers.voting.extraction.quantity import Quantity, find_numbers, parse_quantity, plain_math
from langchain_avengers.voting.extraction.question import Asked
from langchain_avengers.voting.extraction.spans import read_exact
from langchain_avengers.voting.extraction.text import BOLD, SENTENCE, WORD, plain, undress


def read_yes_no(lines: str) -> Answer | None:
    """Yes or no, true or false, when the text opens with it or its last sentences say it."""
    text = _EITHER.sub("", lines.strip().strip("\"'(").casefold())
    if opening := re.match(
        r"(yes|no(?! one\b)|true|false|correct|incorrect|是的?|不是|否|对|错误?|正确)(?![\w'])", text
    ):
        word = {"correct": "true", "incorrect": "false"}.get(opening[1], opening[1])
        return Answer(
            "text",
            {
                "是": "yes",
                "是的": "yes",
                "对": "yes",
                "正确": "yes",
                "不是": "no",
                "否": "no",
                "错": "no",
                "错误": "no",
            }.get(word, word),
        )
    for sentence in reversed([s for s in SENTENCE.split(text) if s and s.strip()][-2:]):
        if opening := _VERDICT_OPENS.match(sentence):
            return Answer("text", opening[1])
        if len(found := set(re.findall(r"\b(true|false|yes)\b", sentence))) == 1:
            word = found.pop()
            if re.search(rf"\bnot (?:\w+ )?{word}\b", sentence):
                return Answer("text", {"true": "false", "false": "true", "yes": "no"}[word])
            return Answer("text", word)
    return None


_EITHER = re.compile(r"\(?\b(?:yes(?: or |/)no|true(?: or |/)false)\b\)?")
_VERDICT_OPENS = re.compile(
    r"\W*(?:(?:so|therefore|thus|hence|overall|in conclusion|in short)\b\W*)?(yes|no)\s*(?:[,.;:!–—-]|$)"
)


_CONCLUSION = re.compile(
    r"\W*(?:so|therefore|thus|hence|in total|in conclusion|altogether|finally|consequently|this"
    r" means|as a result|overall|total|"
    r"in summary|that(?:'s| is)|which means|因此|所以|故|总共|一共"
    r"|综上)\b",
    re.I,
)
_ROOTS = re.compile(r"\b([A-Za-z])\s*=[^=,;]{1,30}?(?:,|\bor\b|\band\b)[\s$]*\1\s*=[^=,;]{1,30}$")
_PAIR = re.compile(
    r"\b([A-Za-z])\s*=\s*-?\d[\d./]{0,12}(?:\s*,|\s+and|\s*,\s*and)\s+(?!\1)[A-Za-z]\s*=\s*-?\d[\d./]{0,12}(?=\W*$)"
)
_PERSONS = frozenset(("who", "whose", "whom", "where"))
_COPULA = re.compile(r"(?:\b(?:is|are|was|were|equals)|=)\s*$")
_ASSIGNED = re.compile(r"\$?(?:[A-Za-z]\s*=|\(\s*[A-Za-z]\s*,\s*[A-Za-z]\s*\)\s*=)")
_NOTES = re.compile(r"<<[^<>\n]{0,200}>>|\x00\d+\x00")
_FORMULA = re.compile(r"\$([^$\n]{1,200})\$|\\\(([^\n]{1,200}?)\\\)")


def final_number(prose: str, asked: Asked) -> Answer | None:
    """The number a worked answer ends on.

    It is looked for in the last sentence with a number, when that concludes, or the question asks for a
    quantity, or the text calculates; a check, an alternative or a remark behind it is passed over. Of several
    numbers there the bold one is taken, else one that the last equation came to, else the last.
    """
    worked = plain_math(_NOTES.sub("", prose).replace("$$", " "))
    sentences = _claims([s for s in SENTENCE.split(worked[-6_000:]) if s and WORD.search(s)])
    calculates = "=" in worked and re.search(r"=\s*[-$€£]?\s?\d", worked) is not None
    for sentence in reversed(sentences[-_MAX_BACK:] if asked.number or asked.ordinal else sentences[-1:]):
        clean = plain(sentence)
        formulas = _FORMULA.findall(clean) if "$" in clean or "\\(" in clean else ()
        if formulas and (formula := undress(formulas[-1][0] or formulas[-1][1])):
            ended = read_exact(formula, asked)
            if (
                ended is not None
                and ended.kind in ("math", "list")
                and "=" not in ended.value
                and not (asked.number and has_unknown(ended))
            ):
                return ended
        if (roots := _ROOTS.search(clean)) and (listed := read_list(roots[0].replace("$", ""))) is not None:
            return listed
        if not asked.number and (pair := _PAIR.search(clean)) and (listed := read_list(pair[0])) is not None:
            return listed
        lead = _CONCLUSION.match(clean)
        concludes, alone = lead is not None, len(sentences) == 1 and len(clean.split()) <= 25
        solved = clean[lead.end() if lead else 0 :].lstrip(" ,:")
        if _ASSIGNED.match(solved) and (listed := read_list(undress(solved))) is not None:
            return listed
        numbers = list(find_numbers(clean))
        clocks = CLOCK.findall(clean) if ":" in clean else []
        if clocks and asked.clock:
            return read_clock(clocks[-1])
        ordinals = _ORDINAL.findall(clean) if asked.number or asked.ordinal else []
        if ordinals and (asked.ordinal or not numbers):
            return number_answer(Quantity(Fraction(int(ordinals[-1]))), asked)
        if not numbers:
            if len(clocks) == 1 and (concludes or alone or asked.number or {"when", "ratio"} & asked.words):
                return read_clock(clocks[0])
            if asked.number and (words := _spelled(clean, asked)) is not None:
                return words
            continue
        given = asked.noun and asked.number and all(n.value in asked.given for n in numbers)
        if given and (words := _spelled(clean, asked)) is not None:
            return words
        one = agree(numbers)
        if alone and not one:
            last = numbers[-1]
            if len(clean[last.end :].split()) <= 3 and _COPULA.search(clean[: last.start]):
                return number_answer(last, asked)
        short = alone and one and len(clean.split()) > 3 and not _PERSONS & asked.words
        came_to = calculates and (RIGHT_SIDE.search(clean) is not None or _came_to(worked, numbers))
        if not (asked.number or concludes or short or came_to):
            return None
        if len(numbers) > 1:
            for measures in MEASURES.finditer(clean):
                if measures.end() >= numbers[-1].end and (whole := read_compound(measures[0])) is not None:
                    return number_answer(whole, asked)
        bold = [n for part in BOLD.findall(sentence) for n in find_numbers(part)]
        if bold and agree(bold):
            return number_answer(bold[0], asked)
        return number_answer(pick_number(clean, numbers, worked, asked), asked)
    return None


_MAX_CHECK = 10  # sentences of a check
_MAX_BACK = 6  # sentences from the end in which the number a question asks for is looked for
_ORDINAL = re.compile(r"\b(\d{1,4})(?:st|nd|rd|th)\b")
_CHECK = re.compile(
    r"\W*(?:(?:let(?:'s|’s| us| me)|we can|you can|to|i(?:'ll| will)|as a|now,?|quick|sanity) (?:also |now |then )?"
    r"(?:double[- ]?|cross[- ]?)?(?:check|verify|confirm)\w*"
    r"|(?:double[- ]?|cross[- ]?)?check(?:ing)?\b(?! (?:out|in|for))|verif\w+|alternative\w*"
    r"|another (?:way|approach|method)|(?:you|we|one) could (?:also|instead)|(?:or|as) a check|as a sanity|proof\s*:)",
    re.I,
)
_REMARK = re.compile(
    r"\W*(?:note(?: that)?|please note|remember|keep in mind|i hope|hope this|let me know|if you|feel free"
    r"|this is (?:because|due)|this assumes|assuming|for reference|fun fact|p\.?s\b)",
    re.I,
)
_FINALLY = re.compile(
    r"\W*(?:therefore|thus|hence|in conclusion|so,? the (?:final|total|answer)|final(?:ly)?\b|answer)", re.I
)


def _claims(sentences: list[str]) -> list[str]:
    """`sentences` without the check, the alternative or the remark that stands behind the result."""
    while len(sentences) > 1 and _REMARK.match(sentences[-1]):
        sentences = sentences[:-1]
    for i in range(max(1, len(sentences) - _MAX_CHECK), len(sentences)):
        if (
            _CHECK.match(sentences[i])
            and re.search(r"\d", sentences[i - 1])
            and len(sentences[i - 1].split()) > 2
        ):
            ending = next((s for s in sentences[:i:-1] if _FINALLY.match(s) and re.search(r"\d", s)), None)
            return sentences[:i] if ending is None else [*sentences[:i], ending]
    return sentences


def _came_to(worked: str, numbers: list[Quantity]) -> bool:
    """Whether one of the numbers is what the last equation came to."""
    sides = [side.end() for side in RIGHT_SIDE.finditer(worked)]
    result = next(find_numbers(worked[sides[-1] : sides[-1] + 40]), None) if sides else None
    return result is not None and any(n.value == result.value for n in numbers)


OPENS = re.compile(r"[^\n=]{1,60}(?=\n)|[$€£]\s?\d[\d,]*(?:\.\d+)?(?=\.\s+[A-Z])")


def concludes(lines: str) -> bool:
    """Whether the last line opens like a conclusion: `So`, `Therefore`."""
    return _CONCLUSION.match(lines.rstrip().rpartition("\n")[2]) is not None


def _spelled(sentence: str, asked: Asked) -> Answer | None:
    """A quantity in words, at the end of `She has seven apples left`."""
    words = sentence.strip().rstrip(".!").split()
    for i in range(max(0, len(words) - 8), len(words)):
        if (
            words[i].casefold() not in ("one", "a")
            and not words[i][0].isdigit()
            and (quantity := parse_quantity(" ".join(words[i : i + 1]))) is not None
        ):
            return number_answer(quantity, asked)
    return None
