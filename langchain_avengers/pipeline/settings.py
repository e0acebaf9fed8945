"""Everything a caller gives: a router, models, and settings, once for a pool and in part for one call."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, Protocol, Self, get_args, runtime_checkable

import numpy as np
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable
from langgraph.types import RetryPolicy
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, SkipValidation, field_validator, model_validator
from typing_extensions import TypedDict

from langchain_avengers.pool import Pool, Price
from langchain_avengers.providers import TokenPrice, may_pass
from langchain_avengers.routing.decision import RoutingDecision
from langchain_avengers.voting.policy import VotePolicy
from langchain_avengers.voting.voters import Voter

logger = logging.getLogger("langchain_avengers")
Strategy = Literal[
    "direct", "self_consistency", "mixture", "model_switch", "escalate", "aggregate", "learned"
]
VoterName = Literal["auto", "majority", "log_odds", "medoid", "judge", "execution"]
RoutingText = Literal["last_human", "conversation"] | int | Callable[[Sequence[BaseMessage]], str]
ChatModel = str | Runnable[LanguageModelInput, AIMessage]
"""A chat model, a runnable around one, or an `init_chat_model` string."""
Models = Mapping[str, ChatModel] | Pool
"""A chat model for each of the router's models, or a pool file that was read."""

STRATEGIES: tuple[str, ...] = get_args(Strategy)
VOTERS: tuple[str, ...] = get_args(VoterName)


class Router(Protocol):
    """What the pipeline asks of a router. `ClusterRouter` is one; so is anything with these four."""

    @property
    def models_(self) -> Sequence[str]:
        """Names of the models."""
        ...

    def embed(self, query: str) -> NDArray[np.float32]:
        """The query's embedding, shape (d,)."""
        ...

    async def aembed(self, query: str) -> NDArray[np.float32]:
        """`embed` without blocking the event loop."""
        ...

    def route_vector(
        self,
        vector: NDArray[np.float32],
        *,
        top_n: int = 1,
        models: Sequence[str] | None = None,
        cost_weight: float | None = None,
    ) -> RoutingDecision:
        """Rank the models (all, or those named) for a query by its embedding, shape (d,)."""
        ...


@runtime_checkable
class GlobalRouter(Protocol):
    """A router that can also rank its models for a query of which nothing is known."""

    def route_globally(
        self, *, top_n: int = 1, models: Sequence[str] | None = None, cost_weight: float | None = None
    ) -> RoutingDecision:
        """Rank the models (all, or those named) without a query."""
        ...


class Budget(TypedDict, total=False):
    """What one query may spend.

    `samples` is never passed. `tokens` and `dollars` are known only once a call has returned. All samples are drawn
    at once when even long answers would stay within the limit; else the first alone, and what the next round would
    cost is estimated from the calls made: a round that would pass the limit is shortened or not begun. The first
    sample is drawn in any case. A budget in `dollars` needs the cost of every model it asks: by `prices`, or by
    calibration.
    """

    samples: int
    tokens: int
    dollars: float


class Controls(TypedDict, total=False):
    """What a caller may set for one call: in `config["configurable"]`, by `bind`, or as the graph's context.

    `allowed_models`: names of the only models that may answer. The rest: see `Settings`.
    """

    allowed_models: Sequence[str] | None
    cost_weight: float | None
    n_samples: int | None
    top_n: int
    strategy: Strategy | None
    confidence_threshold: float


CONTROLS = frozenset(Controls.__annotations__)


def controls_in(configured: Mapping[str, Any]) -> dict[str, Any]:
    """The controls in a config's `configurable`; a name that looks like a misspelt one is told of in the log."""
    for name in configured:
        if name not in CONTROLS and (meant := get_close_matches(name, CONTROLS, 1, cutoff=0.85)):
            logger.warning(
                "config['configurable'] has %r, which is no control: did you mean %r?", name, meant[0]
            )
    return {name: configured[name] for name in CONTROLS & configured.keys()}


class GraphOptions(TypedDict, total=False):
    """The fields of `Settings` that `create_avengers_graph` does not name, for a type checker."""

    allowed_models: Sequence[str] | None
    cost_weight: float | None
    confidence_threshold: float
    judge: ChatModel | None
    allow_code: bool | Literal["uid"]
    test_writer: ChatModel | None
    escalate_to: ChatModel | None
    aggregator: ChatModel | None
    min_samples: int | None
    round_size: int | None
    stop_threshold: float
    budget: Budget | None
    prices: Mapping[str, TokenPrice | Price] | None
    timeout: float | None
    max_retries: int
    retry_policy: RetryPolicy | None
    rest_after: int | None
    rest_seconds: float
    max_concurrency: int | None
    sample_in_one_request: Mapping[str, bool]
    routing_text: RoutingText
    sticky: bool
    temperature: float | None
    max_tokens: int | None
    stop: list[str] | None
    answer_metadata: Literal["brief", "full"]
    inner_callbacks: Literal["tracers", "all"]
    progress: bool


class PoolOptions(GraphOptions, total=False):
    """The fields of `Settings` as keyword arguments, for a type checker."""

    strategy: Strategy | None
    n_samples: int | None
    top_n: int
    voter: VoterName | Voter


def policy_of(router: Router) -> VotePolicy | None:
    """The learned vote of a router, if it has one: its attribute `policy_`."""
    policy: VotePolicy | None = getattr(router, "policy_", None)
    return policy


class Settings(BaseModel):
    """How a pool answers.

    Attributes:
        strategy: `"direct"`, `"self_consistency"`, `"mixture"`, `"model_switch"`, `"escalate"`, `"aggregate"`, or
            `"learned"`: whom to ask, in which order, when to stop and what each vote weighs, as calibration
            taught. None: `"learned"` when the router has a learned vote and neither `voter`, `top_n` nor
            `min_samples` says otherwise, else `"self_consistency"`.
        n_samples: Samples drawn for a query (for `"model_switch"`: of each model), at most. None: as many as
            `"learned"` finds useful, 5 with the other strategies.
        top_n: Models the samples are spread over, best first. `"mixture"` takes at least two.
        voter: `"auto"`, `"majority"`, `"log_odds"`, `"medoid"`, `"judge"`, `"execution"`, or a voter.
        judge: The chat model of voter `"judge"`, or a pool model's name.
        allow_code: Whether voter `"auto"` may run code that models wrote, to vote on what it does: True in full
            isolation only, `"uid"` also at that lower level. Voter `"execution"` runs it in any case.
        test_writer: Who writes tests for code that is run: a pool model's name or a chat model. None: nobody.
        escalate_to: Who answers when the vote of strategy `"escalate"` is not confident: a pool model's
            name or a chat model.
        aggregator: Who writes the answer of strategy `"aggregate"`: a pool model's name or a chat model.
            None: the best model for the query.
        confidence_threshold: Confidence of a vote, in [0, 1], below which `"model_switch"` asks a second
            model and
            `"escalate"` the stronger one.
        min_samples: Sample in rounds, this many in the first, and stop as soon as the leading answer is
            safe. None: all in one round.
        round_size: Samples of each later round. None: as many as `min_samples`.
        stop_threshold: Posterior probability, in (0, 1), at which a leading answer is safe (arXiv
            2305.11860).
        budget: What one query may spend.
        allowed_models: The only models that may answer. None: all.
        cost_weight: The router's weight of cost against score, in [0, 1]. None: as the router was fitted.
        prices: US dollars per million (input, output) tokens, by model; a third number is the price of input tokens
            that the provider had in its cache. A model without a price costs what
            it cost in calibration, and the account says that it is an estimate.
        timeout: Seconds one request may take. None: the member's own limit. A synchronous request that is
            given up goes on in its thread until the member's own limit ends it.
        max_retries: Further attempts of a request that failed in a way that may pass (no answer, 408, 409,
            425, 429, 5xx, garbage). A server's Retry-After is honoured.
        retry_policy: Replaces `max_retries`: intervals, attempts, and what is tried again.
        rest_after: Queries in a row that a model gives no answer to until it rests: other models are asked before
            it, and the log says so. None: it never rests.
        rest_seconds: Seconds of the first rest. Then one query tries the model again; each further rest is longer.
        max_concurrency: Requests in flight for one query, at most.
        sample_in_one_request: Models that take `n` samples in one request: True or False by name. A model
            not named is tried when it has an `n` field; one that refuses is remembered.
        routing_text: What is embedded: `"last_human"` message, the whole `"conversation"`, the last so many
            messages, or a function of the messages.
        sticky: A conversation keeps its model while its topic stays in the same cluster, and answers to tool
            results always come from the model that called the tools.
        temperature: Passed to every member. None: each member's own.
        max_tokens: Passed to every member. None: each member's own.
        stop: Stop sequences, passed to every member.
        answer_metadata: What an answer says of its vote: `"brief"` cuts the texts of candidates, `"full"` holds them
            whole. May be given as `metadata="brief"` or `"full"`.
        inner_callbacks: Which callbacks the members' calls inherit: `"tracers"` shows the caller one answer;
            `"all"` shows every sample, as it is drawn.
        progress: Send custom events (`"avengers"`) as the query is routed and its samples come in.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=())

    strategy: Strategy | None = None
    n_samples: int | None = Field(default=None, ge=1)
    top_n: int = Field(default=1, ge=1)
    voter: SkipValidation[VoterName | Voter] = "auto"
    judge: SkipValidation[ChatModel | None] = None
    allow_code: bool | Literal["uid"] = False
    test_writer: SkipValidation[ChatModel | None] = None
    escalate_to: SkipValidation[ChatModel | None] = None
    aggregator: SkipValidation[ChatModel | None] = None
    confidence_threshold: float = Field(default=0.8, ge=0, le=1)
    min_samples: int | None = Field(default=None, ge=1)
    round_size: int | None = Field(default=None, ge=1)
    stop_threshold: float = Field(default=0.95, gt=0, lt=1)
    budget: Budget | None = None
    allowed_models: Sequence[str] | None = None
    cost_weight: float | None = Field(default=None, ge=0, le=1)
    prices: Mapping[str, TokenPrice] | None = None
    timeout: float | None = Field(default=None, gt=0)
    max_retries: int = Field(default=2, ge=0)
    retry_policy: RetryPolicy | None = None
    rest_after: int | None = Field(default=3, ge=1)
    rest_seconds: float = Field(default=30.0, gt=0)
    max_concurrency: int | None = Field(default=None, ge=1)
    sample_in_one_request: Mapping[str, bool] = Field(default_factory=dict)
    routing_text: RoutingText = "last_human"
    sticky: bool = False
    temperature: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    answer_metadata: Literal["brief", "full"] = "brief"
    inner_callbacks: Literal["tracers", "all"] = "tracers"
    progress: bool = False

    @field_validator("voter")
    @classmethod
    def _known_voter(cls, voter: Any) -> Any:
        if isinstance(voter, str) and voter not in VOTERS:
            raise ValueError(
                f"unknown voter {voter!r}: one of {', '.join(VOTERS)}, or an object with a vote method"
            )
        if not isinstance(voter, str) and not callable(getattr(voter, "vote", None)):
            raise ValueError(f"voter {type(voter).__name__} has no vote method")
        return voter

    @field_validator("prices", mode="before")
    @classmethod
    def _plain_prices(cls, prices: Any) -> Any:
        """A pool file's prices have names."""
        if not isinstance(prices, Mapping):
            return prices
        return {name: p.per_million if isinstance(p, Price) else p for name, p in prices.items()}

    @field_validator("routing_text")
    @classmethod
    def _window(cls, text: RoutingText) -> RoutingText:
        if isinstance(text, int) and text < 1:
            raise ValueError("routing_text as a window is a number of messages, at least 1")
        return text

    @field_validator("budget")
    @classmethod
    def _some_budget(cls, budget: Budget | None) -> Budget | None:
        for name, least in (("samples", 1), ("tokens", 1), ("dollars", 0)):
            value = (budget or {}).get(name)
            if value is not None and not (least <= value < math.inf and value > 0):  # type: ignore[operator]
                raise ValueError(f"budget {name}={value!r}: {'at least 1' if least else 'more than 0'}")
        return budget

    @model_validator(mode="after")
    def _needs(self) -> Self:
        if self.strategy == "escalate" and self.escalate_to is None:
            raise ValueError("strategy 'escalate' needs escalate_to: a pool model's name or a chat model")
        if self.voter == "judge" and self.judge is None:
            raise ValueError("voter 'judge' needs judge: a pool model's name or a chat model")
        return self

    def strategy_for(self, router: Router) -> Strategy:
        """The strategy, also when none was named."""
        if self.strategy is not None:
            return self.strategy
        plain = self.voter == "auto" and self.top_n == 1 and self.min_samples is None
        return "learned" if plain and policy_of(router) is not None else "self_consistency"

    def controlled(self, controls: Mapping[str, Any]) -> Settings:
        """These settings with one call's controls over them.

        Raises:
            ValueError: A control is unknown or has a value it cannot have.
        """
        if not controls:
            return self
        fields = {name: getattr(self, name) for name in Settings.model_fields}
        return Settings.model_validate({**fields, **controls})

    def retries(self) -> RetryPolicy:
        """How failed requests are tried again."""
        return self.retry_policy or RetryPolicy(
            max_attempts=self.max_retries + 1, max_interval=20.0, retry_on=may_pass
        )
