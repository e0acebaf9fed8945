"""The vote when samples call tools: whether, then which and how often, then with what."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.messages import AIMessage

from langchain_avengers.voting.answers import extract_message
from langchain_avengers.voting.vote import Candidate, Sample, Vote, Weighting, score_of, weigh

NEAR = 0.5
"""Share of common words (Dice's coefficient) from which two free texts count as one wording of the same."""

_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class CallVote:
    """The vote on whether a tool is called, then on which, how often and with what.

    Attributes:
        samples: All samples.
        calling: Indices of those that call tools.
        texting: Indices of those that answer without.
        weights: How much each sample's vote counts.
        elected: The vote on the calls; None when those without a call prevail, and have to be voted on.
    """

    samples: Sequence[Sample]
    calling: list[int]
    texting: list[int]
    weights: list[float]
    elected: Vote | None = None

    @property
    def texts(self) -> list[Sample]:
        """The samples that call no tool."""
        return [self.samples[i] for i in self.texting]

    def weight(self, indices: Sequence[int]) -> float:
        """The weight of these samples' votes."""
        return round(math.fsum(self.weights[i] for i in indices), 9)

    def on_calls(self) -> Vote:
        """The vote on the calls, by tools and arguments; the wording nearest to all the others gives the message."""
        groups: dict[int, list[int]] = {}
        labels = group_calls([self.samples[i].message for i in self.calling])
        for index, label in zip(self.calling, labels, strict=True):
            groups.setdefault(label, []).append(index)
        ranked = sorted(
            groups.values(), key=lambda g: (-self.weight(g), -max(score_of(self.samples[i]) for i in g), g[0])
        )
        tally = [self._candidate(group, self._typical(group)) for group in ranked]
        winner = self._typical(ranked[0])
        return Vote(
            winner=winner,
            answer=extract_message(self.samples[winner].message),
            tally=(*tally, *self._others(self.texting)),
            confidence=tally[0].weight / self.weight([*self.calling, *self.texting]),
            abstained=self._abstained,
            tie=len(tally) > 1 and tally[0].weight == tally[1].weight,
            voter="majority",
        )

    def among_texts(self, vote: Vote) -> Vote:
        """The vote among the texts as one among all samples: a tool called is one other candidate."""
        places = self.texting
        tally = [replace(c, samples=tuple(places[i] for i in c.samples)) for c in vote.tally]
        share = self.weight(places) / self.weight([*self.calling, *places])
        return replace(
            vote,
            winner=places[vote.winner],
            tally=(*tally, *self._others(self.calling)),
            confidence=vote.confidence * share,
            abstained=tuple(sorted((*self._abstained, *(places[i] for i in vote.abstained)))),
        )

    @property
    def _abstained(self) -> tuple[int, ...]:
        return tuple(sorted(set(range(len(self.samples))) - {*self.calling, *self.texting}))

    def _typical(self, group: list[int]) -> int:
        best = most_typical([self.samples[i].message for i in group], [self.weights[i] for i in group])
        return group[best]

    def _candidate(self, group: list[int], typical: int) -> Candidate:
        answer = extract_message(self.samples[typical].message)
        return Candidate(answer.value if answer else "", self.weight(group), len(group), tuple(group))

    def _others(self, side: list[int]) -> list[Candidate]:
        """The side that lost, as one candidate."""
        value = _NO_CALL if side is self.texting else _SOME_CALL
        return [Candidate(value, self.weight(side), len(side), tuple(side))] if side else []


_NO_CALL, _SOME_CALL = "(no tool called)", "(a tool called)"


def call_vote(samples: Sequence[Sample], rule: Weighting) -> CallVote | None:
    """The vote on whether a tool is called; None when no sample calls one. Of equals the better model's side wins."""
    calling = [i for i, sample in enumerate(samples) if sample.message.tool_calls]
    if not calling:
        return None
    texting = [
        i
        for i, sample in enumerate(samples)
        if not sample.message.tool_calls and extract_message(sample.message) is not None
    ]
    vote = CallVote(samples, calling, texting, weigh(samples, rule))

    def standing(side: list[int]) -> tuple[float, float, int]:
        return vote.weight(side), max(score_of(samples[i]) for i in side), -side[0]

    if not texting or standing(calling) > standing(texting):
        return replace(vote, elected=vote.on_calls())
    return vote


def group_calls(messages: Sequence[AIMessage]) -> list[int]:
    """A label for each message that calls tools: the same for the same tools with near arguments.

    Tools have to agree in name and number. Arguments have to be equal; free text may differ in wording.
    """
    representatives: list[list[tuple[str, Any]]] = []
    labels = []
    for message in messages:
        calls = _sorted(message)
        found = next((i for i, other in enumerate(representatives) if similarity(calls, other) >= NEAR), None)
        if found is None:
            found = len(representatives)
            representatives.append(calls)
        labels.append(found)
    return labels


def most_typical(messages: Sequence[AIMessage], weights: Sequence[float]) -> int:
    """The message whose arguments are nearest to all the others', by weight; of equals the earliest."""
    calls = [_sorted(message) for message in messages]
    nearness = [
        round(sum(w * similarity(one, other) for other, w in zip(calls, weights, strict=True)), 9)
        for one in calls
    ]
    return nearness.index(max(nearness))


def similarity(one: list[tuple[str, Any]], other: list[tuple[str, Any]]) -> float:
    """How near two lists of calls are, in [0, 1]: 1 for equal ones, 0 when more than free text differs."""
    if [name for name, _ in one] != [name for name, _ in other]:
        return 0.0
    return min((_alike(a, b) for (_, a), (_, b) in zip(one, other, strict=True)), default=1.0)


def _sorted(message: AIMessage) -> list[tuple[str, Any]]:
    """A message's calls in an order that does not depend on how they were written."""
    calls = [(c["name"], c["args"]) for c in message.tool_calls]
    return sorted(calls, key=lambda call: (call[0], json.dumps(call[1], sort_keys=True, default=str)))


def _alike(a: Any, b: Any) -> float:
    """How near two arguments are; containers are as near as their farthest parts."""
    if a == b:
        return 1.0
    if isinstance(a, dict) and isinstance(b, dict):
        return min((_alike(a[k], b[k]) for k in a), default=1.0) if a.keys() == b.keys() else 0.0
    if isinstance(a, list) and isinstance(b, list):
        same_length = len(a) == len(b)
        return min((_alike(x, y) for x, y in zip(a, b, strict=True)), default=1.0) if same_length else 0.0
    if isinstance(a, str) and isinstance(b, str):
        return _wording(a.casefold(), b.casefold())
    return 0.0


def _wording(a: str, b: str) -> float:
    """Common words of two free texts. A text of one word, or with other numbers, is no other wording but another."""
    words, others = set(_WORD.findall(a)), set(_WORD.findall(b))
    if min(len(words), len(others)) < 2 or sorted(_NUMBER.findall(a)) != sorted(_NUMBER.findall(b)):
        return float(a.strip() == b.strip())
    return 2 * len(words & others) / (len(words) + len(others))
