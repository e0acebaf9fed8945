"""The Python program in a message, and what it defines."""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from langchain_avengers.voting.extraction.code import PYTHON, find_source, parse_python
from langchain_avengers.voting.extraction.question import read_question
from langchain_avengers.voting.extraction.text import bare, split_fences

MAX_CODE = 100_000  # characters; longer code is not run
_CUTS = 30  # at the end of a completion that does not parse


def read_program(text: str, question: str | None) -> str | None:
    """The Python source in a model's text, ready to be run; `None` when there is none.

    When the question is a function's head (as in HumanEval), a text that only continues it is put behind it.
    """
    prose, blocks = split_fences(bare(text))
    found = find_source(prose, blocks, read_question(question))
    source = found[0] if found and found[1] in ("", *PYTHON) else None
    head = question_head(question)
    if head and len(text) <= MAX_CODE and (source is None or head.name not in _functions(source)):
        continued = _continuation(question or "", source if blocks and source else text)
        source = continued or source
    if source is None or len(source) > MAX_CODE:
        return None
    try:
        _parsed(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = parse_python(source)  # an example with prompts, a lost indentation
        return None if tree is None else ast.unparse(tree)
    return source


def _continuation(head: str, text: str) -> str | None:
    """A function's head with the text that continues it, without the end that does not parse."""
    lines = [*head.rstrip("\n").split("\n"), *text.rstrip().split("\n")]
    for _ in range(_CUTS):
        source = "\n".join(lines)
        try:
            tree = _parsed(source)
        except SyntaxError as error:
            lines = lines[: min(len(lines), error.lineno or len(lines)) - 1]
        except (ValueError, RecursionError, MemoryError):
            return None
        else:
            return source if _does_something(tree) else None
    return None


def _does_something(tree: ast.Module) -> bool:
    """Whether the last function has a statement beside its docstring and `pass`."""
    last = next((node for node in reversed(tree.body) if isinstance(node, ast.FunctionDef)), None)
    idle = (ast.Pass, ast.Expr)
    return last is not None and any(
        not (isinstance(node, idle) and isinstance(getattr(node, "value", ast.Constant(None)), ast.Constant))
        for node in last.body
    )


def _parsed(source: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes and comparisons in code that is not ours
        return ast.parse(source)


@dataclass(frozen=True, slots=True)
class Signature:
    """A function's name and its parameters that need a value, each with its annotation."""

    name: str
    parameters: tuple[tuple[str, ast.expr | None], ...]


def question_head(question: str | None) -> Signature | None:
    """The function that a question which is Python wants completed: the last that it defines."""
    return signatures(question)[-1] if question and "def " in question and signatures(question) else None


def signatures(source: str) -> list[Signature]:
    """The functions that a source defines at its top, in order."""
    try:
        body = _parsed(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [_signature(node) for node in body if isinstance(node, ast.FunctionDef)]


def _signature(node: ast.FunctionDef) -> Signature:
    positional = [*node.args.posonlyargs, *node.args.args]
    needed = positional[: len(positional) - len(node.args.defaults)]
    return Signature(node.name, tuple((one.arg, one.annotation) for one in needed))


def _functions(source: str) -> set[str]:
    return {signature.name for signature in signatures(source)}


def find_entry(question: str | None, programs: Sequence[str]) -> Signature | None:
    """The function that the programs are about.

    That is the one that the question names, else the one that most programs define, the later one of several. None:
    they define no function, so they read standard input.
    """
    defined = [signatures(program) for program in programs]
    head = question_head(question)
    if head and any(head.name == one.name for some in defined for one in some):
        return head
    asked = read_question(question).entries
    counts: Counter[str] = Counter()
    latest: dict[str, Signature] = {}
    for some in defined:
        for place, one in enumerate(some):
            counts[one.name] += 1_000 + place
            latest.setdefault(one.name, one)
    named = [name for name in counts if name in asked or _is_named(name, question or "")]
    reading = sum(map(_reads_input, programs))
    if not named and (not counts or 2 * reading > len(programs)):
        return None
    return latest[max(named or counts, key=lambda name: counts[name])]


def _is_named(name: str, question: str) -> bool:
    return (
        re.search(
            rf"(?<![\w.]){re.escape(name)}\s?\(|`{re.escape(name)}`|\bnamed? {re.escape(name)}\b", question
        )
        is not None
    )


def _reads_input(program: str) -> bool:
    return "input(" in program or "sys.stdin" in program
