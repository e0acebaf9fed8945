"""Grading code by its unit tests, in the sandbox."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import weakref
from collections.abc import Mapping
from typing import Any, Literal

from langchain_avengers.calibration.questions import Question
from langchain_avengers.errors import CalibrationError
from langchain_avengers.sandbox.isolation import Level, require
from langchain_avengers.sandbox.sandbox import Case, Outcome, Sandbox, Session

AllowCode = bool | Literal["uid"]
"""Whether code may be run: not at all, in full isolation, or at the lower level `"uid"` when there is none."""


TESTS = ("tests", "test", "test_list")
"""Fields of a question that hold unit tests; the first that is there is used."""


def code_level(allow_code: AllowCode) -> Level | None:
    """The level of isolation that code gets here. None: the caller has not allowed it.

    Raises:
        SandboxError: This system cannot isolate it as the caller asks for.
    """
    if allow_code is False:
        return None
    return "uid" if require("namespaces" if allow_code is True else allow_code) == "uid" else "namespaces"


class CodeRunner:
    """Runs answers and their tests, as many at once as there are cores, in jails that serve one after another.

    Args:
        level: The least isolation.
        timeout: Seconds for one answer and its tests.
    """

    def __init__(self, level: Level, timeout: float) -> None:
        self._sandbox = Sandbox(timeout=timeout, level=level)
        # More at once than there are cores, and honest programs would run out of time.
        self._slots = asyncio.Semaphore(os.cpu_count() or 1)
        self._idle: list[Session] = []
        weakref.finalize(self, _close, self._idle)

    async def run(self, code: str, tests: str | list[Case]) -> Outcome:
        """Run an answer's code and its tests, without blocking the loop."""
        async with self._slots:
            return await asyncio.to_thread(self._run, code, tests)

    def _run(self, code: str, tests: str | list[Case]) -> Outcome:
        session = self._idle.pop() if self._idle else Session(self._sandbox, require(self._sandbox.level))
        try:
            return session.test(code, tests)
        finally:
            self._idle.append(session)


def _close(sessions: list[Session]) -> None:
    for session in sessions:
        session.close()


_RUN_CASES = """
import os as _os, unittest as _unittest
_suite = _unittest.TestSuite(
    _unittest.defaultTestLoader.loadTestsFromTestCase(_case)
    for _case in list(globals().values())
    if isinstance(_case, type) and issubclass(_case, _unittest.TestCase) and _case.__module__ == __name__
)
_result = _unittest.TextTestRunner(open(_os.devnull, "w")).run(_suite)
assert _result.testsRun and _result.wasSuccessful(), (_result.failures + _result.errors or ["no test"])[0]
"""


def program(question: Question, answer: str) -> tuple[str, str | list[Case]]:
    """The Python program that an answer is, and the question's unit tests.

    Tests are the question's field `tests` (or `test`, `test_list`, or its reference): a text, or a list of
    statements such as `assert f(1) == 2`. When they define `check(candidate)`, as HumanEval's do, it is called with
    the function named by `entry_point`; when they define `unittest.TestCase`s, these are run. A list of mappings
    with `input` and `output`, or one mapping with a list of each (`inputs`, `outputs`), tests a program that reads
    standard input. The field `prompt` is put before code that lacks its head, and what the prompt defines beside the
    entry point is there for the tests.

    Raises:
        CalibrationError: The question has no tests.
    """
    blocks = re.findall(r"```(?:python|py)?[^\S\n]*\n(.*?)```", answer, re.DOTALL)
    code = max(blocks, key=len) if blocks else answer
    data = question.data
    tests = next((data[name] for name in TESTS if data.get(name)), question.reference)
    if not tests:
        raise CalibrationError("the question has no unit tests (field tests)")
    if cases := _cases(tests):
        return code, cases
    prompt, entry = str(data.get("prompt", question.text)), str(data.get("entry_point") or "")
    if entry and not re.search(rf"^\s*(?:async\s+)?(?:def|class)\s+{re.escape(entry)}\b", code, re.MULTILINE):
        code = f"{prompt}\n{code}"
    checks = tests if isinstance(tests, str) else "\n".join(map(str, tests))
    if entry:
        checks = _helpers(prompt, entry) + checks
    if entry and re.search(r"^def check\(", checks, re.MULTILINE):
        checks += f"\ncheck({entry})"
    if re.search(r"\bTestCase\b", checks):  # unittest.main() leaves by sys.exit, as who cheats does
        checks = re.sub(r"^(if __name__.*:\s*)?(unittest\.)?main\(.*\)\s*$", "", checks, flags=re.MULTILINE)
        checks += _RUN_CASES
    return code, checks


def _cases(tests: Any) -> list[Case]:
    """The cases of a program that reads standard input, if the tests are such."""
    if isinstance(tests, Mapping) and {"inputs", "outputs"} <= tests.keys():
        pairs = zip(tests["inputs"], tests["outputs"], strict=True)
        return [{"input": given, "output": expected} for given, expected in pairs]
    if isinstance(tests, list) and all(
        isinstance(t, Mapping) and {"input", "output"} <= t.keys() for t in tests
    ):
        return list(tests)
    return []


def _helpers(prompt: str, entry: str) -> str:
    """What a prompt that is Python defines beside the function that is asked for."""
    try:
        body = ast.parse(prompt).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    kinds = (ast.Import, ast.ImportFrom, ast.Assign, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return "".join(
        f"{ast.unparse(node)}\n"
        for node in body
        if isinstance(node, kinds) and getattr(node, "name", "") != entry
    )
