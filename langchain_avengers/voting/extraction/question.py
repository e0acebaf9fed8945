"""What a question fixes about its answer: lettered options, yes or no, a quantity and its unit, code."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from langchain_avengers.voting.extraction.quantity import find_numbers, known_unit, plain_math
from langchain_avengers.voting.extraction.structured import folded, is_data, looks_like_data
from langchain_avengers.voting.extraction.text import literal, normal_form, plain, split_fences, unwrap

# A letter at the start of a line or in parentheses: `A) x`, `(A) x`, `A. x`, `**A.** x`, `[A] x`, `A、x`
_OPTION = re.compile(
    r"(?:(?<=\n)|^)[ \t>*_-]{0,6}[(\[]?\**([A-Pa-p])\**(?:[)\]]|[.:、．：](?!\w))\**[ \t]*"
    r"|(?<![\w'(])[(\[]([A-Pa-p])[)\]](?![\w'])\s?|(?<=[\s,;，；?？])([A-Pa-p])(?:\)"
    r"|(?<=[A-P])[.、．](?=\s?\S))\s*"
)
_ASKS_CHOICE = re.compile(r"which|choose|select|option|choice|correct|following|pick|answer|选|哪", re.I)
_ASKS_NUMBER = re.compile(
    r"\bhow (?:many|much|long|far|old|tall|fast|often|big|large|deep|high|wide|heavy|late|early|soon)\b"
    r"|\bwhat(?:'s|\u2019s| (?:is|was|are|were|will be|would be))"
    r" (?:the |his |her |their |its |your )?(?:[\w'’]+ ){0,3}?(?:total|sum|number|value|average|mean|median"
    r"|cost|price|probability|area|perimeter|volume|multiple|factor|divisor|maximum|minimum|quotient"
    r"|difference|product|percent\w*|speed|distance|length|age|profit|remainder|height|width"
    r"|weight|amount|salary|change|rate|temperature|score|ratio|size|depth|time"
    r"|balance|bill|discount|loss|interest|income)\b"
    r"|\b(?:what|which|whose) (?:\w+ )?(?:floor|year|page|grade|age|day of the month|score|house number|percent\w*"
    r"|fraction|number|amount|price|place|position|rank|step|term)\b"
    r"|\b(?:calculate|compute|find|determine|work out|figure out) (?:[\w'’]+ ){0,4}?(?:number|many|much"
    r"|sum|amount|total|average|mean|cost|price|probability|area|perimeter|volume|percentage|speed|age|profit|difference|product"
    r"|remainder|salary|value of \w)\b"
    r"|\bwhat percent|\bhow .{1,30}\bin (?:total|dollars)|多少|几个",
    re.I,
)
# asks for a quantity, unless it asks for something of another shape
_TO_CHOOSE = re.compile(
    r"\bwhich\b|\bchoose|\bselect|\boptions?\b|\bchoices?\b|\bcorrect\b|\bletter\b|\bpick\b", re.I
)
_ASKS_RESULT = re.compile(
    r"\b(?:calculate|compute|evaluate|find|determine|solve)\b|计算|求|\d\s?[-+*/x×÷]\s?\d", re.I
)
# asks for a thing of several parts, of which none stands for it
_ASKS_WHOLE = re.compile(
    r"\b(?:output|answer|response|result|return|provide|give|write|find|print|represent\w*)\b[^.\n]{0,60}\b(?:matrix|grid"
    r"|board|list|array|sequence|sentence|string|words|path|moves|steps|text|characters|json|count of each|table)\b"
    r"|\b(?:decrypt|decode|decipher|unscramble|reorder|rearrange|reverse|sort|arrange|translate|rewrite|rephrase|spell"
    r"|restore|transform|rotate|fill in|complete the (?:sentence|sequence|pattern|word|text|grid))\b"
    r"|\b(?:grid|matrix|sudoku|board|puzzle)\b",
    re.I,
)
_ASKS_ORDER = re.compile(
    r"\bsort|\border|\bsequence|\brevers|\barrang|\brotat|\bpermut|\brank|\bcount of", re.I
)
_ASKS_ORDINAL = re.compile(
    r"\b(?:what|which) (?:day|date|floor|grade|place|position|rank|century|story|storey|row|level|birthday)\b",
    re.I,
)
_ASKS_CLOCK = re.compile(r"\bwhat time\b|\bwhen (?:does|do|did|will|is|was|should)\b|\bclock\b", re.I)
_ASKS_SIMPLEST = re.compile(r"\bsimplif|\blowest terms|\bsimplest form|\breduced\b", re.I)
_PERCENT = re.compile(
    r"\bwhat (?:is the |was the )?(?:\w+ ){0,2}percent|percentage|\bin percent|as a percent|how"
    r" many percent|what %|百分",
    re.I,
)
_YES_NO = re.compile(
    r"(?:^|[\n.?!:]\s*)(?:is|are|was|were|do|does|did|can|could|will|would|should|has|have"
    r"|had)\s[^.?\n]{3,400}\?|\byes (?:or|/) ?no\b"
    r"|\btrue (?:or|/) ?false\b|是否|吗[？?]|对还是错",
    re.I,
)
_ASKS_CODE = re.compile(
    r"\bdef \w+\(|\b(?:write|implement|create|complete|fix|give|refactor)\b.{0,80}\b(?:function"
    r"|program|code|script|class|method|query|"
    r"regex|algorithm|snippet)\b|编写|代码|实现.{0,12}函数",
    re.I | re.S,
)
_SHOWN_FIELD = re.compile(r"""[{,\n]\s{0,20}["'“]([^"'”\n:]{1,40})["'”]\s?:""")
_ASKS_DATA = re.compile(r"\b(?:json|yaml)\b|\bdictionary with\b", re.I)
_ASKS_OUTPUT = re.compile(
    r"\bwhat (?:does|do|is|are|will|would)\b[^\n]{0,80}\b(?:print|output|return|result|value|evaluate)",
    re.I,
)
_PROSE_TAGS = ("text", "txt", "plaintext", "markdown", "md", "latex", "tex", "xml", "html")
_COUNTED = re.compile(
    r"\bhow many (?:(?:more|fewer|additional|extra|total|other|different|whole|of the) )*([a-z]{3,})", re.I
)
_UNIT_ASKED = re.compile(
    r"\bhow many ((?:square |cubic )?\w+)|\bin ((?:square |cubic )?[\w/^]+)\b|\bhow much (money"
    r"|does it cost|profit)",
    re.I,
)


_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was read off a question.

    Attributes:
        options: Normalised option texts by letter, of the last lettered list; empty when there is none.
        choice: It asks to choose among them in so many words.
        number: It asks for a quantity.
        percent: It asks for a percentage.
        unit: `(dimension, factor)` of the unit it asks for, if it is a known one.
        yes_no: It can be answered by yes or no.
        code: It asks for code.
        data: It asks for data, such as JSON.
        fields: Folded names of the fields of the data it shows.
        whole: It asks for something of several parts, such as a grid, a list or a sentence.
        ordered: It asks for things in an order.
        ordinal: It asks for a place in an order, such as a floor or a date.
        clock: It asks for a time of the day.
        simplest: It asks for a fraction in lowest terms.
        given: The numbers it states.
        noun: What it asks the number of, in the singular.
        words: Its words, folded.
        entries: Names of the functions it wants completed or tests.
    """

    options: dict[str, str] = field(default_factory=dict)
    choice: bool = False
    number: bool = False
    percent: bool = False
    unit: tuple[str, Fraction] | None = None
    yes_no: bool = False
    code: bool = False
    data: bool = False
    fields: tuple[str, ...] = ()
    whole: bool = False
    ordered: bool = False
    ordinal: bool = False
    clock: bool = False
    simplest: bool = False
    given: frozenset[Fraction] = frozenset()
    noun: str = ""
    words: frozenset[str] = frozenset()
    entries: frozenset[str] = frozenset()


NOTHING = Asked()


def read_question(question: str | None) -> Asked:
    """What `question` fixes about its answer; cached."""
    return NOTHING if not question else _read(question[-20_000:])


@lru_cache(maxsize=256)
def _read(question: str) -> Asked:
    if question.lstrip()[:2] in ("['", '["'):
        question = unwrap_question(question)
    options = read_options(question)
    # of few-shot prompts only the last question asks
    stem = re.split(r"\n\s*\n(?=(?:Q|Question|Problem)\b)|\n\s*\n\s*\n", question.strip())[-1]
    unit = None
    for match in _UNIT_ASKED.finditer(stem):
        unit = known_unit(next(group for group in match.groups() if group)) or unit
    entries = re.findall(r"\bdef (\w+)\(", stem)[-1:]
    for tested in re.findall(r"^\s*assert\b(.*)", stem, re.M):
        entries += re.findall(r"(?<!\.)\b([A-Za-z_]\w*)\(", tested)
    whole = _ASKS_WHOLE.search(stem) is not None
    number = bool(_ASKS_NUMBER.search(stem)) or (not whole and bool(_ASKS_RESULT.search(stem)))
    fences = [(block.language, block.text) for block in split_fences(question)[1]]
    data = bool(_ASKS_DATA.search(question)) or any(
        is_data(tag) or looks_like_data(body) for tag, body in fences
    )
    code = _ASKS_CODE.search(stem) is not None or any(
        tag not in _PROSE_TAGS and not is_data(tag) and not looks_like_data(body) for tag, body in fences
    )
    return Asked(
        options=options,
        choice=bool(options) and _TO_CHOOSE.search(question) is not None,
        number=number and not options,
        percent=bool(_PERCENT.search(stem)),
        unit=unit,
        yes_no=bool(_YES_NO.search(stem)) and not number and not options,
        code=code and not options and not _ASKS_OUTPUT.search(stem),
        data=data,
        fields=tuple(dict.fromkeys(folded(name) for name in _SHOWN_FIELD.findall(question))) if data else (),
        whole=whole,
        ordered=whole and _ASKS_ORDER.search(stem) is not None,
        ordinal=_ASKS_ORDINAL.search(stem) is not None,
        clock=_ASKS_CLOCK.search(stem) is not None,
        simplest=_ASKS_SIMPLEST.search(stem) is not None,
        given=frozenset(quantity.value for quantity in find_numbers(plain_math(stem)))
        if number
        else frozenset(),
        noun=counted[-1].casefold().removesuffix("s") if (counted := _COUNTED.findall(stem)) else "",
        words=frozenset(_WORD.findall(stem.casefold())),
        entries=frozenset(entries),
    )


def unwrap_question(question: str) -> str:
    """A prompt exported as a list literal of its messages, as one text."""
    inner = unwrap(question)
    if inner is not question:
        return inner
    try:
        parts = literal(question.strip())
    except ValueError:
        return question
    return "\n\n".join(str(part) for part in parts) if isinstance(parts, list) else question


def read_options(question: str) -> dict[str, str]:
    """Letter -> normalised text of the last list of lettered options, in order; lower-case letters only
    where the question asks to choose (`(a)` and `(b)` else are its parts)."""
    runs: list[list[tuple[str, int, int]]] = []
    for match in _OPTION.finditer(question):
        letter = match[1] or match[2] or match[3]
        if letter in "Aa":
            runs.append([])
        if not runs:
            continue
        first = runs[-1][0][0] if runs[-1] else letter
        if letter == chr(ord(first) + len(runs[-1])):
            runs[-1].append((letter, match.start(), match.end()))
    for run in reversed(runs):
        if len(run) < 2 or (run[0][0] == "a" and not _ASKS_CHOICE.search(question)):
            continue
        options = {}
        for i, (letter, _, end) in enumerate(run):
            stop = run[i + 1][1] if i + 1 < len(run) else len(question)
            text = question[end:stop].strip().split("\n\n")[0]
            if i + 1 == len(run):
                text = text.split("\n")[0]
            options[letter.upper()] = normal_form(plain(text))
        return options
    return {}
