"""Inputs that programs are compared on: from the question, from tests, and generated."""

from __future__ import annotations

import ast
import doctest
import itertools
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from langchain_avengers.sandbox.sandbox import Probe
from langchain_avengers.voting.extraction.text import literal
from langchain_avengers.voting.programs import Signature

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Origin = Literal["question", "caller", "written", "generated"]

MAX_WRITTEN = 200
_LINE = 2_000  # characters of a line that is looked at


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
_GIVEN = re.compile(r"\binput\s*:\s*(?P<input>.+?)\s*\n\s*output\s*:\s*(?P<output>[^\n]+)", re.I)
_SAMPLE = re.compile(
    r"(?:sample |example )?input[^\n:]{0,20}:?\s*\n+(?:```\w*\n)?(?P<input>.+?)\n?(?:```)?\s*\n+"
    r"(?:sample |example )?output[^\n:]{0,20}:?\s*\n+(?:```\w*\n)?(?P<output>.+?)(?:\n```|\n\s*\n|\Z)",
    re.I | re.S,
)


def examples(question: str | None, entry: Signature) -> list[Input]:
    """The examples of a question that asks for a function: doctests, asserts, and calls with their values."""
    if not question:
        return []
    found = [
        *_doctests(question),
        *statements(question),
        *_calls(question, entry.name),
        *_named(question, entry),
    ]
    return [Input(probe, "question") for probe in dict.fromkeys(found)]


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
    for match in re.finditer(rf"(?<![\w.>]){re.escape(name)}\(", question):
        line = question[match.start() : match.start() + _LINE].split("\n")[0]
        before = question[: match.start()].rsplit("\n", 1)[-1].lstrip()
        if before.startswith((">>>", "assert", "def ")):
            continue
        for end in (place.end() for place in re.finditer(r"\)", line)):
            if _is_call(line[:end]):
                means = re.match(_MEANS, line[end:].lstrip("`"), re.I)
                value = _leading_literal(line[end:].lstrip("`")[means.end() :]) if means else None
                if value is not None:
                    yield Probe(call=line[:end], expected=value)
                break


def _named(question: str, entry: Signature) -> Iterator[Probe]:
    """Examples such as `Input: nums = [1, 2], k = 3` and `Output: [2]`."""
    for match in _GIVEN.finditer(question):
        expected = _leading_literal(match["output"])
        try:
            call = ast.parse(f"{entry.name}({match['input'].strip('` ')})", mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        if expected is None or not isinstance(call, ast.Call):
            continue
        values = [*call.args, *(keyword.value for keyword in call.keywords)]
        if len(values) == len(entry.parameters) and all(_is_literal(ast.unparse(value)) for value in values):
            yield Probe(call=ast.unparse(call), expected=expected)


def stdin_examples(question: str | None) -> list[tuple[str, str]]:
    """The (input, output) examples of a question that asks for a program which reads standard input."""
    text = question or ""
    found = [*_SAMPLE.finditer(text)] or [*_GIVEN.finditer(text)]
    pairs = [(match["input"].strip("`\n"), match["output"].strip("`\n")) for match in found]
    return list(dict.fromkeys(pairs))


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


def generated(entry: Signature, count: int) -> list[Input]:
    """Calls of a function with values drawn by its annotations, by hypothesis; none when that is not installed.

    A parameter without an annotation gets a number, a text, a list of numbers or a list of texts in turn: which of
    them it takes is seen when the programs run.
    """
    try:
        from hypothesis import HealthCheck, Phase, given, seed, settings
        from hypothesis import strategies as st
    except ImportError:
        return []
    choices = [_strategies(annotation) for _, annotation in entry.parameters]
    combinations = list(itertools.islice(itertools.product(*choices), 64))
    if not choices or not combinations:
        return []
    each = max(2, -(-count // len(combinations)))
    drawn: dict[str, None] = {}
    quiet = settings(
        max_examples=each, database=None, deadline=None, phases=[Phase.generate], derandomize=False,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    for combination in combinations:

        def collect(values: tuple[Any, ...]) -> None:
            drawn[f"{entry.name}({', '.join(map(repr, values))})"] = None

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seed(0)(quiet(given(st.tuples(*combination))(collect)))()
    return [Input(Probe(call=call), "generated") for call in drawn]


def _strategies(annotation: ast.expr | None) -> list[SearchStrategy[Any]]:
    """What an annotation may hold; several strategies when it does not say."""
    from hypothesis import strategies as st

    known = None if annotation is None else _strategy(annotation)
    if known is not None:
        return [known]
    numbers, texts = _basic("int"), _basic("str")
    return [numbers, texts, st.lists(numbers, max_size=6), st.lists(texts, max_size=5)]


def _basic(name: str) -> SearchStrategy[Any]:
    from hypothesis import strategies as st

    words = st.text("abcdexyzABC 019.,()[]-", max_size=12)
    return {
        "int": st.integers(0, 12) | st.integers(-20, 120),
        "float": st.floats(-100, 100, width=16),
        "bool": st.booleans(),
        "str": words,
        "None": st.none(),
    }[name]


def _strategy(node: ast.expr) -> SearchStrategy[Any] | None:
    from hypothesis import strategies as st

    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            return _strategy(ast.parse(node.value, mode="eval").body)
        except (SyntaxError, ValueError):
            return None
    if isinstance(node, ast.Constant) and node.value is None:
        return st.none()
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        sides = [_strategy(node.left), _strategy(node.right)]
        return None if None in sides else st.one_of(*[side for side in sides if side is not None])
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    if name in ("int", "float", "bool", "str"):
        return _basic(name)
    if name in ("list", "List"):
        return st.lists(_basic("int"), max_size=6)
    if not isinstance(node, ast.Subscript):
        return None
    outer = node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")
    items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    inner = [_strategy(item) for item in items if not (isinstance(item, ast.Constant) and item.value is ...)]
    if any(one is None for one in inner) or not inner:
        return None
    first = inner[0]
    assert first is not None
    if outer in ("list", "List", "Sequence", "Iterable", "Collection"):
        return st.lists(first, max_size=6)
    if outer in ("set", "Set", "frozenset", "FrozenSet"):
        return st.sets(first, max_size=6)
    if outer in ("dict", "Dict", "Mapping") and len(inner) == 2:
        return st.dictionaries(first, inner[1], max_size=4)  # type: ignore[arg-type]
    if outer in ("tuple", "Tuple"):
        return st.tuples(*[one for one in inner if one is not None])
    if outer in ("Optional", "Union"):
        return st.one_of(
            *[one for one in inner if one is not None], *([st.none()] if outer == "Optional" else [])
        )
    return None
