"""The end of a query: the answer with what it says of itself, or the error that says why there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import cast

from langchain_core.messages import AIMessage, BaseMessage

from langchain_avengers.errors import SamplingError
from langchain_avengers.pipeline.messages import unique_tool_calls
from langchain_avengers.pipeline.settings import Settings, Strategy
from langchain_avengers.pipeline.state import (
    Account,
    AvengersMetadata,
    PipelineState,
    Plan,
    SampleRecord,
    VoteData,
)
from langchain_avengers.pipeline.usage import account
from langchain_avengers.providers import describe
from langchain_avengers.voting.vote import Vote


def spent(state: PipelineState, settings: Settings) -> Account:
    """What the query's requests came to so far."""
    calibrated = {row["name"]: row["cost"] for row in state["decision"]["ranking"]}
    return account(state["calls"], prices=settings.prices, calibrated=calibrated)


CANDIDATE_TEXT, ANSWER_TEXT = 200, 1000
"""Characters of a candidate, and of the winning answer, that an answer's metadata holds when it is brief."""


def vote_data(vote: Vote, settings: Settings) -> VoteData:
    """The vote as an answer's metadata holds it."""
    told = cast(VoteData, vote.to_dict())
    if settings.answer_metadata == "brief":
        for candidate in told["tally"]:
            candidate["value"] = _cut(candidate["value"], CANDIDATE_TEXT)
        if told["answer"] is not None:
            told["answer"]["value"] = _cut(told["answer"]["value"], ANSWER_TEXT)
    return told


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def summary(
    state: PipelineState,
    plan: Plan,
    vote: VoteData,
    winner: SampleRecord,
    settings: Settings,
    strategy: Strategy,
) -> AvengersMetadata:
    """What the answer says of itself: `response_metadata["avengers"]`."""
    totals = spent(state, settings)
    return {
        "model": winner["model"],
        "strategy": strategy,
        "decision": state["decision"],
        "vote": vote,
        "answered_by": winner["role"],
        "samples": {
            "drawn": sum(s["role"] == "sample" for s in state["samples"]),
            "failed": len(state["failures"]),
            "abstained": len(vote["abstained"]),
            "saved": max(sum(plan["targets"].values()) - sum(plan["asked"].values()), 0),
            "decided_by": plan["decided"],
        },
        "failures": state["failures"],
        "usage": totals["usage"],
        "cost": totals["cost"],
        "cost_is_estimate": totals["cost_is_estimate"],
        "account": totals,
    }


def finished(message: AIMessage, told: AvengersMetadata, asked: Sequence[BaseMessage]) -> AIMessage:
    """The winning message as the pool's answer: all calls' usage, the summary, tool-call ids of its own."""
    metadata = {k: v for k, v in message.response_metadata.items() if k != "token_usage"}
    answer = message.model_copy(
        update={
            "usage_metadata": told["usage"],
            "response_metadata": {"model_name": told["model"], **metadata, "avengers": told},
        }
    )
    return unique_tool_calls(answer, asked)


def says_something(sample: SampleRecord) -> bool:
    """Whether a message holds anything for its reader: a text, tool calls, a refusal."""
    message = sample["message"]
    return bool(message.text.strip() or message.tool_calls or message.additional_kwargs.get("refusal"))


def empty_answers(state: PipelineState, settings: Settings) -> SamplingError:
    """The error of a query that the models answered with nothing at all."""
    reasons = Counter(
        f"{s['model']}: {s['message'].response_metadata.get('finish_reason') or 'no reason given'}"
        for s in state["samples"]
    )
    listed = "; ".join(f"{text} ({n} times)" if n > 1 else text for text, n in reasons.items())
    error = SamplingError(f"every answer was empty: {listed}")
    error.account = dict(spent(state, settings))
    return error


def no_answer(state: PipelineState, settings: Settings, errors: Sequence[Exception] = ()) -> SamplingError:
    """The error that says why no model answered. Its `account` says what was spent.

    `errors`: what the models raised, where it is at hand; a graph that was resumed knows only the texts.
    """
    causes = Counter(f"{failure['model']}: {failure['cause']}" for failure in state["failures"])
    listed = "; ".join(f"{text} ({n} times)" if n > 1 else text for text, n in causes.items())
    raised = {describe(error): error for error in errors}.values()
    known = list(raised) or [RuntimeError(text) for text in causes]
    error = SamplingError(f"no model answered: {listed or 'the budget allowed no sample'}", known)
    error.account = dict(spent(state, settings))
    return error
