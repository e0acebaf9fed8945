"""One run over one store: every model is asked what it lacks, and every answer is graded and stored."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from langchain_core.messages import AIMessage

from langchain_avengers.calibration.asking import Asker, Messages, Reply
from langchain_avengers.calibration.budget import Budget
from langchain_avengers.calibration.code import AllowCode, code_level
from langchain_avengers.calibration.errors import Failure, ModelDeadError, RunStoppedError, StoreError
from langchain_avengers.calibration.graders import (
    Grader,
    GraderLike,
    check_reference,
    grader_name,
    make_grader,
)
from langchain_avengers.calibration.judge import Judge
from langchain_avengers.calibration.models import Models, PoolModels, resolve_judge, resolve_models
from langchain_avengers.calibration.options import CalibrationOptions
from langchain_avengers.calibration.questions import Dataset, PathLike, Question, read_dataset
from langchain_avengers.calibration.stop import Stop
from langchain_avengers.calibration.store import Cell, Store, StoredSample
from langchain_avengers.calibration.transport import connect
from langchain_avengers.errors import CalibrationError
from langchain_avengers.pool import ModelSpec, Price
from langchain_avengers.providers import one_line, redact

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

logger = logging.getLogger("langchain_avengers")

Watch = Callable[["Calibration"], contextlib.AbstractContextManager[object]]
"""Given the run, a context around it: for whoever shows its progress."""

_CLAIM = 32
"""Cells claimed at a time, at least; twice a model's concurrency when that is more."""


@dataclass(slots=True)
class ModelProgress:
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


class Calibration:
    """One run over one store: `open` makes it, `run` runs it, `progress` can be read from any thread."""

    def __init__(
        self,
        store: Store,
        pool: PoolModels,
        make: Callable[[Judge | None], Grader],
        options: CalibrationOptions,
        questions: int,
        judge: tuple[ModelSpec, BaseChatModel] | None = None,
    ) -> None:
        """Take an opened store that holds the questions already; see `open`."""
        self.store, self.options, self.pool = store, options, pool
        self.questions = min(questions, options.limit or questions)
        self.progress = {name: ModelProgress() for name in pool}
        self._judge = judge and _LedgerJudge(store, *judge)
        self._grader = make(self._judge)

    @classmethod
    def open(
        cls,
        models: Models,
        dataset: Dataset,
        grader: GraderLike,
        out: PathLike,
        options: CalibrationOptions,
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
        judging = resolve_judge(judge, pool)

        def make(ledger_judge: Judge | None) -> Grader:
            return make_grader(grader, judge=ledger_judge, rubric=rubric, allow_code=allow_code)

        # What is wrong with the grader is told before the store is made.
        make_grader(grader, judge=judging and judging[1], rubric=rubric, allow_code=allow_code)
        store = Store(out)
        try:
            questions = store.add_questions(
                _checked(read_dataset(dataset, fields), grader, options.limit), regrade=regrade
            )
            name = grader_name(grader)
            before = store.setting("grader", name, replace=regrade)
            if before != name:
                raise CalibrationError(
                    f"{store.folder}: was graded by {before!r}; ask to regrade its answers by {name!r}: "
                    "regrade=True (--regrade)"
                )
            if allow_code == "uid" and code_level(allow_code) == "uid":
                store.setting("code_isolation", "uid")
        except BaseException:
            store.close()
            raise
        return cls(store, pool, make, options, questions, judging)

    async def run(self, stop: threading.Event | None = None) -> str:
        """Ask, grade and store until all is done.

        Returns:
            `"complete"`, or why it stopped: `"stopped"`, `"budget"`.
        """
        store, self._stop = self.store, Stop(stop or threading.Event())
        ids = await asyncio.to_thread(self._enter)
        self._budget = Budget(store, self._run_id, self.options.max_cost)
        outcome = "failed"
        try:
            async with contextlib.AsyncExitStack() as stack:
                workers = [
                    _Worker(self, await self._asker(stack, ids[name], *entry), entry[1], self.progress[name])
                    for name, entry in self.pool.items()
                ]
                if judge := self._judge:
                    id_ = await asyncio.to_thread(judge.enter)
                    judge.asker = await self._asker(stack, id_, judge.spec, judge.model, role="judge")
                await asyncio.to_thread(store.recover, self._run_id)
                await self._budget.look()
                async with asyncio.TaskGroup() as group:
                    watching = [group.create_task(self._stop.watch())]
                    if self.options.max_cost:
                        watching.append(group.create_task(self._budget.look_again()))
                    await asyncio.wait([group.create_task(worker.drive()) for worker in workers])
                    for task in watching:
                        task.cancel()
            outcome = self._stop.reason or "complete"
        except BaseExceptionGroup as group_error:
            raise _first(group_error) from None
        finally:
            await asyncio.to_thread(store.end_run, self._run_id, outcome)
        return outcome

    def _enter(self) -> dict[str, int]:
        """Enter this run and its models; the models' ids."""
        for key, value in (("samples", self.options.samples), ("limit", self.options.limit or 0)):
            self.store.setting(key, str(value), replace=True)
        ids = self.store.add_models({name: _price(spec) for name, (spec, _) in self.pool.items()})
        self._run_id = self.store.begin_run()
        return ids

    async def _asker(
        self,
        stack: contextlib.AsyncExitStack,
        model_id: int,
        spec: ModelSpec,
        model: BaseChatModel,
        role: str = "answer",
    ) -> Asker:
        ask = await stack.enter_async_context(connect(model))
        return Asker(
            self.store, self._run_id, model_id, spec, ask, self._stop, self._budget, self.options, role=role
        )

    async def grade(self, asker: Asker, cell: Cell, index: int, answer: str) -> None:
        """Grade a stored answer; what cannot be graded stays, to be graded by a later run."""
        try:
            grade = await self._grader(cell.question, answer)
        except (StoreError, RunStoppedError):
            raise
        except Exception as error:  # a grader is anyone's code
            cause = f"grader: {type(error).__name__}: {one_line(error)}"[:300]
            self.store.fail_grade(asker.id, cell.question_id, index, cause)
            asker.warn(f"has answers that could not be graded: {cause}")
            return
        note = redact(grade.note) if grade.note else None
        self._budget.add_grading(grade.cost)
        self.store.grade(asker.id, cell.question_id, index, grade.score, note, grade.cost)


class _LedgerJudge:
    """A judge whose requests go through the same ledger, limits, budget and breaker as every model's."""

    def __init__(self, store: Store, spec: ModelSpec, model: BaseChatModel) -> None:
        self.spec, self.model = spec, model
        self.structured = "json" in spec.capabilities
        self.asker: Asker | None = None
        self._store = store

    def enter(self) -> int:
        """Enter the judge in the store; its id."""
        return self._store.add_models({self.spec.name: _price(self.spec)}, judge=True)[self.spec.name]

    async def __call__(self, messages: Messages, **arguments: Any) -> AIMessage:
        """Ask the judge."""
        if self.asker is None:
            raise CalibrationError("the judge is asked during a run only")
        reply = await self.asker.ask(messages, 1, self._keep, **arguments)
        return reply.messages[0]

    async def _keep(self, reply: Reply) -> None:
        await self._store.answer_attempt(reply.attempt_id, reply.latency, reply.tokens, reply.cost)


class _Worker:
    """Drives one model through the cells of a run."""

    def __init__(self, run: Calibration, asker: Asker, model: BaseChatModel, progress: ModelProgress) -> None:
        self._run, self._asker, self._progress = run, asker, progress
        self._store, self._options, self._stop = run.store, run.options, run._stop
        self._bounds = {"last": run.questions, "samples": run.options.samples}
        capable = {"n": True, "no-n": False}
        takes_n = next((capable[word] for word in asker.spec.capabilities if word in capable), None)
        self._takes_n = False if takes_n is None and "n" not in type(model).model_fields else takes_n

    async def drive(self) -> None:
        """All cells of the model, pass after pass, then what other runners leave behind."""
        self._progress.total = self._bounds["last"] * self._bounds["samples"]
        self._progress.done = await asyncio.to_thread(self._store.settled, self._asker.id, **self._bounds)
        with contextlib.suppress(RunStoppedError):
            for turn in range(self._options.passes):
                await self._pass(retry=self._options.retry_failed and turn == 0)
                if await self._wait_for_others():
                    await self._pass(retry=False)
                if cause := self._asker.breaker.cause:
                    self._progress.note = cause
                    await self._store.give_up(self._asker.id, **self._bounds, cause=cause)
                    return
                self._stop.check()
                if not await asyncio.to_thread(self._store.unsettled, self._asker.id, **self._bounds):
                    return

    def _ended(self) -> bool:
        return bool(self._stop) or bool(self._asker.breaker.cause)

    async def _pass(self, *, retry: bool) -> None:
        """Work through the open cells once, in order."""
        concurrency = self._asker.spec.max_concurrency
        batch = max(_CLAIM, 2 * concurrency)
        queue: asyncio.Queue[Cell | None] = asyncio.Queue(batch)

        async def work() -> None:
            while (cell := await queue.get()) is not None:
                try:
                    if not self._ended():
                        await self._cell(cell)
                except RunStoppedError:
                    pass  # the rest of the queue is given back, what is on its way is waited for
                finally:
                    self._store.release(self._asker.id, [cell.question_id])

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work()) for _ in range(concurrency)]
            async for cell in self._claimed(batch, retry):
                await queue.put(cell)
            for _ in tasks:
                await queue.put(None)

    async def _claimed(self, batch: int, retry: bool) -> Any:
        """The open cells, claimed batch by batch."""
        after = 0
        while not self._ended():
            cells = await self._store.claim(
                self._run._run_id, self._asker.id, after=after, batch=batch, retry=retry, **self._bounds
            )
            if not cells:
                return
            after = cells[-1].position
            for cell in cells:
                yield cell

    async def _wait_for_others(self) -> bool:
        """Wait while other runners hold cells of the model, freeing those of dead ones; whether any did."""
        waited = False
        while held := await asyncio.to_thread(self._store.held_by_others, self._asker.id, self._run._run_id):
            waited = True
            self._progress.note = f"{held} cells with another runner"
            await asyncio.to_thread(self._store.recover, self._run._run_id)
            await self._stop.sleep(0.5)
        return waited

    async def _cell(self, cell: Cell) -> None:
        """Ask for what a cell lacks, and grade. Whatever goes wrong fails the cell, never the run."""
        try:
            await self._fill(cell)
        except (StoreError, RunStoppedError):
            raise
        except ModelDeadError:
            pass  # the worker's next look at the breaker ends its pass
        except Exception as error:
            logger.exception("model %s, question %d", self._asker.name, cell.position)
            self._mark(cell, cell.missing, Failure(f"{type(error).__name__}: {one_line(error)}"))

    async def _fill(self, cell: Cell) -> None:
        for index, answer in cell.ungraded:
            await self._run.grade(self._asker, cell, index, answer)
        missing = await self._ask_together(cell)
        try:
            async with asyncio.TaskGroup() as group:
                for index in missing:
                    group.create_task(self._ask_one(cell, index))
        except BaseExceptionGroup as group_error:
            raise _first(group_error) from None

    async def _ask_together(self, cell: Cell) -> list[int]:
        """Ask for all missing samples in one request, if the model takes it; the indices still missing."""
        missing = list(cell.missing)
        if len(missing) < 2 or self._takes_n is False:
            return missing
        try:
            left = await self._ask(cell, missing)
        except Failure as failure:
            if not failure.refused or self._takes_n:
                self._mark(cell, missing, failure)
                return []
            try:  # refused for asking several answers, or for the question? One alone will tell.
                left = await self._ask(cell, missing[:1]) + missing[1:]
            except Failure as alone:
                self._mark(cell, missing, alone)
                return []
            self._takes_n = False
            return left
        self._takes_n = len(left) < len(missing) - 1
        if not self._takes_n:
            self._asker.warn("takes one answer a request: the rest are asked one by one")
        return left

    async def _ask_one(self, cell: Cell, index: int) -> None:
        try:
            await self._ask(cell, [index])
        except Failure as failure:
            self._mark(cell, [index], failure)
        except ModelDeadError:
            pass  # the others of the cell may still be answered

    def _mark(self, cell: Cell, indices: Sequence[int], failure: Failure) -> None:
        self._progress.failed += len(indices)
        self._progress.note = failure.cause
        if not failure.retryable:
            self._progress.done += len(indices)
        self._store.fail_samples(
            self._asker.id, cell.question_id, indices, failure.cause, retryable=failure.retryable
        )

    async def _ask(self, cell: Cell, indices: Sequence[int]) -> list[int]:
        """Ask for these samples in one request, store and grade the answers; the indices still missing."""

        async def keep(reply: Reply) -> None:
            await self._store.answer_attempt(
                reply.attempt_id, reply.latency, reply.tokens, reply.cost,
                model_id=self._asker.id, question_id=cell.question_id, samples=list(_samples(indices, reply)),
            )  # fmt: skip

        reply = await self._asker.ask(
            cell.question.messages, len(indices), keep, question_id=cell.question_id
        )
        self._progress.cost, self._progress.note = self._asker.cost, ""
        self._progress.done += len(reply.messages)
        self._progress.fresh += len(reply.messages)
        for sample in _samples(indices, reply):
            await self._run.grade(self._asker, cell, sample.index, sample.answer)
        return list(indices[len(reply.messages) :])


def _samples(indices: Sequence[int], reply: Reply) -> Iterator[StoredSample]:
    """A reply's answers, each with its share of the request."""
    share = len(reply.messages)
    tokens = [None if count is None else count / share for count in reply.tokens]
    for index, message in zip(indices, reply.messages, strict=False):
        yield StoredSample(
            index=index,
            answer=redact.in_answer(message.text),
            finish_reason=_finish_reason(message),
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            cost=None if reply.cost is None else reply.cost / share,
            latency=reply.latency,
        )


def _finish_reason(message: AIMessage) -> str | None:
    reason = message.response_metadata.get("finish_reason") or message.response_metadata.get("stop_reason")
    return None if reason is None else redact.known(str(reason))[:100]


def _checked(questions: Iterator[Question], grader: GraderLike, limit: int | None) -> Iterator[Question]:
    """The questions, each of whose references suits the grader: nothing is asked that cannot be graded."""
    for number, question in enumerate(questions, 1):
        if limit is None or number <= limit:
            check_reference(question, grader, number)
        yield question


def _price(spec: ModelSpec) -> tuple[float, float] | None:
    return (spec.price.input, spec.price.output) if spec.price else None


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
