"""The command line, `avengers`.

One command is one file of this folder: `avengers add-model` is `add_model.py`. The file holds one public
function `command`, annotated for typer; its docstring is the text of `--help`, and the line beside its name
in `COMMANDS` stands in `avengers --help`. A file is imported only when its command runs, so `--help` loads
nothing heavy; inside a file, heavy imports still belong in the function.

Rules for every command:

- results go to stdout by `output`: a table a person can read (`print_table`), or with `--json` one JSON document
  (`print_json`); progress and notes go to stderr (`output.progress()`, `output.note`);
- it raises `AvengersError` for what failed, which becomes one line on stderr and exit code 1, and
  `typer.BadParameter` for bad usage, exit code 2; Ctrl-C is 130. It returns nothing.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from langchain_avengers import __version__
from langchain_avengers._text import shorten
from langchain_avengers.errors import AvengersError

COMMANDS = {
    "quickstart": "Real small models on this machine, from questions to a voted answer.",
    "calibrate": "Ask every model of a pool every question, grade, store.",
    "split": "Split a score table: rows to fit with, rows held out.",
    "fit": "Fit a router to a score table and save it.",
    "evaluate": "Judge a router on rows it has not seen.",
    "tune": "Choose a weight of cost, or a subset of the models.",
    "inspect": "Show a saved router: models, clusters, health.",
    "route": "Say which model a query goes to.",
    "ask": "Answer a question with the pool: route, sample, vote.",
    "serve": "Serve the pool to clients of OpenAI's protocol.",
    "learn": "Fold the feedback of a served pool into its router.",
    "add-model": "Add a model to a router with few labelled rows.",
    "ablate": "Repeat the paper's studies on a score table.",
    "report": "Write one HTML page about a router.",
}


class _Lazy(TyperCommand):
    """A command known by name and help line; its file is imported when it runs."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        return _load(str(self.name)).make_context(*args, **kwargs)


class _Group(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        return _Lazy(cmd_name, callback=None, help=COMMANDS[cmd_name], short_help=COMMANDS[cmd_name])

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command; every failure becomes one line on stderr and an exit code."""
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
        except Exception as error:
            code = _report(error)
        except KeyboardInterrupt:
            code = 130
        sys.exit(code if isinstance(code, int) else 0)


app = typer.Typer(
    cls=_Group,
    name="avengers",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _avengers(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Use a pool of language models as one: calibrate, fit, route, sample, vote."""
    _State.debug, _State.command = debug, ""
    if version:
        typer.echo(f"langchain-avengers {__version__}")
    elif ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(2)


def main(args: Sequence[str] | None = None) -> None:
    """Run `avengers` with `args` (the process's own by default); ends in `SystemExit`."""
    app(args=None if args is None else list(args), prog_name="avengers")


class _State:
    debug = False
    command = ""


def _load(name: str) -> Any:
    _State.command = name
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    single = typer.Typer(
        add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]}
    )
    single.command(name)(module.command)
    return get_command(single)


def _report(error: Exception) -> int:
    """Print the error as one line; give the exit code."""
    if isinstance(error, BrokenPipeError):
        # the reader of our output is gone (`| head`): let the interpreter's last flush go nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    if isinstance(error, typer.Abort):
        return 130
    if _State.debug:
        traceback.print_exception(error)
    usage = typer.BadParameter.__mro__[2]  # ClickException, which typer does not export
    if isinstance(error, usage):
        context = getattr(error, "ctx", None)
        where = context.command_path if context else f"avengers {_State.command}".rstrip()
        _say(f"{where}: {error.format_message()} (see {where} --help)")  # type: ignore[attr-defined]  # ClickException's
        return 2
    if isinstance(error, (AvengersError, OSError)):
        _say(f"avengers: {error}")
    else:
        _say(f"avengers: {type(error).__name__}: {error} (avengers --debug ... shows where)")
    return 1


def _say(message: str) -> None:
    typer.echo(shorten(message), err=True)
