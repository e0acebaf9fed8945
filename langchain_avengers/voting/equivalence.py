"""When two answers are the same answer, and the partition of many answers that follows from it."""

from __future__ import annotations

import atexit
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec

from langchain_avengers.voting.extraction.answer import Answer
from langchain_avengers.voting.extraction.quantity import known_unit
from langchain_avengers.voting.extraction.question import NOTHING, Asked, read_question

_MATH_SECONDS = 5.0  # for one comparison, after which the helper process is ended
_START_SECONDS = 60.0
_PARTITION_SECONDS = 20.0
_TRUTH = {"yes": "true", "no": "false"}


def same(a: Answer, b: Answer, question: str | None = None) -> bool:
    """Whether two answers are the same answer to the question.

    Numbers agree by value: 1/2, 0.5 and 50 %; a number without a unit agrees with the same one with any, km
    and m only after conversion, and one written to three or more decimals with the one it rounds. Where the
    question asks for a percentage, 50 agrees with 50 % and with 0.5; where it fixes the unit, a bare number
    is taken in it. Expressions and lists agree when math-verify (the extra `math`) says so. Everything else
    agrees when its canonical form does: code by its syntax tree, JSON and tool calls with their keys sorted
    and 1.0 as 1, text by its Unicode- and case-folded form.

    Symmetric, but not always transitive: `partition` makes classes of it.
    """
    return _same(a, b, read_question(question))


def partition(answers: Sequence[Answer], question: str | None = None) -> list[int]:
    """Group answers that are the same.

    Classes are the connected components of `same`, so they depend neither on the order of the answers nor
    on how often one occurs; only their numbers follow first appearance.

    Args:
        answers: The answers.
        question: The question they answer.

    Returns:
        The class of each answer, numbered 0, 1, ... by first appearance.
    """
    asked = read_question(question)
    keys = [(answer.kind, answer.value, answer.unit) for answer in answers]
    distinct = dict(zip(keys, answers, strict=True))
    parent = {key: key for key in distinct}

    def root(key: tuple[str, str, str]) -> tuple[str, str, str]:
        while parent[key] != key:
            key = parent[key]
        return key

    families: dict[str, list[tuple[str, str, str]]] = {}
    for key in distinct:
        if (family := _family(key[0], asked)) is not None:
            families.setdefault(family, []).append(key)
    deadline, late = time.monotonic() + _PARTITION_SECONDS, False
    for members in families.values():
        # by value, so that the pairs of plain numbers that cannot agree are never looked at
        members.sort(key=lambda key: (_place(distinct[key]), key))
        one_unit = len({key[2] for key in members}) == 1
        for i, first in enumerate(members):
            a = distinct[first]
            plain = None if asked.percent else a.number
            for second in members[i + 1 :]:
                b = distinct[second]
                if plain is not None and b.number is not None and a.unit == b.unit:
                    if b.number - plain > 0.011 + 1e-8 * abs(b.number):
                        if one_unit:
                            break
                        continue
                elif (a.kind, b.kind) != ("number", "number") and time.monotonic() > deadline:
                    late = True
                    continue
                if root(first) != root(second) and _same(a, b, asked):
                    parent[root(second)] = root(first)
    if late:
        warnings.warn(
            "comparing the expressions took too long: those left over count as different", stacklevel=2
        )
    numbers: dict[tuple[str, str, str], int] = {}
    return [numbers.setdefault(root(key), len(numbers)) for key in keys]


def _place(answer: Answer) -> float:
    return float("inf") if answer.number is None else answer.number


def needs_time(answers: Sequence[Answer | None]) -> bool:
    """Whether comparing these may ask math-verify, which takes milliseconds to seconds: not for an event
    loop's thread.
    """
    return any(a is not None and a.kind in ("math", "list") for a in answers) and math_verify_installed()


def _family(kind: str, asked: Asked) -> str | None:
    """Kinds whose members may agree although their canonical forms differ."""
    if kind in ("number", "math", "list"):
        return "quantity"
    if kind in ("free", "json"):
        return kind
    return "truth" if kind == "text" and asked.yes_no else None


def _same(a: Answer, b: Answer, asked: Asked) -> bool:
    if a.kind == b.kind == "number":
        return _same_number(a, b, asked)
    if a.kind == b.kind and (a.value == b.value or a.value.casefold() == b.value.casefold()):
        return True
    if a.kind == b.kind == "text" and asked.yes_no:
        return _TRUTH.get(a.value, a.value) == _TRUTH.get(b.value, b.value)
    if _family(a.kind, asked) == "quantity" == _family(b.kind, asked):
        if a.kind == b.kind == "list" and (equal := _same_list(a.value, b.value)) is not None:
            return equal
        return _same_expression(*sorted((_latex(a), _latex(b))))
    return False


# --- numbers ------------------------------------------------------------------------------------------------


def _same_number(a: Answer, b: Answer, asked: Asked) -> bool:
    if a.number is None or b.number is None:
        return a.value == b.value
    x, y = a.number, b.number
    if asked.simplest and "/" in a.value and "/" in b.value:
        return a.value == b.value
    if a.unit or b.unit:
        unit_a, unit_b = known_unit(a.unit), known_unit(b.unit)
        if unit_a is None and unit_b is not None and asked.unit is not None:
            unit_a = asked.unit
        if unit_b is None and unit_a is not None and asked.unit is not None:
            unit_b = asked.unit
        if unit_a is not None and unit_b is not None:
            if unit_a[0] != unit_b[0]:
                return False
            if unit_a[1] != unit_b[1]:
                return _equal(x * float(unit_a[1]), y * float(unit_b[1]))
    if _equal(x, y) or _rounds(a, b) or _rounds(b, a):
        return True
    if not asked.percent:
        return False
    (small, share), (large, _) = sorted(((x, a.unit), (y, b.unit)), key=lambda pair: abs(pair[0]))
    return share != "%" and abs(small) <= 1 and _equal(100 * small, large)


def _equal(x: float, y: float) -> bool:
    return abs(x - y) <= 1e-9 * max(abs(x), abs(y))


def _rounds(short: Answer, long: Answer) -> bool:
    """Whether `short`, given to three decimals (or two, with four digits) or more, is `long` rounded or cut
    off.
    """
    whole, _, decimals = short.value.lstrip("-").partition(".")
    places = len(decimals)
    if (
        places < 2
        or (places < 3 and len(whole.lstrip("0")) < 2)
        or short.number is None
        or long.number is None
    ):
        return False
    if "/" not in long.value and len(long.value.partition(".")[2]) <= places:
        return False
    error = (abs(long.number) - abs(short.number)) * 10**places
    return -0.500001 <= error < 1 and short.number * long.number >= 0


def _same_list(a: str, b: str) -> bool | None:
    """Lists of plain numbers, element by element; `None` when math-verify has to say."""
    if a[:1] in "([" or b[:1] in "([":
        if (a[:1], a[-1:]) != (b[:1], b[-1:]):
            # `1, 2, 3` and `[1, 2, 3]` are the same answer; an interval and a tuple are not
            return a.strip("[]") == b.strip("[]") if "(" not in a + b and ")" not in a + b else False
        a, b = a[1:-1], b[1:-1]
    parts = [text.split(", ") for text in (a, b)]
    if len(parts[0]) != len(parts[1]):
        return False
    values = []
    for part in (*parts[0], *parts[1]):
        if not re.fullmatch(r"-?\d+(?:\.\d+|/\d+)?", part):
            return None
        top, _, bottom = part.partition("/")
        values.append(Answer("number", part, float(top) / float(bottom or 1)))
    half = len(parts[0])
    return all(_same_number(x, y, NOTHING) for x, y in zip(values[:half], values[half:], strict=True))


# --- mathematics --------------------------------------------------------------------------------------------


def math_verify_installed() -> bool:
    """Whether the extra `math` is there."""
    return find_spec("math_verify") is not None


def _latex(answer: Answer) -> str:
    if answer.kind == "list" and answer.value[:1] not in "([":
        return f"\\{{{answer.value}\\}}"
    return answer.value


@lru_cache(maxsize=4096)
def _same_expression(a: str, b: str) -> bool:
    return math_verify_installed() and _WORKER.compare(a, b)


class _Worker:
    """The helper process that runs math-verify; started when first needed, ended and replaced when it
    overruns its time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()
        self._owner = 0
        atexit.register(self.stop)

    def compare(self, a: str, b: str) -> bool:
        """Whether the two LaTeX texts are equal; `False` when that takes longer than the limit."""
        with self._lock:
            try:
                process = self._running()
                assert process.stdin is not None
                process.stdin.write(json.dumps([a, b]) + "\n")
                process.stdin.flush()
                return self._lines.get(timeout=_MATH_SECONDS) == "true\n"
            except (queue.Empty, OSError, ValueError):
                self.stop()
                return False

    def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is None and self._owner == os.getpid():
            return self._process
        self.stop()
        self._owner = os.getpid()
        self._lines = queue.Queue()
        command = [sys.executable, "-m", "langchain_avengers.voting.math_worker"]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        threading.Thread(target=_pump, args=(process, self._lines), daemon=True).start()
        self._process = process
        if self._lines.get(timeout=_START_SECONDS) != "ready\n":
            raise OSError("the math-verify process did not start")
        return process


def _pump(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    assert process.stdout is not None
    try:
        for line in process.stdout:
            lines.put(line)
    except ValueError:  # closed by `stop`
        pass
    lines.put("")


_WORKER = _Worker()
