"""What a vote takes and gives: samples, candidates, the outcome, how much a sample counts, and the form of a voter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from langchain_core.messages import AIMessage

from langchain_avengers.voting.answers import Answer


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer drawn from one model.

    Attributes:
        message: The model's message.
        model: The router's name of the model.
        weight_score: The model's expected score on this query in [0, 1], out of the routing decision.
            Log-odds weights and ties are decided by it.
    """

    message: AIMessage
    model: str = ""
    weight_score: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer that stood in the vote.

    Attributes:
        value: The answer in canonical form.
        weight: The weight of the votes it got.
        count: How many samples gave it.
        samples: Indices of those samples, ascending.
    """

    value: str
    weight: float
    count: int
    samples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Vote:
    """The outcome of a vote.

    Attributes:
        winner: Index of the sample whose message wins.
        answer: The winning answer; `None` when every sample abstained.
        tally: Every candidate, best first.
        confidence: Winning weight / weight of all votes cast, in [0, 1]; 0 when every sample abstained. Of
            a medoid it is the mean similarity to the other samples, which says in the same way how far they
            agree.
        abstained: Indices of the samples without an answer that could be voted on.
        tie: The winner had equals, and the tie rule decided.
        voter: Name of the voter that decided.
        calls: Messages of the model calls the voter made itself, which belong into the account.
        note: What a reader of the result should know, such as why another voter had to decide. Empty
            otherwise.
    """

    winner: int
    answer: Answer | None
    tally: tuple[Candidate, ...]
    confidence: float
    abstained: tuple[int, ...]
    tie: bool
    voter: str
    calls: tuple[AIMessage, ...] = field(default=())
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The vote as JSON-safe plain data, without the messages of `calls`."""
        # by hand: this is on the path of every query, and dataclasses.asdict copies each value
        answer = self.answer
        return {
            "winner": self.winner,
            "answer": None
            if answer is None
            else {"kind": answer.kind, "value": answer.value, "number": answer.number},
            "tally": [
                {"value": c.value, "weight": c.weight, "count": c.count, "samples": list(c.samples)}
                for c in self.tally
            ],
            "confidence": self.confidence,
            "abstained": list(self.abstained),
            "tie": self.tie,
            "voter": self.voter,
            "note": self.note,
        }


@runtime_checkable
class Voter(Protocol):
    """Anything with a `vote` method is a voter.

    A coroutine `avote` with the same parameters is used in asynchronous calls when there is one; else
    `vote` runs in a thread. A voter that calls a model takes a keyword `config: RunnableConfig | None` in
    both, so that its calls are traced as children, and returns the messages it was given in `Vote.calls`,
    so that they are paid for.

    Example:
        A voter of one's own, which prefers the shortest answer:

        ```python
        from langchain_avengers.voting.voters import Candidate, Vote
        from langchain_avengers.voting.answers import extract_message

        class ShortestVoter:
            def vote(self, samples, question=None):
                answers = [extract_message(sample.message, question) for sample in samples]
                cast = [i for i, answer in enumerate(answers) if answer is not None]
                abstained = tuple(i for i, answer in enumerate(answers) if answer is None)
                if not cast:
                    return Vote(0, None, (), 0.0, abstained, False, "shortest")
                best = min(cast, key=lambda i: len(samples[i].message.text))
                tally = (Candidate(answers[best].value, 1.0, 1, (best,)),)
                return Vote(best, answers[best], tally, 1 / len(cast), abstained, False, "shortest")
        ```
    """

    def vote(self, samples: Sequence[Sample], question: str | None = None) -> Vote:
        """Elect one of the samples.

        Args:
            samples: At least one; failed samples are left out before.
            question: What was asked.
        """
        ...


# --- weights ------------------------------------------------------------------------------------------------

_ODDS_FLOOR, _ODDS_CEILING = (
    0.525,
    0.995,
)  # weights between 0.1 and 5.3: none votes against itself, none alone decides


Weighting = Literal["equal", "log_odds", "learned"]
"""How votes weigh: all the same, by the model's expected score, or as calibration taught."""


def weigh(samples: Sequence[Sample], rule: Weighting) -> list[float]:
    """How much each sample's vote counts; by itself a learned one counts like `"log_odds"`."""
    if rule == "equal":
        return [1.0] * len(samples)
    weights = [None if s.weight_score is None else log_odds(s.weight_score) for s in samples]
    known = [weight for weight in weights if weight is not None]
    # not their mean: that would move with every sample, and a copy of the winner could unseat it
    unknown = log_odds(0.0) if known else 1.0
    return [unknown if weight is None else weight for weight in weights]


def log_odds(score: float) -> float:
    """The weight of a vote by a model with this expected score: log(p / (1 - p)), p held in [0.525,
    0.995].
    """
    p = min(max(score, _ODDS_FLOOR), _ODDS_CEILING)
    return math.log(p / (1 - p))


def score_of(sample: Sample) -> float:
    """The expected score of a sample's model; below every score when it is not known."""
    return -1.0 if sample.weight_score is None else sample.weight_score
