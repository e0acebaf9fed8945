"""Asking one model: its limits and retries, and every request in the ledger before it is sent."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import time
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, convert_to_messages
from langchain_core.outputs import ChatGeneration
from langchain_core.rate_limiters import InMemoryRateLimiter

from langchain_avengers.calibration.budget import Budget
from langchain_avengers.calibration.circuit_breaker import RATE_LIMITED_TIMES, CircuitBreaker
from langchain_avengers.calibration.errors import Failure, ModelDeadError, StoreError, as_failure
from langchain_avengers.calibration.options import CalibrationOptions
from langchain_avengers.calibration.stop import Stop
from langchain_avengers.calibration.store import Store
from langchain_avengers.calibration.transport import Ask
from langchain_avengers.pool import ModelSpec

logger = logging.getLogger("langchain_avengers")

_LONGEST_BACKOFF = 30.0
_MOST_TOKENS = 10**9
"""Of one request. A server that reports more, or fewer than none, reports nonsense."""

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Reply:
    """A request's answer.

    Attributes:
        tokens: Of input and output, of the whole request; None when not known.
        cost: US dollars; None when not known.
        latency: Seconds.
    """

    attempt_id: int
    messages: list[AIMessage]
    tokens: tuple[int | None, int | None]
    cost: float | None
    latency: float


@dataclass(frozen=True, slots=True)
class _Request:
    question_id: int
    messages: Messages
    n: int
    arguments: Mapping[str, Any]


Keep = Callable[[Reply], Awaitable[None]]
"""Stores a reply; called once, before anything else is done with it."""


class Asker:
    """One model at work.

    Args:
        store: Takes every request and answer.
        run_id: This run, in the store.
        model_id: The model, in the store.
        spec: Its limits and price.
        ask: How it is asked; see `transport.connect`.
        stop: When to stop.
        budget: What may be spent.
        options: Of the run.
        role: `"answer"`, or `"judge"`.

    Attributes:
        note: What holds it up, for progress bars.
        cost: US dollars spent in this run, unknown costs estimated.
    """

    def __init__(
        self,
        store: Store,
        run_id: int,
        model_id: int,
        spec: ModelSpec,
        ask: Ask,
        stop: Stop,
        budget: Budget,
        options: CalibrationOptions,
        *,
        role: str = "answer",
    ) -> None:
        """Start without any request."""
        self.id, self.spec, self.note, self.cost = model_id, spec, "", 0.0
        self.breaker = CircuitBreaker(give_up_after=options.give_up_after, sleep=stop.sleep)
        self._store, self._run_id, self._ask, self._role = store, run_id, ask, role
        self._stop, self._budget, self._options = stop, budget, options
        self._timeout = options.timeout or spec.timeout
        self._slots = asyncio.Semaphore(spec.max_concurrency)
        rate = spec.requests_per_minute
        self._limiter = rate and InMemoryRateLimiter(
            requests_per_second=rate / 60, check_every_n_seconds=0.01, max_bucket_size=max(1.0, rate / 60)
        )
        self._first = asyncio.Lock()
        self._requests = 0
        self._warned = set[str]()

    @property
    def name(self) -> str:
        """The model's name in the pool."""
        return self.spec.name

    def warn(self, text: str) -> None:
        """Tell the user something about the model, once a run."""
        if text not in self._warned:
            self._warned.add(text)
            warnings.warn(f"model {self.name!r} {text}", stacklevel=2)

    async def ask(
        self, messages: Messages, n: int, keep: Keep, *, question_id: int = 0, **arguments: Any
    ) -> Reply:
        """Ask for `n` answers in one request, again until it is answered; `arguments` are the chat model's.

        Raises:
            Failure: It was not answered in `max_attempts`, or never will be.
            ModelDeadError: The model was given up.
            RunStoppedError: The run is to end.
            StoreError: The store cannot be written.
        """
        tries, started = 0, time.monotonic()
        patience = RATE_LIMITED_TIMES * self._options.give_up_after
        for attempt in itertools.count():
            try:
                return await self._request(_Request(question_id, messages, n, arguments), keep)
            except Failure as failure:
                tries += not failure.rate_limited
                late = time.monotonic() - started > patience
                if not failure.retryable or tries >= self._options.max_attempts or late:
                    raise
            # Random, or all that failed together would come back together.
            await self._stop.sleep(random.uniform(0, min(_LONGEST_BACKOFF, 0.5 * 2 ** min(attempt, 10))))
        raise AssertionError("unreachable")

    async def _request(self, request: _Request, keep: Keep) -> Reply:
        """One request, within every limit."""
        async with self._slots:
            await self.breaker.admit()
            if self._limiter:
                await self._stop.unless(self._limiter.aacquire())
            # Under a budget the first request goes alone: only its answer tells what the others will cost.
            alone = self._first if self._budget.limit and not self._requests else contextlib.nullcontext()
            async with alone:
                estimate, cost = self._estimate(request), 0.0
                if not self._stop and not self._budget.reserve(estimate):
                    self._stop.set("budget")
                if self._stop:
                    self.breaker.release()
                    self._stop.check()
                try:
                    reply, cost = await self._request_now(request, keep)
                finally:
                    self._budget.settle(estimate, cost)
                return reply

    async def _request_now(self, request: _Request, keep: Keep) -> tuple[Reply, float]:
        """One request: written down, sent, and its answer kept; with its cost, estimated when not known."""
        attempt_id = await self._store.begin_attempt(
            self._run_id, self.id, request.question_id, request.n, role=self._role
        )
        sent, started = False, time.perf_counter()

        def departed() -> None:
            nonlocal sent
            sent = True

        try:
            async with asyncio.timeout(self._timeout):
                messages = convert_to_messages([dict(message) for message in request.messages])
                generations = await self._ask(messages, request.n, departed, **request.arguments)
            found = [g.message for g in generations[: request.n] if isinstance(g, ChatGeneration)]
            answers = [message for message in found if isinstance(message, AIMessage)]
            if not answers:
                raise Failure("not an answer: no choices")
        except Exception as error:
            raise self._failed(error, attempt_id, time.perf_counter() - started, sent) from None
        reply, spent = self._priced(attempt_id, request.messages, answers, time.perf_counter() - started)
        try:
            await keep(reply)
        except StoreError:
            raise
        except Exception as error:  # an answer that cannot be stored is lost, and would be again
            failure = Failure(f"not storable: {type(error).__name__}", retryable=False)
            self._store.fail_attempt(attempt_id, failure.cause, reply.latency)
            logger.warning("model %s: an answer could not be stored: %s", self.name, type(error).__name__)
            raise failure from None
        finally:
            self.cost += spent
            self._requests += 1
        self.breaker.succeed()
        self.note = ""
        return reply, spent

    def _failed(self, error: Exception, attempt_id: int, latency: float, sent: bool) -> Exception:
        """Enter a failed request; what to raise for it."""
        failure = as_failure(error)
        if not sent and not failure.unreached:
            late = isinstance(error, TimeoutError)
            failure = Failure(
                "unreachable: no connection in time" if late else failure.cause,
                retryable=failure.retryable,
                unreached=True,
            )
        self._store.fail_attempt(attempt_id, failure.cause, latency, unreached=failure.unreached)
        self.note = failure.cause
        if failure.refused:
            self.breaker.release()
        else:
            self.breaker.fail(failure)
        return ModelDeadError(failure.cause) if failure.fatal else failure

    def _priced(
        self, attempt_id: int, asked: Messages, answers: list[AIMessage], latency: float
    ) -> tuple[Reply, float]:
        """The reply with its tokens and dollars. Every choice of one request carries the whole request's usage."""
        price, tokens = self.spec.price, _tokens(answers[0])
        cost: float | None = None
        if tokens is not None:
            cost = price.cost(*tokens) if price else None
            spent = cost or 0.0
        else:
            guess = sum(len(message.text) for message in answers) / 4
            spent = price.cost(estimate_tokens(asked), guess) if price else 0.0
            if price:
                self.warn("reports no usage: its cost is estimated for the budget, unknown in the table")
        return Reply(attempt_id, answers, tokens or (None, None), cost, latency), spent

    def _estimate(self, request: _Request) -> float:
        """US dollars a request will come to: as those before, else by its length and the longest answer."""
        if self.spec.price is None:
            return 0.0
        if self._requests:
            return self.cost / self._requests
        return self.spec.price.cost(
            estimate_tokens(request.messages), request.n * (self.spec.max_tokens or 512)
        )


def estimate_tokens(messages: Messages) -> int:
    """Tokens of messages, about: a token is four characters of English."""
    return sum(len(str(message["content"])) // 4 + 4 for message in messages)


def _tokens(message: AIMessage) -> tuple[int, int] | None:
    """Input and output tokens that a reply reports; None when it reports none, or nonsense."""
    usage = message.usage_metadata
    if usage is None:
        return None
    tokens = (usage["input_tokens"], usage["output_tokens"])
    if not all(isinstance(count, int) and 0 <= count <= _MOST_TOKENS for count in tokens):
        return None
    return tokens
