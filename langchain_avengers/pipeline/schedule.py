"""What is asked next: the one place where the strategies differ.

A schedule looks at what is known of a query so far and gives the next requests, or none: then the vote stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from langchain_core.messages.utils import count_tokens_approximately

from langchain_avengers.errors import PoolError
from langchain_avengers.pipeline.settings import Settings, Strategy
from langchain_avengers.pipeline.state import (
    CallRecord,
    DecisionData,
    PipelineState,
    Plan,
    SampleRecord,
    SampleRequest,
    VoteData,
)
from langchain_avengers.pipeline.usage import account
from langchain_avengers.providers import token_cost
from langchain_avengers.voting.answers import ending
from langchain_avengers.voting.policy import VotePolicy
from langchain_avengers.voting.stopping import leader_is_safe
from langchain_avengers.voting.vote import Weighting


@dataclass(frozen=True)
class Progress:
    """What a schedule decides by.

    Attributes:
        settings: How the pool answers this query.
        decision: The router's.
        models: Names of the models that are in the pool.
        escalate_to: Name of the stronger model, if there is one.
        aggregator: Name of the model that writes answers from candidates, if one was named.
        plan: What was planned and asked; None before the first request.
        samples: Answers that may be voted on.
        calls: Requests made.
        vote: The latest vote; None while there is nothing to vote on.
        policy: The router's learned vote, if it has one.
        cost_weight: Weight of cost against score, in [0, 1].
        unusable: Whether every sample abstained: empty, refused, filtered or cut.
        prompt_tokens: About how many tokens the query has; 0 when that makes no difference.
    """

    settings: Settings
    decision: DecisionData
    models: Collection[str]
    escalate_to: str | None = None
    aggregator: str | None = None
    plan: Plan | None = None
    samples: Sequence[SampleRecord] = ()
    calls: Sequence[CallRecord] = ()
    vote: VoteData | None = None
    policy: VotePolicy | None = None
    cost_weight: float = 0.0
    prompt_tokens: int = 0
    unusable: bool = False

    @property
    def ranking(self) -> list[str]:
        """The models that may be asked, best first."""
        names = [row["name"] for row in self.decision["ranking"] if row["name"] in self.models]
        if "dollars" in (self.settings.budget or {}):
            names = [name for name in names if long_answer_cost(name, self) is not None]
        return names


SAMPLES = 5
"""Samples drawn for a query when nothing else is said."""


class Schedule:
    """`self_consistency`, and what all strategies share: rounds, budget, and stand-ins for models that fail."""

    weights: ClassVar[Weighting] = "equal"
    """How much a sample's vote counts."""
    first_sample_stands: ClassVar[bool] = True
    """Whether a single sample is the answer whatever it says, so that it may be streamed."""
    fan: ClassVar[str] = "top model, n samples"
    """What the first round asks, for pictures of the graph."""

    def width(self, settings: Settings) -> int:
        """How many models the first round asks."""
        return settings.top_n

    def samples(self, settings: Settings) -> int:
        """How many samples are drawn, at most, before `after` is asked for more."""
        return settings.n_samples or SAMPLES

    def cost_weight(self, settings: Settings) -> float | None:
        """The weight of cost by which the router ranks."""
        return settings.cost_weight

    def after(self, progress: Progress, plan: Plan) -> list[SampleRequest]:
        """What a strategy still asks when the samples of the plan are drawn; it may enlarge the plan."""
        return []

    # --- the same for all ---

    def first(self, progress: Progress) -> tuple[Plan, list[SampleRequest]]:
        """The plan and its first requests, after the routing decision."""
        n = self.samples(progress.settings)
        names = progress.decision["chosen"][: min(self.width(progress.settings), n)]
        plan = Plan(
            targets={name: n // len(names) + (i < n % len(names)) for i, name in enumerate(names)},
            asked={},
            final=None,
            decided=None,
        )
        return plan, self._round(progress, plan)

    def next(self, progress: Progress) -> tuple[Plan, list[SampleRequest]]:
        """The plan and the requests that a vote leads back to; none when the vote stands."""
        assert progress.plan is not None
        plan = _copy(progress.plan)
        self._replace_silent(progress, plan)
        if requests := self._round(progress, plan):
            return plan, requests
        return plan, self.after(progress, plan) if progress.vote and not progress.unusable else []

    def _replace_silent(self, progress: Progress, plan: Plan) -> None:
        """Let the next of the ranking stand in for each model that was asked and gave nothing."""
        drawn = set() if progress.unusable else {sample["model"] for sample in progress.samples}
        targets = plan["targets"]
        for name in [m for m, n in plan["asked"].items() if n and m not in drawn and targets[m]]:
            wanted, targets[name] = targets[name], 0
            stand_in = next((m for m in progress.ranking if m not in targets), None)
            if stand_in is not None:
                targets[stand_in] = wanted

    def _round(self, progress: Progress, plan: Plan) -> list[SampleRequest]:
        """What is still to be asked, in rounds when the settings say so, within the budget; notes it as asked."""
        settings, asked = progress.settings, plan["asked"]
        missing = {m: n - asked.get(m, 0) for m, n in plan["targets"].items() if n > asked.get(m, 0)}
        left = sum(missing.values())
        if not left:
            return []
        if progress.vote and any(asked.get(m) for m in missing) and _decided(progress.vote, settings, left):
            plan["decided"] = "stopped"
            return []
        size = left
        first = settings.min_samples
        if first is None and not _ample(missing, progress):
            first = 1  # what a sample costs is known once one was drawn
        if first is not None:
            size = min(left, first if not asked else settings.round_size or first)
        if (size := affordable(size, progress)) < 1:
            if asked or plan["decided"]:
                plan["decided"] = "budget"
                return []
            size = 1  # a budget too small for one sample still gets an answer
        stands = self.first_sample_stands and sum(plan["targets"].values()) == 1
        requests = [SampleRequest(name, n, "sample", stands) for name, n in _spread(size, missing).items()]
        plan["asked"] = {**asked, **{r.model: asked.get(r.model, 0) + r.n for r in requests}}
        return requests


class Direct(Schedule):
    """One sample of the best model."""

    fan = "top model, 1 sample"

    def width(self, settings: Settings) -> int:
        """One."""
        return 1

    def samples(self, settings: Settings) -> int:
        """One."""
        return 1


class Mixture(Schedule):
    """The samples spread over the best models, weighted by how good each is on such queries."""

    weights = "log_odds"
    fan = "top models, n samples shared"

    def width(self, settings: Settings) -> int:
        """At least two."""
        return max(settings.top_n, 2)


class ModelSwitch(Schedule):
    """The best model; when its answers disagree, the second as well (arXiv 2504.00762)."""

    weights = "log_odds"
    first_sample_stands = False

    def width(self, settings: Settings) -> int:
        """One."""
        return 1

    def after(self, progress: Progress, plan: Plan) -> list[SampleRequest]:
        """As many samples of the second model."""
        targets = plan["targets"]
        second = next((m for m in progress.ranking if m not in targets), None)
        if not _unsure(progress) or sum(n > 0 for n in targets.values()) > 1 or second is None:
            return []
        targets[second] = self.samples(progress.settings)
        return self._round(progress, plan)


class Escalate(Schedule):
    """The best model; when its answers disagree, a stronger one, whose answer stands."""

    first_sample_stands = False

    def after(self, progress: Progress, plan: Plan) -> list[SampleRequest]:
        """One sample of the stronger model."""
        stronger = progress.escalate_to
        if not _unsure(progress) or stronger is None or affordable(1, progress) < 1:
            return []
        if "dollars" in (progress.settings.budget or {}) and long_answer_cost(stronger, progress) is None:
            return []
        plan["final"] = "escalate"
        return [SampleRequest(stronger, 1, "escalate")]


class Aggregate(Schedule):
    """The best model; then a model writes the final answer from the samples."""

    def after(self, progress: Progress, plan: Plan) -> list[SampleRequest]:
        """One answer of the model that writes."""
        if len(progress.samples) < 2 or affordable(1, progress) < 1:
            return []
        plan["final"] = "aggregate"
        return [SampleRequest(progress.aggregator or progress.samples[0]["model"], 1, "aggregate")]


class Learned(Schedule):
    """As calibration taught: models in the order of their use for the query, until more could not pay."""

    weights = "learned"
    fan = "models in learned order"

    def width(self, settings: Settings) -> int:
        """One; the policy names the others."""
        return 1

    def cost_weight(self, settings: Settings) -> float:
        """None: the policy weighs the cost of all that is asked, also when only the number of answers is known."""
        return 0.0

    def first(self, progress: Progress) -> tuple[Plan, list[SampleRequest]]:
        """The plan and its first round."""
        order = self._order(progress)
        limit = min(self._policy(progress).plan(progress.cost_weight).most, len(order))
        limit = min(limit, progress.settings.n_samples or limit)
        plan = Plan(targets=dict(Counter(order[:limit])), asked={}, final=None, decided=None)
        return plan, self._ask(progress, plan, order, limit)

    def next(self, progress: Progress) -> tuple[Plan, list[SampleRequest]]:
        """The next round; none when the leading answer is sure enough, or nothing is left to ask."""
        assert progress.plan is not None
        plan = _copy(progress.plan)
        if plan["decided"]:
            return plan, []
        if (
            progress.vote
            and progress.vote["confidence"] >= self._policy(progress).plan(progress.cost_weight).stop
        ):
            plan["decided"] = "stopped"
            return plan, []
        return plan, self._ask(progress, plan, self._order(progress), sum(plan["targets"].values()))

    def _ask(self, progress: Progress, plan: Plan, order: list[str], limit: int) -> list[SampleRequest]:
        """The round's requests; a model that was asked and gave nothing is not asked again."""
        asked, drawn = Counter(plan["asked"]), Counter(sample["model"] for sample in progress.samples)
        left = []
        for name, number in zip(order, _numbers(order), strict=True):
            if number >= asked[name] and (drawn[name] or not asked[name]):
                left.append(name)
        have = sum(drawn.values())
        wanted = min(self._policy(progress).plan(progress.cost_weight).next_size(have), limit) - have
        if wanted < 1 or not left:
            return []
        if not asked and not _ample(Counter(left[:wanted]), progress):
            wanted = 1  # what a sample costs is known once one was drawn
        size = affordable(min(wanted, len(left)), progress)
        if size < 1:
            if asked:
                plan["decided"] = "budget"
                return []
            size = 1  # a budget too small for one sample still gets an answer
        alone = limit == 1
        requests = [SampleRequest(name, n, "sample", alone) for name, n in Counter(left[:size]).items()]
        plan["asked"] = {**asked, **{r.model: asked[r.model] + r.n for r in requests}}
        plan["targets"] = {name: max(n, plan["asked"].get(name, 0)) for name, n in plan["targets"].items()}
        return requests

    def _order(self, progress: Progress) -> list[str]:
        """The models to ask, one entry a sample."""
        policy, rests = self._policy(progress), progress.decision.get("left_out", {})
        names = [name for name in progress.ranking if name not in rests] or progress.ranking
        plan = policy.plan(progress.cost_weight)
        if plan.only in names:
            return [plan.only] * policy.available(plan.only)
        rows = {row["name"]: row for row in progress.decision["ranking"]}
        expected = np.array([rows[name]["score"] for name in names], dtype=np.float64)
        costs = [rows[name]["cost"] for name in names]
        known = [cost for cost in costs if cost is not None]
        relative = None
        if len(known) == len(costs) and max(known) > 0:
            relative = np.array(known) / max(known)
        available = np.array([policy.available(name) for name in names])
        order = [names[m] for m in plan.order(expected, available, relative)]
        kept = progress.decision["chosen"][0]
        if progress.settings.sticky and order[0] != kept and kept in names:
            order.remove(kept)
            order.insert(0, kept)
        return order

    @staticmethod
    def _policy(progress: Progress) -> VotePolicy:
        assert progress.policy is not None  # the pipeline has refused the strategy without one
        return progress.policy


SCHEDULES: Mapping[Strategy, Schedule] = {
    "direct": Direct(),
    "self_consistency": Schedule(),
    "mixture": Mixture(),
    "model_switch": ModelSwitch(),
    "escalate": Escalate(),
    "aggregate": Aggregate(),
    "learned": Learned(),
}


def progress_of(
    state: PipelineState,
    settings: Settings,
    models: Collection[str],
    *,
    escalate_to: str | None = None,
    aggregator: str | None = None,
    policy: VotePolicy | None = None,
    cost_weight: float = 0.0,
) -> Progress:
    """What a schedule decides by, as it stands in a state."""
    vote = state.get("vote")
    counted = {"tokens", "dollars"} & set(settings.budget or {})
    return Progress(
        settings,
        state["decision"],
        models,
        escalate_to,
        aggregator,
        state.get("plan"),
        [sample for sample in state.get("samples") or () if sample["role"] == "sample"],
        state.get("calls") or (),
        vote,
        policy,
        cost_weight,
        count_tokens_approximately(state["messages"]) if counted else 0,
        vote is not None and not vote["tally"] and all(map(_says_nothing, state["samples"])),
    )


def check_costs(progress: Progress) -> None:
    """Refuse a budget in dollars that cannot be held.

    Raises:
        PoolError: The cost of a model that was chosen is not known.
    """
    if "dollars" not in (progress.settings.budget or {}):
        return
    if unknown := sorted(set(progress.decision["chosen"]) - set(progress.ranking)):
        raise PoolError(
            f"a budget in dollars cannot be held: the cost of {', '.join(unknown)} is not known. Give "
            f'prices={{"{unknown[0]}": (input, output)}} in US dollars per million tokens'
        )


def affordable(size: int, progress: Progress) -> int:
    """How many of so many samples the budget still pays for."""
    budget = progress.settings.budget
    if not budget:
        return size
    if "samples" in budget:
        size = min(size, budget["samples"] - sum(call["asked"] for call in progress.calls))
    calibrated = {row["name"]: row["cost"] for row in progress.decision["ranking"]}
    spent = account(progress.calls, prices=progress.settings.prices, calibrated=calibrated)
    drawn = sum(call["drawn"] for call in progress.calls)
    tokens = spent["usage"]["total_tokens"] if spent["usage"] else None
    for limit, used in ((budget.get("tokens"), tokens), (budget.get("dollars"), spent["cost"])):
        if limit is not None and used is not None and drawn:
            each = used / drawn
            size = min(size, int((limit - used) / each) if each else size)
    return max(size, 0)


LONG_ANSWER = 4096
"""Tokens of a long answer, when `max_tokens` does not say."""


def long_answer_cost(name: str, progress: Progress) -> float | None:
    """US dollars that a long answer of the model would cost; None when nothing is known of its costs."""
    price = (progress.settings.prices or {}).get(name)
    if price is not None:
        answer = progress.settings.max_tokens or LONG_ANSWER
        return sum(token_cost(price, progress.prompt_tokens, answer))
    calibrated = next((r["cost"] for r in progress.decision["ranking"] if r["name"] == name), None)
    return None if calibrated is None else 4 * calibrated


def _ample(missing: Mapping[str, int], progress: Progress) -> bool:
    """Whether the budget pays for all these samples, even when every answer is long."""
    budget = progress.settings.budget
    if not budget:
        return True
    answer = progress.prompt_tokens + (progress.settings.max_tokens or LONG_ANSWER)
    if "tokens" in budget and sum(missing.values()) * answer > budget["tokens"]:
        return False
    costs = [(long_answer_cost(name, progress) or 0.0) * n for name, n in missing.items()]
    return "dollars" not in budget or sum(costs) <= budget["dollars"]


def _says_nothing(sample: SampleRecord) -> bool:
    """Whether a sample is empty, refused, filtered or cut."""
    message = sample["message"]
    blank = not message.text.strip() and not message.tool_calls
    return blank or ending(message.response_metadata) != ""


def _decided(vote: VoteData, settings: Settings, left: int) -> bool:
    """Whether the leading answer would win whatever the samples left say."""
    counts = [candidate["count"] for candidate in vote["tally"]]
    # The test counts samples; when votes have weights, the leader has to lead by both.
    return bool(counts) and counts[0] == max(counts) and leader_is_safe(counts, settings.stop_threshold, left)


def _unsure(progress: Progress) -> bool:
    return progress.vote is not None and progress.vote["confidence"] < progress.settings.confidence_threshold


def _copy(plan: Plan) -> Plan:
    return {**plan, "targets": dict(plan["targets"]), "asked": dict(plan["asked"])}


def _numbers(order: Sequence[str]) -> list[int]:
    """For each entry how often its model stands before it."""
    seen: Counter[str] = Counter()
    numbers = []
    for name in order:
        numbers.append(seen[name])
        seen[name] += 1
    return numbers


def _spread(size: int, missing: Mapping[str, int]) -> dict[str, int]:
    """Share a round between models, the first ones first, none beyond what it still owes."""
    shares = dict.fromkeys(missing, 0)
    while size > 0:
        for name, owed in missing.items():
            if size and shares[name] < owed:
                shares[name] += 1
                size -= 1
    return {name: n for name, n in shares.items() if n}
