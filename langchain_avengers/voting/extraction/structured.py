"""JSON, YAML and Python literals in a reply: where they stand, their values, and their answer field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from langchain_avengers.voting.extraction.question import Asked
from langchain_avengers.voting.extraction.text import Block, literal

_MAX = 100_000  # characters of data that are parsed
_DATA = {"json", "json5", "jsonc", "yaml", "yml"}

_ANSWER_KEYS = (
    "finalanswer",
    "correctanswer",
    "answer",
    "correctoption",
    "selectedoption",
    "choice",
    "option",
    "solution",
    "result",
    "prediction",
    "label",
    "最终答案",
    "答案",
)
_REASON_KEYS = {
    "reasoning",
    "reason",
    "reasons",
    "explanation",
    "rationale",
    "thought",
    "thoughts",
    "thinking",
    "analysis",
    "steps",
    "stepbystep",
    "work",
    "working",
    "justification",
    "chainofthought",
    "cot",
    "confidence",
    "certainty",
    "notes",
    "comment",
    "comments",
}


def is_data(language: str) -> bool:
    """Whether a fence of this language holds data rather than code."""
    return language in _DATA


def find_data(body: str, blocks: list[Block], asked: Asked, *, keyed: bool) -> Iterator[Any]:
    """The values of the data in a reply that may hold its answer, the likeliest first: all of `body`, else its last
    fence of data, else, when `keyed`, an object at its end.
    """
    if body[0] in "{[":
        texts = [(body, "json")]
    else:
        texts = [
            (b.text, b.language or "json")
            for b in blocks
            if is_data(b.language) or (not b.language and b.text.lstrip()[:1] in ("{", "["))
        ][-1:]
        if keyed and not texts and body.endswith("}") and '"' in body:
            tail = body[-4_000:]
            texts = [(tail[m.start() :], "json") for m in list(re.finditer(r"\{", tail))[-4:]]
        elif not texts and "json" in asked.words and "{" in body:
            texts = [(body[body.find("{") : body.rfind("}") + 1], "json")]
    for text, language in texts:
        try:
            yield load_data(text, language)
        except ValueError:
            continue


def answer_field(value: Mapping[Any, Any]) -> Any:
    """What the answer field of `value` holds; `None` without one."""
    fields = {_folded(name): inner for name, inner in value.items()}
    return next((fields[key] for key in _ANSWER_KEYS if key in fields), None)


def voting_fields(value: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """`value` without the fields that hold reasoning or confidence, unless that leaves nothing."""
    return {name: inner for name, inner in value.items() if _folded(name) not in _REASON_KEYS} or value


def is_answer_field(name: object) -> bool:
    """Whether a field of this name usually holds the answer."""
    return _folded(name) in _ANSWER_KEYS


def _folded(name: object) -> str:
    return re.sub(r"[\s_-]", "", str(name)).casefold()


def load_data(text: str, language: str = "json") -> Any:
    """The value of a JSON text (or, by its tag, YAML, or a Python literal).

    Raises:
        ValueError: If it is none.
    """
    text = text.strip()
    if len(text) > _MAX:
        raise ValueError("too long")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if language in ("yaml", "yml") and not re.search(
        r"(?m)(?:^|[\s,\[{])[&*!]\w", text
    ):  # no anchors: they can explode
        import yaml

        try:
            return yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError) as error:
            raise ValueError(str(error)) from None
    value = literal(text)
    if isinstance(value, dict | list):
        return value
    raise ValueError("not a container")


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no whitespace; 1.0 is written as 1, and strings without outer whitespace.

    Raises:
        ValueError: If the value is no JSON or nests too deep.
    """
    try:
        return json.dumps(_plain_values(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except (RecursionError, TypeError) as error:
        raise ValueError(str(error)) from None


def _plain_values(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, Mapping):
        return {str(key): _plain_values(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_values(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    if hasattr(value, "model_dump"):
        return _plain_values(value.model_dump(mode="json"))
    return str(value)
