"""Inputs that programs are compared on: from the question, from tests, and generated."""

from __future__ import annotations

import ast
import doctest
import itertools
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langchain_avengers.sandbox.sandbox import Probe
from langchain_avengers.voting.extraction.text import literal
from langchain_avengers.voting.programs import Signature

Origin = Literal["question", "caller", "written", "generated"]

MAX_WRITTEN = 200
_LINE = 500  # characters of a line that is looked at
_QUESTION = 20_000  # characters of a question that is looked at
_EXAMPLES = 50  # read from a question


@dataclass(frozen=True, slots=True)
class Input:
    """A probe, and where it comes from."""

    probe: Probe
    origin: Origin

    @property
    def binding(self) -> bool:
        """Whether a program that fails it is wrong: the question's own examples and the caller's tests."""
        return self.origin in ("question", "caller")


def statements(text: str) -> Iterator[Probe]:
    """Every `assert` of a text that is one line's statement, wherever it stands."""
    for line in text.split("\n"):
        line = re.sub(r"^\s*(?:[-*>]\s+|\d+[.)]\s+)?`{0,3}", "", line[:_LINE]).rstrip("` \t")
        if line.startswith("assert"):
            try:
                (node,) = ast.parse(line).body
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
            if isinstance(node, ast.Assert):
                yield from_assert(node)


def from_assert(node: ast.Assert) -> Probe:
    """An assertion as a probe; of `f(1) == 2` also the value of the call is told."""
    test = node.test
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.Is):
        left, right = test.left, test.comparators[0]
        if not isinstance(left, ast.Call):
            left, right = right, left
        if isinstance(left, ast.Call) and isinstance(left.func, ast.Name):
            return Probe(call=ast.unparse(left), expected=ast.unparse(right))
    return Probe(test=f"assert {ast.unparse(test)}")


# --- the question's own examples ------------------------------------------------------------------------------

_MEANS = r"\s*(?:==|=>|=|-+>|➞|→|⇒|returns?|should (?:return|be|equal)|gives|is|#\s*(?:=>|->)?)\s*`?"
_INPUT = re.compile(r"(?:sample |example )?input(?: ?\d{1,3})?\s?:?\s?(?P<rest>.*)", re.I)
_OUTPUT = re.compile(r"(?:sample |example )?output(?: ?\d{1,3})?\s?:?\s?(?P<rest>.*)", re.I)


def examples(question: str | None, entry: Signature) -> list[Input]:
    """The examples of a question that asks for a function: doctests, asserts, and calls with their values."""
    if not question:
        return []
    text = question[-_QUESTION:]
    ways = (_doctests(text), statements(text), _calls(text, entry.name), _named(text, entry))
    found = dict.fromkeys(itertools.islice(itertools.chain(*ways), _EXAMPLES))
    return [Input(probe, "question") for probe in found]


def from_statements(texts: Sequence[str]) -> list[Input]:
    """The caller's tests: each text is one test, unless it is lines of assertions alone."""
    found: list[Probe] = []
    for text in texts:
        lines = [line for line in text.split("\n") if line.strip()]
        single = list(statements(text))
        found += single if len(single) == len(lines) else [Probe(test=text)]
    return [Input(probe, "caller") for probe in found]


def _doctests(question: str) -> Iterator[Probe]:
    try:
        parsed = doctest.DocTestParser().get_examples(question)
    except ValueError:
        return
    before = ""
    for example in parsed:
        source = example.source.strip()
        if example.exc_msg is not None:
            kind = re.match(r"(\w+)", example.exc_msg)
            yield Probe(
                test=f"{before}try:\n    {source}\nexcept {kind[1] if kind else 'Exception'}:\n    pass\nelse:\n"
                "    raise AssertionError('no error')"
            )
        elif example.want.strip():
            want = example.want.strip()
            expected = want if _is_literal(want) else None
            if expected and not before:
                yield Probe(call=source, expected=expected)
            elif expected:
                yield Probe(test=f"{before}assert ({source}) == ({expected})")
            else:
                yield Probe(test=f"{before}assert str({source}) == {want!r} or repr({source}) == {want!r}")
        else:
            before += f"{source}\n"


def _calls(question: str, name: str) -> Iterator[Probe]:
    """Calls such as `f(1, 2) ➞ 3`."""
    for match in itertools.islice(re.finditer(rf"(?<![\w.>]){re.escape(name)}\(", question), _EXAMPLES):
        line = question[match.start() : match.start() + _LINE].split("\n")[0]
        before = question[: match.start()].rsplit("\n", 1)[-1].lstrip()
        if before.startswith((">>>", "assert", "def ")):
            continue
        for end in [place.end() for place in re.finditer(r"\)", line)][:_EXAMPLES]:
            if _is_call(line[:end]):
                means = re.match(_MEANS, line[end:].lstrip("`"), re.I)
                value = _leading_literal(line[end:].lstrip("`")[means.end() :]) if means else None
                if value is not None:
                    yield Probe(call=line[:end], expected=value)
                break


def _named(question: str, entry: Signature) -> Iterator[Probe]:
    """Examples such as `Input: nums = [1, 2], k = 3` and `Output: [2]`."""
    for given, told in _pairs(question):
        expected = _leading_literal(told[:_LINE])
        try:
            call = ast.parse(f"{entry.name}({given[:_LINE].strip('` ')})", mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        if expected is None or not isinstance(call, ast.Call):
            continue
        values = [*call.args, *(keyword.value for keyword in call.keywords)]
        if len(values) == len(entry.parameters) and all(_is_literal(ast.unparse(value)) for value in values):
            yield Probe(call=ast.unparse(call), expected=expected)


def stdin_examples(question: str | None) -> list[tuple[str, str]]:
    """The (input, output) examples of a question that asks for a program which reads standard input."""
    return list(dict.fromkeys(_pairs((question or "")[-_QUESTION:])))[:_EXAMPLES]


def _pairs(question: str) -> Iterator[tuple[str, str]]:
    """Texts headed "Input" and "Output" that follow each other; a heading stands on its line, or before its text."""
    given: list[str] = []
    told: list[str] = []
    part: list[str] | None = None
    for line in [*question.split("\n"), "Input"]:
        heading = line.strip().strip("*#` ")
        if (match := _INPUT.fullmatch(heading)) or (given and (match := _OUTPUT.fullmatch(heading))):
            first = _INPUT.fullmatch(heading) is not None
            if first:
                if given and told:
                    yield "\n".join(given).strip("`\n"), "\n".join(told).strip("`\n")
                given, told = [], []
            part = given if first else told
            part += [match["rest"]] if match["rest"] else []
        elif part is told and told and not line.strip():
            part = None  # what follows the output is explained
        elif part is not None and not line.startswith("```"):
            part += [line] if line.strip() or part else []


def _is_call(text: str) -> bool:
    try:
        return isinstance(ast.parse(text, mode="eval").body, ast.Call)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _is_literal(text: str) -> bool:
    try:
        literal(text)
    except ValueError:
        return False
    return True


_ENDS = re.compile(r"$|[`*.,;:)]*(?:$|\s+#|\s+(?!or\b)[A-Za-z(]|,\s|\s{2,})|`")
_SPELLED = {"true": "True", "false": "False", "null": "None"}


def _leading_literal(text: str) -> str | None:
    """The longest Python literal that a line starts with, when what follows it is no part of an expression."""
    text = text.strip().lstrip("`*").strip()
    for match in sorted(_ENDS.finditer(text), key=lambda match: -match.start())[:50]:
        start = text[: match.start()].rstrip(".,;: ")
        value = _SPELLED.get(start, start)
        if value and _is_literal(value):
            return value
    return None


# --- tests that a model writes --------------------------------------------------------------------------------

_PLAIN = (
    ast.Assert, ast.Compare, ast.Call, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set,
    ast.UnaryOp, ast.USub, ast.UAdd, ast.Not, ast.BoolOp, ast.And, ast.Or, ast.BinOp, ast.Add, ast.Sub, ast.Div,
    ast.cmpop, ast.Subscript, ast.Slice, ast.keyword,
)  # fmt: skip
_FUNCTIONS = {
    "abs", "all", "any", "bool", "dict", "float", "frozenset", "int", "isinstance", "len", "list", "max", "min",
    "round", "set", "sorted", "str", "sum", "tuple",
}  # fmt: skip


def written(texts: Sequence[str], entry: Signature) -> list[Input]:
    """The tests in what a model wrote: single assertions about the function, on plain values.

    Nothing else is run of it: whatever else a test could do, it could also do to the verdicts on other tests. The
    most frequent come first.
    """
    counts: dict[Probe, int] = {}
    for text in texts:
        for probe in statements(text):
            source = probe.test or f"assert {probe.call} == {probe.expected}"
            if _is_plain(ast.parse(source), entry.name):
                counts[probe] = counts.get(probe, 0) + 1
    most = sorted(counts, key=lambda probe: -counts[probe])
    return [Input(probe, "written") for probe in most[:MAX_WRITTEN]]


def _is_plain(tree: ast.Module, entry: str) -> bool:
    nodes = [node for statement in tree.body for node in ast.walk(statement)]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    calls = [node.func for node in nodes if isinstance(node, ast.Call)]
    return (
        all(isinstance(node, _PLAIN) for node in nodes)
        and entry in names
        and names <= {entry, *_FUNCTIONS}
        and all(isinstance(function, ast.Name) for function in calls)
    )


# --- generated inputs -----------------------------------------------------------------------------------------

Draw = Callable[[random.Random], Any]
_TEXTS = (
    "",
    "a",
    "abc",
    "Hello World",
    "level",
    "a1b22c",
    "(()) ()",
    "one two three",
    "1,2;3",
    "AbBa",
    "3.14",
    "xyzzy",
)
_LETTERS = "abcdexyzABC 0123.,-()[]"


def generated(entry: Signature, count: int) -> list[Input]:
    """Calls of a function with values drawn by its annotations, the same at every call.

    A parameter without a known annotation gets numbers, texts, lists of numbers and lists of texts: which of them it
    takes is seen when the programs run.
    """
    combinations = list(
        itertools.islice(itertools.product(*(_draws(one) for _, one in entry.parameters)), 64)
    )
    if not entry.parameters or not combinations:
        return []
    rng = random.Random(0)
    calls: dict[str, None] = {}
    for _ in range(max(2, -(-count // len(combinations)))):
        for draws in combinations:
            calls[f"{entry.name}({', '.join(repr(draw(rng)) for draw in draws)})"] = None
    return [Input(Probe(call=call), "generated") for call in calls]


def _draws(annotation: ast.expr | None) -> list[Draw]:
    """How to draw what an annotation may hold; several ways when it does not say."""
    known = None if annotation is None else _draw_of(annotation)
    return [known] if known else [_integer, _text, _list_of(_integer), _list_of(_text)]


def _integer(rng: random.Random) -> int:
    return rng.choice((rng.randint(0, 3), rng.randint(0, 12), rng.randint(-20, 120)))


def _number(rng: random.Random) -> float:
    return round(rng.choice((rng.uniform(0, 5), rng.uniform(-100, 100))), 2)


def _text(rng: random.Random) -> str:
    some = "".join(rng.choices(_LETTERS, k=rng.randint(1, 12)))
    return rng.choice((rng.choice(_TEXTS), some))


def _list_of(draw: Draw) -> Draw:
    return lambda rng: [draw(rng) for _ in range(rng.randint(0, 6))]


_SIMPLE: dict[str, Draw] = {
    "int": _integer, "float": _number, "str": _text, "bool": lambda rng: rng.random() < 0.5,
    "list": _list_of(_integer), "List": _list_of(_integer),
}  # fmt: skip


def _draw_of(node: ast.expr) -> Draw | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            return _draw_of(ast.parse(node.value, mode="eval").body)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
    if isinstance(node, ast.Constant) and node.value is None:
        return lambda rng: None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _one_of([_draw_of(node.left), _draw_of(node.right)])
    if not isinstance(node, ast.Subscript):
        return _SIMPLE.get(_name(node))
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    found = [_draw_of(part) for part in parts if not (isinstance(part, ast.Constant) and part.value is ...)]
    inner = [draw for draw in found if draw is not None]
    if len(inner) < len(found) or not inner:
        return None
    outer = _name(node.value)
    if outer in ("list", "List", "Sequence", "Iterable", "Collection"):
        return _list_of(inner[0])
    if outer in ("set", "Set", "frozenset", "FrozenSet"):
        return lambda rng: set(_list_of(inner[0])(rng))
    if outer in ("dict", "Dict", "Mapping") and len(inner) == 2:
        return lambda rng: {inner[0](rng): inner[1](rng) for _ in range(rng.randint(0, 4))}
    if outer in ("tuple", "Tuple"):
        return lambda rng: tuple(draw(rng) for draw in inner)
    if outer in ("Optional", "Union"):
        return _one_of([*inner, *([lambda rng: None] if outer == "Optional" else [])])
    return None


def _one_of(draws: Sequence[Draw | None]) -> Draw | None:
    known = [draw for draw in draws if draw is not None]
    return (lambda rng: rng.choice(known)(rng)) if len(known) == len(draws) else None


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
