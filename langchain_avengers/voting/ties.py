"""Which of equal answers stands for them, and which of answers with equal votes comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from langchain_avengers.voting.answers import Answer
from langchain_avengers.voting.vote import Sample, score_of

_MANY_TIES = 16  # tied answers that are compared, from the first
_MANY_ANSWERS = 20  # answers they are compared with
_LONG_ANSWER = 2_000  # characters of an answer that are compared
_LONG_WORD = 12  # characters from which a text of one word counts as one of several parts
_OF_PARTS = frozenset(("text", "free", "json", "list"))

Ranked = tuple[float, float, int, int, list[int]]
"""An answer in the order of the vote: -weight, -score, its first sample, its best sample, its samples."""


def most_usual(samples: Sequence[Sample], group: Sequence[int]) -> int:
    """The sample of `group` with the highest `weight_score`, then the most common text, then the earliest place."""
    if len(group) == 1:
        return group[0]
    highest = max(score_of(samples[i]) for i in group)
    best = [i for i in group if score_of(samples[i]) == highest]
    texts = [str(samples[i].message.text).strip() for i in best]
    counts = Counter(texts)
    return best[max(range(len(best)), key=lambda k: counts[texts[k]])]


def most_central_first(ranked: list[Ranked], answers: Mapping[int, Answer]) -> list[Ranked]:
    """`ranked` with, of the first rows that tie, that one first which has most words or signs in common with all.

    Only answers of several words or values are compared so: two numbers or names have nothing in common in part.
    """
    tied = [row for row in ranked[:_MANY_TIES] if row[:2] == ranked[0][:2]]
    if len(tied) < 2 or len(ranked) < 3 or not all(_of_parts(answers[row[3]]) for row in tied):
        return ranked
    others = [(_parts(answers[row[3]].value), len(row[4])) for row in ranked[:_MANY_ANSWERS]]
    common = [
        round(sum(n * 2 * len(own & other) / (len(own) + len(other)) for other, n in others), 9)
        for own, _ in others[: len(tied)]
    ]
    best = common.index(max(common))
    return [ranked[best], *ranked[:best], *ranked[best + 1 :]]


def _of_parts(answer: Answer) -> bool:
    return answer.kind in _OF_PARTS and (answer.value.count(" ") > 1 or len(answer.value) > _LONG_WORD)


def _parts(value: str) -> frozenset[object]:
    """The words of a text, each with its place, and its pairs of neighbours; of a text without spaces its signs."""
    words = value[:_LONG_ANSWER].split()
    parts = words if len(words) > 2 else list(value[:_LONG_ANSWER])
    return frozenset([*enumerate(parts), *pairwise(["", *parts])])
