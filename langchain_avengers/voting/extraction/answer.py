"""One extracted answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """An extracted answer.

    Attributes:
        kind: `"tool_calls"`, `"json"`, `"choice"`, `"number"`, `"math"` (an expression), `"list"` (several
            values; a set, or ordered when written as a tuple or interval), `"code"`, `"text"` (a short
            phrase) or `"free"` (prose, which only a medoid or a judge can compare).
        value: The canonical form: two answers of one kind, value and unit are the same answer.
        number: The value as a float when it is a finite real number, else `None`. `50 %` is 0.5, unless
            the question asks for a percentage: then it is 50.
        unit: The unit or currency a number was written with, as written; empty when there is none.
    """

    kind: str
    value: str
    number: float | None = None
    unit: str = ""
