"""What travels between the nodes, and what an answer says of itself.

All of it is plain data and messages, so that any checkpointer and any JSON writer can hold it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypeVar, cast

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

Role = Literal["sample", "escalate", "aggregate", "judge", "tests"]
T = TypeVar("T")

# --- what an answer says of itself ---


class ModelScoreData(TypedDict):
    """One model's standing for a query; see `ModelScore`."""

    name: str
    score: float
    stderr: float | None
    n: int
    cost: float | None


class DecisionData(TypedDict):
    """A routing decision; see `RoutingDecision`. `left_out`: models that could not answer, and why.
    `unrouted`: why the query could not be routed, and the global ranking decided.
    """

    chosen: list[str]
    ranking: list[ModelScoreData]
    clusters: list[list[float]]
    distance: float
    novel: bool
    best_overall: NotRequired[str]
    left_out: NotRequired[dict[str, str]]
    unrouted: NotRequired[str]


class AnswerData(TypedDict):
    """An extracted answer; see `Answer`."""

    kind: str
    value: str
    number: float | None


class CandidateData(TypedDict):
    """One answer that stood in a vote; see `Candidate`."""

    value: str
    weight: float
    count: int
    samples: list[int]


class VoteData(TypedDict):
    """The outcome of a vote; see `Vote`."""

    winner: int
    answer: AnswerData | None
    tally: list[CandidateData]
    confidence: float
    abstained: list[int]
    tie: bool
    voter: str
    note: str


class ModelAccount(TypedDict):
    """What the requests to one model came to; `cost` in US dollars, None when it is not known."""

    requests: int
    usage: UsageMetadata | None
    cost: float | None


class Account(TypedDict):
    """What all requests of a query came to; see `usage.account`."""

    requests: int
    failed_requests: int
    unreported_requests: int
    usage: UsageMetadata | None
    cost: float | None
    cost_is_estimate: bool
    cost_unknown: list[str]
    models: dict[str, ModelAccount]


class FailureRecord(TypedDict):
    """A sample that was asked for and did not come."""

    model: str
    role: str
    cause: str


class SampleCounts(TypedDict):
    """How many samples were drawn, failed, abstained and were not needed; `decided_by` says why it ended early."""

    drawn: int
    failed: int
    abstained: int
    saved: int
    decided_by: Literal["stopped", "budget"] | None


class AvengersMetadata(TypedDict):
    """What an answer says of itself in `response_metadata["avengers"]`."""

    model: str
    strategy: str
    decision: DecisionData
    vote: VoteData
    answered_by: Role
    samples: SampleCounts
    failures: list[FailureRecord]
    usage: UsageMetadata | None
    cost: float | None
    cost_is_estimate: bool
    account: Account


# --- what travels between the nodes ---


class CallRecord(TypedDict):
    """One request that was made: samples `asked` for and `drawn`, what it used, and why it failed."""

    model: str
    role: str
    asked: int
    drawn: int
    usage: UsageMetadata | None
    error: str | None


class SampleRecord(TypedDict):
    """One answer that was drawn."""

    model: str
    role: Role
    message: AIMessage


class Plan(TypedDict):
    """What the schedule means to do.

    `targets`: samples wanted of each model. `asked`: samples asked of each model so far. `final`: the role of the
    request whose answer stands whatever the vote says, once it was sent. `decided`: why sampling ended early.
    """

    targets: dict[str, int]
    asked: dict[str, int]
    final: Role | None
    decided: Literal["stopped", "budget"] | None


class SampleRequest(NamedTuple):
    """So many samples of one model, wanted from the node `sample`.

    `stands`: the sample is the answer whatever it says, so it may be streamed.
    """

    model: str
    n: int
    role: Role = "sample"
    stands: bool = False


def extend(held: Sequence[T] | None, new: Sequence[T] | None) -> list[T]:
    """Append; None empties the list for the next query of a conversation."""
    return [] if new is None else [*(held or []), *new]


class Input(TypedDict):
    """What the graph takes."""

    messages: Annotated[list[AnyMessage], add_messages]


class Output(TypedDict):
    """What the graph gives."""

    messages: Annotated[list[AnyMessage], add_messages]
    answer: AIMessage
    decision: DecisionData
    vote: VoteData
    account: Account


class PipelineState(TypedDict):
    """What is known of a query. The reducers say how a node's update joins it."""

    messages: Annotated[list[AnyMessage], add_messages]
    vector: list[float] | None
    unrouted: str | None
    decision: DecisionData
    plan: Plan
    samples: Annotated[list[SampleRecord], extend]
    failures: Annotated[list[FailureRecord], extend]
    calls: Annotated[list[CallRecord], extend]
    vote: VoteData | None
    account: Account | None
    answer: AIMessage | None


class StateUpdate(TypedDict, total=False):
    """What a node changes. None takes back what an earlier query of the conversation left."""

    messages: list[AnyMessage]
    vector: list[float] | None
    unrouted: str | None
    decision: DecisionData | None
    plan: Plan | None
    samples: list[SampleRecord] | None
    failures: list[FailureRecord] | None
    calls: list[CallRecord] | None
    vote: VoteData | None
    account: Account | None
    answer: AIMessage | None


class NodeUpdate(NamedTuple):
    """What a node gives: an update of the state, and the requests it sends to `sample` next."""

    update: StateUpdate
    requests: list[SampleRequest]


_APPENDED = ("samples", "failures", "calls")


def new_state(messages: Sequence[BaseMessage]) -> PipelineState:
    """The state of a query of which nothing but its messages is known."""
    return cast(PipelineState, {"messages": list(messages)})


def applied(state: PipelineState, update: StateUpdate) -> PipelineState:
    """The state with a node's update, as the graph's reducers join it. The messages stay as they were asked."""
    joined: dict[str, Any] = {**state}
    for key, value in update.items():
        if key in _APPENDED:
            joined[key] = extend(joined.get(key), value)  # type: ignore[arg-type]  # a list, by its key
        elif key != "messages":
            joined[key] = value
    return cast(PipelineState, joined)


def metadata_of(message: BaseMessage) -> AvengersMetadata | None:
    """What an answer of this package says of itself; None for any other message."""
    found: Mapping[str, Any] | None = message.response_metadata.get("avengers")
    return cast(AvengersMetadata | None, found)
