# ruff: noqa: E501 - patterns side by side
"""Texts that make a careless pattern or parser slow: each is a beginning, a unit that repeats, and an end."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple


class Hostile(NamedTuple):
    """A text of any length."""

    start: str
    unit: str
    end: str

    def text(self, length: int) -> str:
        """About `length` characters of it."""
        return self.start + self.unit * max(1, length // len(self.unit)) + self.end


_STARTS = (
    "So the answer",
    "The answer is",
    "Final answer",
    "\\boxed{",
    '{"answer": ',
    "```json\n",
    "The value of x",
)
_SPACES = ("\n", " ", "\n ", "\t", " \n\n", "\r\n", "\u00a0", "* ", "\\ ", "> ")
_UNITS = (
    *("(", "[", "{", ")", "]", "}", "[[", "{{", "([{", "()", "{}", "[]", '{"a":', '{"a":[', "{'a':(", "[1,", "(1,", "{1,", '["'),
    *("\\boxed{", "\\boxed{1}", "\\frac{1}{", "\\frac{", "\\text{", "\\left(", "$", "$$", "\\(", "\\[", "\\\\", "\\", "{,}", "^{"),
    *("`", "``` ", "```\n", "```python\n", "~~~\n", "**", "*", "_", "__", "**a**", "#", "####", "#### 1\n", "> ", "- ", "1. "),
    *("1", "9", "1,", "1,000", "1.", ".1", "1 ", "1/", "1/2 ", "-1", "- ", "+", "=", "= 1 ", "1 = ", "x = ", "x=1,", "1e9 ", "1:", "12:30 "),
    *("a", "A", "A,", "A, ", "A) ", "(A) ", "A. x\n", "A and ", "B or ", "is ", "the ", "not ", "so ", "is A. ", "(A", "A is ", "option "),
    *("answer", "answer ", "answer is ", "answer:", "answer: \n", "final answer ", "final answer is ", "the value is ", "value of ", "Answer:\n"),
    *("result is ", "solution ", "correct option ", "the best answer for ", "one is ", "the equation ", "答案", "答案是", "因此", "所以", "选"),
    *("\nQuestion: ", "\nQ: ", "\n\nQ:", "\n### Instruction", "<think>", "</think>", "<answer>", "</answer>", "<answer", "<", ">", "</", "<|im_end|>"),
    *("<|channel|>final<|message|>", "[INST]", "[/INST]", "[BEGIN]", "[DONE]", "◁think▷", "\x00", "\x001\x00", "\x000", "<result> "),
    *("a: ", "a: [", "a: {", "- a\n", "a:\n  ", "| ", "|a|b|\n", "|---", "a|", "key: value\n", "answer: 1\n", "| answer | 1 |\n", '"a": 1, '),
    *("def f():\n", "def ", "x = 1\n", "import a\n", "return ", "#\n", "//", "/*", "'''", '"""', "'", '"', "\\'", '\\"', "class A:\n  "),
    *("So 1. ", "So 1, ", "1 dollars ", "$1 ", "50% ", "1 hour 2 minutes ", "3 hours and ", "one ", "seven hundred ", "½", "1½", "10^", "10^{"),
    *("yes ", "no, ", "true or false ", "Yes. No. ", "I am sorry ", "if ", "whether ", "because ", ", which ", "Check: 1. ", "Note that 1. "),
    *("!", "?", ".", ". ", "...", ",", ";", ":", "。", "，", "é", "\u200b", "😀", "\ud83d", "a\u0301", "ﬁ", "　"),
)  # fmt: skip


def cases() -> Iterator[Hostile]:
    """Every pattern."""
    for start, space in product(_STARTS[:3], _SPACES):
        yield Hostile(start, space, "5")
    for unit in _UNITS:
        yield Hostile("", unit, "")
    for start, unit in product(_STARTS[3:6], ("[", "{", "\\", '"', '{"a":', "[1,", "a: [", "1", "\n", "(")):
        yield Hostile(start, unit, "")
    yield Hostile("```yaml\na: ", "[", "\n```")
    yield Hostile("```yaml\n", "- a\n", "\n```")
    yield Hostile("```yaml\na:\n", "  b: {c: d}\n", "\n```")
    yield Hostile("", "9", "{1,2}")
    yield Hostile("[", "9", "{1,2}]")
    yield Hostile("The answer is ", "9", "{1,2}")
    yield Hostile("", "x", "\\boxed{1}")
    yield Hostile("The answer is (A", ",B", "")
    yield Hostile('{"reasoning": "', 'a "b" ', '", "answer": 1}')
    yield Hostile('{"reasoning": "', "\\(x\\)\n", '", "answer": 1}')
    yield Hostile("{", '"a": {', '"answer": 1')
