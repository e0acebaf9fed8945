"""Labelled questions from files, Hugging Face, LangSmith and published result folders, one at a time.

Every source is streamed: a million questions take no more memory than one.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_avengers.errors import CalibrationError, TableError
from langchain_avengers.routing.readers.files import json_rows, lines, parse

if TYPE_CHECKING:
    from langsmith import Client

PathLike = str | os.PathLike[str]

FIELDS: dict[str, tuple[str, ...]] = {
    "query": ("messages", "query", "question", "input", "prompt", "problem", "origin_query", "text"),
    "reference": ("reference", "answer", "target", "expected", "output", "label", "ground_truth", "solution"),
    "task": ("task", "dataset", "subject", "category"),
    "choices": ("choices", "options"),
    "grader": ("grader",),
}
"""For each part of a question the field names looked for, first hit wins."""

_ROLES = {"human": "user", "user": "user", "ai": "assistant", "assistant": "assistant", "system": "system"}


Dataset: TypeAlias = "PathLike | Iterable[Mapping[str, Any] | Question]"
"""Whatever `read_dataset` takes."""


@dataclass(frozen=True, slots=True)
class Question:
    """A labelled question.

    Attributes:
        messages: Chat messages as `{"role", "content"}`, the last one the user's.
        reference: The right answer, in whatever form the grader takes; None when the grader needs none.
        task: Name of the data set or subject.
        grader: Name of the grader for this question; None for the run's.
        data: Every further field of the source (`tests`, `entry_point`, `rubric`, ...), for graders.
    """

    messages: tuple[Mapping[str, Any], ...]
    reference: Any = None
    task: str | None = None
    grader: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Text of the last user message."""
        content = next((m["content"] for m in reversed(self.messages) if m["role"] == "user"), "")
        if isinstance(content, str):
            return content
        return "\n".join(part.get("text", "") for part in content if isinstance(part, dict))

    @property
    def query(self) -> str | list[dict[str, Any]]:
        """The question as a score table's row takes it: a text, or a list of messages."""
        if len(self.messages) == 1 and isinstance(self.messages[0]["content"], str):
            return self.text
        return [dict(message) for message in self.messages]

    def to_json(self) -> str:
        """The question as one line of JSON, keys sorted; `from_json` is the inverse."""
        parts = {
            "messages": [dict(message) for message in self.messages],
            "reference": self.reference,
            "task": self.task,
            "grader": self.grader,
            "data": dict(self.data),
        }
        return json.dumps(parts, ensure_ascii=False, sort_keys=True, default=str)

    @classmethod
    def from_json(cls, line: str) -> Question:
        """Read what `to_json` wrote."""
        parts = json.loads(line)
        return cls(**{**parts, "messages": tuple(parts["messages"])})

    def key(self) -> bytes:
        """16 bytes by which the question is known again: of what the models are asked."""
        return _digest([dict(message) for message in self.messages])

    def grading_digest(self) -> bytes:
        """16 bytes that differ when anything differs that an answer's grade depends on."""
        return _digest([self.reference, self.grader, dict(self.data)])


def _digest(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return blake2b(text.encode(), digest_size=16).digest()


def question_from(
    row: Mapping[str, Any], fields: Mapping[str, str] | None = None, *, where: str = "question"
) -> Question:
    """Make a question of a mapping.

    Args:
        row: Any mapping; see `FIELDS` for the names looked for.
        fields: Names that differ, e.g. `{"query": "Problem", "reference": "Solution"}`. A dotted name reaches
            into nested mappings.
        where: Said in errors.

    Raises:
        CalibrationError: No question in the row, or one that cannot be read as text or messages.
    """
    fields = fields or {}
    if unknown := [part for part in fields if part not in FIELDS]:
        raise CalibrationError(f"field {unknown[0]!r} cannot be mapped; these can: {', '.join(FIELDS)}")
    used: set[str] = set()

    def part(name: str) -> Any:
        if name in fields:
            value: Any = row
            for step in fields[name].split("."):
                if not isinstance(value, Mapping) or step not in value:
                    raise CalibrationError(f"{where}: has no field {fields[name]!r} (mapped to {name})")
                value = value[step]
            used.add(fields[name].split(".")[0])
            return value
        for candidate in FIELDS[name]:
            if row.get(candidate) is not None:
                used.add(candidate)
                return row[candidate]
        return None

    messages = _messages(part("query"), where)
    if choices := part("choices"):
        messages = _with_choices(messages, choices, where)
    task, grader = part("task"), part("grader")
    reference = part("reference")
    return Question(
        messages=messages,
        reference=reference,
        task=None if task is None else str(task),
        grader=None if grader is None else str(grader),
        data={str(name): value for name, value in row.items() if name not in used and value is not None},
    )


def _messages(value: Any, where: str) -> tuple[Mapping[str, Any], ...]:
    if isinstance(value, str) and value.strip():
        return ({"role": "user", "content": value},)
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise CalibrationError(f"{where}: has no question ({', '.join(FIELDS['query'])}, or map the field)")
    messages: list[Mapping[str, Any]] = []
    for message in value:
        if isinstance(message, Mapping) and "content" in message:
            role = message.get("role", message.get("type"))
        elif hasattr(message, "content") and hasattr(message, "type"):  # a LangChain message
            role, message = message.type, {"content": message.content}
        else:
            raise CalibrationError(f"{where}: a message must have role and content")
        if role not in _ROLES:
            raise CalibrationError(f"{where}: message role {role!r} is none of {', '.join(sorted(_ROLES))}")
        if not isinstance(message["content"], str | list):
            raise CalibrationError(f"{where}: a message's content must be text, or a list of content parts")
        messages.append({"role": _ROLES[role], "content": message["content"]})
    if messages[-1]["role"] != "user":
        raise CalibrationError(f"{where}: the last message must be the user's")
    return tuple(messages)


def _with_choices(
    messages: tuple[Mapping[str, Any], ...], choices: Any, where: str
) -> tuple[Mapping[str, Any], ...]:
    """Append lettered options to the last message; ARC's {"text": [...], "label": [...]} is taken too."""
    if isinstance(choices, Mapping) and "text" in choices:
        labels, texts = choices.get("label"), choices["text"]
    elif isinstance(choices, Mapping):
        labels, texts = list(choices), list(choices.values())
    else:
        labels, texts = None, choices
    if isinstance(texts, str) or not isinstance(texts, Sequence) or not 0 < len(texts) <= 26:
        raise CalibrationError(f"{where}: choices must be a list of 1 to 26 options")
    labels = labels or [chr(ord("A") + i) for i in range(len(texts))]
    options = "\n".join(f"{label}. {text}" for label, text in zip(labels, texts, strict=True))
    last = messages[-1]
    if not isinstance(last["content"], str):
        raise CalibrationError(f"{where}: choices go with a text question only")
    return (*messages[:-1], {**last, "content": f"{last['content']}\n{options}"})


def read_dataset(
    source: Dataset,
    fields: Mapping[str, str] | None = None,
    *,
    client: Client | None = None,
) -> Iterator[Question]:
    """Questions of any source, one at a time, in its order.

    Args:
        source: A `.jsonl`, `.json` or `.csv` file; a folder of LLMRouterBench results; a folder or `.parquet`
            file of a Hugging Face dataset; `"hf:NAME"`, `"hf:NAME:CONFIG@SPLIT"`; `"langsmith:NAME"`; or
            mappings.
        fields: See `question_from`.
        client: LangSmith client; made from the environment when None.

    Raises:
        CalibrationError: The source cannot be read; the message names file and line.
    """
    if not isinstance(source, str | os.PathLike):
        for number, row in enumerate(source, 1):
            yield row if isinstance(row, Question) else _checked(row, fields, f"question {number}")
        return
    name = os.fspath(source)
    if name.startswith("hf:"):
        rows = _huggingface(name.removeprefix("hf:"))
    elif name.startswith("langsmith:"):
        rows = _langsmith(name.removeprefix("langsmith:"), client)
    else:
        rows = _local(Path(name))
    empty = True
    try:
        for where, row in rows:
            empty = False
            yield _checked(row, fields, where)
    except TableError as error:  # of the readers that score tables share
        raise CalibrationError(str(error)) from None
    if empty:
        raise CalibrationError(f"{name}: holds no questions")


def _checked(row: Mapping[str, Any], fields: Mapping[str, str] | None, where: str) -> Question:
    """A question that the store can hold. A row is anyone's data, so any mistake in it is told with its place."""
    try:
        question = question_from(row, fields, where=where)
        question.to_json().encode()
    except CalibrationError:
        raise
    except UnicodeEncodeError:
        raise CalibrationError(f"{where}: holds half of a character (a lone surrogate)") from None
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
        raise CalibrationError(f"{where}: cannot be read as a question: {type(error).__name__}") from None
    return question


def _local(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if path.is_dir():
        results = sorted(file for file in path.rglob("*.json") if _is_result(file))
        return _llmrouterbench(results) if results else _huggingface(str(path))
    if not path.is_file():
        raise CalibrationError(f"{path}: no such file (Hugging Face datasets are named hf:NAME)")
    if path.suffix == ".parquet":
        return _huggingface(str(path))
    readers = {".jsonl": _jsonl, ".json": _json, ".csv": _csv}
    if path.suffix not in readers:
        raise CalibrationError(f"{path}: is neither .jsonl, .json, .csv nor .parquet")
    return readers[path.suffix](path)


def _jsonl(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for where, row in json_rows(path):
        if not isinstance(row, dict):
            raise CalibrationError(f"{where}: must be a JSON object")
        yield where, row


def _json(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    rows = _parsed(path)
    if _has_records(rows):
        yield from _llmrouterbench([path])
        return
    if not isinstance(rows, list):
        raise CalibrationError(f"{path}: must hold a list of questions")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise CalibrationError(f"{path}, item {number}: must be an object")
        yield f"{path}, item {number}", row


def _parsed(path: Path) -> Any:
    return parse(str(path), "".join(line for _, line in lines(path)))


def _csv(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(line for _, line in lines(path))
    try:
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if None in row:
                raise CalibrationError(f"{where}: has more fields than the header")
            yield where, {name: value for name, value in row.items() if value not in (None, "")}
    except csv.Error as error:
        raise CalibrationError(f"{path}, line {reader.line_num}: is not CSV: {error}") from None


def _has_records(data: object) -> bool:
    return isinstance(data, dict) and isinstance(data.get("records"), list) and "model_name" in data


def _is_result(path: Path) -> bool:
    with path.open("rb") as file:
        return b'"records"' in file.read(1 << 16)


def _llmrouterbench(paths: Sequence[Path]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each question once, though every model's result file of a data set repeats it."""
    seen: set[bytes] = set()
    for path in paths:
        data = _parsed(path)
        if not _has_records(data):
            raise CalibrationError(f"{path}: is not an LLMRouterBench result file (model_name, records)")
        for number, record in enumerate(data["records"], 1):
            if not isinstance(record, dict):
                raise CalibrationError(f"{path}: record {number}: must be an object")
            query = record.get("prompt") or record.get("origin_query")
            task = data.get("dataset_name")
            digest = blake2b(f"{task}\0{query}".encode(errors="surrogatepass"), digest_size=12).digest()
            if digest in seen:
                continue
            seen.add(digest)
            yield (
                f"{path}: record {number}",
                {"query": query, "reference": record.get("ground_truth"), "task": task},
            )


def _huggingface(name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        import datasets
    except ImportError:
        raise CalibrationError(
            f"{name}: Hugging Face datasets need the extra: pip install 'langchain-avengers[datasets]'"
        ) from None
    source, _, split = name.partition("@")
    try:
        if Path(source).is_file():
            data = datasets.load_dataset("parquet", data_files=source)
        elif (Path(source) / "dataset_info.json").exists() or (Path(source) / "dataset_dict.json").exists():
            data = datasets.load_from_disk(source)
        else:
            source, _, config = source.partition(":")
            data = datasets.load_dataset(source, config or None, split=split or None)
    except Exception as error:  # the library raises a dozen kinds
        raise CalibrationError(f"{name}: {' '.join(str(error).split())[:300]}") from None
    if isinstance(data, datasets.DatasetDict):
        if not split and len(data) > 1:
            raise CalibrationError(
                f"{name}: has the splits {', '.join(data)}; name one: {name}@{next(iter(data))}"
            )
        if split and split not in data:
            raise CalibrationError(f"{name}: has no split {split!r}; it has {', '.join(data)}")
        data = data[split or next(iter(data))]
    for number, row in enumerate(data, 1):
        yield f"{name}: row {number}", row


def _langsmith(name: str, client: Client | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    from langsmith import Client as LangSmithClient

    client = client or LangSmithClient()
    try:
        for number, example in enumerate(client.list_examples(dataset_name=name), 1):
            outputs = example.outputs or {}
            row = {**outputs, **(example.metadata or {}), **(example.inputs or {})}
            if len(outputs) == 1 and not any(candidate in row for candidate in FIELDS["reference"]):
                row["reference"] = next(iter(outputs.values()))
            row.update({"inputs": example.inputs, "outputs": outputs})  # for field maps: outputs.answer
            yield f"langsmith:{name}: example {number}", row
    except CalibrationError:
        raise
    except Exception as error:  # the client raises its own kinds and requests'
        raise CalibrationError(f"langsmith:{name}: {' '.join(str(error).split())[:300]}") from None
