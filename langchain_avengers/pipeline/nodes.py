"""The nodes of the pipeline and the edges between them, written once for threads and for event loops.

embed -> route -> sample (one per chosen model) -> vote -> answer. After a vote the query may go back to
sample: another round, the second model, a stronger model, the model that writes the answer, the stand-in of
one that failed. Every strategy is such a way back (`Pipeline._ahead`); there is no second pipeline.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel

from langchain_avengers.errors import PoolError, SamplingError
from langchain_avengers.pipeline.account import account
from langchain_avengers.pipeline.effects import Job, Step, job
from langchain_avengers.pipeline.messages import (
    aggregation,
    answered_before,
    answers_tools,
    capable,
    question_of,
    routing_text,
    unique_tool_calls,
)
from langchain_avengers.pipeline.sampling import Draw, Limits, Member, Options, Request
from langchain_avengers.pipeline.settings import Settings
from langchain_avengers.pipeline.tracing import Trace
from langchain_avengers.providers import chat_model, describe
from langchain_avengers.routing.decision import RoutingDecision
from langchain_avengers.voting.stopping import leader_is_safe
from langchain_avengers.voting.voters import Sample, Vote, Voter, resolve_voter

State = dict[str, Any]
_WEIGHTED = ("mixture", "model_switch")  # several models vote: by how good each is on such queries
SLOW_VOTE = 20_000  # characters of samples, from where on counting votes leaves the event loop


class Task(NamedTuple):
    """So many samples of one model, wanted from the node `sample`."""

    model: str
    n: int
    role: str = "sample"


class Move(NamedTuple):
    """What a node does: an update of the state, and the tasks it sends to `sample` next."""

    update: State
    tasks: list[Task]


@dataclass(frozen=True)
class Turn:
    """What belongs to one query and cannot be written into a state."""

    settings: Settings
    options: Options = field(default_factory=Options)
    trace: Trace = field(default_factory=lambda: Trace(None))
    parser: Callable[[AIMessage], Any] | None = None
    tell: Callable[[dict[str, Any]], Job] | None = None
    gate: Any = None
    agate: Any = None
    hidden: tuple[ContextVar[Any], ...] = ()

    @classmethod
    def of(cls, settings: Settings, **rest: Any) -> Turn:
        """A turn whose requests in flight the settings bound."""
        if settings.max_concurrency is not None:
            rest["gate"] = threading.Semaphore(settings.max_concurrency)
            rest["agate"] = asyncio.Semaphore(settings.max_concurrency)
        return cls(settings, **rest)


class Pipeline:
    """A router, the models it names, and the nodes that take a query from one to the other."""

    def __init__(self, router: Any, models: Mapping[str, Any], settings: Settings) -> None:
        """Put models behind a router's names.

        Args:
            router: A fitted `ClusterRouter`.
            models: A chat model, or a runnable around one, for each of the router's models; a string goes to
                LangChain's
                `init_chat_model`.
            settings: How the pool answers.

        Raises:
            PoolError: Names of router and models differ, a value is no chat model, or the router is none.
        """
        self.router = router
        if not isinstance(getattr(router, "models_", None), Sequence):
            raise PoolError(
                f"router has to be a fitted ClusterRouter, not a {type(router).__name__}"
                f"{' that was not fitted' if hasattr(router, 'fit') else ''}: fit one, or ClusterRouter.load(folder)"
            )
        known, given = set(router.models_), set(models)
        problems = []
        if unserved := sorted(known - given):
            problems.append(f"the router's {', '.join(unserved)} has no model")
        if unknown := sorted(given - known):
            problems.append(f"the router does not know {', '.join(unknown)}")
        if problems:
            raise PoolError(
                f"models and router do not fit: {'; '.join(problems)}. The router knows: {sorted(known)}"
            )
        unknown_n = set(settings.sample_in_one_request) - given
        if unknown_n:
            raise PoolError(
                f"sample_in_one_request names no model of the pool: {', '.join(sorted(unknown_n))}"
            )
        self.members = {
            name: Member(name, chat_model(name, models[name]), settings.sample_in_one_request.get(name))
            for name in router.models_
        }
        self._helpers = {
            role: self._helper(role, getattr(settings, role))
            for role in ("escalate_to", "aggregator", "judge")
        }
        self._check_allowed(settings)
        self._voters: dict[tuple[str, bool], Voter] = {}

    def _helper(self, role: str, model: Any) -> Member | None:
        if model is None:
            return None
        if isinstance(model, str):
            if model in self.members:
                return self.members[model]
            if ":" not in model:
                raise PoolError(f"{role} {model!r} names no model of the pool: {', '.join(self.members)}")
        built = chat_model(role, model)
        name = getattr(built, "model_name", None) or getattr(built, "model", None)
        return Member(name if isinstance(name, str) and name not in self.members else role, built)

    def _check_allowed(self, settings: Settings) -> None:
        if settings.allowed_models is None:
            return
        if not settings.allowed_models:
            raise PoolError("allowed_models is empty: no model may answer")
        if unknown := sorted(set(settings.allowed_models) - set(self.members)):
            raise PoolError(
                f"allowed_models names no model of the pool: {', '.join(unknown)}. "
                f"It has: {', '.join(self.members)}"
            )

    def member(self, name: str) -> Member:
        """The member of that name, helpers included."""
        if name in self.members:
            return self.members[name]
        return next(m for m in self._helpers.values() if m is not None and m.name == name)

    # --- the nodes ---

    def embed(self, state: State, turn: Turn) -> Step[Move]:
        """Query text -> vector. Clears what an earlier turn of the conversation left in the state."""
        update: State = {
            "samples": None, "failures": None, "calls": None, "vector": None, "decision": None, "plan": None,
            "vote": None, "account": None, "answer": None,
        }  # fmt: skip
        messages = state["messages"]
        self._check_allowed(turn.settings)
        if turn.settings.strategy == "escalate" and self._helpers["escalate_to"] is None:
            raise ValueError("strategy 'escalate' needs escalate_to: a pool model's name or a chat model")
        if self._kept(messages, turn) is not None and answers_tools(messages):
            return Move(update, [])
        text = routing_text(messages, turn.settings.routing_text)
        (vector,) = yield [Job(partial(self.router.embed, text), partial(self.router.aembed, text))]
        return Move({**update, "vector": [float(x) for x in vector]}, [])

    def route(self, state: State, turn: Turn) -> Step[Move]:
        """Vector -> routing decision and the first tasks."""
        settings, messages = turn.settings, state["messages"]
        kept = self._kept(messages, turn)
        if state["vector"] is None:
            assert kept is not None
            decision, first = RoutingDecision.from_dict(kept["decision"]), kept["model"]
        else:
            names = list(settings.allowed_models or self.members)
            able = capable(self.members, names, messages, bool(turn.options.tools))
            decision = self.router.route_vector(
                np.asarray(state["vector"], dtype=np.float32),
                top_n=min(self._width(settings), len(able)),
                models=able if len(able) < len(self.members) else None,
                cost_weight=settings.cost_weight,
            )
            before = RoutingDecision.from_dict(kept["decision"]) if kept else None
            same_topic = before and before.clusters[:1] and _cluster(before) == _cluster(decision)
            first = kept["model"] if kept and same_topic and kept["model"] in able else None
        chosen = list(decision.chosen)
        if first is not None and chosen[0] != first:
            chosen = [first, *(name for name in chosen if name != first)][: len(chosen)]
            decision = replace(decision, chosen=tuple(chosen))
        n = 1 if settings.strategy == "direct" else settings.n_samples
        names = chosen[: min(self._width(settings), n)]
        plan = {
            "targets": {name: n // len(names) + (i < n % len(names)) for i, name in enumerate(names)},
            "asked": {},
            "final": None,
            "decided": None,
        }
        told = decision.to_dict()
        yield from self._tell(turn, {"event": "routed", "models": names, "cluster": _cluster(decision)})
        tasks = self._tasks(plan, {**state, "samples": [], "calls": [], "decision": told}, turn)
        return Move({"decision": told, "plan": plan}, tasks)

    def sample(self, state: State, task: Task, turn: Turn) -> Step[Move]:
        """Draw a task's samples of its model. What fails becomes data; nothing is raised."""
        member = self.member(task.model)
        messages: Sequence[BaseMessage] = state["messages"]
        if task.role == "aggregate":
            messages = aggregation(messages, [s["message"] for s in state["samples"]])
        try:
            request = self.request(member, messages, task.role, turn)
        except Exception as error:
            cause = {"model": member.name, "role": task.role, "cause": describe(error)}
            draw = Draw(failures=[cause] * task.n)
        else:
            draw = yield from request.draw(task.n)
        yield from self._tell(
            turn,
            {
                "event": "sampled",
                "model": member.name,
                "drawn": len(draw.messages),
                "failed": len(draw.failures),
            },
        )
        samples = [{"model": member.name, "role": task.role, "message": m} for m in draw.messages]
        return Move({"samples": samples, "failures": draw.failures, "calls": draw.calls}, [])

    def vote(self, state: State, turn: Turn) -> Step[Move]:
        """Samples -> winner, or the tasks that come before one can be named."""
        plan = state["plan"]
        pool = [s for s in state["samples"] if s["role"] == "sample"]
        update: State = {}
        told = state["vote"]
        if plan["final"] is None:
            vote = None
            if pool:
                vote, calls = yield from self._elect(pool, state, turn)
                told = vote.to_dict()
                update = {"vote": told, "calls": calls}
                state = {**state, "calls": [*state["calls"], *calls], "vote": told}
            plan, tasks = self._ahead(plan, pool, vote, state, turn)
            if tasks:
                return Move({**update, "plan": plan}, tasks)
        if not pool:
            raise self.failure(state, turn)
        final = next((s for s in state["samples"] if s["role"] != "sample"), None)
        winner = final or pool[told["winner"]]
        summary = self.summary(state, plan, winner, turn)
        answer = finished(winner["message"], winner["model"], summary, state["messages"])
        yield from self._tell(
            turn, {"event": "answered", "model": winner["model"], "confidence": told["confidence"]}
        )
        return Move(
            {**update, "plan": plan, "account": summary["account"], "answer": answer, "messages": [answer]},
            [],
        )

    # --- the edges ---

    def _ahead(
        self, plan: dict[str, Any], pool: list[dict[str, Any]], vote: Vote | None, state: State, turn: Turn
    ) -> tuple[dict[str, Any], list[Task]]:
        """The tasks that a vote leads back to; none when it stands."""
        settings = turn.settings
        plan = {**plan, "targets": dict(plan["targets"])}
        ranking = self._ranking(state, settings)
        drawn = {s["model"] for s in pool}
        for name in [m for m, n in plan["asked"].items() if n and m not in drawn and plan["targets"][m]]:
            # Nothing came of this model: the next of the ranking stands in for it.
            wanted, plan["targets"][name] = plan["targets"][name], 0
            stand_in = next((m for m in ranking if m not in plan["targets"]), None)
            if stand_in is not None:
                plan["targets"][stand_in] = wanted
        if tasks := self._tasks(plan, state, turn, vote):
            return plan, tasks
        if vote is None:
            return plan, []
        unsure = vote.confidence < settings.confidence_threshold
        if (
            settings.strategy == "model_switch"
            and unsure
            and sum(n > 0 for n in plan["targets"].values()) < 2
        ):
            second = next((m for m in ranking if m not in plan["targets"]), None)
            if second is not None:
                plan["targets"][second] = settings.n_samples
                return plan, self._tasks(plan, state, turn, vote)
        helper = None
        if settings.strategy == "escalate" and unsure:
            helper = self._helpers["escalate_to"]
        elif settings.strategy == "aggregate" and len(pool) > 1:
            helper = self._helpers["aggregator"] or self.members[pool[0]["model"]]
        if helper is not None and self._affordable(1, state, turn):
            plan["final"] = "escalate" if settings.strategy == "escalate" else "aggregate"
            return plan, [Task(helper.name, 1, plan["final"])]
        return plan, []

    def _tasks(self, plan: dict[str, Any], state: State, turn: Turn, vote: Vote | None = None) -> list[Task]:
        """The next round: what is still to be asked, in rounds where the settings say so, within the
        budget.
        """
        settings = turn.settings
        asked = plan["asked"]
        missing = {m: n - asked.get(m, 0) for m, n in plan["targets"].items() if n > asked.get(m, 0)}
        left = sum(missing.values())
        if not left:
            return []
        if (
            vote is not None
            and vote.tally
            and any(asked.get(m) for m in missing)
            # the test counts samples; where votes have weights, the leader has to lead by both
            and vote.tally[0].count == max(counts := [c.count for c in vote.tally])
            and leader_is_safe(counts, settings.stop_threshold, left)
        ):
            plan["decided"] = "stopped"
            return []
        size = left
        first = settings.min_samples
        if first is None and settings.budget and {"tokens", "dollars"} & set(settings.budget):
            first = 1  # what a sample costs is known once one was drawn
        if first is not None:
            size = min(left, first if not asked else settings.round_size or first)
        if (size := self._affordable(size, state, turn)) < 1:
            if asked or plan["decided"]:
                plan["decided"] = "budget"
                return []
            size = 1  # a budget too small for one sample still gets an answer
        tasks = []
        plan["asked"] = dict(asked)
        shares = _spread(size, missing)
        for name, n in shares.items():
            plan["asked"][name] = plan["asked"].get(name, 0) + n
            tasks.append(Task(name, n))
        return tasks

    def _affordable(self, size: int, state: State, turn: Turn) -> int:
        """How many of so many samples the budget still pays for."""
        budget = turn.settings.budget
        if not budget:
            return size
        asked = sum(call["asked"] for call in state["calls"])
        if "samples" in budget:
            size = min(size, budget["samples"] - asked)
        spent = self._account(state, turn)
        drawn = sum(call["drawn"] for call in state["calls"])
        for limit, used in (
            (budget.get("tokens"), (spent["usage"] or {}).get("total_tokens")),
            (budget.get("dollars"), spent["cost"]),
        ):
            if limit is not None and used is not None and drawn:
                each = used / drawn
                size = min(size, int((limit - used) / each) if each else size)
        if "dollars" in budget and not drawn:
            known = [row["cost"] for row in state["decision"]["ranking"] if row["cost"]]
            if known:
                size = min(size, max(1, int(budget["dollars"] / known[0])))
        return max(size, 0)

    # --- parts of the nodes ---

    def request(self, member: Member, messages: Sequence[BaseMessage], role: str, turn: Turn) -> Request:
        """A request to a member with the turn's tools, arguments and limits."""
        settings, options = turn.settings, turn.options
        arguments = {
            name: value
            for name in ("temperature", "max_tokens")
            if (value := getattr(settings, name)) is not None
        }
        options = replace(
            options, arguments={**arguments, **options.arguments}, stop=options.stop or settings.stop or None
        )
        return Request(
            member,
            member.dress(options),
            messages,
            Limits(settings.retries(), settings.timeout),
            turn.trace.config((settings.prices or {}).get(member.name)),
            role,
            turn.gate,
            turn.agate,
            turn.hidden,
        )

    def _elect(
        self, pool: list[dict[str, Any]], state: State, turn: Turn
    ) -> Step[tuple[Vote, list[dict[str, Any]]]]:
        scores = {row["name"]: row["score"] for row in state["decision"]["ranking"]}
        samples = [Sample(self._ballot(s["message"], turn), s["model"], scores.get(s["model"])) for s in pool]
        question = question_of(state["messages"])
        named, weighted = turn.settings.voter, turn.settings.strategy in _WEIGHTED
        voter = self._voters.get((named, weighted)) if isinstance(named, str) else named
        if voter is None:  # once; the router's embedder may have to be loaded
            build = partial(self._build_voter, named, weighted)
            (voter,) = yield [Job(build, partial(asyncio.to_thread, build))]
        vote, avote = _bound(voter, samples, question, turn.trace)
        (result,) = yield [Job(vote, avote)]
        judge = self._helpers["judge"]
        calls = [
            {
                "model": judge.name if judge else result.voter,
                "role": "judge",
                "asked": 1,
                "drawn": 1,
                "usage": message.usage_metadata,
                "error": None,
            }
            for message in result.calls
        ]
        return result, calls

    def _ballot(self, message: AIMessage, turn: Turn) -> AIMessage:
        """What is voted on: the parsed object where a schema was asked for, else the message itself."""
        if turn.parser is None:
            return message
        try:
            parsed = turn.parser(message)
        except Exception:  # does not parse: abstains
            return AIMessage("")
        if isinstance(parsed, BaseModel):
            parsed = parsed.model_dump(mode="json")
        return AIMessage("" if parsed is None else json.dumps(parsed, sort_keys=True, default=str))

    def _build_voter(self, name: str, weighted: bool) -> Voter:
        judge = self._helpers["judge"]
        voter = resolve_voter(
            name,
            embeddings=getattr(self.router, "embeddings", None),
            judge=judge.model if judge else None,
            weights="log_odds" if weighted else "equal",
        )
        return self._voters.setdefault((name, weighted), voter)

    def _kept(self, messages: Sequence[BaseMessage], turn: Turn) -> Mapping[str, Any] | None:
        """What the last answer says of itself, where the conversation is to keep its model."""
        if not turn.settings.sticky:
            return None
        before = answered_before(messages)
        allowed = turn.settings.allowed_models or self.members
        return (
            before
            if before is not None and before.get("model") in allowed and before.get("decision")
            else None
        )

    def _width(self, settings: Settings) -> int:
        """How many models the first round asks."""
        if settings.strategy in ("direct", "model_switch"):
            return 1
        return max(settings.top_n, 2) if settings.strategy == "mixture" else settings.top_n

    def _ranking(self, state: State, settings: Settings) -> list[str]:
        return [row["name"] for row in state["decision"]["ranking"] if row["name"] in self.members]

    def _account(self, state: State, turn: Turn) -> dict[str, Any]:
        return account(state["calls"], prices=turn.settings.prices, calibrated=self._calibrated(state))

    @staticmethod
    def _calibrated(state: State) -> dict[str, float | None]:
        return {row["name"]: row["cost"] for row in state["decision"]["ranking"]}

    def summary(
        self, state: State, plan: dict[str, Any], winner: dict[str, Any], turn: Turn
    ) -> dict[str, Any]:
        """What the answer says of itself: `response_metadata["avengers"]`."""
        vote = state["vote"]
        targets, asked = sum(plan["targets"].values()), sum(plan["asked"].values())
        totals = self._account(state, turn)
        return {
            "model": winner["model"],
            "strategy": turn.settings.strategy,
            "decision": state["decision"],
            "vote": vote,
            "answered_by": winner["role"],
            "samples": {
                "drawn": sum(s["role"] == "sample" for s in state["samples"]),
                "failed": len(state["failures"]),
                "abstained": len(vote["abstained"]),
                "saved": max(targets - asked, 0),
                "decided_by": plan["decided"],
            },
            "failures": state["failures"],
            "usage": totals["usage"],
            "cost": totals["cost"],
            "cost_is_estimate": totals["cost_is_estimate"],
            "account": totals,
        }

    def failure(self, state: State, turn: Turn) -> SamplingError:
        """The error that says why no model answered. Its `account` says what was spent."""
        causes: dict[str, int] = {}
        for failure in state["failures"]:
            text = f"{failure['model']}: {failure['cause']}"
            causes[text] = causes.get(text, 0) + 1
        listed = "; ".join(f"{text} ({n} times)" if n > 1 else text for text, n in causes.items())
        error = SamplingError(f"no model answered: {listed or 'the budget allowed no sample'}")
        error.account = self._account(state, turn)
        return error

    def _tell(self, turn: Turn, event: dict[str, Any]) -> Step[None]:
        if turn.tell is not None:
            yield [turn.tell(event)]

    # --- the whole way ---

    def walk(self, messages: Sequence[BaseMessage], turn: Turn) -> Step[State]:
        """Take a query from its messages to its answer, each node a run in the trace."""
        state, tasks = yield from self.head(messages, turn)
        return (yield from self.rest(state, tasks, turn))

    def head(self, messages: Sequence[BaseMessage], turn: Turn) -> Step[tuple[State, list[Task]]]:
        """From messages to the first tasks."""
        state: State = {"messages": list(messages)}
        with turn.trace.span("embed", {"messages": messages}) as span:
            move = yield from self.embed(state, replace(turn, trace=span.trace))
            state |= move.update
            state |= {"samples": [], "failures": [], "calls": []}
            span.outputs = {"dimensions": len(state["vector"] or ())}
        with turn.trace.span("route", {}) as span:
            move = yield from self.route(state, replace(turn, trace=span.trace))
            state |= move.update
            span.outputs = {"decision": state["decision"]}
            span.trace.annotate({"avengers_decision": brief(state["decision"])})
        turn.trace.annotate({"avengers_decision": brief(state["decision"])})
        return state, move.tasks

    def rest(self, state: State, tasks: list[Task], turn: Turn) -> Step[State]:
        """From tasks to the answer."""
        while tasks:
            if len(tasks) == 1:
                parts = [(yield from self._traced_sample(state, tasks[0], turn))]
            else:
                parts = yield [job(partial(self._traced_sample, state, task, turn)) for task in tasks]
            for part in parts:
                for key, items in part.update.items():
                    state[key] = [*state[key], *items]
            tasks = yield from self.ballot(state, turn)
        return state

    def ballot(self, state: State, turn: Turn) -> Step[list[Task]]:
        """The vote, as a run in the trace; the tasks it leads back to."""
        with turn.trace.span("vote", {"samples": [s["message"] for s in state["samples"]]}) as span:
            move = yield from self.vote(state, replace(turn, trace=span.trace))
            update = dict(move.update)
            update.pop("messages", None)
            state["calls"] = [*state["calls"], *update.pop("calls", [])]
            state |= update
            tally = {"avengers_vote": state["vote"]}
            span.outputs = {"vote": state["vote"], "account": state["account"]}
            span.trace.annotate(tally)
        if not move.tasks:
            turn.trace.annotate(tally)
        return move.tasks

    def _traced_sample(self, state: State, task: Task, turn: Turn) -> Step[Move]:
        with turn.trace.span("sample", {"model": task.model, "n": task.n, "role": task.role}) as span:
            move = yield from self.sample(state, task, replace(turn, trace=span.trace))
            span.outputs = {"messages": [s["message"] for s in move.update["samples"]], **_plain(move.update)}
        return move

    @cached_property
    def fingerprint(self) -> str:
        """Of the router: two pools that route differently never look the same."""
        return str(getattr(self.router, "fingerprint_", ""))


def finished(
    message: AIMessage, model: str, summary: dict[str, Any], messages: Sequence[BaseMessage]
) -> AIMessage:
    """The winning message as the pool's answer: all calls' usage, the summary, tool-call ids of its own."""
    metadata = {k: v for k, v in message.response_metadata.items() if k != "token_usage"}
    answer = message.model_copy(
        update={
            "usage_metadata": summary["usage"],
            "response_metadata": {"model_name": model, **metadata, "avengers": summary},
        }
    )
    return unique_tool_calls(answer, messages)


def tell_by(config: RunnableConfig) -> Callable[[dict[str, Any]], Job]:
    """Progress goes out as custom events under the run of that config."""

    def tell(event: dict[str, Any]) -> Job:
        async def asynchronous() -> None:
            await adispatch_custom_event("avengers", event, config=config)
            _write(event)

        def synchronous() -> None:
            dispatch_custom_event("avengers", event, config=config)
            _write(event)

        return Job(synchronous, asynchronous)

    return tell


def _write(event: dict[str, Any]) -> None:
    from langgraph.config import get_stream_writer

    try:
        writer = get_stream_writer()
    except (RuntimeError, KeyError):  # not inside a graph
        return
    writer({"avengers": event})


def brief(decision: dict[str, Any]) -> dict[str, Any]:
    """A decision without its ranking."""
    return {key: value for key, value in decision.items() if key != "ranking"}


def _plain(update: State) -> State:
    return {key: value for key, value in update.items() if key != "samples"}


def _cluster(decision: RoutingDecision) -> int | None:
    return decision.clusters[0][0] if decision.clusters else None


def _spread(size: int, missing: Mapping[str, int]) -> dict[str, int]:
    """Share a round between models, the first ones first, none beyond what it still owes."""
    shares = dict.fromkeys(missing, 0)
    while size > 0:
        for name, owed in missing.items():
            if size and shares[name] < owed:
                shares[name] += 1
                size -= 1
    return {name: n for name, n in shares.items() if n}


@cache
def _takes_config(kind: type) -> bool:
    return "config" in inspect.signature(kind.vote).parameters  # type: ignore[attr-defined]  # every voter votes


def _bound(voter: Voter, samples: list[Sample], question: str, trace: Trace) -> tuple[Callable[[], Any], Any]:
    """A voter's two methods, ready to be called; one without `avote` counts short samples where it stands."""
    extra = {"config": trace.config()} if _takes_config(type(voter)) else {}
    vote = partial(voter.vote, samples, question, **extra)
    if (avote := getattr(voter, "avote", None)) is not None:
        return vote, partial(avote, samples, question, **extra)

    async def elsewhere() -> Vote:
        if extra or sum(len(s.message.text) for s in samples) > SLOW_VOTE:
            return await asyncio.to_thread(vote)
        return vote()

    return vote, elsewhere
