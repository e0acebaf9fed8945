"""The majority vote: samples whose answers are equivalent vote together."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from langchain_avengers.voting.answers import Answer, extract_message
from langchain_avengers.voting.equivalence import needs_time, partition
from langchain_avengers.voting.mathematics import MathTime
from langchain_avengers.voting.policy import VotePolicy
from langchain_avengers.voting.ties import most_central_first, most_usual
from langchain_avengers.voting.tool_calls import call_vote
from langchain_avengers.voting.vote import Candidate, Sample, Vote, Weighting, score_of, weigh


@dataclass(frozen=True)
class MajorityVoter:
    """The answer with the most votes wins; votes count per class of equivalent answers.

    Attributes:
        weights: `"equal"`, or `"log_odds"`: a sample weighs log(p / (1 - p)) for its model's expected score
            p, held in [0.525, 0.995] so that every weight is positive (arXiv 2510.01499). A sample without
            a score weighs as the lowest; when none has one, all weigh the same. `"learned"`: the weight of an
            answer is the chance that the policy gives it.
        policy: A learned vote. The confidence is then the chance that the winning answer is right.

    Who wins, in this order: the higher weight of votes; the higher `weight_score` among the samples behind
    the answer; for answers of several words or values the one that has most in common with the others; the
    earlier sample. The message of the winning answer comes from its sample with the highest `weight_score`,
    then the most common wording, then the earliest place. A sample without an answer abstains; so does prose,
    while at least as many samples have an answer that can be compared. When all abstain, the first sample with
    any text (the highest `weight_score` first) stands, with confidence 0.

    When samples call tools, the first vote is on whether a tool is called at all; then on which tools and how
    often, with equal arguments (free text may differ in wording). Without a call, the texts vote as always.
    """

    weights: Weighting = "equal"
    policy: VotePolicy | None = None
    name: ClassVar[str] = "majority"

    def __post_init__(self) -> None:
        """Check the parameters."""
        if self.weights not in ("equal", "log_odds", "learned"):
            raise ValueError(f'weights={self.weights!r}: takes "equal", "log_odds" or "learned"')
        if self.weights == "learned" and self.policy is None:
            raise ValueError('weights="learned" needs a policy: that of a router fitted on recorded answers')

    def vote(self, samples: Sequence[Sample], question: str | None = None) -> Vote:
        """Elect one of the samples."""
        if (calls := call_vote(samples, self.weights)) is not None:
            return calls.elected or calls.among_texts(self.vote(calls.texts, question))
        return self.elect(samples, ballots(samples, question), question)

    async def avote(self, samples: Sequence[Sample], question: str | None = None) -> Vote:
        """Elect one of the samples; reading long texts and comparing mathematics goes to a thread."""
        if is_long(samples):
            return await asyncio.to_thread(self.vote, samples, question)
        if (calls := call_vote(samples, self.weights)) is not None:
            return calls.elected or calls.among_texts(await self.avote(calls.texts, question))
        return await self.aelect(samples, ballots(samples, question), question)

    async def aelect(
        self, samples: Sequence[Sample], answers: Sequence[Answer | None], question: str | None = None
    ) -> Vote:
        """`elect` without blocking the event loop: comparing mathematics goes to a thread."""
        if is_long(samples) or needs_time(answers):
            return await asyncio.to_thread(self.elect, samples, answers, question)
        return self.elect(samples, answers, question)

    def elect(
        self, samples: Sequence[Sample], answers: Sequence[Answer | None], question: str | None = None
    ) -> Vote:
        """Elect by answers already extracted; `None` abstains."""
        check_samples(samples)
        cast = [(i, answer) for i, answer in enumerate(answers) if answer is not None]
        abstained = tuple(i for i, answer in enumerate(answers) if answer is None)
        if not cast:
            return Vote(first_standing(samples), None, (), 0.0, abstained, False, self.name)
        groups: dict[int, list[int]] = {}
        spent = MathTime()
        labels = partition([answer for _, answer in cast], question, spent=spent)
        for (i, _), label in zip(cast, labels, strict=True):
            groups.setdefault(label, []).append(i)
        chances = None if self.policy is None else group_chances(self.policy, samples, list(groups.values()))
        weights = weigh(samples, self.weights)
        ranked = []
        for number, group in enumerate(groups.values()):
            best = group[0] if len(group) == 1 else min(group, key=lambda i: (-score_of(samples[i]), i))
            if self.weights == "learned" and chances is not None:
                weight = chances[number]
            else:
                # rounded, so that the order in which floats were added never decides
                weight = round(math.fsum(weights[i] for i in group), 9)
            ranked.append((-weight, -score_of(samples[best]), group[0], best, group))
        ranked.sort()
        by_index = dict(cast)
        ranked = most_central_first(ranked, by_index)
        tally = tuple(
            Candidate(by_index[best].value, -weight, len(group), tuple(group))
            for weight, _, _, best, group in ranked
        )
        winner = most_usual(samples, ranked[0][4])
        if self.policy is not None and chances is not None:
            place = next(n for n, group in enumerate(groups.values()) if winner in group)
            confidence = self.policy.calibrated(chances[place], len(samples))
        else:
            confidence = tally[0].weight / math.fsum(c.weight for c in tally)
        return Vote(
            winner=winner,
            answer=by_index[winner],
            tally=tally,
            confidence=confidence,
            abstained=abstained,
            tie=len(tally) > 1 and tally[0].weight == tally[1].weight,
            voter=self.name,
            note=spent.note,
        )


LONG_SAMPLES = 20_000
"""Characters of samples from which reading them leaves the event loop."""


def is_long(samples: Sequence[Sample]) -> bool:
    """Whether reading the samples takes more than a few milliseconds."""
    return sum(len(sample.message.text) for sample in samples) > LONG_SAMPLES


def ballots(samples: Sequence[Sample], question: str | None = None) -> list[Answer | None]:
    """Each sample's answer, `None` where it abstains.

    Prose (`"free"`) abstains beside at least as many answers of other kinds: it cannot equal them, and only
    splits the vote.
    """
    answers = [extract_message(sample.message, question) for sample in samples]
    free = sum(answer is not None and answer.kind == "free" for answer in answers)
    firm = sum(answer is not None and answer.kind != "free" for answer in answers)
    if free and firm >= free:
        return [None if answer is not None and answer.kind == "free" else answer for answer in answers]
    return answers


def answer_classes(samples: Sequence[Sample], question: str | None = None) -> list[int]:
    """The class of equal answers of each sample, numbered by first appearance; -1 for one that abstains."""
    answers = ballots(samples, question)
    cast = [(i, answer) for i, answer in enumerate(answers) if answer is not None]
    labels = [-1] * len(samples)
    for (i, _), label in zip(cast, partition([answer for _, answer in cast], question), strict=True):
        labels[i] = label
    return labels


def group_chances(
    policy: VotePolicy, samples: Sequence[Sample], groups: Sequence[Sequence[int]]
) -> list[float]:
    """The chance that the policy gives each group of equal answers."""
    label = {i: number for number, group in enumerate(groups) for i in group}
    expected = {s.model: s.weight_score for s in samples if s.weight_score is not None}
    return policy.chances(expected, [(s.model, label.get(i, -1)) for i, s in enumerate(samples)])


def check_samples(samples: Sequence[Sample]) -> None:
    """Refuse a vote on nothing.

    Raises:
        ValueError: There is no sample.
    """
    if not samples:
        raise ValueError("no samples to vote on: a vote needs at least one")


def first_standing(samples: Sequence[Sample]) -> int:
    """Of samples that all abstain: the one with some text, then the highest `weight_score`, then the
    earliest.
    """
    return min(
        range(len(samples)), key=lambda i: (not samples[i].message.text.strip(), -score_of(samples[i]), i)
    )
