"""The nodes of the pipeline, written once for threads and for event loops.

embed -> route -> sample (one per chosen model) -> vote -> answer. After a vote the query may go back to
sample: another round, the second model, a stronger model, the model that writes the answer, the stand-in of
one that failed. The schedule says which (`schedule.py`); there is no second pipeline.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, cast

import numpy as np
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel

from langchain_avengers.errors import AvengersError, PoolError
from langchain_avengers.pipeline.answer import (
    empty_answers,
    finished,
    no_answer,
    says_something,
    summary,
    vote_data,
)
from langchain_avengers.pipeline.health import CircuitBreaker, ModelHealth, logger
from langchain_avengers.pipeline.messages import (
    aggregation,
    answered_before,
    answers_tools,
    capable,
    question_of,
    routing_text,
)
from langchain_avengers.pipeline.pool_model import CallOptions, PoolModel
from langchain_avengers.pipeline.sampling import ModelRequest, RequestLimits, SampleBatch
from langchain_avengers.pipeline.schedule import SCHEDULES, Progress, check_costs, progress_of
from langchain_avengers.pipeline.settings import CONTROLS, GlobalRouter, Models, Router, Settings, policy_of
from langchain_avengers.pipeline.state import (
    AvengersMetadata,
    CallRecord,
    DecisionData,
    NodeUpdate,
    PipelineState,
    Plan,
    Role,
    SampleRecord,
    SampleRequest,
    StateUpdate,
    applied,
    new_state,
)
from langchain_avengers.pipeline.sync_async import Event, Job, Step, in_thread, job
from langchain_avengers.pipeline.telemetry import QuerySpan, active
from langchain_avengers.pipeline.tracing import CallWatch, Trace
from langchain_avengers.providers import blames_query, chat_model, describe, without_secrets
from langchain_avengers.routing.decision import ModelScore, RoutingDecision
from langchain_avengers.voting.execution import ExecutionVoter
from langchain_avengers.voting.voters import Sample, Vote, Voter, resolve_voter

SLOW_VOTE = 20_000
"""Characters of samples from which on counting votes leaves the event loop."""


@dataclass(frozen=True)
class CallContext:
    """What belongs to one query and cannot be written into a state.

    Attributes:
        settings: How this query is answered.
        limits: How each request is made.
        options: What goes along with the messages to every model.
        trace: Where the query's steps hang.
        parser: What a sample has to parse as; the parsed object is voted on.
        emit: Sends a progress event.
        hidden: Variables of the context that the models' calls must not see.
        streams: Whether somebody listens to the chunks of an answer.
        errors: What the models raised.
        config: The config of the call, or of the graph's node.
        span: The query's span, when OpenTelemetry records.
    """

    settings: Settings
    limits: RequestLimits
    options: CallOptions = field(default_factory=CallOptions)
    trace: Trace = field(default_factory=lambda: Trace(None))
    parser: Callable[[AIMessage], Any] | None = None
    emit: Callable[[dict[str, Any]], Job] | None = None
    hidden: tuple[ContextVar[Any], ...] = ()
    streams: bool = False
    errors: list[Exception] = field(default_factory=list)
    config: RunnableConfig = field(default_factory=RunnableConfig)
    span: QuerySpan | None = None

    @classmethod
    def of(cls, settings: Settings, rate_limiter: BaseRateLimiter | None = None, **rest: Any) -> CallContext:
        """The context of a query whose requests the settings bound."""
        limits = RequestLimits(settings.retries(), settings.timeout, rate_limiter=rate_limiter)
        if (most := settings.max_concurrency) is not None:
            limits = replace(limits, gate=threading.Semaphore(most), agate=asyncio.Semaphore(most))
        return cls(settings, limits, **rest)

    def at(self, trace: Trace) -> CallContext:
        """The same query at another place of the trace."""
        return self if trace is self.trace else replace(self, trace=trace)


class Pipeline:
    """A router, the models it names, and the nodes that take a query from one to the other."""

    def __init__(
        self, router: Router, models: Models, settings: Settings, before: Pipeline | None = None
    ) -> None:
        """Put models behind a router's names.

        Args:
            router: A fitted `ClusterRouter`.
            models: A chat model for each of the router's models.
            settings: How the pool answers.
            before: The pipeline that this one replaces; models that stay keep their health.

        Raises:
            PoolError: Names of router and models differ, a value is no chat model, or the router is none.
            SandboxError: Code is to be run, and this system cannot isolate it.
        """
        _check_names(router, models, settings)
        self.router = router
        self.models = {
            name: PoolModel(
                name,
                chat_model(name, models[name]),
                settings.sample_in_one_request.get(name),
                self._breaker(name, settings, before),
            )
            for name in router.models_
        }
        self.escalate_to = self._helper("escalate_to", settings.escalate_to)
        self.aggregator = self._helper("aggregator", settings.aggregator)
        self.judge = self._helper("judge", settings.judge)
        self.test_writer = self._helper("test_writer", settings.test_writer)
        self._check_allowed(settings)
        self._check_strategy(settings)
        if settings.voter == ExecutionVoter.name or settings.allow_code:
            ExecutionVoter(
                level="uid" if settings.allow_code == "uid" else "namespaces"
            )  # refuses where it cannot run
        roles = (self.escalate_to, self.aggregator, self.judge, self.test_writer)
        helpers = [helper.name for helper in roles if helper]
        if unpriced := sorted(set(settings.prices or ()) - {*self.models, *helpers}):
            raise PoolError(f"prices names no model of the pool: {', '.join(unpriced)}")
        self._voters: dict[tuple[str, str], Voter] = {}

    @staticmethod
    def _breaker(name: str, settings: Settings, before: Pipeline | None) -> CircuitBreaker:
        if before is not None and name in before.models:
            return before.models[name].breaker
        return CircuitBreaker(name, settings.rest_after, settings.rest_seconds)

    def _helper(self, role: str, model: Any) -> PoolModel | None:
        """A model that answers in a role of its own: one of the pool by name, or another."""
        if model is None:
            return None
        if isinstance(model, str):
            if model in self.models:
                return self.models[model]
            if ":" not in model:
                raise PoolError(f"{role} {model!r} names no model of the pool: {', '.join(self.models)}")
        helper = PoolModel(role, chat_model(role, model))
        named = getattr(helper.runnable, "model_name", None) or getattr(helper.runnable, "model", None)
        if isinstance(named, str) and named not in self.models:
            helper.name = named
        return helper

    def _check_strategy(self, settings: Settings) -> None:
        if settings.strategy == "learned" and policy_of(self.router) is None:
            raise PoolError(
                "strategy 'learned' needs a router with a learned vote: fit one on a table with recorded answers"
            )

    def _check_allowed(self, settings: Settings) -> None:
        if settings.allowed_models is None:
            return
        if not settings.allowed_models:
            raise PoolError("allowed_models is empty: no model may answer")
        if unknown := sorted(set(settings.allowed_models) - set(self.models)):
            raise PoolError(
                f"allowed_models names no model of the pool: {', '.join(unknown)}. "
                f"It has: {', '.join(self.models)}"
            )

    def health(self) -> dict[str, ModelHealth]:
        """How each model is doing."""
        return {name: model.breaker.health for name, model in self.models.items()}

    # --- the nodes ---

    def embed(self, state: PipelineState, context: CallContext) -> Step[NodeUpdate]:
        """Query text -> vector. Clears what an earlier query of the conversation left in the state."""
        update: StateUpdate = {
            "samples": None, "failures": None, "calls": None, "vector": None, "decision": None, "plan": None,
            "vote": None, "account": None, "answer": None, "unrouted": None,
        }  # fmt: skip
        messages = state["messages"]
        self._check_allowed(context.settings)
        self._check_strategy(context.settings)
        if context.settings.strategy == "escalate" and self.escalate_to is None:
            raise ValueError("strategy 'escalate' needs escalate_to: a pool model's name or a chat model")
        if self._kept(messages, context.settings) is not None and answers_tools(messages):
            return NodeUpdate(update, [])
        text = routing_text(messages, context.settings.routing_text)
        if not text:
            return NodeUpdate({**update, "unrouted": "there is no text to route by"}, [])
        try:
            (vector,) = yield [Job(partial(self.router.embed, text), partial(self.router.aembed, text))]
        except AvengersError:
            raise  # the wrong embedder, or none: an error of the pool, not of a moment
        except Exception as error:
            logger.warning(
                "the query could not be embedded (%s): the global ranking decides", describe(error)
            )
            return NodeUpdate({**update, "unrouted": f"the embedder failed: {describe(error)}"}, [])
        return NodeUpdate({**update, "vector": np.asarray(vector, dtype=float).tolist()}, [])

    def route(self, state: PipelineState, context: CallContext) -> Step[NodeUpdate]:
        """Vector -> routing decision and the first requests."""
        settings, messages = context.settings, state["messages"]
        kept = self._kept(messages, settings)
        left_out: dict[str, str] = {}
        if state["vector"] is None and not state.get("unrouted"):
            assert kept is not None
            first: str | None = kept["model"]
            decision = RoutingDecision.from_dict(kept["decision"])
        else:
            names = list(settings.allowed_models or self.models)
            able, left_out = capable(self.models, names, messages, bool(context.options.tools))
            decision = self._ranked(state["vector"], able, settings)
            decision, resting = self._awake(decision)
            left_out |= resting
            before = RoutingDecision.from_dict(kept["decision"]) if kept else None
            same_topic = before and before.clusters[:1] and _cluster(before) == _cluster(decision)
            stays = kept and same_topic and kept["model"] in able and kept["model"] not in resting
            first = kept["model"] if kept and stays else None
        if first is not None and decision.chosen[0] != first:
            others = [name for name in decision.chosen if name != first]
            decision = replace(decision, chosen=(first, *others)[: len(decision.chosen)])
        told = cast(DecisionData, {**decision.to_dict(), "left_out": left_out})
        if unrouted := state.get("unrouted"):
            told["unrouted"] = unrouted
        plan, requests = self._first({**state, "decision": told}, settings)
        yield from _emit(
            context, {"event": "routed", "models": list(plan["targets"]), "cluster": _cluster(decision)}
        )
        return NodeUpdate({"decision": told, "plan": plan}, requests)

    def sample(self, state: PipelineState, wanted: SampleRequest, context: CallContext) -> Step[NodeUpdate]:
        """Draw the wanted samples of a model. What fails becomes data; nothing is raised."""
        model = self._model(wanted)
        messages: Sequence[BaseMessage] = state["messages"]
        if wanted.role == "aggregate":
            messages = aggregation(messages, [s["message"] for s in state["samples"]])
        try:
            request = self._request(model, messages, wanted, context)
        except Exception as error:  # a model that cannot bind the tools or the schema has failed
            cause = describe(error)
            context.errors.append(without_secrets(error))
            failed = [{"model": model.name, "role": wanted.role, "cause": cause}] * wanted.n
            batch = SampleBatch(failures=failed)  # type: ignore[arg-type]
        else:
            streamed = context.streams and wanted.stands
            batch = yield from request.stream() if streamed else request.draw(wanted.n)
        drawn, failures = len(batch.messages), len(batch.failures)
        if drawn:
            model.breaker.answered()
        elif failures and not (context.errors and blames_query(context.errors[-1])):
            model.breaker.failed(batch.failures[-1]["cause"])
        yield from _emit(
            context, {"event": "sampled", "model": model.name, "drawn": drawn, "failed": failures}
        )
        samples = [SampleRecord(model=model.name, role=wanted.role, message=m) for m in batch.messages]
        return NodeUpdate({"samples": samples, "failures": batch.failures, "calls": batch.calls}, [])

    def vote(self, state: PipelineState, context: CallContext) -> Step[NodeUpdate]:
        """Samples -> winner, or the requests that come before one can be named.

        Raises:
            SamplingError: No model answered.
        """
        settings, plan = context.settings, state["plan"]
        strategy = settings.strategy_for(self.router)
        candidates = [s for s in state["samples"] if s["role"] == "sample"]
        update: StateUpdate = {}
        if plan["final"] is None:
            if candidates:
                elected, calls = yield from self._elect(candidates, state, context)
                update = {"vote": vote_data(elected, settings), "calls": calls}
                state = applied(state, update)
            progress = self._progress(state, settings)
            if context.streams and any(map(says_something, candidates)):
                progress = replace(progress, unusable=False)  # it is out already
            plan, requests = SCHEDULES[strategy].next(progress)
            if requests:
                return NodeUpdate({**update, "plan": plan}, requests)
        vote = state["vote"]
        if vote is None:
            failure = no_answer(state, settings, context.errors)
            raise failure from failure.exceptions[0]
        final = next((s for s in state["samples"] if s["role"] != "sample"), None)
        winner = final or candidates[vote["winner"]]
        if not says_something(winner):
            told_why = next(filter(says_something, candidates), None)
            if told_why is None:
                failure = empty_answers(state, settings)
                raise failure from failure.exceptions[0]
            winner = told_why
        told = summary(state, plan, vote, winner, settings, strategy)
        answer = finished(winner["message"], told, state["messages"])
        yield from _emit(
            context, {"event": "answered", "model": winner["model"], "confidence": vote["confidence"]}
        )
        return NodeUpdate(
            {**update, "plan": plan, "account": told["account"], "answer": answer, "messages": [answer]}, []
        )

    def anew(self, state: PipelineState, context: CallContext) -> NodeUpdate:
        """The first requests once more, when a query is taken up again after no model had answered."""
        fresh: PipelineState = {**state, "plan": None, "samples": [], "vote": None}  # type: ignore[typeddict-item]
        plan, requests = self._first(fresh, context.settings)
        return NodeUpdate({"plan": plan}, requests)

    # --- parts of the nodes ---

    def _progress(self, state: PipelineState, settings: Settings) -> Progress:
        """What a schedule decides by."""
        return progress_of(
            state,
            settings,
            self.models,
            escalate_to=self.escalate_to.name if self.escalate_to else None,
            aggregator=self.aggregator.name if self.aggregator else None,
            policy=policy_of(self.router),
            cost_weight=self._cost_weight(settings),
        )

    def _ranked(self, vector: list[float] | None, able: list[str], settings: Settings) -> RoutingDecision:
        """The router's decision between the models that are able; without a vector by its global ranking."""
        schedule = SCHEDULES[settings.strategy_for(self.router)]
        top_n, weight = min(schedule.width(settings), len(able)), schedule.cost_weight(settings)
        known = list(self.router.models_)
        names = None if set(able) == set(known) else [name for name in known if name in able]
        if vector is not None:
            x = np.asarray(vector, dtype=np.float32)
            return self.router.route_vector(x, top_n=top_n, models=names, cost_weight=weight)
        if isinstance(self.router, GlobalRouter):
            return self.router.route_globally(top_n=top_n, models=names, cost_weight=weight)
        ranking = tuple(ModelScore(name, 0.0, None, 0, None) for name in names or known)
        return RoutingDecision(tuple(row.name for row in ranking[:top_n]), ranking, (), 2.0, True)

    def _awake(self, decision: RoutingDecision) -> tuple[RoutingDecision, dict[str, str]]:
        """The decision with the models that rest at its end, where they are asked only when all others fail."""
        resting: dict[str, str] = {}
        places = len(decision.chosen)
        for place, row in enumerate(decision.ranking):
            breaker = self.models[row.name].breaker
            asked = place - len(resting) < places  # only a model that is asked now is tried again
            if breaker.is_open and not (asked and breaker.admits()):
                resting[row.name] = (
                    f"rests after failures ({breaker.health['last_error']}), asked again in "
                    f"{breaker.asked_again_in:.0f} s"
                )
        if not resting:
            return decision, resting
        ranking = tuple(sorted(decision.ranking, key=lambda row: row.name in resting))
        chosen = tuple(row.name for row in ranking[: len(decision.chosen)])
        return replace(decision, ranking=ranking, chosen=chosen), resting

    def _first(self, state: PipelineState, settings: Settings) -> tuple[Plan, list[SampleRequest]]:
        """The plan and the first requests after a decision."""
        progress = self._progress(state, settings)
        check_costs(progress)
        return SCHEDULES[settings.strategy_for(self.router)].first(progress)

    def _cost_weight(self, settings: Settings) -> float:
        """The weight of cost against score: the call's, else the router's own."""
        if settings.cost_weight is not None:
            return settings.cost_weight
        return float(getattr(self.router, "cost_weight", 0.0))

    def _model(self, wanted: SampleRequest) -> PoolModel:
        """The model a request is for: one of the pool, or the one that has this role."""
        if (model := self.models.get(wanted.model)) is not None:
            return model
        helper = self.escalate_to if wanted.role == "escalate" else self.aggregator
        if helper is None or helper.name != wanted.model:
            raise PoolError(f"model {wanted.model!r} is not in the pool: {', '.join(self.models)}")
        return helper

    def _request(
        self, model: PoolModel, messages: Sequence[BaseMessage], wanted: SampleRequest, context: CallContext
    ) -> ModelRequest:
        """A request to a model with the call's tools, arguments and limits."""
        settings, options = context.settings, context.options
        set_here = {"temperature": settings.temperature, "max_tokens": settings.max_tokens}
        arguments = {name: value for name, value in set_here.items() if value is not None}
        if arguments or settings.stop:
            arguments = {**arguments, **options.arguments}
            options = replace(options, arguments=arguments, stop=options.stop or settings.stop or None)
        watch = CallWatch() if wanted.stands and context.trace.is_heard else None
        config = context.trace.config((settings.prices or {}).get(model.name), watch)
        if configured := _of_models(context.config):
            config["configurable"] = configured
        return ModelRequest(
            model,
            model.bind(options),
            messages,
            context.limits,
            config,
            wanted.role,
            context.hidden,
            watch,
            context.errors,
            context.span,
        )

    def _elect(
        self, candidates: Sequence[SampleRecord], state: PipelineState, context: CallContext
    ) -> Step[tuple[Vote, list[CallRecord]]]:
        """The vote on the candidates, and the requests that the voter made itself."""
        scores = {row["name"]: row["score"] for row in state["decision"]["ranking"]}
        samples = [
            Sample(_voted_on(s["message"], context.parser), s["model"], scores.get(s["model"]))
            for s in candidates
        ]
        voter = yield from self._voter(context.settings)
        (vote,) = yield [_vote_job(voter, samples, question_of(state["messages"]) or None, context.trace)]
        role: Role = "tests" if vote.voter == ExecutionVoter.name else "judge"
        helper = self.test_writer if role == "tests" else self.judge
        caller = helper.name if helper else vote.voter
        calls = [
            CallRecord(model=caller, role=role, asked=1, drawn=1, usage=message.usage_metadata, error=None)
            for message in vote.calls
        ]
        return vote, calls

    def _voter(self, settings: Settings) -> Step[Voter]:
        """Who elects, and how much each sample weighs: the one place that says so."""
        voter = settings.voter
        if not isinstance(voter, str):
            return voter
        weights = SCHEDULES[settings.strategy_for(self.router)].weights

        def build() -> Voter:
            return resolve_voter(
                voter,
                embeddings=getattr(self.router, "embeddings", None),
                judge=self.judge.model if self.judge else None,
                weights=weights,
                policy=policy_of(self.router),
                allow_code=settings.allow_code,
                test_writer=self.test_writer.model if self.test_writer else None,
            )

        if (voter, weights) not in self._voters:  # the router's embedder may have to be loaded
            (self._voters[voter, weights],) = yield [in_thread(build)]
        return self._voters[voter, weights]

    def _kept(self, messages: Sequence[BaseMessage], settings: Settings) -> AvengersMetadata | None:
        """What the last answer says of itself, when the conversation is to keep its model."""
        before = answered_before(messages) if settings.sticky else None
        allowed = settings.allowed_models or self.models
        return before if before and before.get("model") in allowed and before.get("decision") else None

    # --- the whole way ---

    def answer(self, messages: Sequence[BaseMessage], context: CallContext) -> Step[PipelineState]:
        """Take a query from its messages to its answer, each node a run in the trace and all of it one span.

        When `context.streams`, the chunks of an answer that stands whatever it says are told as events while they
        come, and the answer itself is the last event.
        """
        if (telemetry := active()) is None:
            return (yield from self._answer(messages, context))
        settings = context.settings
        span = telemetry.query(settings.strategy_for(self.router), settings.n_samples)
        try:
            state = yield from self._answer(messages, replace(context, span=span))
        except BaseException as error:
            span.failed(error)
            raise
        span.answered(state)
        return state

    def _answer(self, messages: Sequence[BaseMessage], context: CallContext) -> Step[PipelineState]:
        state, requests = yield from self.decide(messages, context)
        while requests:
            if len(requests) == 1:
                updates = [(yield from self._traced_sample(state, requests[0], context))]
            else:
                updates = yield [job(partial(self._traced_sample, state, one, context)) for one in requests]
            for update in updates:
                state = applied(state, update)
            state, requests = yield from self._traced_vote(state, context)
        if context.streams:
            yield Event(state["answer"])
        return state

    def decide(
        self, messages: Sequence[BaseMessage], context: CallContext
    ) -> Step[tuple[PipelineState, list[SampleRequest]]]:
        """From messages to the routing decision and the first requests."""
        state = new_state(messages)
        with context.trace.span("embed", {"messages": messages}) as span:
            update, _ = yield from self.embed(state, context.at(span.trace))
            state = applied(state, update)
            span.outputs = {"dimensions": len(state["vector"] or ())}
        with context.trace.span("route", {}) as span:
            update, requests = yield from self.route(state, context.at(span.trace))
            state = applied(state, update)
            span.outputs = {"decision": state["decision"]}
            brief = {k: v for k, v in state["decision"].items() if k != "ranking"}
            span.trace.annotate({"avengers_decision": brief})
        context.trace.annotate({"avengers_decision": brief})
        return state, requests

    def _traced_sample(
        self, state: PipelineState, wanted: SampleRequest, context: CallContext
    ) -> Step[StateUpdate]:
        with context.trace.span(
            "sample", {"model": wanted.model, "n": wanted.n, "role": wanted.role}
        ) as span:
            update, _ = yield from self.sample(state, wanted, context.at(span.trace))
            messages = [s["message"] for s in update["samples"] or ()]
            span.outputs = {
                "messages": messages, "failures": update["failures"], "calls": update["calls"]
            }  # fmt: skip
        return update

    def _traced_vote(
        self, state: PipelineState, context: CallContext
    ) -> Step[tuple[PipelineState, list[SampleRequest]]]:
        with context.trace.span("vote", {"samples": [s["message"] for s in state["samples"]]}) as span:
            update, requests = yield from self.vote(state, context.at(span.trace))
            state = applied(state, update)
            span.outputs = {"vote": state["vote"], "account": state["account"]}
            span.trace.annotate({"avengers_vote": state["vote"]})
        if not requests:
            context.trace.annotate({"avengers_vote": state["vote"]})
        return state, requests


def _check_names(router: Router, models: Models, settings: Settings) -> None:
    """Router and models have to name the same."""
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
    if unknown_n := set(settings.sample_in_one_request) - given:
        raise PoolError(f"sample_in_one_request names no model of the pool: {', '.join(sorted(unknown_n))}")


def _of_models(config: RunnableConfig) -> dict[str, Any]:
    """What a config says that may be meant for the pool's models: all but controls and a graph's own keys."""
    configured = config.get("configurable", {})
    own = ("__", "checkpoint", "thread_")
    return {k: v for k, v in configured.items() if k not in CONTROLS and not k.startswith(own)}


def _emit(context: CallContext, event: dict[str, Any]) -> Step[None]:
    if context.emit is not None:
        yield [context.emit(event)]


def _cluster(decision: RoutingDecision) -> int | None:
    return decision.clusters[0][0] if decision.clusters else None


def _voted_on(message: AIMessage, parser: Callable[[AIMessage], Any] | None) -> AIMessage:
    """The parsed object when a schema was asked for, else the message itself."""
    if parser is None:
        return message
    try:
        parsed = parser(message)
    except Exception:  # does not parse: abstains
        return AIMessage("")
    if isinstance(parsed, BaseModel):
        parsed = parsed.model_dump(mode="json")
    return AIMessage("" if parsed is None else json.dumps(parsed, sort_keys=True, default=str))


def _vote_job(voter: Voter, samples: list[Sample], question: str | None, trace: Trace) -> Job:
    """A vote, ready to be called; a voter without `avote` counts short samples on the loop, others in a thread."""
    extra: Mapping[str, Any] = {"config": trace.config()} if _takes_config(type(voter)) else {}

    def vote() -> Vote:
        return voter.vote(samples, question, **extra)

    async def avote() -> Vote:
        if (asynchronous := getattr(voter, "avote", None)) is not None:
            result: Vote = await asynchronous(samples, question, **extra)
            return result
        if extra or sum(len(s.message.text) for s in samples) > SLOW_VOTE:
            return await asyncio.to_thread(vote)
        return vote()

    return Job(vote, avote)


@cache
def _takes_config(kind: type[Voter]) -> bool:
    return "config" in inspect.signature(kind.vote).parameters
