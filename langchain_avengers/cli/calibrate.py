"""`avengers calibrate`."""

from __future__ import annotations

import asyncio
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langchain_avengers.cli import common, output
from langchain_avengers.cli.bars import Bars
from langchain_avengers.errors import CalibrationError

if TYPE_CHECKING:
    from langchain_avengers.calibration.run import Calibration
    from langchain_avengers.calibration.store import ModelStatus, Store

TABLE = "table.jsonl"


def command(
    pool: Annotated[Path | None, typer.Argument(help="Pool file (YAML): the models.")] = None,
    dataset: Annotated[
        str | None,
        typer.Argument(
            help="Questions: a .jsonl, .json, .csv or .parquet file, a folder, hf:NAME or langsmith:NAME."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the store and the table.")] = Path("table"),
    grader: Annotated[
        str,
        typer.Option(
            help="exact, choice, number, math, regex, contains, json, code, judge, or module:function."
        ),
    ] = "exact",
    samples: Annotated[int, typer.Option(min=1, help="Answers of each model to each question.")] = 1,
    field: Annotated[
        list[str] | None, typer.Option(help="Name of a field in the dataset: query=Problem. Repeatable.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only these models of the pool.")] = None,
    max_cost: Annotated[float | None, typer.Option(help="Stop when this many US dollars are spent.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first questions, this many.")] = None,
    resume: Annotated[
        bool,
        typer.Option(
            help="Go on with the calibration in the folder; --no-resume refuses a folder that has one."
        ),
    ] = True,
    retry_failed: Annotated[bool, typer.Option(help="Ask again what a provider refused for good.")] = False,
    regrade: Annotated[bool, typer.Option(help="Grade all stored answers again; no model is asked.")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Say what would be asked and what it would cost; ask nothing.")
    ] = False,
    status: Annotated[
        bool, typer.Option(help="Show the progress of a calibration; updated while one runs.")
    ] = False,
    timeout: Annotated[float | None, typer.Option(help="Most seconds for one request.")] = None,
    max_attempts: Annotated[int, typer.Option(min=1, help="Most requests for one answer.")] = 6,
    give_up_after: Annotated[
        float, typer.Option(help="Seconds after which a model that only fails is given up.")
    ] = 60.0,
    patience: Annotated[float | None, typer.Option(hidden=True, help="Now --give-up-after.")] = None,
    judge: Annotated[str | None, typer.Option(help="Model of the pool that judges.")] = None,
    rubric: Annotated[str | None, typer.Option(help="Instructions for the judge: a text, or @file.")] = None,
    allow_code: Annotated[
        bool,
        typer.Option("--allow-code", help="Allow the grader `code` to run model-written code in a sandbox."),
    ] = False,
    code_isolation: common.CodeIsolation = "namespaces",
    export: Annotated[
        list[Path] | None,
        typer.Option(help="Also write the table as .jsonl or .parquet, or every answer as samples.jsonl."),
    ] = None,
    json: common.Json = False,
) -> None:
    """Ask every model of a pool every question, grade the answers and store them.

    Every answer is stored in OUT/calibration.sqlite when it arrives. After any interruption run the same command
    again: it goes on where it was. At the end OUT/table.jsonl is the score table.
    """
    from langchain_avengers.calibration.options import CalibrationOptions
    from langchain_avengers.calibration.store import Store

    if status:
        _status(out, json)
        return
    if pool is None or dataset is None:
        if (out / TABLE).parent.is_dir() and export and pool is None:
            with Store(out, create=False) as store:
                _write(store, out, export)
            return
        raise typer.BadParameter("a pool file and a dataset are needed (or --status, or --export alone)")
    fields = _pairs(field or [])
    if patience is not None:
        output.note("--patience is now --give-up-after")
    options = CalibrationOptions(
        samples=samples, max_cost=max_cost, limit=limit, timeout=timeout, max_attempts=max_attempts,
        give_up_after=patience or give_up_after, retry_failed=retry_failed,
    )  # fmt: skip
    models = _pool(pool, model)
    if dry_run:
        _dry_run(models, dataset, _grader(grader), fields, out, options, json)
        return
    if not resume and (out / "calibration.sqlite").exists():
        raise CalibrationError(f"{out}: holds a calibration already; without --no-resume it is resumed")
    from langchain_avengers.calibration.run import Calibration

    run = Calibration.open(
        models, dataset, _grader(grader), out, options, fields=fields, regrade=regrade, judge=judge,
        rubric=_text(rubric), allow_code=common.allow_code(allow_code, code_isolation),
    )  # fmt: skip
    with run.store as store:
        outcome, signals = _run(run, json)
        _write(store, out, export or [])
        _show(store, json, outcome)
        unmeasured = [state for state in store.status() if state.name in models and not state.graded]
    if signals:
        raise typer.Exit(128 + signals[0])
    if unmeasured and (outcome == "complete" or len(unmeasured) == len(models)):
        raise CalibrationError(_nothing(out, unmeasured))


def _nothing(out: Path, unmeasured: list[ModelStatus]) -> str:
    """Of which models no answer was graded, and why."""
    causes = {state.name: next(iter(state.failed), "nothing was asked") for state in unmeasured}
    return f"{out}: no answer was graded of " + "; ".join(f"{name}: {why}" for name, why in causes.items())


def _pool(path: Path, names: list[str] | None) -> Any:
    from langchain_avengers.pool import Pool

    pool = Pool.read(path)
    return pool.select(names) if names else pool


def _pairs(items: list[str]) -> dict[str, str]:
    for item in items:
        if not all(item.partition("=")):
            raise typer.BadParameter(f"--field takes part=name, not {item!r}")
    return {part: name for part, _, name in (item.partition("=") for item in items)}


def _text(value: str | None) -> str | None:
    if not value or not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CalibrationError(f"{value[1:]}: is not UTF-8 text") from None


def _grader(name: str) -> Any:
    """A grader's name, or the function that `module:function` names."""
    module, colon, function = name.partition(":")
    if not colon:
        return name
    import sys
    from importlib import import_module

    sys.path.insert(0, "")  # a grader beside the questions is found, as by python -m
    try:
        return getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise CalibrationError(f"grader {name}: {error}") from None


def _run(run: Calibration, quiet: bool) -> tuple[str, list[int]]:
    """Run under progress bars; the outcome, and the signals that came."""
    from langchain_avengers.calibration.stop import drained_on_signals

    stop = threading.Event()

    def tell() -> None:
        output.note("stopping: waiting for the requests on their way (again: at once)")

    with drained_on_signals(stop, tell) as signals, warnings.catch_warnings(), Bars(run, quiet):
        warnings.showwarning = lambda message, *_: output.note(str(message))
        return asyncio.run(run.run(stop)), signals


def _write(store: Store, out: Path, export: list[Path]) -> None:
    store.export(out / TABLE)
    for path in export:
        store.export(path)


def _show(store: Store, json: bool, outcome: str = "") -> None:
    states = store.status()
    if json:
        output.print_json(
            {"outcome": outcome, "cost": store.cost(), "models": [state.to_dict() for state in states]}
        )
        return
    output.print_table(
        ["model", "score", "graded", "failed", "left", "asked", "tokens", "$", "s"],
        [
            [
                state.name,
                state.score,
                state.graded,
                sum(state.failed.values()),
                state.pending + state.ungraded,
                state.requests,
                state.input_tokens + state.output_tokens,
                state.cost,
                state.latency,
            ]
            for state in states
        ],
    )
    if causes := store.causes():
        output.note(f"not measured: {causes}")
    if outcome == "budget":
        output.note("stopped at --max-cost; run again with a higher one to go on")


def _status(out: Path, json: bool) -> None:
    """Once, or again and again while a runner is at work and someone looks."""
    import sys
    import time

    from langchain_avengers.calibration.store import Store

    with Store(out, create=False) as store:
        while True:
            _show(store, json)
            if json or not sys.stdout.isatty() or not store.running():
                return
            time.sleep(2)
            sys.stdout.write("\x1b[2J\x1b[H")  # clear the screen


def _dry_run(
    models: Any, dataset: str, grader: Any, fields: dict[str, str], out: Path, options: Any, json: bool
) -> None:
    from langchain_avengers.calibration.plan import plan

    estimates = plan(models, dataset, options, grader=grader, out=out, fields=fields)
    if json:
        output.print_json({"models": estimates, "cost": sum(e.cost or 0.0 for e in estimates)})
        return
    output.print_table(
        ["model", "questions", "answers", "requests", "tokens in", "tokens out", "$"],
        [
            [e.name, e.questions, e.answers, e.requests, e.input_tokens, e.output_tokens, e.cost]
            for e in estimates
        ],
    )
    output.note(f"about ${sum(e.cost or 0.0 for e in estimates):.4f}; nothing was asked")
    if unknown := [e.name for e in estimates if e.cost is None]:
        output.note(f"no price in the pool file: {', '.join(unknown)}")
