# ruff: noqa: E501 - programs are easier to read in long lines
"""The sandbox does for honest code what running it in one process would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from langchain_avengers.calibration.code import program
from langchain_avengers.calibration.questions import question_from
from langchain_avengers.calibration.runner import acalibrate
from langchain_avengers.calibration.store import Store
from langchain_avengers.errors import CalibrationError, SandboxError
from langchain_avengers.sandbox import isolation
from langchain_avengers.sandbox.sandbox import Sandbox, Session
from tests.openai_server import OpenAIServer

isolated = pytest.mark.skipif(
    isolation.isolation() != "namespaces", reason="this kernel allows no namespaces here"
)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Sandbox(timeout=20).open() as opened:
        yield opened


HONEST = {
    "a function": ("def f(x):\n    return x + 1", "assert f(1) == 2"),
    "keywords": ("def f(x, *, y=1):\n    return x + y", "assert f(1, y=5) == 6 and f(x=1) == 2"),
    "every plain type": (
        "def f(x):\n    return x",
        "import math\nfrom collections import deque\nfrom datetime import date, datetime, time, timedelta\n"
        "from decimal import Decimal\nfrom fractions import Fraction\n"
        "for x in (None, True, 3, -5.5, 1e300, float('inf'), 2 ** 200, 'ä\\ud83d', b'\\xff', bytearray(b'1'), 1 + 2j,\n"
        "          [1, [2]], (1, 2), {1, 2}, frozenset({1}), {1: 'a', (1, 2): None}, deque([1]), range(3), Fraction(1, 3),\n"
        "          Decimal('1.50'), date(2020, 1, 2), datetime(2020, 1, 2, 3), time(4), timedelta(1, 2)):\n"
        "    assert f(x) == x and type(f(x)) is type(x), x\nassert math.isnan(f(math.nan))",
    ),
    "subclasses come as their base": (
        "from collections import Counter, OrderedDict, namedtuple\nP = namedtuple('P', 'x y')\n"
        "def f():\n    return Counter('aab'), OrderedDict(a=1), P(1, 2)",
        "assert f() == ({'a': 2, 'b': 1}, {'a': 1}, (1, 2))",
    ),
    "an argument changed in place": (
        "def f(a, d, s):\n    a.sort()\n    d['k'] = 1\n    s.clear()",
        "a, d, s = [3, 1, 2], {}, {1}\nassert f(a, d, s) is None\nassert (a, d, s) == ([1, 2, 3], {'k': 1}, set())",
    ),
    "an argument left alone": ("def f(a):\n    return sorted(a)", "a = [2, 1]\nassert f(a) == [1, 2] and a == [2, 1]"),
    "a built-in error": (
        "def f(x):\n    raise ValueError(f'no {x}')",
        "try:\n    f(3)\nexcept ValueError as e:\n    assert str(e) == 'no 3'\nelse:\n    assert False",
    ),
    "an error of its own": (
        "class Bad(KeyError):\n    pass\ndef f():\n    raise Bad('x')",
        "for kind in (Bad, KeyError):\n    try:\n        f()\n    except kind:\n        pass\n    else:\n        assert False",
    ),
    "a class": (
        "class Stack:\n    def __init__(self):\n        self.items = []\n    def push(self, x):\n        self.items.append(x)\n"
        "        return self\n    def __len__(self):\n        return len(self.items)\n    def __getitem__(self, i):\n"
        "        return self.items[i]\n    def __str__(self):\n        return 'stack'",
        "s = Stack()\nassert not s\ns.push(1).push(2)\nassert len(s) == 2 and s[1] == 2 and list(s) == [1, 2]\n"
        "assert str(s) == 'stack' and s.items == [1, 2] and s == s and s != Stack()",
    ),
    "a generator": (
        "def f():\n    i = 0\n    while True:\n        yield i\n        i += 1",
        "g = f()\nassert next(g) == 0 and [next(g), next(g)] == [1, 2]\n"
        "import itertools\nassert list(itertools.islice(f(), 3)) == [0, 1, 2]",
    ),
    "a function passed in": ("def f(g, xs):\n    return [g(x) for x in xs]", "assert f(lambda x: x * 2, [1, 2]) == [2, 4]"),
    "a function handed back": ("def f(x):\n    return lambda y: x + y", "assert f(1)(2) == 3"),
    "one function's object given to another": (
        "class N:\n    v = 3\ndef make():\n    return N()\ndef read(n):\n    return n.v",
        "assert read(make()) == 3",
    ),
    "a value": ("LIMIT = 10\nTABLE = {1: [2]}", "assert LIMIT == 10 and TABLE[1] == [2]"),
    "a function named like a built-in": ("def sum(a, b):\n    return a + b", "assert sum(1, 2) == 3"),
    "a file": ("def f():\n    open('note.txt', 'w').write('x')\n    return open('note.txt').read()", "assert f() == 'x'"),
    "a few threads": (
        "import threading\ndef f():\n    out = []\n    ts = [threading.Thread(target=out.append, args=(i,)) for i in range(4)]\n"
        "    [t.start() for t in ts]\n    [t.join() for t in ts]\n    return sorted(out)",
        "assert f() == [0, 1, 2, 3]",
    ),
    "an event loop": ("import asyncio\nasync def g():\n    return 4\ndef f():\n    return asyncio.run(g())", "assert f() == 4"),
    "much of the standard library": (
        "import array, base64, bisect, calendar, csv, dataclasses, enum, hashlib, heapq, io, json, logging, queue, re, secrets,\\\n"
        "    sqlite3, ssl, statistics, struct, textwrap, timeit, urllib.parse, uuid, xml.etree.ElementTree, zlib, zoneinfo\n"
        "f = lambda: hashlib.md5(b'').hexdigest()[:4]",
        "assert f() == 'd41d'",
    ),
}  # fmt: skip


@isolated
@pytest.mark.parametrize("name", HONEST)
def test_honest_code_passes(name: str, session: Session) -> None:
    code, tests = HONEST[name]
    assert (session.test(code, tests).detail, session.test(code, tests).passed) == ("", True)


@isolated
def test_a_program_finds_nothing_of_the_one_before(session: Session) -> None:
    for _ in range(2):
        leaves = (
            "import os\nassert os.listdir('.') == []\nopen('left', 'w').close()\nimport json\njson.left = 1"
        )
        assert session.test(leaves).passed
    assert session.test("import json\nassert not hasattr(json, 'left')").passed


@isolated
def test_what_no_sandbox_can_run_fails_and_is_not_left_ungraded() -> None:
    with Sandbox(timeout=20).open() as session:
        for program in ("x" * 1_000_000, "\0", "\ud83d", "def f(:"):
            assert not session.test(program, "assert f(1) == 1").passed
            assert session.run_script(program, "").detail
        assert not session.test("x = '" + "\U0001f600" * 299_000 + "'", "assert f(1) == 1").passed


@isolated
def test_a_jail_that_ends_is_the_failure_of_the_program_in_it_alone() -> None:
    with Sandbox(timeout=20).open() as session:
        assert session.test("f = lambda x: x", "assert f(1) == 1").passed
        jail = session._jails["answers"]

        def kill() -> None:
            while jail.usable:  # until a program runs in it
                time.sleep(0.01)
            os.kill(_keeper(session), signal.SIGKILL)

        thread = threading.Thread(target=kill)
        thread.start()
        hanging = session.test("import time\ntime.sleep(100)", "assert f(1) == 1")
        thread.join()
        assert (hanging.passed, hanging.detail) == (False, "ended the sandbox")
        assert session.test("f = lambda x: x", "assert f(1) == 1").passed


def _keeper(session: Session) -> int:
    """The first process of the answers' jail, as it is seen from outside."""
    parent = session._jails["answers"]._process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return int(children[0])


@isolated
def test_every_test_has_a_verdict(session: Session) -> None:
    tests = ["assert f(1) == 1", "assert f(2) == 1", "f(", "raise SystemExit", "assert f(3) == 3"]
    failures = session.failures("f = lambda x: x", tests)
    assert [failure and failure.split(":")[0] for failure in failures] == [
        None, "AssertionError", "SyntaxError", "SystemExit", None
    ]  # fmt: skip


@isolated
def test_tests_that_cannot_be_run_from_outside_are_told_and_not_graded(session: Session) -> None:
    with pytest.raises(SandboxError, match=r"cannot be sent to the answer: T is no plain value"):
        session.test("f = lambda x: x", "class T:\n    pass\nassert f(T())")
    assert session.test("f = lambda x: x", "assert f(1) == 1").passed


PAIRS = [{"input": "2\n3\n", "output": "5"}, {"input": "4\n5", "output": "9\n"}]


@isolated
@pytest.mark.parametrize(
    ("code", "passed"),
    [
        ("print(int(input()) + int(input()))", True),
        ("import sys\nprint(sum(map(int, sys.stdin)))\nsys.exit()", True),
        ("import os\nos.write(1, b'%d\\n' % sum(map(int, os.read(0, 99).split())))\nos._exit(0)", True),
        ("print(5)", False),
        ("print(int(input()) + int(input()))\nraise ValueError", False),
        ("print(int(input()) + int(input()))\nraise SystemExit(3)", False),
        ("while True:\n    print('x' * 10000)", False),
        ("print(open('/etc/passwd').read())", False),
    ],
)
def test_programs_that_read_standard_input(code: str, passed: bool, session: Session) -> None:
    for tests in (PAIRS, {"inputs": ["2\n3\n", "4\n5"], "outputs": ["5", "9"]}):
        question = question_from({"query": "Add two numbers.", "tests": tests})
        assert session.test(*program(question, f"```python\n{code}\n```")).passed is passed


@isolated
@pytest.mark.parametrize(
    "test", ["f().startswith('ab')", "f().isdigit()", "f() <= {1}", "f().issubset({1})", "'a' in f()"]
)
def test_an_object_of_the_answers_own_is_not_asked_what_only_a_built_in_one_can_say(
    test: str, session: Session
) -> None:
    liar = "class E:\n    def __getattr__(self, name):\n        return lambda *a: True\n    __le__ = __contains__ = lambda *a: True\n"
    assert not session.test(f"{liar}def f():\n    return E()", f"assert {test}").passed


@isolated
def test_modules_that_tests_use_are_their_own(session: Session) -> None:
    test = "assert math.isclose(root(4), 2)"
    assert session.test("import math\nroot = math.sqrt", test).passed
    fake = "class math:\n    isclose = staticmethod(lambda *a: True)\ndef root(x):\n    return 0"
    assert not session.test(fake, test).passed
    assert session.test("def copy(x):\n    return x", "assert copy(3) == 3").passed


@isolated
def test_what_the_prompt_defines_is_there_for_the_tests(session: Session) -> None:
    prompt = (
        'import math\ndef poly(x):\n    return x * x - 4\n\ndef root():\n    """Find a root of poly."""\n'
    )
    question = question_from(
        {
            "query": prompt,
            "entry_point": "root",
            "test": "def check(c):\n    assert math.fabs(poly(c())) < 1e-6",
        }
    )
    assert session.test(*program(question, "    return 2.0")).passed
    assert not session.test(*program(question, "    return 3.0")).passed
    forged = "def root():\n    return 3\ndef poly(x):\n    return 0"
    assert not session.test(*program(question, forged)).passed


@isolated
async def test_a_run_over_hostile_answers_goes_on(tmp_path: Path) -> None:
    tests = ["assert double(2) == 4", "assert double(-1) == -2"]
    questions = [{"query": "Write double.", "tests": tests}, {"query": "Be bad.", "tests": tests}]
    answers = {
        "Write double.": "```python\ndef double(x):\n    return 2 * x\n```",
        "Be bad.": "import os, shutil\nshutil.rmtree('/', ignore_errors=True)\nos._exit(0)",
    }
    with OpenAIServer(reply=lambda call: answers[call.text]) as server:
        table = await acalibrate(
            {"m": server.chat_model("m")}, questions, "code", out=tmp_path, samples=2, allow_code=True
        )
    assert table.scores.tolist() == [[1.0], [0.0]]
    notes = {row["note"] for row in Store(tmp_path).samples() if row["score"] == 0}
    assert notes == {"ended before its tests did"}
    assert all("metadata" not in row for row in Store(tmp_path).rows())


def test_where_nothing_can_be_isolated_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "ways", lambda level: ())
    for level in ("namespaces", "uid"):
        with pytest.raises(CalibrationError, match="cannot be run safely here"):
            Sandbox(level=level).run("pass")  # type: ignore[arg-type]


def test_the_lower_level_has_to_be_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(isolation, "ways", lambda level: ("uid",) if level == "uid" else ())
    with pytest.raises(SandboxError, match="--code-isolation uid") as refused:
        isolation.require("namespaces")
    assert "can read every file that everyone may read" in str(refused.value)
    assert isolation.require("uid") == "uid"
    with pytest.raises(SandboxError, match="takes"):
        isolation.require("none")  # type: ignore[arg-type]


@pytest.mark.skipif(os.geteuid() != 0, reason="the lower level is root's")
def test_the_lower_level_has_no_network_either(monkeypatch: pytest.MonkeyPatch) -> None:
    if not isolation.ways("uid"):
        pytest.skip("another user cannot read this Python's standard library")
    monkeypatch.setattr(isolation, "ways", lambda level: ("uid",) if level == "uid" else ())
    assert "PermissionError" in Sandbox(level="uid").run("import socket\nsocket.socket()").detail


async def test_the_table_names_the_lower_level(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(isolation, "ways", lambda level: ("uid",) if level == "uid" else ())
    with OpenAIServer(reply=lambda call: "4") as server:
        await acalibrate(
            {"m": server.chat_model("m")},
            [{"query": "2 + 2?", "answer": "4"}],
            "exact",
            out=tmp_path,
            allow_code="uid",
        )
    assert [row["metadata"] for row in Store(tmp_path).rows()] == [{"code_isolation": "uid"}]


def test_a_bad_filter_library_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain_avengers.sandbox import filter

    filter.build.cache_clear()
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    with pytest.raises(SandboxError, match="libseccomp"):
        filter.build()


async def test_a_question_cannot_turn_the_code_grader_on() -> None:
    from langchain_avengers.calibration.graders import make_grader

    question = question_from({"query": "q", "grader": "code", "tests": "pass"})
    with pytest.raises(CalibrationError, match="allow_code"):
        await make_grader("exact")(question, "x")


def test_the_package_under_its_old_name() -> None:
    script = "from langchain_avengers.calibration.sandbox import Sandbox, Outcome, isolation"
    subprocess.run([sys.executable, "-c", script], check=True)
