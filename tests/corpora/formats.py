"""Answers inside data, in the ten formats in which models give them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator

from tests.corpora import Case

STORIES = (
    "A shop sells {a} pens a day for {b} days. How many pens does it sell?",
    "Nina has {a} boxes with {b} marbles each. How many marbles has she got?",
    "A train covers {a} km an hour. How many km does it cover in {b} hours?",
    "What is the product of {a} and {b}?",
)
REASONS = (
    "First, {a} times {b} is needed.\nThen {a} * {b} = {c}.",
    "We have \\({a} \\times {b} = {c}\\).\nSo \\frac{{{c}}}{{1}} = {c}.",
    'The text says "{a}" and "{b}", so we multiply: {a} x {b} = {c}',
    "1. Take {a}.\n2. Multiply by {b}.\n3. It's {c}: done",
    "Let x = {a}. Then x * {b} = {c}; check: {c} / {b} = {a}.",
    "{a} * {b} = {c}",
)
SHAPES = (  # how the question asks for data; `KEY` is the name of the answer's field
    "",
    'Respond in JSON:\n```json\n{{"reasoning": "<your steps>", "{key}": "<number>"}}\n```',
    'Reply with an object like\n```\n{{\n  "reasoning": "step by step",\n  "{key}": "..."\n}}\n```',
    "Give your reply as JSON with the fields reasoning and {key}.",
    'Use this schema:\n```json\n{{"type": "object", "properties": {{"reasoning": {{"type": "string"}}, "{key}":'
    ' {{"type": "string"}}}}, "required": ["{key}"]}}\n```',
)
KEYS = ("answer", "final_answer", "finalAnswer", "Answer", "result", "solution", "output", "answer")
NAMES = ("reasoning", "explanation", "steps", "thought", "rationale", "analysis")


class _Problem:
    """Numbers of one question, and what varies in its reply."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.a, self.b = rng.randint(2, 60), rng.randint(2, 40)
        self.c = self.a * self.b
        self.key, self.name = rng.choice(KEYS), rng.choice(NAMES)
        numbers = {"a": self.a, "b": self.b, "c": self.c}
        self.reason = rng.choice(REASONS).format(**numbers)
        shape = rng.choice(SHAPES).format(key=self.key)
        self.question = f"{rng.choice(STORIES).format(**numbers)}\n\n{shape}".strip()

    def value(self) -> str:
        """The answer as a field holds it, as JSON."""
        c = self.c
        forms = [f"{c}", f'"{c}"', f'"{c}.0"', f"{c}.0", f'"{c:,}"', f'"{c} pieces"', f'"{c}"', f"{c}"]
        return self.rng.choice(forms)

    def fence(self, text: str) -> str:
        """`text`, at times in a fence, at times with a line before it or after it."""
        before = self.rng.choice(
            ["", "", "Here is the solution in the requested JSON format:\n\n", "Sure!\n"]
        )
        after = self.rng.choice(["", "", "\n\nLet me know if anything is unclear!"])
        tag = self.rng.choice(["```json\n{}\n```", "```\n{}\n```", "{}", "{}"])
        return before + tag.format(text) + after if before or tag != "{}" else text


def strict_json(p: _Problem) -> str:
    fields = {p.name: p.reason, p.key: json.loads(p.value())}
    if p.rng.random() < 0.3:
        fields["confidence"] = 0.9
    return p.fence(json.dumps(fields, indent=p.rng.choice([None, 2, 4])))


def broken_json(p: _Problem) -> str:
    """Real line breaks, bare backslashes, quotes in strings, comments, single quotes, trailing commas."""
    reason, value = p.reason, p.value()
    faults = p.rng.choice(["plain", "comma", "single", "bare", "comment"])
    if faults == "single":
        return p.fence(f"{{'{p.name}': '{reason}', '{p.key}': '{p.c}'}}")
    if faults == "bare":
        return p.fence(f'{{{p.name}: "{reason}", {p.key}: {value}}}')
    end = {"comma": ",", "comment": "  // the final number"}.get(faults, "")
    return p.fence(f'{{\n  "{p.name}": "{reason}",\n  "{p.key}": {value}{end}\n}}')


def yaml_(p: _Problem) -> str:
    lines = "\n".join(f"  {line}" for line in p.reason.split("\n"))
    text = f"{p.name}: |\n{lines}\n{p.key}: {p.value()}"
    return p.rng.choice([f"```yaml\n{text}\n```", f"Here it is:\n```yml\n{text}\n```"])


def xml_tags(p: _Problem) -> str:
    tag = p.rng.choice(["answer", "final_answer", "Answer", "result", "answer"])
    inner = p.rng.choice([f"{p.c}", f"\n{p.c}\n", f" {p.c:,} ", f"{p.c} pieces", f"\\boxed{{{p.c}}}"])
    first = p.rng.choice(
        [f"<reasoning>{p.reason}</reasoning>\n", f"<thinking>\n{p.reason}\n</thinking>\n\n", ""]
    )
    text = f"{first}<{tag}>{inner}</{tag}>"
    return p.rng.choice([text, f"<response>\n{text}\n</response>", f"{p.reason}\n\n{text}"])


def markdown_table(p: _Problem) -> str:
    rows = [("Step", "Result"), ("---", "---"), ("First number", f"{p.a}"), ("Second number", f"{p.b}")]
    last = p.rng.choice(["**Answer**", "Answer", "Final answer", "**Final Answer**"])
    rows.append((last, p.rng.choice([f"{p.c}", f"**{p.c}**", f"{p.c:,}"])))
    table = "\n".join(f"| {left} | {right} |" for left, right in rows)
    return p.rng.choice([table, f"{p.reason}\n\n{table}", f"Here is the table:\n\n{table}"])


def key_lines(p: _Problem) -> str:
    reason = p.reason.replace("\n", " ")
    name, key = p.name.capitalize(), p.rng.choice(["Answer", "Final answer", "answer", "ANSWER", "Result"])
    form = p.rng.choice(["{}: {}", "**{}:** {}", "- {}: {}", "**{}**: {}"])
    return "\n".join(form.format(*pair) for pair in ((name, reason), (key, f"{p.c}")))


def latex(p: _Problem) -> str:
    c = p.rng.choice(
        [f"{p.c}", f"{p.c:,}".replace(",", "{,}"), f"{p.c}\\text{{ pieces}}", f"\\mathbf{{{p.c}}}"]
    )
    line = p.rng.choice(
        [
            *(
                "\\boxed{{{}}}",
                "$$\\boxed{{{}}}$$",
                "\\[\\text{{Answer: }} {}\\]",
                "\\textbf{{Answer:}} ${}$",
            ),
            *("\\begin{{align*}}\n\\text{{Answer}} &= {}\n\\end{{align*}}", "**Answer:** \\({}\\)"),
        ]
    )
    return f"{p.reason}\n\n{line.format(c)}"


def python_literal(p: _Problem) -> str:
    """An object as Python prints it, with tuples, lists and `None`."""
    more = p.rng.choice(
        [f"'steps': [({p.a}, {p.b}), ({p.c},)]", "'unit': None", f"'checked': True, 'inputs': ({p.a}, {p.b})"]
    )
    value = p.rng.choice([f"{p.c}", f"'{p.c}'", f"{p.c}.0"])
    text = f"{{{p.name!r}: {p.reason!r}, {more}, {p.key!r}: {value}}}"
    return p.rng.choice([text, f"```python\n{text}\n```", f"Here is the result:\n\n{text}"])


def two_objects(p: _Problem) -> str:
    """A draft, then the object that counts."""
    draft = json.dumps({p.name: "first try", p.key: p.c + 7})
    final = json.dumps({p.name: p.reason, p.key: p.c})
    join = p.rng.choice(["\n\n{}\n\n", "\n{}\n"]).format("Wait, that is wrong. Corrected:")
    if p.rng.random() < 0.5:
        return f"```json\n{draft}\n```{join}```json\n{final}\n```"
    return f"{draft}{join}{final}"


def cut_off(p: _Problem) -> str:
    """An object whose end is missing, behind its answer."""
    value = p.rng.choice([f"{p.c}", f'"{p.c}"'])
    text = p.rng.choice(
        [
            f'{{"{p.key}": {value}, "{p.name}": "We multiply {p.a} by',
            f'{{"{p.name}": "{p.a} by {p.b}", "{p.key}": {value}',
            f'{{\n  "{p.key}": {value},\n  "{p.name}": "The numbers are {p.a}, {p.b} and',
        ]
    )
    return p.rng.choice([text, f"```json\n{text}"])


FORMATS: dict[str, Callable[[_Problem], str]] = {
    "strict JSON": strict_json,
    "broken JSON": broken_json,
    "YAML": yaml_,
    "XML tags": xml_tags,
    "Markdown table": markdown_table,
    "key: value lines": key_lines,
    "LaTeX": latex,
    "Python literal": python_literal,
    "two objects": two_objects,
    "cut off": cut_off,
}


def cases(n: int = 50, seed: int = 0) -> Iterator[Case]:
    """`n` replies of every format."""
    for kind, write in FORMATS.items():
        rng = random.Random(f"{seed}{kind}")
        for _ in range(n):
            problem = _Problem(rng)
            yield Case(kind, problem.question, write(problem), str(problem.c))
