"""Measure models on labelled questions: `calibrate`, and `acalibrate` within a running loop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
import threading
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_avengers.calibration.code import AllowCode
from langchain_avengers.calibration.graders import GraderLike
from langchain_avengers.calibration.models import Models
from langchain_avengers.calibration.options import CalibrationOptions
from langchain_avengers.calibration.questions import Dataset, PathLike
from langchain_avengers.calibration.run import Calibration, Watch
from langchain_avengers.calibration.stop import drained_on_signals
from langchain_avengers.pool import Price

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from langchain_avengers.routing.table import ScoreTable


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
    outcome: list[ScoreTable | BaseException] = []

    def work() -> None:
        try:
            outcome.append(
                asyncio.run(
                    acalibrate(
                        models,
                        dataset,
                        grader,
                        out=out,
                        samples=samples,
                        fields=fields,
                        max_cost=max_cost,
                        limit=limit,
                        stop=stop,
                        **options,
                    )
                )
            )
        except BaseException as error:
            outcome.append(error)

    # In a thread, so that it works in a notebook's running loop too.
    thread = threading.Thread(target=work, name="calibration")
    with drained_on_signals(stop) as signals:
        thread.start()
        try:
            thread.join()
        except KeyboardInterrupt:  # the second one: what is on its way is waited for all the same
            stop.set()
            thread.join()
            raise
    if signals:
        raise KeyboardInterrupt if signals[0] == signal.SIGINT else SystemExit(128 + signals[0])
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
        **options: Any field of `CalibrationOptions`.
    """
    settings = CalibrationOptions.of(samples=samples, max_cost=max_cost, limit=limit, **options)
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
