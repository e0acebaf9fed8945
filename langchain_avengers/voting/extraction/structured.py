"""Data in a reply: JSON as models write it, YAML, Python literals, tables; their values and their answer field.

Strict JSON and Python literals are read by the standard library. The rest (real line breaks and LaTeX in strings,
single quotes, comments, a missing end) is left to json-repair. Size and depth are bounded before anything is parsed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_avengers.voting.extraction.text import Block, literal

_MAX = 100_000  # characters of strict data that are parsed
_MAX_LENIENT = 20_000  # characters of broken data
_MAX_YAML = 4_000  # characters; its parser is a hundred times slower than that of JSON
_MAX_DEPTH = 40
_MAX_OBJECTS = 6  # objects in prose that are tried, from the last
_DATA = frozenset(("json", "json5", "jsonc", "jsonl", "ndjson", "yaml", "yml"))


def _names(listed: str) -> tuple[str, ...]:
    return tuple(listed.split())


# Names of fields, folded. The first hold an answer, the second do when they stand beside no other of these names.
_ANSWER_FIELDS = _names(
    "finalanswer correctanswer answer ans correctoption selectedoption correctchoice selectedchoice selectedanswer"
    " 最终答案 答案 respuesta réponse antwort resposta risposta ответ"
)
_MAYBE_FIELDS = _names(
    "choice option letter solution result finalresult output finaloutput response prediction label value finalvalue"
    " total conclusion verdict decision final selection"
)
_REASON_FIELDS = frozenset(
    _names(
        "reasoning reason reasons explanation explanations rationale thought thoughts thinking analysis steps"
        " stepbystep work working workings justification chainofthought cot confidence certainty confidencescore notes"
        " note comment comments calculation calculations derivation process scratchpad proof summary approach method"
        " question problem query reasoningsteps solutionsteps stepbystepsolution plan verification check 推理 解释 思考"
    )
)
_PURE_REASON = frozenset(
    _names(
        "reasoning rationale thought thoughts thinking chainofthought cot explanation justification stepbystep"
    )
)


def is_data(language: str) -> bool:
    """Whether a fence of this language holds data rather than code."""
    return language in _DATA


# --- where data stands --------------------------------------------------------------------------------------

_OBJECT = re.compile(r"""\{\s*+(?:["'“]|[A-Za-z_]\w{2,40}\s{0,4}:)""")
_LIST = re.compile(r"""\[\s*+["'“\[{(\d.-]""")
# a bracket in a string closed the object too early
_STRING_GOES_ON = re.compile(r"""^[^{}\n]{0,4000}["']\s*:[^{}]{0,4000}}\s*$""")
_LABELLED = re.compile(r"(?:json|output|python|result|answer)?\s*:?\s*(?=[{\[])", re.I)


def looks_like_data(text: str) -> bool:
    """Whether a text opens as an object with named fields or as a list."""
    text = text.lstrip()[:200]
    return _OBJECT.match(text) is not None or _LIST.match(text) is not None


def find_data(body: str, blocks: Sequence[Block], *, loose: bool = True) -> Iterator[Any]:
    """The values of the data in a reply, the likeliest to hold its answer first.

    Tried are: all of `body`; its fences, from the last; with `loose` the objects in its prose, from the last.

    Args:
        body: The reply.
        blocks: Its fences.
        loose: Whether objects that neither a fence nor an end of the reply bounds count as well.
    """
    texts = [
        (block.text, block.language)
        for block in reversed(blocks)
        if is_data(block.language) or looks_like_data(block.text)
    ]
    tail = body[-_MAX:] if body[:1] in ("{", "[") else body[-_MAX_LENIENT:]
    if not texts and (loose or body[:1] in ("{", "[")):
        start = _LABELLED.match(body)
        whole = body[start.end() :] if start else body
        end = _object_end(whole, 0)
        rest = whole[end:].strip()
        if whole[:1] in ("{", "[") and looks_like_data(whole) and (not rest or _STRING_GOES_ON.search(rest)):
            texts.append((whole, "json"))
        elif loose:
            texts += [(tail[begin:end], "json") for begin, end in _objects(tail)[: -_MAX_OBJECTS - 1 : -1]]
    for text, language in texts:
        try:
            yield load_data(text, language)
        except ValueError:
            continue


def _objects(text: str) -> list[tuple[int, int]]:
    """Where the outermost objects, and lists at the start of a line, begin and end."""
    spans: list[tuple[int, int]] = []
    for match in _OBJECT.finditer(text):
        if not spans or match.start() >= spans[-1][1]:
            spans.append((match.start(), _object_end(text, match.start())))
    return spans


def _object_end(text: str, start: int) -> int:
    """Where the bracket that opens at `start` closes; the end of the text when it does not. Brackets in strings
    count only in pairs, which LaTeX in them has as well.
    """
    depth = 0
    for match in _BRACKET.finditer(text, start):
        depth += 1 if match[0] in "{[" else -1
        if depth == 0:
            return match.end()
    return len(text)


_BRACKET = re.compile(r"[{}\[\]]")
_KEY_LINE = re.compile(
    r"^[ \t]{0,4}(?:[-*•]\s)?[\"'*_`]{0,3}([A-Za-z][\w -]{0,30}?)[\"'*_`]{0,3}\s?:[\"'*_`]{0,3}\s(.*)$", re.M
)
_ROW = re.compile(r"^[ \t]*+\|?([^|\n]*(?:\|[^|\n]*)+)$", re.M)
_RULE = re.compile(r"[\s|:=-]+")


def find_fields(lines: str) -> dict[str, str]:
    """The fields of a reply that is made of `key: value` lines, or of a Markdown table; else empty."""
    fields = {match[1]: match[2].strip() for match in _KEY_LINE.finditer(lines)}
    if len(fields) > 1 and len(fields) * 2 >= sum(bool(line.strip()) for line in lines.split("\n")):
        return fields
    return _table(lines) if lines.count("|") >= 4 else {}


def _table(lines: str) -> dict[str, str]:
    """The fields of the last table: its last row by the names of its columns, and its rows by their first cell."""
    rows = [
        [cell.strip().strip("*_`").strip() for cell in match[1].strip().strip("|").split("|")]
        for match in _ROW.finditer(lines)
        if not _RULE.fullmatch(match[1])
    ]
    if len(rows) < 2:
        return {}
    named = {row[0]: row[-1] for row in rows[1:] if len(row) >= 2 and row[0]}
    columns = dict(zip(rows[0], rows[-1], strict=False)) if len(rows[0]) == len(rows[-1]) else {}
    return {**named, **columns} if answer_field(named) is None else {**columns, **named}


# --- fields -------------------------------------------------------------------------------------------------


def answer_field(value: Mapping[Any, Any], wanted: Sequence[str] = (), *, strict: bool = False) -> Any:
    """The value of the field of `value` that holds the answer; `None` without one.

    Args:
        value: An object.
        wanted: Names of the fields that the question shows.
        strict: Whether only names count that say answer.
    """
    fields = {folded(name): inner for name, inner in value.items()}
    for name in _ANSWER_FIELDS:
        if name in fields:
            return fields[name]
    if len(named := [name for name in fields if "answer" in name and name not in _REASON_FIELDS]) == 1:
        return fields[named[0]]
    inner = [field for field in value.values() if isinstance(field, Mapping)]
    if len(inner) == 1 and (nested := answer_field(inner[0], strict=True)) is not None:
        return nested  # one object around it, such as the schema's own `properties`
    if strict:
        return None
    shown = [name for name in wanted if name in fields and name not in _REASON_FIELDS]
    if len(shown) == 1:
        return fields[shown[0]]
    maybe = [name for name in _MAYBE_FIELDS if name in fields]
    if len(maybe) == 1 or (maybe and "value" not in maybe and "label" not in maybe and not shown):
        return fields[maybe[0]]
    return None


def voting_fields(value: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """`value` without the fields that hold reasoning or confidence, unless that leaves nothing."""
    return {name: inner for name, inner in value.items() if folded(name) not in _REASON_FIELDS} or value


def tool_fields(arguments: Any) -> Any:
    """The arguments of a tool call without the reasoning that some models write into them."""
    if not isinstance(arguments, Mapping):
        return arguments
    kept = {name: inner for name, inner in arguments.items() if folded(name) not in _PURE_REASON}
    return kept or arguments


def folded(name: object) -> str:
    """A field's name without case, spaces, underscores and hyphens."""
    return re.sub(r"[\s_-]", "", str(name)).casefold()


# --- values -------------------------------------------------------------------------------------------------

# LaTeX commands whose first letters JSON would take for an escape
_COMMAND = re.compile(
    r"(?<!\\)\\(?=(?:b(?:eta|ar|ig|inom|egin|f|oxed|ullet)|f(?:rac|orall|box)|n(?:eq?|abla|ot|u)|r(?:ight|ho|m|angle)|"
    r"t(?:ext\w*|imes|heta|an|au|o|riangle|frac|herefore))(?![a-z]))"
)
# a value to the end of its line without the quotes that it needs: `"answer": 3 * 6 = 18`
_BARE_VALUE = re.compile(
    r"""(["']\w{1,40}["']\s{0,4}:\s{0,4})(?!-?\d[\d.]*\s*[,}\]\n]|true\b|false\b|null\b|None\b|True\b|False\b)"""
    r"""([^\s"'\[{(][^\n"']{0,200}?)(\s{0,4},?\s{0,4}(?:\n|}\s*$))"""
)


def load_data(text: str, language: str = "json") -> Any:
    """The value of JSON, strict or as models write it, of a Python literal or, by its tag, of YAML.

    Raises:
        ValueError: If it is none of them, or too long or too deep.
    """
    text = text.strip()
    if len(text) > _MAX or _deep(text):
        raise ValueError("too long or too deep")
    if language in ("yaml", "yml"):
        return _load_yaml(text)
    try:
        return json.loads(_COMMAND.sub(r"\\\\", text) if "\\" in text else text, strict=False)
    except (ValueError, RecursionError):
        pass
    if text[:1] not in ("{", "["):
        raise ValueError("not a container")
    try:
        value = literal(text)
    except ValueError:
        value = _repair(text)
    if isinstance(value, dict | list):
        return value
    raise ValueError("not a container")


def _repair(text: str) -> Any:
    if len(text) > _MAX_LENIENT or not looks_like_data(text):
        raise ValueError("too long to be repaired")
    import json_repair

    text = _BARE_VALUE.sub(r'\1"\2"\3', text)
    try:
        return json_repair.loads(_COMMAND.sub(r"\\\\", text) if "\\" in text else text, skip_json_loads=True)
    except (ValueError, RecursionError, IndexError) as error:
        raise ValueError(str(error)) from None


def _load_yaml(text: str) -> Any:
    # no anchors: they can explode
    if len(text) > _MAX_YAML or re.search(r"(?m)(?:^|[\s,\[{])[&*!]\w", text):
        raise ValueError("too long, or with anchors")
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(str(error)) from None


def _deep(text: str) -> bool:
    """Whether brackets nest deeper than any answer."""
    if text.count("{") + text.count("[") + text.count("(") <= _MAX_DEPTH:
        return False
    depth = 0
    for match in re.finditer(r"[\[\](){}]", text):
        depth = depth + 1 if match[0] in "[({" else max(depth - 1, 0)
        if depth > _MAX_DEPTH:
            return True
    return False


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
    if isinstance(value, set | frozenset):
        return sorted((_plain_values(inner) for inner in value), key=str)
    if value is None or isinstance(value, bool | int | float):
        return value
    if hasattr(value, "model_dump"):
        return _plain_values(value.model_dump(mode="json"))
    return str(value)
