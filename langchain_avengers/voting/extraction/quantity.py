"""Numbers as models write them: currency, thousands, fractions, percentages, powers of ten, units, words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

_GAP = "  \u2009\u202f'’_"  # what separates thousands besides the comma
_PLAIN = rf"(?:\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d{{1,3}}(?:[{_GAP}]\d{{3}})+(?!\d)|\d+)(?:\.\d+(?!\.?\d)|\.(?!\d))?|\.\d+"
_NO_GAPS = dict.fromkeys(map(ord, _GAP))
_EUROPEAN = r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}"
_EUROPEAN_NUMBER = re.compile(_EUROPEAN)
_EXPONENT = (
    r"(?:[eE][-+]?\d{1,4}(?![\w.])|\s?(?:[x*·⋅]|\\times|\\cdot)\s?10\s?(?:\^|\*\*)\s?\{?[-+]?\d{1,4}\}?)"
)
_SCALE = {
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "万": 10**4,
    "亿": 10**8,
}
_CURRENCY = r"(?:US\$|A\$|C\$|[$€£¥₹]|\bUSD\b|\bEUR\b|\bGBP\b|\bRs\.?)"
_VALUE = rf"(?:{_EUROPEAN}|{_PLAIN})"

# sign, currency (either way round), then a mixed fraction, a fraction, a power of ten, or a plain number
_NUMBER = re.compile(
    r"(?=[-+\d.\\$€£¥₹UACEGR])"  # fails fast
    rf"(?P<sign>[-+]\s?)?(?P<currency>{_CURRENCY}\s?)?(?P<sign2>[-+])?"
    r"(?:(?:(?P<whole>\d{1,6})(?:(?:\s+|\s*\+\s*)(?=\d+\s?/)|\s*\+?\s*(?=\\frac)))?"
    r"(?:\\frac\s*\{\s*(?P<n1>-?\d{1,15}(?:\.\d{1,9})?)\s*\}\s*\{\s*(?P<d1>\d{1,15}(?:\.\d{1,9})?)\s*\}|\\frac\s*(?P<n2>\d)\s*(?P<d2>\d)(?!\d)"
    r"|(?P<n3>\d{1,15})\s?/\s?(?P<d3>\d{1,15})(?![\d/]|\.\d))"
    rf"|(?P<ten>10\s?\^\s?\{{?(?P<power>[-+]?\d{{1,3}})\}}?)|(?P<plain>{_VALUE})(?P<exp>{_EXPONENT})?)"
    rf"(?:\s*(?P<scale>hundred|thousand|million|billion|trillion|万|亿)\b)?(?:\s*(?P<percent>%|percent\b|per cent\b))?"
)
_GLUED_BEFORE = re.compile(r"[A-Za-z0-9_.^/]$|[A-Za-z0-9)][-]$|\d(?::| : )$")
_GLUED_AFTER = re.compile(
    r"\^|\s?\\(?:pi|sqrt|cdot|times)|(?:st|nd|rd|th)\b"
    r"|[A-Za-z]\d|[a-fi-jn-rt-zA-EG-JM-UX-Z](?![A-Za-z])|[xX][0-9a-fA-F]|(?:[:/]| : )\d|-\d|-[A-Za-z]"
)

_WORDS = {
    word: i
    for i, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
} | {
    word: 10 * i
    for i, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], start=2
    )
}
_FRACTION_WORDS = {
    "half": Fraction(1, 2),
    "a half": Fraction(1, 2),
    "one half": Fraction(1, 2),
    "one third": Fraction(1, 3),
    "two thirds": Fraction(2, 3),
    "one quarter": Fraction(1, 4),
    "one fourth": Fraction(1, 4),
    "three quarters": Fraction(3, 4),
    "three fourths": Fraction(3, 4),
    "one fifth": Fraction(1, 5),
}
_UNIT_NAMES = """
usd 1: $ us$ usd dollar dollars buck bucks
usd 1/100: ¢ cent cents
eur 1: € eur euro euros
gbp 1: £ gbp
cny 1: ¥ yuan rmb cny 元
jpy 1: yen jpy 円
inr 1: ₹ rs rupee rupees
length 1/1000: mm millimeter millimeters millimetre millimetres
length 1/100: cm centimeter centimeters centimetre centimetres 厘米
length 1: m meter meters metre metres 米
length 1000: km kilometer kilometers kilometre kilometres 千米 公里
length 127/5000: inch inches
length 381/1250: ft foot feet
length 1143/1250: yd yard yards
length 201168/125: mi mile miles
mass 1/1000000: mg milligram milligrams
mass 1/1000: g gram grams 克
mass 1: kg kilogram kilograms 千克 公斤
mass 1000: tonne tonnes
time 1: s sec second seconds 秒
time 60: min mins minute minutes 分钟
time 3600: h hr hrs hour hours 小时
time 86400: day days 天
time 604800: week weeks 周
volume 1/1000: ml milliliter milliliters millilitre millilitres
volume 1: l liter liters litre litres 升
speed 1: m/s
speed 5/18: km/h kph kmh
speed 1397/3125: mph
area 1/10000: cm^2 cm² cm2
area 1: m^2 m² m2
data 1/1000: mb
data 1: gb
data 1000: tb
angle 1: ° degree degrees
"""
_UNIT_TABLE: dict[str, tuple[str, Fraction]] = {
    name: (head.split()[0], Fraction(head.split()[1]))
    for head, names in (line.split(": ") for line in _UNIT_NAMES.strip().splitlines())
    for name in names.split()
}


class Quantity(NamedTuple):
    """A number read from text: its exact value, its unit or currency, and whether it was a percentage.

    The `value` of a percentage is the fraction meant: 1/2 for `50 %`. `written` is a fraction as it was written,
    which may not be in lowest terms; empty for other numbers.
    """

    value: Fraction
    unit: str = ""
    percent: bool = False
    start: int = 0
    end: int = 0
    written: str = ""


def plain_math(text: str) -> str:
    """`text` with LaTeX spacing, text commands, delimiters, and Unicode variants of digits and signs made plain."""
    if not text.isascii():
        text = (
            text.replace("−", "-")
            .replace("–", "-")
            .replace("—", " - ")
            .replace("×", "x")
            .replace("∞", "\\infty")
        )
        text = text.replace("≈", "=").replace("\u00ba", "°")
        text = re.sub(r"\d?[¼-¾⅐-⅞]", _vulgar, text)
        text = re.sub("[０-９．，％＋－（）]", lambda m: unicodedata.normalize("NFKC", m[0]), text)
    if "\\" in text or "{" in text:
        text = re.sub(r"\\(?:[dtc]frac)", r"\\frac", text)
        text = text.replace("{,}", ",").replace("\\%", "%").replace("\\$", "$").replace("\\!", "")
        text = re.sub(r"(?<=\d)\\[,;:](?=\d{3})", ",", text)
        text = re.sub(
            r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|operatorname|mbox|boldsymbol|bf|rm)\s*\{([^{}]*)\}",
            r" \1 ",
            text,
        )
        text = _SIZES.sub("", text)
        if "\\circ" in text:
            text = re.sub(r"\^\s*\{?\s*\\circ\s*\}?", "°", text)
        text = re.sub(r"(?<!\\)\\(?:quad|qquad|[,;: ])|~(?=\w)", " ", text).replace("\\approx", "=")
    return text


_SIZES = re.compile(r"\\(?:left|right|displaystyle|bigl?|bigr?|Bigl?|Bigr?)(?![A-Za-z])")


def _vulgar(match: re.Match[str]) -> str:
    digits = match[0]
    numerator, _, denominator = unicodedata.normalize("NFKC", digits[-1]).partition("⁄")
    return f"{digits[:-1]} {numerator}/{denominator}".strip()


def _fraction(match: re.Match[str]) -> Fraction | None:
    try:
        if plain := match["plain"]:
            if len(plain) > 400:
                return None
            value = Fraction(int(plain)) if plain.isdecimal() else _decimal(plain)
            if match["exp"]:
                power = int(re.findall(r"[-+]?\d+", match["exp"])[-1])
                if abs(power) > 400:
                    return None
                value *= Fraction(10) ** power
        elif match["ten"]:
            value = Fraction(10) ** int(match["power"])
        else:
            numerator = match["n1"] or match["n2"] or match["n3"]
            value = Fraction(numerator) / Fraction(match["d1"] or match["d2"] or match["d3"])
            if match["whole"]:
                value += int(match["whole"])
    except (ValueError, ZeroDivisionError):
        return None
    if match["scale"]:
        value *= _SCALE[match["scale"]]
    if match["percent"]:
        value /= 100
    if value.numerator.bit_length() > 1500 or value.denominator.bit_length() > 1500:
        return None
    return -value if (match["sign"] or match["sign2"] or "")[:1] == "-" else value


def _written(match: re.Match[str]) -> str:
    top = match["n1"] or match["n2"] or match["n3"]
    if top is None or match["whole"]:
        return ""
    sign = "-" if (match["sign"] or match["sign2"] or "")[:1] == "-" else ""
    return f"{sign}{top}/{match['d1'] or match['d2'] or match['d3']}"


def _decimal(plain: str) -> Fraction:
    """The value of a number with marks in it: a decimal point, thousands, either of them European."""
    plain = plain.translate(_NO_GAPS)
    if "." in plain and _EUROPEAN_NUMBER.fullmatch(plain):
        plain = plain.replace(".", "").replace(",", ".")
    whole, _, decimals = plain.replace(",", "").partition(".")
    return Fraction(int(whole + decimals or "0"), 10 ** len(decimals))


def find_numbers(text: str) -> Iterator[Quantity]:
    """Every number that stands by itself in prose, in order.

    Digits of a word (`H2O`, `COVID-19`, `2nd`), of a date, a time or a range are none; a hyphen between words is no
    minus.
    """
    for match in _NUMBER.finditer(text):
        start, end = match.span()
        if start and not match["currency"] and _GLUED_BEFORE.search(text[max(0, start - 4) : start]):
            continue
        if end < len(text) and not match["percent"] and _GLUED_AFTER.match(text, end):
            continue
        value = _fraction(match)
        if value is not None:
            if (match["sign"] or "").endswith(" "):  # `16 - 3`, or the dash of a list
                value = abs(value)
            currency = (match["currency"] or "").strip()
            if currency == "$" and (text[end : end + 1] == "$" or "\\frac" in match[0]):
                currency = ""  # the delimiter of a formula
            yield Quantity(value, currency, bool(match["percent"]), start, end, _written(match))


_LEAD = re.compile(
    r"(?:(?:exactly|about|approximately|approx\.?|around|roughly|nearly|only|just|a total of"
    r"|total of|equals?|is)\b|[=~:])\s*",
    re.I,
)
_VARIABLE = re.compile(r"\\?[A-Za-z]\w{0,10}(?:_\{?\w{1,5}\}?)?(?:\([A-Za-z]\))?\s*=\s*(?!=)")
_LONE_LETTER = re.compile(r"[A-Za-z](?![A-Za-z])")
USUAL = re.compile(r"([$€£]?)(-?[0-9]{1,18})(?:\.([0-9]{1,18}))?")
_NO_UNIT = re.compile(r"(?:st|nd|rd|th|or|and|to|plus|minus|times|x)\b")
_UNIT = re.compile(
    r"(?:[^\W\d_]|[°$€£¥¢²³])(?:[^\W\d_]|[°²³/.'’$^()\-]|(?<=\^)\d|(?<=\^\{)\d|\s)*(?:(?:\^\{?|(?<=m))\d\}?)?"
)


def parse_quantity(text: str) -> Quantity | None:
    """The number that `text`, as a whole, states: `$1,234.50`, `x = -7`, `12 dollars per day`, `2\\frac{1}{2}`,
    `twelve`.

    `None` for anything with a second number in it, for dates, times, ratios, ranges and expressions.
    """
    if len(text) > 200:
        return None
    if usual := USUAL.fullmatch(text):  # many times faster than what follows
        currency, whole, decimals = usual.groups("")
        return Quantity(Fraction(int(whole + decimals), 10 ** len(decimals)), currency)
    text = plain_math(text).strip()
    if len(text) > 2 and text[0] == text[-1] == "$":
        text = text[1:-1].strip()
    named = False
    while not text[:1].isdigit() and (lead := _LEAD.match(text) or _VARIABLE.match(text)):
        text, named = text[lead.end() :], named or "=" in lead[0]
    text = text.strip().rstrip(".,;").strip()
    if text.endswith(")"):
        text = re.sub(r"\s*\([a-z -]{3,30}\)$", "", text)
    text = text[:-1] if text.endswith("!") and not text[-2:-1].isdigit() else text
    if text.startswith("(") and text.endswith(")") and text.count("(") == 1:
        text = text[1:-1].strip()
    lowered = text.casefold()
    for word in ("negative ", "minus "):
        if lowered.startswith(word):
            positive = parse_quantity(text[len(word) :])
            return positive and positive._replace(value=-positive.value)
    if text[:1] not in "-+.$€£¥₹\\UACEGR" and not text[:1].isdigit():
        return _from_words(lowered)
    match = _NUMBER.match(text)
    if match is None:
        return _from_words(lowered)
    rest = text[match.end() :].strip().strip("$").strip()
    if (stated := _fraction(match)) is None:
        return None
    value = stated
    unit = (match["currency"] or "").strip()
    if rest:
        decimal = (
            re.match(r",(\d{1,2})(?:\s*%|\s+[^\W\d])", rest)
            if match["plain"] and match["plain"].isdigit()
            else None
        )
        if decimal:  # a decimal comma, which a unit after it tells from a list
            shown = parse_quantity(
                f"{match['sign'] or ''}{match['plain']}.{decimal[1]}{rest[decimal.end(1) :]}"
            )
            return shown
        if match["currency"] and (scale := re.match(r"(?:(k)|(m|mn|M)|(bn?|B))\b", rest)):
            value, rest = value * 1000 ** int(scale.lastindex or 0), rest[scale.end() :].strip()
        adjacent = text[match.end()] if match.end() < len(text) else ""
        if (
            (rest and not _UNIT.fullmatch(rest))
            or len(rest.split()) > 8
            or adjacent in "-("
            or _NO_UNIT.match(rest)
        ):
            return None
        if adjacent.isalpha() and _LONE_LETTER.match(rest) and (named or rest[0] not in "mgshlVWCFKL"):
            if rest != "k":
                return None  # `5x`, `2B`: an expression
            value, rest = value * 1000, ""
        unit = unit or rest
    return Quantity(value, unit, bool(match["percent"]), match.start(), match.end(), _written(match))


def _from_words(text: str) -> Quantity | None:
    words = text.replace("-", " ").split()
    if not words or len(words) > 8 or not (words[0] in _WORDS or words[0] in ("half", "a")):
        return None
    joined = " ".join(words)
    if joined in _FRACTION_WORDS:
        return Quantity(_FRACTION_WORDS[joined])
    total = current = used = 0
    for word in words:
        if word in _WORDS:
            current += _WORDS[word]
        elif word == "hundred" and used:
            current = max(current, 1) * 100
        elif word in ("thousand", "million", "billion") and used:
            total, current = total + max(current, 1) * _SCALE[word], 0
        elif not (word == "and" and used):
            break
        used += 1
    rest = words[used:]
    # `one of the reasons` and `five and a half` are no bare numbers; `seven apples` is one with its unit
    if not used or len(rest) > 2 or words[used - 1] == "and" or (words[0] == "one" and rest):
        return None
    return Quantity(Fraction(total + current), " ".join(rest))


@lru_cache(maxsize=1024)
def known_unit(unit: str) -> tuple[str, Fraction] | None:
    """`(dimension, factor to its base)` of the unit that leads `unit`, e.g. `("time", 60)` of `minutes per day`."""
    if not unit:
        return None
    unit = unit.casefold().strip(" .")
    head = unit.split()[0] if unit.split() else ""
    if " per " in unit or re.search(r"\w/\w", unit):
        return _UNIT_TABLE.get(unit)
    return _UNIT_TABLE.get(unit) or _UNIT_TABLE.get(head.strip(".,()"))


def canonical(value: Fraction) -> str:
    """An exact decimal where there is one, else the reduced fraction: `18`, `0.5`, `-1/3`."""
    if value.denominator == 1:
        return str(value.numerator)
    odd, power = value.denominator, 0
    while odd % 2 == 0:
        odd, power = odd // 2, power + 1
    fives = 0
    while odd % 5 == 0:
        odd, fives = odd // 5, fives + 1
    places = max(power, fives)
    if odd != 1 or places > 40:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
