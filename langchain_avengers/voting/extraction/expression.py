"""Expressions, lists, intervals, times and compound measures."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise

from langchain_avengers.voting.extraction.answer import Answer
from langchain_avengers.voting.extraction.quantity import (
    Quantity,
    canonical,
    known_unit,
    parse_quantity,
    plain_math,
)
from langchain_avengers.voting.extraction.text import undress

# a time or a ratio: numbers with colons between them
CLOCK = re.compile(r"\b\d{1,4}(?:\.\d+)?(?:\s?:\s?\d{1,4}(?:\.\d+)?)+(?:\s*[ap]\.?\s?m\b\.?)?", re.I)


def read_clock(text: str) -> Answer:
    """A time or ratio in one form: `3:30 pm`, `3:2`."""
    folded = re.sub(r"[\s.]*([ap])[\s.]*m\.?$", r" \1m", text.strip().casefold())
    return Answer("text", re.sub(r"\s*:\s*", ":", folded).lstrip("0" if len(folded) > 4 else ""))


# what a calculation comes to: `9 * 2 = 18`, `x = 2 + 3 = 5`, `P(A) = 1/6`; of `2x + y = 5` the equation is
# the answer
EQUATION = re.compile(
    r"(?:\\?[A-Za-z]\w{0,3}(?:\([\w ,|]{1,12}\))?\s*=)?(?:[\s\d.,+*/×÷()$€£%^·=-]|x(?=\s?[\d$])"
    r"|\\(?:times|div|[cl]?dots?|frac|[{}])|[{}])*[=≈]([^=]+)"
)


_MEASURE = r"\d{1,15}(?:\.\d{1,15})?\s{0,4}[a-z]{1,20}\b"
MEASURES = re.compile(rf"(?<![\d.]){_MEASURE}(?:,?\s{{1,4}}(?:and\s{{1,4}})?{_MEASURE})+", re.I)


def read_compound(text: str) -> Quantity | None:
    """`3 hours and 20 minutes` as 200 minutes: quantities of one dimension, the smaller unit last."""
    if not text[:1].isdigit() or MEASURES.fullmatch(text) is None:
        return None
    parts = re.split(r"\s*(?:,\s*and\b|,|\band\b)\s*|(?<=[a-z])\s+(?=\d)", text)
    if not 2 <= len(parts) <= 4:
        return None
    read = [parse_quantity(part) for part in parts]
    units = [None if quantity is None else known_unit(quantity.unit) for quantity in read]
    if any(unit is None or unit[0] != (units[0] or unit)[0] for unit in units):
        return None
    known = [(quantity, unit) for quantity, unit in zip(read, units, strict=True) if quantity and unit]
    if any(one[1][1] <= other[1][1] for one, other in pairwise(known)):
        return None
    total = sum((quantity.value * unit[1] for quantity, unit in known), start=Fraction(0))
    last, unit = known[-1]
    return Quantity(total / unit[1], last.unit)


# --- lists, intervals, expressions --------------------------------------------------------------------------

_SEPARATOR = re.compile(r"\s*(?:,\s*(?:and|or)\b|\bor\b|\band\b|[,;，、或和])\s*")
_THOUSANDS = re.compile(r"(?<![\d,])\d{1,3}(?:,\d{3})+(?![\d,])")
_NAMED = re.compile(r"[\s$]*([A-Za-z])\s*=")
_APART = re.compile(r"[,;，、或和]|or|and")
_SIMPLE = re.compile(r"-?\\?(?:infty|inf|infinity|oo|pi|[a-z])$", re.I)


def read_list(text: str, *, keep_order: bool = False) -> Answer | None:
    """Several values: `1, 2 and 3` and `{1, 2}` as a set; `(1, 2)`, `[1, 2]` and `(1, 2]` in their order.

    With `keep_order` values without brackets keep theirs as well.
    """
    body = plain_math(text).replace("\\{", "{").replace("\\}", "}").strip().strip("$").strip()
    if not (2 < len(body) <= 400):
        return None
    body = re.sub(r"^(?:[A-Za-z]|\([A-Za-z](?:\s*,\s*[A-Za-z])+\))\s*(?:\\in|∈|=)\s*(?=[{(\[])", "", body)
    if match := re.fullmatch(r"(?:[A-Za-z]\w{0,3}\s*=\s*)?(?:\\pm|±)\s*(.+)", body):
        quantity = parse_quantity(match[1])
        return (
            Answer("list", ", ".join(sorted(canonical(sign * quantity.value) for sign in (-1, 1))))
            if quantity
            else None
        )
    if _APART.search(body) is None:
        return None
    left, right = body[0], body[-1]
    ordered = left in "([" and right in ")]" and not re.search(r"[)\]].*[(\[]", body[1:-1])
    inner = body[1:-1] if ordered or (left == "{" and right == "}") else body
    if inner is body and "=" in body:  # `H + 10H = 88,000` is one value
        inner = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), body)
    parts = [part for part in _SEPARATOR.split(inner) if part.strip()]
    if not 2 <= len(parts) <= 50 or any(
        sum(map(part.count, "([{")) != sum(map(part.count, ")]}")) for part in parts
    ):
        return None
    # `x = 5, y = 3` is the point (5, 3), `x = 5 or x = 3` the set
    names = [match[1] for part in parts if (match := _NAMED.match(part))]
    if len(set(names)) == len(parts):
        parts = [part for _, part in sorted(zip(names, parts, strict=True))]
        ordered, left, right = True, "(", ")"
    elements = []
    for part in parts:
        part = undress(part).strip("$ ")
        if (
            (quantity := parse_quantity(part)) is not None
            and not re.search(r"[A-Za-z]{2}", quantity.unit.replace("or", ""))
        ) or (quantity is not None and all(parse_quantity(undress(p)) for p in parts) and not ordered):
            elements.append(canonical(quantity.value))
        elif _SIMPLE.match(part):
            elements.append(part.replace("\\infinity", "\\infty"))
        elif (expression := read_expression(part)) is not None:
            elements.append(expression.value)
        else:
            return None
    if keep_order and not ordered:
        ordered, left, right = True, "[", "]"
    if ordered:
        return Answer("list", f"{left}{', '.join(elements)}{right}")
    return (
        Answer("list", ", ".join(sorted(set(elements))))
        if any(re.search(r"\d|\\", e) for e in elements)
        else None
    )


_MATH_CHARS = re.compile(r"[\w\s\\^{}()\[\]+\-*/=<>|.,!&:'%π√∞≤≥±·∪∩∈≠°²³⁻⁰¹⁴-⁹θαβ×÷]+")
_IDEOGRAPH = re.compile(r"[\u3040-\u9fff\uac00-\ud7af]")
_HEXADECIMAL = re.compile(r"-?0[xX]")
_OPERATOR = re.compile(
    r"\\[a-zA-Z]|\^|[A-Za-z0-9)]\s?[-+*/=<>≤≥]\s?[-A-Za-z0-9(\\]|\d[a-z]\b|√|π|∞|∪|\d!|^-?[a-z]$"
    r"|\b[a-z]\([a-z0-9]"
)
_MATHS = re.compile(r"[\\^+*/=<>≤≥√π∞∪!(-]|\d[a-z]|^[a-z]$")
_FUNCTIONS = {
    "sin",
    "cos",
    "tan",
    "log",
    "exp",
    "sqrt",
    "cot",
    "sec",
    "csc",
    "lim",
    "max",
    "min",
    "mod",
    "gcd",
    "lcm",
    "arcsin",
    "arccos",
    "arctan",
    "sinh",
    "cosh",
    "and",
    "det",
    "dim",
    "ker",
    "theta",
    "alpha",
    "beta",
    "pi",
}


_SMALL_WORDS = {
    "so",
    "is",
    "to",
    "of",
    "if",
    "or",
    "as",
    "at",
    "by",
    "in",
    "it",
    "we",
    "no",
    "an",
    "be",
    "do",
    "he",
    "me",
    "my",
    "on",
    "up",
    "us",
}


def read_expression(text: str) -> Answer | None:
    """An expression, without spacing and dress. Whether two are equal is for `equivalence` to find."""
    if (
        len(text) > 400
        or _IDEOGRAPH.search(text)
        or _MATH_CHARS.fullmatch(text) is None
        or not _MATHS.search(text)
        or not _OPERATOR.search(text)
        or _HEXADECIMAL.match(text)
    ):
        return None
    if re.search(r"\d{1,4}[-/]\d{1,2}[-/]\d{1,4}$|^\d{1,2}:\d\d|^\d+\s?-\s?\d+$", text):
        return None  # a date, a time, a range
    body = plain_math(text)
    words = re.findall(r"(?<![\\A-Za-z])[A-Za-z]{2,}", re.sub(r"\\(?:begin|end)\{\w{1,12}\*?\}", "", body))
    if any(
        (len(word) > 2 and word.casefold() not in _FUNCTIONS) or word.casefold() in _SMALL_WORDS
        for word in words
    ):
        return None
    return canonical_expression(body)


def canonical_expression(body: str) -> Answer | None:
    """`body` as an expression, whatever it holds; `None` without a letter or digit."""
    body = plain_math(body)
    body = (
        re.sub(r"\s+", "", re.sub(r"\\cdot(?![a-z])", "*", body))
        .replace("**", "^")
        .replace("\\times", "*")
        .replace("²", "^2")
        .replace("³", "^3")
    )
    body = (
        body.replace("≤", "\\le")
        .replace("≥", "\\ge")
        .replace("\\leq", "\\le")
        .replace("\\geq", "\\ge")
        .replace("π", "\\pi")
        .replace("√", "\\sqrt")
    )
    body = re.sub(r"\^\{(\w)\}", r"^\1", body)
    if match := re.fullmatch(r"[A-Za-z](?:\([a-z]\))?=([^=<>]+)", body):
        body = match[1]
    return Answer("math", body) if re.search(r"\w", body) else None


def has_unknown(answer: Answer) -> bool:
    """Whether an expression or list names an unknown, such as the `x` of `3x + 5 = 42`."""
    return answer.kind in ("math", "list") and _UNKNOWN.search(_COMMANDS.sub("", answer.value)) is not None


_COMMANDS = re.compile(r"\\[A-Za-z]+|[A-Za-z]{3,}")
_UNKNOWN = re.compile(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])")
