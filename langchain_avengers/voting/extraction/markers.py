"""The words that announce an answer, by language, and the patterns made of them.

A marker is the words of which one has to stand there, and what follows them. The hints, by which a text without any
marker is passed over quickly, are these same words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple


class Marker(NamedTuple):
    """One of `words` (plain text), then `after`; with `opens` only at the start of a line."""

    words: tuple[str, ...]
    after: str = ""
    opens: bool = False

    @property
    def pattern(self) -> str:
        """The regular expression of the marker."""
        words = "|".join(map(re.escape, self.words))
        before = r"^[ \t]*+" if self.opens else r"\b" if self.words[0].isascii() else ""
        return rf"{before}(?:{words}){self.after}"


def _words(listed: str) -> tuple[str, ...]:
    return tuple(listed.split(", "))


Markers = Mapping[str, tuple[Marker, ...]]

_IS = (
    r"(?:\s+[-–—](?=\s)|\s*(?:is|are|was|were|would be|will be|should be|must be|equals|=|[:：])(?!\w)\s*[:：]?"
    r"|\s*[:：])"
)
_NOUN = r"(?:answer|result|choice|option|solution|value|response|letter)"
_IS_ZH = r"\s*(?:应该|应)?(?:是|为|选|等于|：|:|】)+(?:选项|选)?"

FINAL: Markers = {
    "English": (
        Marker(
            _words(
                "final, correct, right, best, most accurate, most appropriate, most likely, most suitable, proper"
            ),
            rf"[ _]{_NOUN}s?\b[^.\n:：=]{{0,80}}?{_IS}",
        ),
        Marker(
            ("option", "choice", "one", "statement"), r"\b[^.\n:：=]{0,100}?\bis\s*:?\s*(?=[(*]*[A-J][).*])"
        ),
        Marker(("final answer",), r"\W{0,4}\s*(?=\n)"),
        Marker(("answer",), rf"\b[^.\n:：=]{{0,80}}?{_IS}"),
        Marker(("ans", "answer", "response"), r"\s*[:：.](?=\s)", opens=True),
        Marker(("a:", "a：", "a."), r"(?=\s)", opens=True),
        Marker(("answer",), r"\b\s*[:：=]?", opens=True),
    ),
    "GSM8K": (Marker(("###",), r"#{0,3}[ \t]*(?=[-+$€£¥\\.(\d]|[A-J]\s*(?:$|\n))", opens=True),),
    "Chinese": (
        Marker(
            ("最终答案", "最终结果", "最后答案", "最后结果", "正确答案", "标准答案", "答案", "结果"), _IS_ZH
        ),
        Marker(("正确的",), r"(?:是|为|选|等于|：|:|】)+(?:选项|选)?"),
        Marker(("故", "因此", "所以", "应该", "应", "答案"), r"\s*选择?(?:选项)?\s*[:：]?"),
        Marker(("答",), r"\s*[:：]", opens=True),
    ),
    "Japanese": (Marker(("正解は",)), Marker(("答え",), r"は?\s*[:：]?")),
    "Korean": (Marker(("정답",), r"은?\s*[:：]?"), Marker(("답은",), r"\s*[:：]?")),
    "Spanish": (Marker(("respuesta",), r"(?: \w+){0,4}?\s*(?:\bes\b|[:：])"),),
    "French": (Marker(("reponse", "réponse"), r"(?: \w+){0,4}?\s*(?:\best\b|[:：])"),),
    "German": (Marker(("antwort",), r"(?: \w+){0,4}?\s*(?:\bist\b|\blautet\b|[:：])"),),
    "Portuguese": (Marker(("resposta",), r"(?: \w+){0,4}?\s*(?:\bé|[:：])"),),
    "Italian": (Marker(("risposta",), r"(?: \w+){0,4}?\s*(?:\bè|[:：])"),),
    "Russian": (Marker(("ответ",), r"\s*[:：]"),),
}
"""Words that announce the answer."""

STRONG = re.compile(r"\W*(?:final|correct|right|#{3,6}|最终|正确)", re.I)
"""What a marker begins with that counts more than the others."""

RESULT: Markers = {
    "English": (
        Marker(
            _words(
                "solution, root, value, result, zero, expression, simplified, simplified form, factored form, "
                "equation, derivative, integral, matrix, domain, range, interval"
            ),
            rf"s?\b[^.\n:：=]{{0,40}}?{_IS}",
        ),
        Marker(("simplifies", "factors", "evaluates"), r" (?:to|as)\b"),
    ),
}
"""Words that name a result as often as something else: what follows has to be a number, a list or an expression."""

NO_ANSWER = re.compile(
    r"\s*(?:not\b|n't|unclear|unknown\b|none of|as follows|below|above|obtained|found by|given by|therefore not|\?|"
    r"(?:in|on) the (?:form|text|passage)|不是|to\s+[a-z])",
    re.I,
)
"""What follows a marker that announces no answer after all."""


def compiled(markers: Markers) -> re.Pattern[str]:
    """One pattern for all of `markers`, in their order; it fails fast on letters that begin none."""
    every = [marker for group in markers.values() for marker in group]
    first = "".join(sorted({re.escape(word[0]) for marker in every for word in marker.words}))
    return re.compile(rf"(?=[\s{first}])(?:{'|'.join(marker.pattern for marker in every)})", re.I | re.M)


def hints(markers: Markers) -> tuple[str, ...]:
    """Words, folded, of which one stands in every text in which `compiled(markers)` finds something."""
    words = {word.casefold() for group in markers.values() for marker in group for word in marker.words}
    return tuple(sorted(word for word in words if not any(o != word and o in word for o in words)))
