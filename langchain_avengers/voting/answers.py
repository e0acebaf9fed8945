r"""The answer in a model's message, as one canonical `Answer`.

`extract_answer` tries the rules of `extraction.rules` in order: an answer field of JSON or YAML, `\boxed{...}`,
"Answer: X" in many wordings and languages, a letter when the question offers lettered options, a final number,
code, a short text, prose. The question, when given, tells which rules make sense.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from langchain_core.messages import AIMessage

from langchain_avengers.voting.extraction.answer import Answer
from langchain_avengers.voting.extraction.choices import conclude_choice, read_choice
from langchain_avengers.voting.extraction.code import read_code
from langchain_avengers.voting.extraction.picking import number_answer
from langchain_avengers.voting.extraction.quantity import find_numbers, plain_math
from langchain_avengers.voting.extraction.question import Asked, read_question
from langchain_avengers.voting.extraction.rules import free_answer, read_reply
from langchain_avengers.voting.extraction.spans import choice_answer, read_data, read_span
from langchain_avengers.voting.extraction.stated import stated_answer
from langchain_avengers.voting.extraction.structured import (
    answer_field,
    canonical_json,
    find_data,
    load_data,
    tool_fields,
)
from langchain_avengers.voting.extraction.text import bare, boxed, cut_off, normal_form, plain, split_fences

__all__ = ["EXTRACTORS", "Answer", "extract_answer", "extract_message"]

_MAX_TEXT = 200_000  # characters; of a longer text the end is read
_MAX_CACHED = (
    200  # characters of a text whose answer is kept: samples of one question mostly repeat each other
)


def extract_answer(text: str, question: str | None = None, *, kind: str | None = None) -> Answer | None:
    """Read the answer out of `text`.

    Args:
        text: The model's text. Reasoning in `<think>` tags and the like is left out.
        question: The question it answers. Lettered options, units and the kind of answer are read from it.
        kind: Read an answer of this kind only: a key of `EXTRACTORS`.

    Returns:
        The answer, or `None` when the text holds none that could be voted on (it abstains): it is empty,
        only reasons, breaks off in the middle, says that it does not know, or picks none of the question's
        options.

    Raises:
        KeyError: If `kind` is not in `EXTRACTORS`.

    Example:
        >>> extract_answer("Half of 84 is 42, so **Answer:** $42.00").value
        '42'
    """
    if kind is not None:
        return EXTRACTORS[kind](text, question)
    return _read_short(text, question) if len(text) <= _MAX_CACHED else _read(text, question)


def _read(text: str, question: str | None) -> Answer | None:
    return read_reply(text[-_MAX_TEXT:], read_question(question))


_read_short = lru_cache(maxsize=4096)(_read)


def extract_message(message: AIMessage, question: str | None = None) -> Answer | None:
    """Read the answer of a message: its tool calls, its structured output, else its text.

    A message that the token limit cut off abstains, unless its final answer was already complete: a closed
    `\\boxed{...}`, or a final-answer line with more text after it. A message stopped by a content filter
    abstains.
    """
    if message.tool_calls or message.invalid_tool_calls:
        try:
            calls = [
                *([call["name"], tool_fields(call["args"])] for call in message.tool_calls),
                *(
                    [call["name"], tool_fields(load_data(call["args"] or ""))]
                    for call in message.invalid_tool_calls
                ),
            ]
            return Answer("tool_calls", f"[{','.join(sorted(canonical_json(call) for call in calls))}]")
        except ValueError:
            return None
    ended = ending(message.response_metadata)
    if ended == "filtered":
        return None
    parsed = message.additional_kwargs.get("parsed")
    if parsed is not None:
        return read_data(parsed, read_question(question))
    text = str(message.text)
    return _truncated(text, question) if ended == "truncated" else extract_answer(text, question)


_TRUNCATED = {"length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"}
_FILTERED = {"content_filter", "safety", "refusal", "recitation"}


def ending(metadata: Mapping[str, Any]) -> str:
    """How the message ended: `"truncated"`, `"filtered"`, or empty for a usual end."""
    if not metadata:
        return ""
    reason = metadata.get("finish_reason") or metadata.get("stop_reason") or metadata.get("done_reason") or ""
    if not reason and isinstance(details := metadata.get("incomplete_details"), Mapping):
        reason = details.get("reason") or ""
    reason = str(reason).casefold()
    return "truncated" if reason in _TRUNCATED else "filtered" if reason in _FILTERED else ""


def _truncated(text: str, question: str | None) -> Answer | None:
    """The answer of a text that the token limit cut off, if the answer is complete."""
    asked = read_question(question)
    body = bare(text[-_MAX_TEXT:])
    if asked.options and (letter := re.fullmatch(r"\W*([A-Za-z])[\s).:\]]*", body)):
        return choice_answer(read_choice(letter[1].upper(), asked.options))
    prose, blocks = split_fences(body)
    for value in find_data(body, blocks):
        # the last field may be cut off, those before it are complete
        complete = dict(list(value.items())[:-1]) if isinstance(value, dict) else {}
        if answer_field(complete, asked.fields) is not None:
            return read_data(complete, asked)
    if (inner := boxed(prose)) is not None and not cut_off(prose):
        return read_span(inner, asked)
    lines = plain(prose).rpartition("\n")[0]
    return stated_answer(lines, [], asked) if lines.strip() else None


# --- extractors by name -------------------------------------------------------------------------------------


def _only(*kinds: str) -> Callable[[str, str | None], Answer | None]:
    def extract(text: str, question: str | None = None) -> Answer | None:
        answer = extract_answer(text, question)
        return answer if answer is not None and answer.kind in kinds else None

    return extract


def extract_choice(text: str, question: str | None = None) -> Answer | None:
    """The letter a text chooses, also where the question offers none that could be read."""
    answer = extract_answer(text, question)
    if answer is None or answer.kind == "choice":
        return answer
    letters = {chr(code): "" for code in range(ord("A"), ord("K"))}
    options = read_question(question).options or letters
    return choice_answer(conclude_choice(plain(split_fences(bare(text[-_MAX_TEXT:]))[0]), options))


def extract_number(text: str, question: str | None = None) -> Answer | None:
    """The number a text answers with: that of its explicit answer, else the last one in it."""
    asked = Asked(number=True, percent=read_question(question).percent)
    body = bare(text[-_MAX_TEXT:])
    answer = read_reply(text[-_MAX_TEXT:], asked)
    if answer is not None and answer.kind == "number":
        return answer
    numbers = list(find_numbers(plain_math(plain(body[-_MAX_TEXT:]))))
    return number_answer(numbers[-1], asked) if numbers else None


def extract_code(text: str, question: str | None = None) -> Answer | None:
    """The code of a text."""
    body = bare(text[-_MAX_TEXT:])
    entries = read_question(question).entries
    return read_code(*split_fences(body), Asked(code=True, entries=entries)) if body else None


def extract_json(text: str, question: str | None = None) -> Answer | None:
    """The JSON (or fenced YAML) of a text, all of it, in canonical form."""
    body = bare(text[-_MAX_TEXT:])
    if not body:
        return None
    blocks = [(block.text, block.language or "json") for block in split_fences(body)[1]]
    for data, language in [(body, "json"), *reversed(blocks)]:
        try:
            return Answer("json", canonical_json(load_data(data, language)))
        except ValueError:
            continue
    return None


def extract_text(text: str, question: str | None = None) -> Answer | None:
    """The whole answer as a string in normal form: no reading of letters or numbers."""
    body = normal_form(plain(bare(text[-_MAX_TEXT:])))
    return Answer("text", body) if body else None


def extract_free(text: str, question: str | None = None) -> Answer | None:
    """The whole answer as prose."""
    return free_answer(bare(text[-_MAX_TEXT:]))


EXTRACTORS: dict[str, Callable[[str, str | None], Answer | None]] = {
    "choice": extract_choice,
    "number": extract_number,
    "math": _only("math", "number", "list"),
    "list": _only("list"),
    "code": extract_code,
    "json": extract_json,
    "text": extract_text,
    "free": extract_free,
}
"""Extractors by the kind they read, for a caller who knows what is asked."""
