"""What is run for an execution vote, and on which inputs; nothing is run here."""

from __future__ import annotations

import ast
import time

import pytest

from langchain_avengers.sandbox.inside.values import MAX_DEPTH, NotPlain, decode, encode
from langchain_avengers.sandbox.sandbox import same_output
from langchain_avengers.voting.probes import examples, from_statements, generated, stdin_examples, written
from langchain_avengers.voting.programs import Signature, find_entry, read_program, signatures

F = Signature("f", (("x", None),))
HEAD = 'from typing import List\n\ndef f(x: List[int]) -> int:\n    """Sum."""\n'


@pytest.mark.parametrize(
    ("text", "question", "program"),
    [
        ("```python\ndef f(x):\n    return 1\n```", None, "def f(x):\n    return 1"),
        ("def f(x):\n    return 1", "Write f.", "def f(x):\n    return 1"),
        ("    return sum(x)", HEAD, f"{HEAD}    return sum(x)"),
        ("    return sum(x)\n\nThat is all of it.", HEAD, f"{HEAD}    return sum(x)\n"),
        ("```python\n    return sum(x)\n```", HEAD, f"{HEAD}    return sum(x)"),
        ("```python\ndef f(x):\n    return 3\n```", HEAD, "def f(x):\n    return 3"),
        (
            "```python\nimport sys\ndef main():\n    print(1)\nmain()\n```",
            None,
            "import sys\ndef main():\n    print(1)\nmain()",
        ),
        ("    # I would\n    # return sum(x)", HEAD, None),
        ("    this is no code", HEAD, None),
        ("```js\nfunction f(x) { return 1 }\n```", None, None),
        ("I cannot help with that.", "Write f.", None),
        ("", None, None),
    ],
)
def test_the_program_in_a_message(text: str, question: str | None, program: str | None) -> None:
    assert read_program(text, question) == program


@pytest.mark.parametrize(
    ("question", "programs", "name"),
    [
        (HEAD, ["def g(x):\n    return 1\ndef f(x):\n    return g(x)"], "f"),
        ("Write g. assert g(1) == 2", ["def f(x):\n    return 1\ndef g(x):\n    return 2"], "g"),
        (None, ["def h(x):\n    return 1\ndef main(x):\n    return h(x)"] * 2, "main"),
        (None, ["def a(x):\n    return 1", "def b(x):\n    return 1", "def b(x):\n    return 2"], "b"),
        (None, ["print(input())", "def main():\n    print(input())\nmain()"], None),
    ],
)
def test_the_function_that_is_voted_on(question: str | None, programs: list[str], name: str | None) -> None:
    entry = find_entry(question, programs)
    assert (entry and entry.name) == name


@pytest.mark.parametrize(
    ("question", "found"),
    [
        (">>> f(1)\n2\n>>> f('a')\n'b'", [("f(1)", "2"), ("f('a')", "'b'")]),
        ("For example, f([1, 2]) == 3, and f([]) returns 0.", [("f([1, 2])", "3"), ("f([])", "0")]),
        ("f(2) ➞ 4\nf((1, 2)) => [1]\nf('x') -> 'y'", [("f(2)", "4"), ("f((1, 2))", "[1]"), ("f('x')", "'y'")]),
        ("`f(2)` should return `true`.", [("f(2)", "True")]),
        ("assert f(1) == 2\nassert f(3) is None", [("f(1)", "2"), ("f(3)", "None")]),
        ("Input: x = [1, 2]\nOutput: 3", [("f(x=[1, 2])", "3")]),
        ("def f(x): ...  # f(n) is the sum of f(n - 1) and one", []),
        ("Write f.", []),
    ],
)  # fmt: skip
def test_examples_in_a_question(question: str, found: list[tuple[str, str]]) -> None:
    probes = [one.probe for one in examples(question, F)]
    assert [(probe.call, probe.expected) for probe in probes] == found
    assert all(one.binding for one in examples(question, F))


def test_a_doctest_of_several_steps_and_of_an_error() -> None:
    text = ">>> a = [1]\n>>> f(a)\n1\n>>> f(0)\nTraceback (most recent call last):\n    ...\nValueError: no\n"
    tests = [one.probe.test or "" for one in examples(text, F)]
    assert "a = [1]" in tests[0]
    assert "assert (f(a)) == (1)" in tests[0]
    assert "except ValueError" in tests[1]


def test_pairs_of_input_and_output() -> None:
    question = "Add.\n\nSample Input 1:\n1 2\n3\n\nSample Output 1:\n6\n\nInput\n4\n\nOutput\n4\n"
    assert stdin_examples(question) == [("1 2\n3", "6"), ("4", "4")]
    assert stdin_examples("Input: 1 2\nOutput: 3") == [("1 2", "3")]


def test_of_written_tests_only_plain_assertions_are_kept_the_most_frequent_first() -> None:
    texts = [
        "assert f(1) == 2\nassert f(2) == 3, 'no'\nassert abs(f(0.5) - 1.5) < 0.1\nassert f(1) == 2",
        "1. `assert f(7) == 8`\nassert __import__('os').system('x') == f(1)\nassert f.__globals__\nassert g(1) == 1",
        "assert (lambda: f(1))()\nassert [f(i) for i in range(9)]\nassert f(2 ** 9 ** 9)\nassert True\nassert f(",
    ]
    kept = [(one.probe.call or one.probe.test, one.probe.expected) for one in written(texts, F)]
    assert kept == [("f(1)", "2"), ("f(2)", "3"), ("assert abs(f(0.5) - 1.5) < 0.1", None), ("f(7)", "8")]


def test_the_callers_tests_are_kept_as_they_are() -> None:
    probes = [
        one.probe
        for one in from_statements(["assert f(1) == 2\nassert f(2) == 3", "x = f(1)\nassert x == 2"])
    ]
    assert [probe.call for probe in probes] == ["f(1)", "f(2)", None]
    assert probes[2].test == "x = f(1)\nassert x == 2"


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [("int", int), ("str", str), ("bool", bool), ("float", float), ("List[int]", list), ("dict[str, int]", dict),
     ("Tuple[int, str]", tuple), ("'list[str]'", list), ("Set[int]", set), ("typing.List[float]", list)],
)  # fmt: skip
def test_inputs_are_drawn_by_the_annotation(annotation: str, kind: type) -> None:
    (entry,) = signatures(f"def f(x: {annotation}):\n    pass")
    calls = [one.probe.call or "" for one in generated(entry, 12)]
    assert 1 < len(calls) <= 12 or annotation == "bool"
    assert all(isinstance(eval(call, {"f": lambda x: x}), kind) for call in calls)
    assert calls == [one.probe.call for one in generated(entry, 12)]


def test_a_parameter_without_annotation_gets_values_of_several_types() -> None:
    calls = [one.probe.call or "" for one in generated(F, 20)]
    assert {type(eval(call, {"f": lambda x: x})) for call in calls} >= {int, str, list}
    assert generated(Signature("f", ()), 20) == []


def test_plain_values_survive_the_way_and_others_do_not_pass() -> None:
    class Sly(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    assert type(decode(encode(Sly(3)))) is int
    assert decode(encode({"a": [(1, 2.5), {3}, None]})) == {"a": [(1, 2.5), {3}, None]}
    deep: list[object] = []
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    for value in (object(), ast, deep):
        with pytest.raises(NotPlain):
            encode(value)
    for data in (
        ["x", 1],
        ["int", "zz"],
        [],
        ["dict", 3],
        ["set", [["list", []]]],
        {"a": 1},
        ["Fraction", "1/0"],
    ):
        with pytest.raises(NotPlain):
            decode(data)


def test_outputs_are_compared_without_white_space_at_the_ends() -> None:
    assert same_output("1 \n2\n\n", "1\n2")
    assert not same_output("1\n\n2", "1\n2")


def test_reading_takes_time_in_proportion_to_the_text() -> None:
    hostile = [
        "input\n" * 5_000, "Input: x\n" + " \n" * 10_000, "f(" * 10_000, "f()" * 5_000 + "== 1", "assert f(" * 5_000,
        ">>> f(1)\n" * 5_000, "`" * 20_000, "f(1) == " + "(" * 9_000, "f(1) == 1, " * 3_000, "output\ninput\n" * 5_000,
        "def f(x):\n" * 5_000, "    x = (\n" * 5_000, "```python\n" * 5_000,
    ]  # fmt: skip
    start = time.process_time()
    for text in hostile:
        read_program(text, HEAD)
        read_program("def f(x):\n    return 1", text)
        examples(text, F)
        stdin_examples(text)
        written([text], F)
        find_entry(text, ["def f(x):\n    return 1"])
    assert time.process_time() - start < 20  # one that grows with the square takes minutes
