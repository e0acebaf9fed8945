"""A choice among lettered options, however it is said."""

from __future__ import annotations

import re

from langchain_avengers.voting.extraction.quantity import USUAL, parse_quantity
from langchain_avengers.voting.extraction.text import normal_form, undress

_WORD = (
    r"(?:option|choice|answer choice|answer|letter|alternative|statement|response|opción|opção|opzione"
    r"|вариант|选项|选择|选)"
)
# The letter a span opens with. A word must not follow it (`A dog`), a mark, a reason or a remark may.
_OPENING = re.compile(
    rf"[\s\"'“‘*]*(?i:(?:{_WORD}|the|la|el|die|is|be|that|probably|most likely|likely|clearly|indeed"
    rf"|definitely|either|仅|只有)\s*[:：]?\s*){{0,4}}"
    r"(?:[\"'“‘`(\[{（【$*]|\\\(|\\text\{|\\mathrm\{|\\textbf\{|\\mathbf\{){0,4}\s*"
    r"(?P<letter>[A-Pa-p])"
    r"(?P<closed>(?:\s*(?:[\"'”’`)\]}）】$.:：,，;；。、*!]|\\\)))*)"
    r"(?P<rest>\s*(?:$|[-–—(=/|].*|(?:because|since|as|is|was|which|would|for|due|with|given|but"
    r"|based|that|选项|项|。)\b.*|[\u3040-\u9fff\uac00-\ud7af].*)|)",
    re.S,
)
_SEVERAL = re.compile(
    r"\W*(?i:(?:both|options?|answers?|choices?|are|is|the"
    r"|only)\s+){0,4}\W{0,4}([A-P])\W{0,3}(?:[,，、/&+;\s]|and|or|和|与|以及)+\W{0,2}"
    r"([A-P])\b(?:\W{0,3}(?:[,，、/&+;\s]|and|or|和"
    r"|与)+\W{0,2}([A-P])\b)?(?:\W{0,3}(?:[,，、/&+;\s]|and|or|和|与)+\W{0,2}([A-P])\b)?\W*"
    r"(?:$|(?:are|is|because|since|,).*)|([A-P]{2,6})\W*$",
    re.S,
)
_LETTER = re.compile(r"[A-Pa-p]")
_AND = re.compile(r"[,，、&+;]|and|和|与|以及|[A-P]{2}")


def read_choice(span: str, options: dict[str, str]) -> str | None:
    """The letter(s) a short span chooses: `"B"`, or `"A,C"` for several; `None` when it chooses none.

    `Both` is no B, `A dog` no A, and a letter outside the options no choice. Without options only letters A
    to J count, and a lower-case letter needs a bracket or a dot behind it.
    """
    text = span.strip()
    if not text:
        return None
    if len(text) == 1 and text.isascii():
        return _valid(text, options, bare=True)
    if options and (by_text := match_option(text, options)):
        return by_text
    if _LETTER.search(text) is None:
        return None
    if len(text) < 120 and (several := _SEVERAL.match(text)):
        letters = [g for g in several.groups()[:4] if g] or list(several[5] or "")
        joined = bool(several[5]) or _AND.search(text[several.start(1) : several.end(len(letters))])
        if (
            joined
            and letters == sorted(set(letters))
            and all(_valid(x, options) for x in letters)
            and (several[1] or options)
        ):
            return ",".join(letters)
    opening = _OPENING.match(text)
    if opening is None:
        return None
    letter, end = opening["letter"], opening.end("closed") if opening["closed"] else opening.end("letter")
    closed = bool(opening["closed"])
    if not closed and not opening["rest"] and text[opening.end("letter") :].strip():
        return None
    if _DENIED.match(text, opening.end("letter")):
        return None
    bracketed = (
        text[opening.end("letter") : end].strip()[:1] in tuple(")]}）】") and opening.start("letter") > 0
    )
    if (
        closed
        and not bracketed
        and (after := text[end : end + 1])
        and after.isalnum()
        and text[end - 1] in ".:："
        and not options
    ):
        return None  # `e.g`, `A.M.`
    if closed and text[end - 1] in ",，'’" and text[end:].strip() and not bracketed and not options:
        return None  # `A, however`; `I'd`
    if closed and not bracketed and text[opening.end("letter")] in "'’" and text[end : end + 1].isalpha():
        return None
    return _valid(letter, options, bare=not closed and opening.start("letter") == 0)


def _valid(letter: str, options: dict[str, str], *, bare: bool = False) -> str | None:
    upper = letter.upper()
    if not "A" <= upper <= "P" or len(upper) != 1:
        return None
    if options:
        return upper if upper in options else None
    if letter.islower() and (bare or letter > "f"):
        return None
    return upper if upper <= "J" else None


def match_option(text: str, options: dict[str, str]) -> str | None:
    """The letter of the one option whose text `text` is, perhaps with its letter before it, or cut short."""
    wanted = normal_form(undress(text))
    if not wanted or (len(wanted) < 2 and wanted.isascii() and not wanted.isdecimal()):
        return None
    exact = [
        letter
        for letter, option in options.items()
        if option and (option == wanted or _lettered(wanted, letter) == option)
    ]
    if len(exact) == 1:
        return exact[0]
    if len(wanted) >= 3 and not exact:
        begun = [
            letter
            for letter, option in options.items()
            if option.startswith(wanted)
            or (len(option) >= 4 and wanted.startswith((f"{option} (", f"{option},", f"{option} because")))
        ]
        if len(begun) == 1:
            return begun[0]
    if (quantity := parse_quantity(text)) is not None:
        equal = [
            x for x, option in options.items() if (q := parse_quantity(option)) and q.value == quantity.value
        ]
        if len(equal) == 1:
            return equal[0]
    return None


def _lettered(wanted: str, letter: str) -> str:
    small = letter.casefold()
    if wanted[0] != small:
        return ""
    for mark in (") ", "). ", ". ", ": ", " ", " - ", "] "):
        if wanted.startswith(small + mark):
            return normal_form(wanted[len(small + mark) :])
    return ""


_DRESSED = (
    r"[\"'“‘`(\[*$]{0,4}(?:\\\(\s?)?(?:\\text\{)?[\"'(]?(?P<LETTER>[A-P])[)\]\"'”’`*}$]{0,4}(?:\s?\\\))?"
)
# Sentences that conclude on a letter, found anywhere; the last one counts.
_CONCLUDES = re.compile(
    r"\b(?:options?|choices?|answer|select|choose|pick|chose|go with|say|statement|letter|alternative"
    r"|response)\s*(?:is|:|would be|should be)?\s*"
    + _DRESSED.replace("LETTER", "l1")
    + r"(?![\w'’]|\s(?!is|because|since|as|would|best|most|for|and|which|which|\W)\w)"
    r"|(?<![\w'’])" + _DRESSED.replace("LETTER", "l2")
    + r"\s(?:is|would be|seems|appears|must be|should be|can be)\s(?:(?:the|most|clearly|likely"
      r"|definitely|indeed|probably|a)\s){0,3}"
    r"(?:correct|right|best|answer|true|accurate|appropriate|only|one|most)"
    r"|(?:选项?|选择|答案是?|答案为)\s*[:：]?\s*[（(]?(?P<l3>[A-P])(?![A-Za-z])"
    r"|(?:is|be|are|=|'s|’s|∴|therefore,?|so,?|thus,?|hence,?|leav(?:es|ing))\s*(?:\*\*)?[(\[]?(?P<l4>[A-P])"
    r"(?:[)\]]|[.:!](?=\s|\*|$)|,(?!\s*(?:(?:and|or)\s)?[A-P]\b)|\*\*|$|\s*\()"
    r"|[(\[](?P<l5>[A-P])[)\]]"
)  # fmt: skip
_NEGATED = re.compile(
    r"\b(?:not|n't|incorrect|wrong|eliminate|rule out|ruling out|rather than|instead of|unlike"
    r"|false|exclude)\W+(?:\w+\W+){0,3}$",
    re.I,
)
_DENIED = re.compile(
    r"项?是?(?:不正确|错误|不对|错)"
    r"|\W{0,6}(?:\w+\W+)?(?:is|are|was|would be|can be|does)\s?(?:n't|not| incorrect| wrong| false"
    r"| ruled out| eliminated| irrelevant)",
    re.I,
)
_LINE_LETTER = re.compile(
    r"(?:^|\n)[ \t>*_#-]{0,8}[(\[]?([A-P])[)\].:：、](?=[\s*]|$)|(?:^|\n)["
    r" \t>*_#]{0,8}[(\[\"']?([A-P])[)\]\"'.*]{0,4}[ \t]*(?=\n|$)"
)


def conclude_choice(prose: str, options: dict[str, str]) -> str | None:
    """The option a reasoned answer without an explicit `Answer:` ends on."""
    if (judged := _judged(prose, options)) is not None:
        return judged
    best = None
    for match in _CONCLUDES.finditer(prose):
        letter = next(group for group in match.groups() if group)
        if letter not in options:
            continue
        if _NEGATED.search(prose[max(0, match.start() - 40) : match.start()]) or _DENIED.match(
            prose, match.end()
        ):
            continue
        best = (
            letter
            if match.lastgroup != "l5" or best is None or _last_sentence(prose, match.start())
            else best
        )
    lines = [a or b for a, b in _LINE_LETTER.findall(prose)]
    distinct = {letter for letter in lines if letter in options}
    if len(distinct) == 1 and (best is None or re.match(r"\W*[A-P][).:\s]", prose)):
        line = distinct.pop()
        return line if best is None or best == line else best
    if best is None and (alone := _ALONE.search(prose)) and alone[1] in options:
        return alone[1]
    return best or _by_text(prose, options)


_ALONE = re.compile(r"[.!?]\s+[(\[*]{0,3}([A-P])[)\]*]{0,3}[.!]?\s*$")
_JUDGED = re.compile(
    r"^[^\w\n]*+([A-P])\b[).:].*?\b(?:(yes|correct|true|right)|(no|incorrect|false|wrong))[^\w\n]*$",
    re.M | re.I,
)


def _judged(prose: str, options: dict[str, str]) -> str | None:
    """The one option called right, where line by line each is called right or wrong."""
    if "\n" not in prose:
        return None
    verdicts = {letter.upper(): bool(right) for letter, right, _ in _JUDGED.findall(prose)}
    right = [letter for letter, holds in verdicts.items() if holds]
    return right[0] if len(right) == 1 and len(verdicts) > 2 and right[0] in options else None


def _last_sentence(prose: str, position: int) -> bool:
    return len(prose) - position < 200 or "\n\n" not in prose[position:]


def _by_text(prose: str, options: dict[str, str]) -> str | None:
    """The only option whose text stands in the last sentence (or, failing that, in a short answer)."""
    sentences = [s for s in re.split(r"(?<=[.!?。])\s+|\n+", prose.strip()) if s.strip()]
    for part in [*reversed(sentences[-2:]), *([prose] if len(prose) < 600 else [])]:
        folded = f" {normal_form(part)} "
        hits = [
            x
            for x, option in options.items()
            if len(option) > 1
            and option in folded
            and re.search(rf"(?<!\w){re.escape(option)}(?!\w)", folded)
            and not USUAL.fullmatch(option)  # numbers are compared by value
        ]
        # of options inside one another (`7` and `17 cm`, `iron` and `iron oxide`) the longest is meant
        longest = [
            x for x in hits if not any(options[x] != options[y] and options[x] in options[y] for y in hits)
        ]
        if len(longest) == 1:
            return longest[0]
    return None
