"""Replies made by programs, with the answer that has to be read out of each: `formats` and `worked`."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """One reply.

    Attributes:
        kind: What it is a case of.
        question: The question it answers.
        reply: The model's text.
        plain: The same answer by itself; both have to fall into one class.
    """

    kind: str
    question: str
    reply: str
    plain: str
