"""Graders: what an answer is worth, in [0, 1].

A grader is given by name, as a function, or as an evaluator in the manner of openevals and LangSmith.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import math
import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

from langchain_core.runnables import Runnable

from langchain_avengers.calibration.code import TESTS, AllowCode, CodeRunner, code_level, program
from langchain_avengers.calibration.judge import DirectJudge, Judge, judged
from langchain_avengers.calibration.questions import Question
from langchain_avengers.errors import CalibrationError
from langchain_avengers.voting.answers import Answer, extract_answer
from langchain_avengers.voting.equivalence import same

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from langchain_avengers.pool import Price


@dataclass(frozen=True, slots=True)
class Grade:
    """An answer's worth.

    Attributes:
        score: In [0, 1].
        note: Why, when the grader says so.
        cost: US dollars the grading itself cost.
    """

    score: float
    note: str | None = None
    cost: float = 0.0


class Grader(Protocol):
    """What every kind of grader is turned into."""

    def __call__(self, question: Question, answer: str) -> Awaitable[Grade]:
        """Grade one answer."""
        ...


GraderLike = str | Callable[..., Any]
"""A grader's name, or any callable `make_grader` understands."""


def make_grader(
    grader: GraderLike,
    *,
    judge: Judge | BaseChatModel | None = None,
    judge_price: Price | None = None,
    rubric: str | None = None,
    allow_code: AllowCode = False,
    code_timeout: float = 10.0,
) -> Grader:
    """Turn a name or a callable into a grader. A question that names its own grader is graded by that one.

    Args:
        grader: One of `GRADERS`, `"code"`, `"judge"`; or a callable, sync or async, that takes `(answer)`,
            `(answer, reference)`, `(answer, reference, question)`, the openevals keywords (`inputs`,
            `outputs`, `reference_outputs`) or LangSmith's `(run, example)`, and returns a number or truth
            value, a mapping or object with `score`, or a `Grade`.
        judge: The judge's chat model, for `"judge"`; or how it is asked.
        judge_price: Its price, for the grades' `cost`. None when the judge's requests are counted elsewhere.
        rubric: What it is to look at; a question's field `rubric` comes first.
        allow_code: Whether `"code"` may run answers' code: True in full isolation only, `"uid"` also at that lower
            level (see `sandbox.isolation`).
        code_timeout: Seconds such a run may take.

    Raises:
        CalibrationError: No such grader, or it needs what is not given.
    """
    made: dict[str, Grader] = {}

    def by_name(name: str) -> Grader:
        if name in made:
            return made[name]
        if name in GRADERS:
            grade = _simple(GRADERS[name], in_thread=name == "math")
        elif name == "code":
            grade = _code_grader(allow_code, code_timeout)
        elif name == "judge":
            grade = _judge_grader(judge, judge_price, rubric)
        else:
            raise CalibrationError(f"no grader {name!r}; there are {', '.join([*GRADERS, 'code', 'judge'])}")
        return made.setdefault(name, grade)

    main = by_name(grader) if isinstance(grader, str) else _from_callable(grader)

    async def grade(question: Question, answer: str) -> Grade:
        return await (by_name(question.grader) if question.grader else main)(question, answer)

    return grade


def grader_name(grader: GraderLike) -> str:
    """The name a grader goes by in the store."""
    return grader if isinstance(grader, str) else getattr(grader, "__qualname__", type(grader).__qualname__)


def check_reference(question: Question, grader: GraderLike, number: int) -> None:
    """Check before anything is asked that answers to the question can be graded.

    Args:
        question: The question.
        grader: The run's grader, if the question names none.
        number: Of the question, for the error.

    Raises:
        CalibrationError: Its reference is missing, or not of the kind that its grader compares with.
    """
    name = question.grader or grader
    if not isinstance(name, str) or name == "judge":
        return  # a function or a judge may do without
    try:
        if name == "code":
            if not (question.reference or any(question.data.get(field) for field in TESTS)):
                raise CalibrationError(f"has no unit tests (field {TESTS[0]})")
        elif name in GRADERS:
            for reference in _references(question):
                _CHECKS.get(name, str)(reference)
        else:
            raise CalibrationError(f"no grader {name!r}; there are {', '.join([*GRADERS, 'code', 'judge'])}")
    except CalibrationError as error:
        fields = ", ".join(question.data)
        rest = f" (further fields: {fields[:200]})" if fields else ""
        raise CalibrationError(
            f"question {number}: {error}. The grader {name!r} needs it; name the field that holds it: "
            f"--field reference=NAME{rest}"
        ) from None


# Graders by name: (question, answer) -> score


def _text(value: object) -> str:
    """Compatibility forms, case, white space and a final full stop make no difference."""
    text = unicodedata.normalize("NFKC", str(value)).casefold()
    return " ".join(text.split()).strip().rstrip(".").strip()


def _references(question: Question) -> list[Any]:
    reference = question.reference
    if reference is None:
        raise CalibrationError("the question has no reference answer")
    return list(reference) if isinstance(reference, list | tuple) else [reference]


def exact(question: Question, answer: str) -> float:
    """1 if the whole answer, or the answer extracted from it, is the reference (or one of a list of them)."""
    extracted = extract_answer(answer, question.text)
    said = {_text(answer)} | ({_text(extracted.value)} if extracted else set())
    return float(any(_text(reference) in said for reference in _references(question)))


def choice(question: Question, answer: str) -> float:
    """1 if the option chosen is the reference: its letter, its 0-based number (an integer), or its text."""
    extracted = extract_answer(answer, question.text)
    if extracted is None:
        return 0.0
    chosen = extracted.value.strip().strip("()").upper()
    for reference in _references(question):
        if isinstance(reference, int) and not isinstance(reference, bool):
            right = chr(ord("A") + reference)
        else:
            right = str(reference).strip().strip("().").upper()
            if len(right) > 1 and (letter := _letter_of(question.text, str(reference))):
                right = letter
        if chosen == right:
            return 1.0
    return 0.0


def _letter_of(question: str, option: str) -> str | None:
    for match in re.finditer(r"^\s*\(?([A-Z])[.):]\s*(.+?)\s*$", question, re.MULTILINE):
        if _text(match[2]) == _text(option):
            return match[1]
    return None


def number(question: Question, answer: str) -> float:
    """1 if the answer's number equals the reference's to a relative 1e-6. GSM8K's `#### 72` is understood."""
    extracted = extract_answer(answer, question.text)
    if extracted is None or extracted.number is None:
        return 0.0
    return float(
        any(
            math.isclose(extracted.number, _number(reference), rel_tol=1e-6, abs_tol=1e-9)
            for reference in _references(question)
        )
    )


_FRACTION = re.compile(r"[+-]?\d{1,30}\s*/\s*\d{1,30}")


def _number(reference: object) -> float:
    if isinstance(reference, int | float):
        with contextlib.suppress(OverflowError):
            return float(reference)
        raise CalibrationError("the reference is too large a number")
    text = str(reference).rsplit("####", 1)[-1].strip()
    plain = text.replace(",", "")
    with contextlib.suppress(ValueError, ArithmeticError):
        # Fraction alone would work out 1e999999999 to its last digit.
        return float(Fraction(plain)) if _FRACTION.fullmatch(plain) else float(plain)
    extracted = extract_answer(text) or extract_answer(f"Answer: {text}")
    if extracted is None or extracted.number is None:
        raise CalibrationError(f"the reference {text[:60]!r} is not a number")
    return extracted.number


def math_equal(question: Question, answer: str) -> float:
    """1 if the answer is mathematically the reference (math-verify, through voting's equivalence)."""
    extracted = extract_answer(answer, question.text)
    if extracted is None:
        return 0.0
    for reference in _references(question):
        text = str(reference).rsplit("####", 1)[-1].strip()
        right = extract_answer(text if "\\boxed" in text else f"\\boxed{{{text}}}") or Answer("text", text)
        if same(extracted, right, question.text):
            return 1.0
    return 0.0


def regex(question: Question, answer: str) -> float:
    """1 if the reference, a regular expression, is found in the answer."""
    return float(any(_pattern(reference).search(answer) for reference in _references(question)))


def contains(question: Question, answer: str) -> float:
    """1 if the answer contains the reference (every one of a list), case and white space apart."""
    return float(all(_text(reference) in _text(answer) for reference in _references(question)))


def json_equal(question: Question, answer: str) -> float:
    """1 if the answer is, or holds in a code block, JSON equal to the reference; 1 and 1.0 are equal."""
    reference = question.reference
    if isinstance(reference, str):
        with contextlib.suppress(json.JSONDecodeError):  # a bare string is its own JSON value
            reference = json.loads(reference)
    blocks = re.findall(r"```(?:json)?\s*\n(.*?)```", answer, re.DOTALL)
    for text in [answer, *reversed(blocks)]:
        try:
            return float(_same_json(json.loads(text), reference))
        except json.JSONDecodeError:
            continue
    return 0.0


def _same_json(a: object, b: object) -> bool:
    """Equality of JSON values, in which true is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same_json(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same_json, a, b))
    return a == b


def _pattern(reference: object) -> re.Pattern[str]:
    try:
        return re.compile(str(reference))
    except re.error as error:
        raise CalibrationError(f"the reference is not a regular expression: {error}") from None


_CHECKS: dict[str, Callable[[Any], object]] = {"number": _number, "regex": _pattern}
"""What else a reference must be, by grader."""

GRADERS: dict[str, Callable[[Question, str], float]] = {
    "exact": exact,
    "choice": choice,
    "number": number,
    "math": math_equal,
    "regex": regex,
    "contains": contains,
    "json": json_equal,
}
"""Graders that need nothing but question and answer."""


def _simple(function: Callable[[Question, str], float], *, in_thread: bool = False) -> Grader:
    async def grade(question: Question, answer: str) -> Grade:
        if in_thread:
            return Grade(await asyncio.to_thread(function, question, answer))
        return Grade(function(question, answer))

    return grade


# Graders that run code or ask a model


def _code_grader(allow_code: AllowCode, timeout: float) -> Grader:
    level = code_level(allow_code)
    if level is None:
        raise CalibrationError(
            "the grader 'code' runs code that models wrote: ask for it with allow_code=True (--allow-code)"
        )
    runner = CodeRunner(level, timeout)

    async def grade(question: Question, answer: str) -> Grade:
        outcome = await runner.run(*program(question, answer))
        return Grade(float(outcome.passed), outcome.detail or None)

    return grade


def _judge_grader(judge: Judge | BaseChatModel | None, price: Price | None, rubric: str | None) -> Grader:
    if judge is None:
        raise CalibrationError("the grader 'judge' needs a model: judge=... (--judge NAME of the pool)")
    asked = DirectJudge(judge) if isinstance(judge, Runnable) else judge

    async def grade(question: Question, answer: str) -> Grade:
        score, message = await judged(asked, question, answer, rubric)
        usage = message.usage_metadata
        cost = price.cost(usage["input_tokens"], usage["output_tokens"]) if price and usage else 0.0
        return Grade(score, " ".join(message.text.split())[:500], cost)

    return grade


# Any callable


def _from_callable(function: Callable[..., Any]) -> Grader:
    call = _calling_convention(function)
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - not whether it can be called, but how
    )

    async def grade(question: Question, answer: str) -> Grade:
        # A sync function may do anything: it runs in a thread.
        result = call(question, answer) if is_async else await asyncio.to_thread(call, question, answer)
        if inspect.isawaitable(result):
            result = await result
        return as_grade(result)

    return grade


def _calling_convention(function: Callable[..., Any]) -> Callable[[Question, str], Any]:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return lambda question, answer: function(answer, question.reference)
    names = set(parameters)
    if {"outputs", "reference_outputs"} & names:  # openevals
        takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        offered = {"inputs", "outputs", "reference_outputs"}
        wanted = offered if takes_all else offered & names

        def evaluator(question: Question, answer: str) -> Any:
            values = {"inputs": question.text, "outputs": answer, "reference_outputs": question.reference}
            return function(**{name: values[name] for name in wanted})

        return evaluator
    if {"run", "example"} <= names:  # LangSmith

        def run_evaluator(question: Question, answer: str) -> Any:
            run = SimpleNamespace(inputs={"input": question.text}, outputs={"output": answer})
            example = SimpleNamespace(inputs={"input": question.text}, outputs={"output": question.reference})
            return function(run, example)

        return run_evaluator
    positional = [
        p
        for p in parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]
    if len(positional) <= 1 and not any(p.kind is p.VAR_POSITIONAL for p in parameters.values()):
        return lambda question, answer: function(answer)
    if len(positional) <= 2:
        return lambda question, answer: function(answer, question.reference)
    return lambda question, answer: function(answer, question.reference, question)


def as_grade(result: object) -> Grade:
    """Read whatever a callable returned as a grade.

    Raises:
        CalibrationError: It holds no score in [0, 1].
    """
    if isinstance(result, Sequence) and not isinstance(result, str) and len(result) == 1:
        result = result[0]
    score: Any
    if isinstance(result, Mapping):
        score, note = result.get("score"), result.get("comment")
    elif isinstance(result, Grade):
        score, note = result.score, result.note
    else:
        score, note = getattr(result, "score", result), getattr(result, "comment", None)
    if hasattr(score, "item"):  # a numpy scalar
        score = score.item()
    if not isinstance(score, int | float) or not 0 <= score <= 1:
        raise CalibrationError(f"the grader returned {str(score)[:60]!r}, not a score from 0 to 1")
    cost = result.cost if isinstance(result, Grade) else 0.0
    if not 0 <= cost < math.inf:
        raise CalibrationError(f"the grader returned the cost {cost}, not US dollars")
    return Grade(float(score), None if note is None else str(note)[:500], cost)
