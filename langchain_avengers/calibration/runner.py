"""The runner: ask every model every question, grade, store, resume; fast, within limits and a budget."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from langchain_core.messages import AIMessage, convert_to_messages
from langchain_core.outputs import ChatGeneration
from langchain_core.rate_limiters import InMemoryRateLimiter

from langchain_avengers.calibration.code import AllowCode, code_level
from langchain_avengers.calibration.datasets import PathLike, Question, read_dataset
from langchain_avengers.calibration.faults import Breaker, Failure, ModelDeadError, as_failure
from langchain_avengers.calibration.graders import Grader, GraderLike, grader_name, make_grader
from langchain_avengers.calibration.store import FILE, Cell, ModelStatus, Store, StoredSample
from langchain_avengers.calibration.transport import Ask, Begin, connect
from langchain_avengers.errors import CalibrationError, PoolError
from langchain_avengers.pool import ModelSpec, Pool, Price
from langchain_avengers.providers import chat_model, one_line, redact

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from langchain_avengers.routing.table import ScoreTable

Dataset = PathLike | Iterable[Mapping[str, Any] | Question]
Models = Pool | Mapping[str, "BaseChatModel | str"] | PathLike

Watch = Callable[["Calibration"], contextlib.AbstractContextManager[object]]

_LONGEST_BACKOFF = 30.0
_CLAIM = 32
"""Cells claimed at a time, at least; a model's whole concurrency where that is more."""
_LOOK = 0.5
"""Seconds between two looks at what other runners have spent."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a run behaves.

    Attributes:
        samples: Answers of each model to each question.
        max_cost: US dollars the whole store may come to; at the bound the run stops cleanly.
        limit: Only the first so many questions.
        timeout: Seconds one request may take; None for each model's own.
        max_attempts: Requests for one answer before its sample is marked failed. Waiting for a rate limit
            does not count.
        patience: Seconds a model may go on failing before it is given up for this run.
        passes: Times the run comes back to samples that failed and may yet succeed.
        retry_failed: Ask again what the provider refused for good in an earlier run.
    """

    samples: int = 1
    max_cost: float | None = None
    limit: int | None = None
    timeout: float | None = None
    max_attempts: int = 6
    patience: float = 60.0
    passes: int = 2
    retry_failed: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("samples", "max_attempts", "passes"):
            if getattr(self, name) < 1:
                raise CalibrationError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("max_cost", "limit", "timeout", "patience"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise CalibrationError(f"{name} must be positive, not {value}")


@dataclass(slots=True)
class Progress:
    """How far one model is; the runner counts, whoever shows progress reads.

    Attributes:
        total: Samples wanted.
        done: Samples answered, or refused for good; stored ones included.
        fresh: Samples answered in this run.
        failed: Samples marked failed in this run.
        cost: US dollars spent on the model in this run.
        note: What holds it up.
    """

    total: int = 0
    done: int = 0
    fresh: int = 0
    failed: int = 0
    cost: float = 0.0
    note: str = ""


def calibrate(
    models: Models,
    dataset: Dataset,
    grader: GraderLike = "exact",
    *,
    out: PathLike | None = None,
    samples: int = 1,
    fields: Mapping[str, str] | None = None,
    max_cost: float | None = None,
    limit: int | None = None,
    **options: Any,
) -> ScoreTable:
    """Measure models on labelled questions.

    Interrupted, killed or stopped by its budget, a calibration goes on where it was when called again with
    the same `out`. Models may be added, the dataset may grow at its end, `samples` may rise.

    Args:
        models: A `Pool`, the path of a pool file, or chat models (or `init_chat_model` strings) by name.
        dataset: Whatever `read_dataset` takes: a file, `"hf:NAME"`, `"langsmith:NAME"`, mappings, ...
        grader: Whatever `make_grader` takes.
        out: Folder of the store; None for a temporary one.
        samples: Answers of each model to each question.
        fields: Names of the dataset's fields; see `question_from`.
        max_cost: US dollars the store may come to.
        limit: Only the first so many questions.
        **options: See `acalibrate`.

    Returns:
        The table of what was measured. What was not, and why, is in `Store(out).status()`, and warned of.

    Raises:
        CalibrationError: Dataset, grader, store or options are wrong, or nothing at all was measured.
        PoolError: The pool file or a model is.

    Example:
        >>> from langchain_core.language_models import FakeListChatModel
        >>> table = calibrate({"parrot": FakeListChatModel(responses=["Lima"])},
        ...                   [{"query": "Capital of Peru?", "answer": "Lima"}])
        >>> float(table.scores[0, 0])
        1.0
    """
    stop = threading.Event()

    async def main() -> ScoreTable:
        return await acalibrate(
            models, dataset, grader, out=out, samples=samples, fields=fields, max_cost=max_cost,
            limit=limit, stop=stop, **options,
        )  # fmt: skip

    # In a thread, so that it works in a notebook's running loop too, and Ctrl-C reaches this one.
    outcome: list[ScoreTable | BaseException] = []

    def work() -> None:
        try:
            outcome.append(asyncio.run(main()))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work, name="calibration")
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        stop.set()
        thread.join()
        raise
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


async def acalibrate(
    models: Models,
    dataset: Dataset,
    grader: GraderLike = "exact",
    *,
    out: PathLike | None = None,
    samples: int = 1,
    fields: Mapping[str, str] | None = None,
    max_cost: float | None = None,
    limit: int | None = None,
    regrade: bool = False,
    stop: threading.Event | None = None,
    watch: Watch = contextlib.nullcontext,
    judge: str | BaseChatModel | None = None,
    rubric: str | None = None,
    allow_code: AllowCode = False,
    prices: Mapping[str, Price] | None = None,
    max_concurrency: int | None = None,
    **options: Any,
) -> ScoreTable:
    """As `calibrate`, within a running loop.

    Args:
        models: As for `calibrate`, like every argument not named below.
        dataset: As for `calibrate`.
        grader: As for `calibrate`.
        out: As for `calibrate`.
        samples: As for `calibrate`.
        fields: As for `calibrate`.
        max_cost: As for `calibrate`.
        limit: As for `calibrate`.
        regrade: Grade every stored answer anew; needed when the grader is another one than before.
        stop: When set, the run ends once the requests on their way are answered.
        watch: Given the run, a context around it: for whoever shows its progress.
        judge: For grader `"judge"`: a chat model, or a name of the pool.
        rubric: What the judge is to look at.
        allow_code: Whether grader `"code"` may run what models wrote, in a sandbox: True in full isolation only,
            `"uid"` also at that lower level, which the table's rows then name in `metadata`.
        prices: Prices of models given as chat models.
        max_concurrency: Requests in flight to each model given as a chat model. Default 8.
        **options: Any field of `Options`.
    """
    try:
        settings = Options(samples=samples, max_cost=max_cost, limit=limit, **options)
    except TypeError as error:
        raise CalibrationError(f"calibrate: {error}") from None
    with contextlib.ExitStack() as stack:
        folder = out or stack.enter_context(tempfile.TemporaryDirectory(prefix="avengers-"))
        run = await asyncio.to_thread(
            Calibration.open, models, dataset, grader, folder, settings, fields=fields, regrade=regrade,
            judge=judge, rubric=rubric, allow_code=allow_code, prices=prices, max_concurrency=max_concurrency,
        )  # fmt: skip
        try:
            with watch(run):
                outcome = await run.run(stop)
            if outcome != "complete":
                warnings.warn(f"calibration stopped early: {outcome}", stacklevel=2)
            if causes := await asyncio.to_thread(run.store.causes):
                warnings.warn(f"not everything was measured: {causes}", stacklevel=2)
            return await asyncio.to_thread(run.store.table)
        finally:
            await asyncio.to_thread(run.store.close)


@dataclass(slots=True)
class _Member:
    """A model at work."""

    name: str
    id: int
    ask: Ask
    spec: ModelSpec
    slots: asyncio.Semaphore
    breaker: Breaker
    limiter: InMemoryRateLimiter | None
    takes_n: bool | None
    progress: Progress
    timeout: float
    requests: int = 0
    in_flight: int = 0
    spent: float = 0.0
    first: asyncio.Lock = field(default_factory=asyncio.Lock)
    warned: set[str] = field(default_factory=set)

    def estimate(self, question: Question, n: int) -> float:
        """US dollars a request will come to: as those before, else by its length and the longest answer."""
        if self.spec.price is None:
            return 0.0
        if self.requests:
            return self.spent / self.requests
        return self.spec.price.cost(estimate_tokens(question), n * (self.spec.max_tokens or 512))


class Calibration:
    """One run over one store: `open` makes it, `run` runs it, `progress` can be read from any thread."""

    def __init__(
        self,
        store: Store,
        pool: Mapping[str, tuple[ModelSpec, BaseChatModel]],
        grader: Grader,
        options: Options,
        questions: int,
    ) -> None:
        """Take an opened store that holds the questions already; see `open`."""
        self.store, self.grader, self.options = store, grader, options
        self.pool = pool
        self.questions = min(questions, options.limit or questions)
        self.progress = {name: Progress() for name in pool}
        self.outcome = ""
        self._members: list[_Member] = []
        self._spent = self._graded = self._others = 0.0
        self._others_in_flight = 0

    @classmethod
    def open(
        cls,
        models: Models,
        dataset: Dataset,
        grader: GraderLike,
        out: PathLike,
        options: Options,
        *,
        fields: Mapping[str, str] | None = None,
        regrade: bool = False,
        judge: str | BaseChatModel | None = None,
        rubric: str | None = None,
        allow_code: AllowCode = False,
        prices: Mapping[str, Price] | None = None,
        max_concurrency: int | None = None,
    ) -> Self:
        """Read the pool and the dataset, open the store, check that they belong together."""
        pool = resolve_models(models, prices, max_concurrency)
        judge_model, judge_price = _judge(judge, pool)
        grade = make_grader(
            grader, judge=judge_model, judge_price=judge_price, rubric=rubric, allow_code=allow_code
        )
        store = Store(out)
        try:
            questions = store.add_questions(read_dataset(dataset, fields))
            if not questions:
                raise CalibrationError("the dataset holds no questions")
            name = grader_name(grader)
            before = store.setting("grader", name, replace=regrade)
            if before != name:
                raise CalibrationError(
                    f"{store.folder}: was graded by {before!r}; ask to regrade its answers by {name!r}"
                )
            if regrade:
                store.forget_grades()
            if allow_code == "uid" and code_level(allow_code) == "uid":
                store.setting("code_isolation", "uid")
        except BaseException:
            store.close()
            raise
        return cls(store, pool, grade, options, questions)

    async def run(self, stop: threading.Event | None = None) -> str:
        """Ask, grade and store until all is done.

        Returns:
            `"complete"`, or why it stopped: `"stopped"`, `"budget"`.
        """
        store = self.store
        stop = stop or threading.Event()
        self._stop = stop
        ids = await asyncio.to_thread(self._enter)
        outcome = "failed"
        try:
            async with contextlib.AsyncExitStack() as stack:
                self._members = members = [
                    await self._member(stack, name, ids[name], spec, model)
                    for name, (spec, model) in self.pool.items()
                ]
                await asyncio.to_thread(store.recover, self._run_id)
                await self._look()
                await asyncio.to_thread(self._count, members)
                async with asyncio.TaskGroup() as group:
                    looking = group.create_task(self._look_again()) if self.options.max_cost else None
                    driving = [group.create_task(self._drive(member)) for member in members]
                    await asyncio.wait(driving)
                    if looking:
                        looking.cancel()
            outcome = self.outcome or ("stopped" if stop.is_set() else "complete")
        except BaseExceptionGroup as group_error:
            raise _first(group_error) from None
        finally:
            await asyncio.to_thread(store.end_run, self._run_id, outcome)
        return outcome

    def _enter(self) -> dict[str, int]:
        """Enter this run and its models; the models' ids."""
        for key, value in (("samples", self.options.samples), ("limit", self.options.limit or 0)):
            self.store.setting(key, str(value), replace=True)
        prices = {
            name: (spec.price.input, spec.price.output) if spec.price else None
            for name, (spec, _) in self.pool.items()
        }
        ids = self.store.add_models(prices)
        self._run_id = self.store.begin_run()
        return ids

    async def _member(
        self, stack: contextlib.AsyncExitStack, name: str, id_: int, spec: ModelSpec, model: BaseChatModel
    ) -> _Member:
        capable = {"n": True, "no-n": False}
        takes_n = next((capable[word] for word in spec.capabilities if word in capable), None)
        if takes_n is None and "n" not in type(model).model_fields:
            takes_n = False
        rate = spec.requests_per_minute
        return _Member(
            name=name,
            id=id_,
            ask=await stack.enter_async_context(connect(model)),
            spec=spec,
            slots=asyncio.Semaphore(spec.max_concurrency),
            breaker=Breaker(patience=self.options.patience),
            limiter=InMemoryRateLimiter(
                requests_per_second=rate / 60, check_every_n_seconds=min(0.05, 6 / rate), max_bucket_size=1
            )
            if rate
            else None,
            takes_n=takes_n,
            progress=self.progress[name],
            timeout=self.options.timeout or spec.timeout,
        )

    def _count(self, members: Sequence[_Member]) -> None:
        for member in members:
            ((done,),) = self.store.read(
                "SELECT count(*) FROM samples WHERE model_id = ? AND question_id <= ? AND sample_index < ? "
                "AND (status = 'graded' OR status = 'failed' AND NOT retryable)",
                (member.id, self.questions, self.options.samples),
            )
            member.progress.total, member.progress.done = self.questions * self.options.samples, done

    async def _look(self) -> None:
        """See what the store has cost beside what this run spends itself."""
        graded = self._graded
        cost, self._others_in_flight = await asyncio.to_thread(self.store.spent_by_others, self._run_id)
        self._others = cost - graded

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            if await asyncio.to_thread(self.store.others_at_work, self._run_id):
                await self._look()

    def _stopping(self) -> bool:
        return self._stop.is_set() or bool(self.outcome)

    async def _drive(self, member: _Member) -> None:
        """All cells of one model, pass after pass, then what other runners leave behind."""
        for turn in range(self.options.passes):
            await self._pass(member, retry=self.options.retry_failed and turn == 0)
            if await self._wait_for_others(member):
                await self._pass(member, retry=False)
            if member.breaker.cause:
                member.progress.note = member.breaker.cause
                await self.store.give_up(
                    member.id, last=self.questions, samples=self.options.samples, cause=member.breaker.cause
                )
                return
            if self._stopping() or not await self._left(member):
                return

    async def _pass(self, member: _Member, *, retry: bool) -> None:
        """Work through the open cells once, in order."""
        batch = max(_CLAIM, 2 * member.spec.max_concurrency)
        queue: asyncio.Queue[Cell | None] = asyncio.Queue()
        after = 0
        workers = member.spec.max_concurrency
        ready = asyncio.Event()
        ready.set()

        async def work() -> None:
            while (cell := await queue.get()) is not None:
                if queue.qsize() < batch // 2:
                    ready.set()
                if self._stopping() or member.breaker.cause:
                    self.store.release(member.id, [cell.question_id])
                    continue
                try:
                    await self._cell(member, cell)
                except ModelDeadError:
                    pass  # what is left of the queue is given back, what is on its way is waited for
                finally:
                    self.store.release(member.id, [cell.question_id])

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work()) for _ in range(workers)]
            try:
                while not self._stopping() and not member.breaker.cause:
                    cells = await self.store.claim(
                        self._run_id,
                        member.id,
                        after=after,
                        last=self.questions,
                        samples=self.options.samples,
                        batch=batch,
                        retry=retry,
                    )
                    if not cells:
                        break
                    after = cells[-1].question_id
                    for cell in cells:
                        queue.put_nowait(cell)
                    ready.clear()
                    if queue.qsize() < batch // 2:
                        ready.set()
                    await self._until(ready)
            finally:
                for _ in tasks:
                    queue.put_nowait(None)

    async def _until(self, ready: asyncio.Event) -> None:
        """Wait for the event, looking up now and then whether to stop."""
        while not self._stopping():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ready.wait(), 0.25)
                return

    async def _wait_for_others(self, member: _Member) -> bool:
        """Wait while other runners hold cells of the model, freeing those of dead ones; whether any did."""
        waited = False
        while not self._stopping():
            ((held,),) = await asyncio.to_thread(
                self.store.read,
                "SELECT count(*) FROM claims WHERE model_id = ? AND run_id != ?",
                (member.id, self._run_id),
            )
            if not held:
                break
            waited = True
            member.progress.note = f"{held} cells with another runner"
            await asyncio.to_thread(self.store.recover, self._run_id)
            await self._sleep(0.5)
        return waited

    async def _left(self, member: _Member) -> bool:
        """Whether samples failed that may yet succeed."""
        rows = await asyncio.to_thread(
            self.store.read,
            "SELECT EXISTS (SELECT 1 FROM samples WHERE model_id = ? AND question_id <= ? "
            "AND sample_index < ? AND (status = 'failed' AND retryable OR status = 'answered'))",
            (member.id, self.questions, self.options.samples),
        )
        return bool(rows[0][0])

    async def _cell(self, member: _Member, cell: Cell) -> None:
        """Ask for what a cell lacks, and grade."""
        for index, answer in cell.ungraded:
            await self._grade(member, cell, index, answer)
        missing = list(cell.missing)
        if len(missing) > 1 and member.takes_n is not False:
            try:
                missing = await self._ask(member, cell, missing)
                if len(missing) == len(cell.missing) - 1:
                    self._warn(member, "takes one answer a request: the rest are asked one by one")
                    member.takes_n = False
                else:
                    member.takes_n = True
            except Failure as failure:
                if not failure.refused or member.takes_n:
                    self._mark(member, cell, missing, failure)
                    return
                try:  # refused for asking several answers, or for the question? One alone will tell.
                    missing = await self._ask(member, cell, missing[:1]) + missing[1:]
                    member.takes_n = False
                except Failure as alone:
                    self._mark(member, cell, missing, alone)
                    return
        async with asyncio.TaskGroup() as group:
            for index in missing:
                group.create_task(self._ask_one(member, cell, index))

    async def _ask_one(self, member: _Member, cell: Cell, index: int) -> None:
        try:
            await self._ask(member, cell, [index])
        except Failure as failure:
            self._mark(member, cell, [index], failure)
        except ModelDeadError:
            pass  # the others of the cell may still be answered

    def _mark(self, member: _Member, cell: Cell, indices: Sequence[int], failure: Failure) -> None:
        if failure.cause == "stopped":
            return
        member.progress.failed += len(indices)
        if not failure.retryable:
            member.progress.done += len(indices)
        self.store.fail_samples(
            member.id, cell.question_id, indices, failure.cause, retryable=failure.retryable
        )

    async def _ask(self, member: _Member, cell: Cell, indices: Sequence[int]) -> list[int]:
        """Ask for these samples in one request, again until it is answered; the indices still missing.

        Raises:
            Failure: It was not answered in `max_attempts`, or never will be.
            ModelDeadError: The model was given up.
        """
        tries = 0
        for attempt in itertools.count():
            try:
                messages = await self._request(member, cell, indices)
                break
            except Failure as failure:
                tries += not failure.rate_limited
                if not failure.retryable or self._stopping() or tries >= self.options.max_attempts:
                    raise
                wait = failure.retry_after
            # Random, or all that failed together would come back together.
            backoff = random.uniform(0, min(_LONGEST_BACKOFF, 0.5 * 2 ** min(attempt, 10)))
            await self._sleep(backoff if wait is None else min(wait, 600.0))
        answered = indices[: len(messages)]
        for index, message in zip(answered, messages, strict=True):
            await self._grade(member, cell, index, redact.known(message.text))
        return list(indices[len(messages) :])

    async def _sleep(self, seconds: float) -> None:
        """Sleep, unless the run is to stop."""
        end = time.monotonic() + seconds
        while not self._stopping() and (left := end - time.monotonic()) > 0:  # noqa: ASYNC110 - set by a thread
            await asyncio.sleep(min(left, 0.25))

    async def _request(self, member: _Member, cell: Cell, indices: Sequence[int]) -> list[AIMessage]:
        """One request, written down before it is sent and after it is answered."""
        async with member.slots:
            await member.breaker.admit()
            if member.limiter:
                await member.limiter.aacquire()
            # Under a budget the first request goes alone: only its answer tells what the others will cost.
            alone = (
                member.first if self.options.max_cost and not member.requests else contextlib.nullcontext()
            )
            async with alone:
                return await self._request_now(member, cell, indices)

    async def _request_now(self, member: _Member, cell: Cell, indices: Sequence[int]) -> list[AIMessage]:
        store, question, n = self.store, cell.question, len(indices)
        if self._stopping() or not self._afford(member, question, n):
            member.breaker.release()
            raise Failure("stopped", retryable=False)
        loop = asyncio.get_running_loop()
        attempt_id, started = 0, time.perf_counter()

        async def begin() -> None:
            nonlocal attempt_id, started
            if not attempt_id:  # a redirected request begins again
                clock.reschedule(None)  # broken off in here, the row would stay behind without its request
                attempt_id = await store.begin_attempt(self._run_id, member.id, cell.question_id, n)
                clock.reschedule(loop.time() + member.timeout)
                started = time.perf_counter()

        member.in_flight += 1
        try:
            async with asyncio.timeout(member.timeout) as clock:
                messages = await self._send(member, question, n, begin)
        except CalibrationError:  # of the store
            raise
        except Exception as error:
            failure = as_failure(error)
            if attempt_id:
                latency = time.perf_counter() - started
                store.fail_attempt(attempt_id, failure.cause, latency, unreached=failure.unreached)
            else:
                if isinstance(error, TimeoutError):
                    failure = Failure("unreachable: no connection in time", unreached=True)
                store.unreached(self._run_id, member.id, cell.question_id, n, failure.cause)
            if failure.refused:
                member.breaker.release()
            else:
                member.breaker.fail(failure)
                if failure.fatal:
                    raise ModelDeadError(failure.cause) from None
            member.progress.note = failure.cause
            raise failure from None
        finally:
            member.in_flight -= 1
        latency = time.perf_counter() - started
        member.breaker.succeed()
        member.progress.note = ""
        tokens, cost = self._account(member, question, messages)
        share = len(messages)
        samples = [
            StoredSample(
                index=index,
                answer=redact.known(message.text),
                finish_reason=_finish_reason(message),
                input_tokens=None if tokens[0] is None else tokens[0] / share,
                output_tokens=None if tokens[1] is None else tokens[1] / share,
                cost=None if cost is None else cost / share,
                latency=latency,
            )
            for index, message in zip(indices, messages, strict=False)
        ]
        await store.answer(attempt_id, member.id, cell.question_id, samples, tokens=tokens, cost=cost)
        member.progress.done += share
        member.progress.fresh += share
        return messages

    async def _send(self, member: _Member, question: Question, n: int, begin: Begin) -> list[AIMessage]:
        messages = convert_to_messages([dict(message) for message in question.messages])
        generations = await member.ask(messages, n, begin)
        answers = [g.message for g in generations[:n] if isinstance(g, ChatGeneration)]
        found = [message for message in answers if isinstance(message, AIMessage)]
        if not found:
            raise Failure("not an answer: no choices")
        return found

    def _account(
        self, member: _Member, question: Question, messages: Sequence[AIMessage]
    ) -> tuple[tuple[int | None, int | None], float | None]:
        """Tokens and dollars of a request. Every choice of one request carries the whole request's usage."""
        usage, price = messages[0].usage_metadata, member.spec.price
        tokens: tuple[int | None, int | None] = (None, None)
        cost: float | None = None
        if usage is not None:
            tokens = (usage["input_tokens"], usage["output_tokens"])
            cost = price.cost(usage["input_tokens"], usage["output_tokens"]) if price else None
            spent = cost or 0.0
        else:
            guess = sum(len(message.text) for message in messages) / 4
            spent = price.cost(estimate_tokens(question), guess) if price else 0.0
            if price:
                self._warn(
                    member, "reports no usage: its cost is estimated for the budget, unknown in the table"
                )
        member.requests += 1
        member.spent += spent
        member.progress.cost += spent
        self._spent += spent
        return tokens, cost

    def _afford(self, member: _Member, question: Question, n: int) -> bool:
        bound = self.options.max_cost
        if bound is None:
            return True
        each = member.estimate(question, n)
        on_their_way = sum(other.in_flight * other.estimate(question, n) for other in self._members)
        theirs = self._others + self._others_in_flight * each
        if self._spent + theirs + on_their_way + each <= bound:
            return True
        self.outcome = "budget"
        return False

    def _warn(self, member: _Member, text: str) -> None:
        if text not in member.warned:
            member.warned.add(text)
            warnings.warn(f"model {member.name!r} {text}", stacklevel=2)

    async def _grade(self, member: _Member, cell: Cell, index: int, answer: str) -> None:
        try:
            grade = await self.grader(cell.question, answer)
        except Exception as error:  # a grader is anyone's code: the answer stays, to be graded by a later run
            cause = f"grader: {type(error).__name__}: {one_line(error)}"[:300]
            self.store.fail_grade(member.id, cell.question_id, index, cause)
            self._warn(member, f"has answers that could not be graded: {cause}")
            return
        note = redact(grade.note) if grade.note else None
        self._spent += grade.cost
        self._graded += grade.cost
        self.store.grade(member.id, cell.question_id, index, grade.score, note, grade.cost)


def _finish_reason(message: AIMessage) -> str | None:
    reason = message.response_metadata.get("finish_reason") or message.response_metadata.get("stop_reason")
    return None if reason is None else str(reason)


def estimate_tokens(question: Question) -> int:
    """Tokens of a question, about: a token is four characters of English."""
    return sum(len(str(message["content"])) // 4 + 4 for message in question.messages)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would ask of one model.

    Attributes:
        answers: Samples still to ask.
        output_tokens: As the answers stored so far are long; without any, 200 a sample or `max_tokens`.
        cost: US dollars; None where the price is not known.
    """

    name: str
    questions: int
    answers: int
    requests: int
    input_tokens: int
    output_tokens: int
    cost: float | None


def plan(
    models: Pool,
    dataset: Dataset,
    options: Options,
    *,
    out: PathLike | None = None,
    fields: Mapping[str, str] | None = None,
) -> list[Estimate]:
    """Estimate a run without asking, storing or needing a key.

    Args:
        models: The pool.
        dataset: As for `calibrate`.
        options: The run's options.
        out: A store, to leave out what is answered already.
        fields: As for `calibrate`.
    """
    questions, tokens = 0, 0
    for question in itertools.islice(read_dataset(dataset, fields), options.limit):
        questions += 1
        tokens += estimate_tokens(question)
    states: dict[str, ModelStatus] = {}
    if out is not None and (Path(out) / FILE).exists():
        with Store(out, create=False) as store:
            states = {state.name: state for state in store.status()}
    estimates = []
    for name, spec in models.items():
        state = states.get(name)
        stored = state.graded + state.ungraded if state else 0
        answers = max(0, questions * options.samples - stored)
        requests = answers if "no-n" in spec.capabilities else -(-answers // options.samples)
        guess = min(200, spec.max_tokens or 200)
        each = state.output_tokens / stored if state and stored else guess
        used = (round(tokens / max(questions, 1) * requests), round(each * answers))
        cost = spec.price.cost(*used) if spec.price else None
        estimates.append(Estimate(name, questions, answers, requests, *used, cost))
    return estimates


def resolve_models(
    models: Models, prices: Mapping[str, Price] | None = None, max_concurrency: int | None = None
) -> dict[str, tuple[ModelSpec, BaseChatModel]]:
    """Every form in which models are given, as entries with their chat models.

    Raises:
        PoolError: A model cannot be made.
    """
    if isinstance(models, str | os.PathLike):
        models = Pool.read(models)
    if isinstance(models, Pool):
        return {name: (models[name], model) for name, model in models.models.items()}
    if not models:
        raise PoolError("no models were given")
    pool = {}
    for name, model in models.items():
        model = chat_model(name, model)
        spec = ModelSpec(
            name=name, price=(prices or {}).get(name), max_concurrency=max_concurrency or 8,
            max_tokens=getattr(model, "max_tokens", None),
        )  # fmt: skip
        pool[name] = (spec, model)
    return pool


def _judge(
    judge: str | BaseChatModel | None, pool: Mapping[str, tuple[ModelSpec, BaseChatModel]]
) -> tuple[BaseChatModel | None, Price | None]:
    if not isinstance(judge, str):
        return judge, None
    if judge not in pool:
        raise PoolError(f"the judge {judge!r} is not in the pool; it has {', '.join(pool)}")
    spec, model = pool[judge]
    return model, spec.price


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
