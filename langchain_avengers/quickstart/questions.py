"""The quickstart's questions: four kinds, with the answers that count as right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict


class LabelledRow(TypedDict):
    """A question as `calibrate` reads it.

    Attributes:
        query: The question.
        task: `"sums"`, `"capitals"`, `"opposites"` or `"reviews"`.
        reference: Every answer that counts as right.
    """

    query: str
    task: str
    reference: list[str]


_SUMS = """
2+3 4+4 7+2 5+6 8+3 9+9 6+7 3+9 8+8 7+5 4+9 6+6 2+8 9+5 7+7 3+4
5+9 8+6 1+7 9+2 6+3 4+7 5+5 7+8 10+4 12+3 11+6 20+5 30+10 13+4 15+2 10+10
"""

_CAPITALS = {
    "Argentina": "Buenos Aires",
    "Austria": "Vienna",
    "Belgium": "Brussels",
    "Bulgaria": "Sofia",
    "Canada": "Ottawa",
    "Chile": "Santiago",
    "China": "Beijing",
    "Colombia": "Bogotá|Bogota",
    "Cuba": "Havana",
    "Denmark": "Copenhagen",
    "England": "London",
    "Finland": "Helsinki",
    "Germany": "Berlin",
    "Greece": "Athens",
    "Hungary": "Budapest",
    "Iceland": "Reykjavik|Reykjavík",
    "Indonesia": "Jakarta",
    "Iran": "Tehran",
    "Iraq": "Baghdad",
    "Ireland": "Dublin",
    "Italy": "Rome",
    "Jamaica": "Kingston",
    "Kenya": "Nairobi",
    "Lebanon": "Beirut",
    "Mexico": "Mexico City",
    "Norway": "Oslo",
    "Poland": "Warsaw",
    "Portugal": "Lisbon",
    "Russia": "Moscow",
    "Spain": "Madrid",
    "Sweden": "Stockholm",
    "Thailand": "Bangkok",
}

_OPPOSITES = {
    "above": "below|under|beneath",
    "alive": "dead",
    "asleep": "awake",
    "big": "small|little",
    "bitter": "sweet",
    "cheap": "expensive",
    "clean": "dirty",
    "dark": "light|bright",
    "deep": "shallow",
    "early": "late",
    "easy": "difficult|hard",
    "empty": "full",
    "fast": "slow",
    "first": "last",
    "happy": "sad|unhappy",
    "heavy": "light",
    "high": "low",
    "inside": "outside",
    "left": "right",
    "long": "short",
    "lose": "win|find",
    "love": "hate",
    "noisy": "quiet|silent",
    "open": "closed|close|shut",
    "push": "pull",
    "rich": "poor",
    "smooth": "rough",
    "strong": "weak",
    "true": "false",
    "up": "down",
    "wet": "dry",
    "young": "old",
}

_REVIEWS = {
    "positive": (
        "I loved every minute of it.",
        "Friendly staff and a lovely view.",
        "The best soup I have had in years.",
        "It arrived early and works perfectly.",
        "My daughter adores this toy.",
        "A charming film with superb acting.",
        "Quiet, quick and very easy to use.",
        "We will happily come back next summer.",
        "Great value, I am delighted.",
        "The bread was fresh and delicious.",
        "A clear and inspiring book.",
        "The guide was kind and funny.",
        "Excellent sound, beautiful design.",
        "I recommend this hotel to everyone.",
        "What a wonderful evening.",
        "The repair was fast and flawless.",
    ),
    "negative": (
        "A complete waste of money.",
        "The fish was cold and bland.",
        "It broke after two days.",
        "Rude waiter and a dirty table.",
        "I was bored from start to end.",
        "The room smelled awful.",
        "Terrible picture and worse sound.",
        "They never answered my complaint.",
        "I want my money back.",
        "The plot made no sense at all.",
        "Too noisy to sleep, never again.",
        "The seams tore on the first day.",
        "Slow, ugly and far too expensive.",
        "The worst concert of my life.",
        "It leaks and nobody will fix it.",
        "A disappointing and lazy sequel.",
    ),
}


def questions(limit: int | None = None) -> list[LabelledRow]:
    """The questions, kinds taking turns: the first `limit` of them have every kind in equal parts."""
    kinds = [list(_sums()), list(_capitals()), list(_opposites()), list(_reviews())]
    mixed = [question for turn in zip(*kinds, strict=True) for question in turn]
    return mixed[:limit]


def _sums() -> Iterator[LabelledRow]:
    for pair in _SUMS.split():
        a, b = map(int, pair.split("+"))
        yield {"query": f"What is {a} + {b}?", "task": "sums", "reference": [str(a + b)]}


def _capitals() -> Iterator[LabelledRow]:
    for country, names in _CAPITALS.items():
        yield {
            "query": f"What is the capital of {country}?",
            "task": "capitals",
            "reference": names.split("|"),
        }


def _opposites() -> Iterator[LabelledRow]:
    for word, opposites in _OPPOSITES.items():
        yield {
            "query": f"What is the opposite of '{word}'?",
            "task": "opposites",
            "reference": opposites.split("|"),
        }


def _reviews() -> Iterator[LabelledRow]:
    for pair in zip(_REVIEWS["positive"], _REVIEWS["negative"], strict=True):
        for feeling, review in zip(("positive", "negative"), pair, strict=True):
            yield {
                "query": f"Is this review positive or negative? {review}",
                "task": "reviews",
                "reference": [feeling],
            }
