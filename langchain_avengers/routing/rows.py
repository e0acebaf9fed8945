"""The parts of a score table: checking what is given, and building a table row by row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langchain_avengers.errors import TableError

Message = dict[str, Any]
"""A chat message as plain data: `role`, `content`, and whatever else the provider's format holds."""

NATIVE_FIELDS = ("query", "scores", "task", "costs", "answers", "samples", "id", "metadata")

_HUMAN = ("user", "human")
_TOLERANCE = 1e-4  # between a score that is given and the mean of its samples, which files round


class RecordedSample(NamedTuple):
    """One recorded answer of a model: its text (None where it has none) and its score (None if not graded)."""

    answer: str | None
    score: float | None


@dataclass(frozen=True, slots=True, eq=False)
class TableData:
    """What a `ScoreTable` holds; its docstring describes the fields."""

    queries: list[str]
    models: list[str]
    tasks: list[str] | None
    scores: NDArray[np.float32]
    costs: NDArray[np.float32] | None = None
    answers: NDArray[np.object_] | None = None
    messages: list[list[Message] | None] | None = None
    samples: NDArray[np.object_] | None = None

    def with_task(self, task: str) -> TableData:
        """The same with every row of the one task."""
        if not task:
            raise TableError("the task's name is empty")
        return replace(self, tasks=[task] * len(self.queries))


def check(
    queries: Sequence[str | Sequence[Any]],
    models: Sequence[str],
    scores: ArrayLike,
    *,
    tasks: Sequence[str] | None = None,
    costs: ArrayLike | None = None,
    answers: ArrayLike | None = None,
    samples: Sequence[Sequence[Any]] | None = None,
) -> TableData:
    """Check and copy the arguments of `ScoreTable`.

    Raises:
        TableError: One of them does not hold what `ScoreTable` says; names the row and the model.
    """
    names = check_names(models)
    if len(queries) == 0:
        raise TableError("the table has no rows; give at least one query")
    texts, messages = _texts(queries)
    shape = (len(texts), len(names))
    values = _matrix("scores", scores, shape, names)
    prices = None if costs is None else _matrix("costs", costs, shape, names)
    said = None if answers is None else _object_matrix("answers", answers, shape)
    if said is not None:
        for row, column in np.argwhere(said != np.array(None)).tolist():
            if not isinstance(said[row, column], str):
                kind = _kind(said[row, column])
                raise TableError(
                    f"row {row}, model {names[column]!r}: the answer is {kind}; give text, or None"
                )
    if tasks is not None:
        if len(tasks) != len(texts):
            raise TableError(f"{len(tasks)} tasks for {len(texts)} queries; give one a query, or none")
        for row, task in enumerate(tasks):
            if not isinstance(task, str) or not task:
                raise TableError(f"row {row}: task {task!r} is not a name; give every row a task, or none")
    drawn = None if samples is None else _sample_matrix(samples, shape, names)
    if drawn is not None:
        said = np.full(shape, None, dtype=object) if said is None else said
        for row, column in np.argwhere(drawn != np.array(None)).tolist():
            where, cell = f"row {row}", drawn[row, column]
            values[row, column] = _mean_score(where, names[column], cell, float(values[row, column]))
            said[row, column] = cell[0].answer if said[row, column] is None else said[row, column]
    if np.isnan(values).all():
        raise TableError(f"no score is measured in any of the {len(texts)} rows")
    return TableData(
        texts, names, None if tasks is None else list(tasks), values, prices, said, messages, drawn
    )


def join(parts: Sequence[TableData]) -> TableData:
    """The rows of several tables, one after the other; `ScoreTable.concat` says how."""
    if not parts:
        raise TableError("there is no table to concatenate")
    if len({part.tasks is None for part in parts}) == 2:
        number = next(i for i, part in enumerate(parts) if part.tasks is None)
        raise TableError(
            f"table {number} has no tasks and others have; read it with task=... or give it tasks"
        )
    models = list(dict.fromkeys(name for part in parts for name in part.models))
    shape = (sum(len(part.queries) for part in parts), len(models))

    def joined(name: str, empty: Any, dtype: Any) -> Any:
        if all(getattr(part, name) is None for part in parts):
            return None
        whole = np.full(shape, empty, dtype=dtype)
        start = 0
        for part in parts:
            if getattr(part, name) is not None:
                columns = [models.index(model) for model in part.models]
                whole[start : start + len(part.queries), columns] = getattr(part, name)
            start += len(part.queries)
        return whole

    return TableData(
        [query for part in parts for query in part.queries],
        models,
        None if parts[0].tasks is None else [task for part in parts for task in part.tasks or ()],
        joined("scores", np.nan, np.float32),
        joined("costs", np.nan, np.float32),
        joined("answers", None, object),
        [row for part in parts for row in part.messages or [None] * len(part.queries)],
        joined("samples", None, object),
    )


class RowBuilder:
    """Collects rows, or single cells, into a `TableData`; an error names the place given with the row."""

    def __init__(self) -> None:
        """Start without rows."""
        self._models: dict[str, None] = {}
        self._rows: list[_Row] = []
        self._keys: dict[Any, _Row] = {}

    def __len__(self) -> int:
        """Number of rows so far."""
        return len(self._rows)

    def add_native(self, where: str, row: object, *, task: str | None = None) -> None:
        """Add one native row (`ScoreTable.from_rows`).

        Args:
            where: The row's place, for errors: `"row 3"` or `"scores.jsonl, line 4"`.
            row: The row.
            task: The task, whatever the row says.
        """
        if not isinstance(row, Mapping):
            raise TableError(f"{where}: a row is an object with query and scores, not {_kind(row)}")
        unknown = [str(key) for key in row if key not in NATIVE_FIELDS]
        if unknown:
            raise TableError(f"{where}: unknown field {unknown[0]!r}; a row has {', '.join(NATIVE_FIELDS)}")
        if "query" not in row:
            raise TableError(f"{where}: field 'query' is missing")
        if "scores" not in row and "samples" not in row:
            raise TableError(f"{where}: field 'scores' is missing")
        self.add(
            where,
            row["query"],
            row.get("scores") if "scores" in row else {},
            row.get("costs"),
            row.get("answers"),
            task or row.get("task"),
            row.get("samples"),
        )

    def add(
        self,
        where: str,
        query: object,
        scores: object,
        costs: object = None,
        answers: object = None,
        task: object = None,
        samples: object = None,
    ) -> None:
        """Add one row: a query with its scores, costs, answers and samples by model."""
        text, messages = _text(where, query)
        if task is not None and (not isinstance(task, str) or not task):
            raise TableError(f"{where}: task is {_kind(task)}; give it as text, or leave it out")
        entry = _Row(where, text, messages, task, {}, {}, {}, {})
        given = {"scores": scores, "costs": costs, "answers": answers, "samples": samples}
        for field, by_model in given.items():
            if by_model is None and field != "scores":
                continue
            if not isinstance(by_model, Mapping):
                raise TableError(f"{where}: {field} is {_kind(by_model)}, not an object of values by model")
            for model, value in by_model.items():
                if not isinstance(model, str) or not model.strip():
                    raise TableError(
                        f"{where}: {field} has the model name {model!r}; a name is text and not empty"
                    )
                if field == "scores":
                    self._models.setdefault(model)
                    entry.scores[model] = _score(where, model, value)
                elif value is None:
                    continue
                elif field == "costs":
                    entry.costs[model] = _cost(where, model, value)
                elif field == "answers":
                    entry.answers[model] = _answer(where, model, value)
                else:
                    self._add_samples(entry, where, model, value)
        if not entry.scores:
            raise TableError(
                f"{where}: scores is empty; name each model with its score, or null where not measured"
            )
        self._rows.append(entry)

    def _add_samples(self, entry: _Row, where: str, model: str, value: object) -> None:
        drawn = _samples(where, model, value)
        if not drawn:
            return
        self._models.setdefault(model)
        entry.samples[model] = drawn
        entry.scores[model] = _mean_score(where, model, drawn, entry.scores.get(model, math.nan))
        if drawn[0].answer is not None:
            entry.answers.setdefault(model, drawn[0].answer)

    def add_cell(
        self,
        where: str,
        key: object,
        query: object,
        model: object,
        score: object,
        cost: object = None,
        answer: object = None,
        task: object = None,
        *,
        repeated: Literal["error", "max"] = "error",
    ) -> None:
        """Add one model's answer to one query; cells of the same hashable `key` make one row.

        A model that has answered the query already is an error, or has the higher of its scores.
        """
        if not isinstance(model, str) or not model.strip():
            raise TableError(f"{where}: the model is {_kind(model)}; a name is text and not empty")
        entry = self._keys.get(key)
        if entry is None:
            self.add(where, query, {model: score}, {model: cost}, {model: answer}, task)
            self._keys[key] = self._rows[-1]
            return
        text, _ = _text(where, query)
        if text != entry.query:
            raise TableError(
                f"{where}: the query is another than that of {entry.where}, which has the same id"
            )
        if model in entry.scores and repeated == "max":
            entry.scores[model] = np.nanmax([entry.scores[model], _score(where, model, score)])
            return
        if model in entry.scores:
            raise TableError(f"{where}: model {model!r} has answered this query already, at {entry.where}")
        self._models.setdefault(model)
        entry.scores[model] = _score(where, model, score)
        if cost is not None:
            entry.costs[model] = _cost(where, model, cost)
        if answer is not None:
            entry.answers[model] = _answer(where, model, answer)

    def build(self, source: str = "") -> TableData:
        """The parts of the table of what was added.

        Args:
            source: The file's name, for errors about the whole.
        """
        place = f"{source}: " if source else ""
        rows, names = self._rows, list(self._models)
        if not rows:
            raise TableError(f"{place}no rows; give at least one query")
        untasked = [row for row in rows if row.task is None]
        if untasked and len(untasked) < len(rows):
            raise TableError(
                f"{untasked[0].where}: no task, while other rows have one; give every row a task, or none"
            )
        column = {name: i for i, name in enumerate(names)}
        shape = (len(rows), len(names))
        scores = np.full(shape, np.nan, dtype=np.float32)
        costs = np.full_like(scores, np.nan)
        answers = np.full(shape, None, dtype=object)
        samples = np.full(shape, None, dtype=object)
        for number, row in enumerate(rows):
            for field, values, array in (
                ("scores", row.scores, scores),
                ("costs", row.costs, costs),
                ("answers", row.answers, answers),
                ("samples", row.samples, samples),
            ):
                for model, value in values.items():
                    if model not in column:
                        raise TableError(
                            f"{row.where}: {field} names {model!r}, which has no score in any row"
                        )
                    array[number, column[model]] = value
        if np.isnan(scores).all():
            raise TableError(f"{place}no score is measured in any of the {len(rows)} rows")
        return TableData(
            [row.query for row in rows],
            names,
            None if untasked else [row.task or "" for row in rows],
            scores,
            costs,
            answers,
            [row.messages for row in rows],
            samples,
        )


@dataclass(slots=True)
class _Row:
    where: str
    query: str
    messages: list[Message] | None
    task: str | None
    scores: dict[str, float]
    costs: dict[str, float]
    answers: dict[str, str]
    samples: dict[str, tuple[RecordedSample, ...]]


def _kind(value: object) -> str:
    if value is None:
        return "null"
    shown = repr(value)
    return f"{shown if len(shown) <= 40 else shown[:37] + '...'} ({type(value).__name__})"


def _number(value: object) -> float | None:
    """A number as a float, None as NaN; None for anything else."""
    if value is None:
        return math.nan
    if isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return None


def _score(where: str, model: str, value: object) -> float:
    score = _number(value)
    if score is None or not (math.isnan(score) or 0 <= score <= 1):
        raise TableError(
            f"{where}: the score of {model!r} is {_kind(value)}; give a number in [0, 1], or null"
        )
    return score


def _cost(where: str, model: str, value: object) -> float:
    cost = _number(value)
    if cost is None or cost < 0 or cost > np.finfo(np.float32).max:
        raise TableError(
            f"{where}: the cost of {model!r} is {_kind(value)}; give US dollars, 0 or more, or null"
        )
    return cost


def _answer(where: str, model: str, value: object) -> str:
    if not isinstance(value, str):
        raise TableError(f"{where}: the answer of {model!r} is {_kind(value)}; give text, or null")
    return value


def check_names(models: Sequence[str]) -> list[str]:
    """The model names as a list, when each is text and all differ."""
    names = list(models)
    if not names:
        raise TableError("the table has no models; give at least one")
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise TableError(f"the model name {name!r} is not text, or empty")
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise TableError(f"model {twice!r} is named twice; names must differ")
    return names


def _texts(queries: Sequence[str | Sequence[Any]]) -> tuple[list[str], list[list[Message] | None]]:
    if isinstance(queries, str):
        raise TableError("queries is one text; give a list of queries")
    pairs = [_text(f"row {number}", query) for number, query in enumerate(queries)]
    return [text for text, _ in pairs], [messages for _, messages in pairs]


def _text(where: str, query: object) -> tuple[str, list[Message] | None]:
    """A query's text, and its messages where it was given as such."""
    if isinstance(query, str):
        if not query.strip():
            raise TableError(f"{where}: query is empty")
        return query, None
    if not isinstance(query, (list, tuple)) or not query:
        raise TableError(f"{where}: query is {_kind(query)}; give text or a list of chat messages")
    messages = [_message(where, message) for message in query]
    for message in reversed(messages):
        if message["role"] in _HUMAN:
            content = message["content"]
            if isinstance(content, list):
                blocks = [block if isinstance(block, str) else block.get("text", "") for block in content]
                content = "\n".join(block for block in blocks if block)
            if not isinstance(content, str) or not content.strip():
                raise TableError(f"{where}: the last human message of query has no text")
            return content, messages
    raise TableError(f"{where}: query has no human message; give one with the role 'user'")


def _message(where: str, message: object) -> Message:
    """A message as plain data. A LangChain message is known by `type` and `content`: nothing is imported."""
    if isinstance(message, (list, tuple)) and len(message) == 2:
        message = {"role": message[0], "content": message[1]}
    elif hasattr(message, "content") and hasattr(message, "type"):
        role = {"human": "user", "ai": "assistant"}.get(message.type, message.type)
        message = {"role": role, "content": message.content}
    if (
        not isinstance(message, Mapping)
        or not isinstance(message.get("role"), str)
        or "content" not in message
    ):
        raise TableError(f"{where}: query holds {_kind(message)}; a chat message has role and content")
    return dict(message)


def _matrix(field: str, given: ArrayLike, shape: tuple[int, int], models: list[str]) -> NDArray[np.float32]:
    try:
        # out-of-range float64 values are found before the cast rounds them into range
        array = np.array(given, dtype=None if getattr(given, "dtype", None) == np.float32 else np.float64)
    except (TypeError, ValueError) as error:
        raise TableError(f"{field} is not a rectangle of numbers: {error}") from None
    if array.shape != shape:
        raise TableError(
            f"{field} has shape {array.shape}; {shape[0]} queries and {shape[1]} models need {shape}"
        )
    _refuse(field, array, np.isinf(array), models, "not finite")
    if field == "scores":
        _refuse(field, array, (array < 0) | (array > 1), models, "not in [0, 1]")
    else:
        _refuse(field, array, array < 0, models, "negative")
    with np.errstate(over="ignore"):
        cast = array.astype(np.float32)
    _refuse(field, cast, np.isinf(cast), models, "not finite")
    return cast


def _object_matrix(field: str, given: ArrayLike, shape: tuple[int, int]) -> NDArray[np.object_]:
    array = np.array(given, dtype=object)
    if array.shape != shape:
        raise TableError(
            f"{field} has shape {array.shape}; {shape[0]} queries and {shape[1]} models need {shape}"
        )
    return array


def _refuse(field: str, array: NDArray[Any], bad: NDArray[np.bool_], models: list[str], what: str) -> None:
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise TableError(f"row {row}, model {models[column]!r}: {field} is {array[row, column]:g}, {what}")


def _samples(where: str, model: str, value: object) -> tuple[RecordedSample, ...]:
    """A model's samples of one row: objects with `answer` and `score`, or pairs of the two."""
    if isinstance(value, np.ndarray):  # a column of lists, as pandas reads it from Parquet
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        raise TableError(f"{where}: the samples of {model!r} are {_kind(value)}; give a list of answers")
    drawn = []
    for item in value:
        if isinstance(item, Mapping):
            unknown = [key for key in item if key not in RecordedSample._fields]
            if unknown:
                raise TableError(
                    f"{where}: a sample of {model!r} has the unknown field {unknown[0]!r}; it has answer and score"
                )
            item = (item.get("answer"), item.get("score"))
        if not isinstance(item, (list, tuple)) or len(item) != 2:
            raise TableError(f"{where}: a sample of {model!r} is {_kind(item)}; give its answer and score")
        score = _score(where, model, item[1])
        answer = None if item[0] is None else _answer(where, model, item[0])
        drawn.append(RecordedSample(answer, None if math.isnan(score) else score))
    return tuple(drawn)


def _mean_score(where: str, model: str, drawn: tuple[RecordedSample, ...], given: float) -> float:
    """The mean of the graded samples; the given score where none is graded."""
    graded = [sample.score for sample in drawn if sample.score is not None]
    if not graded:
        return given
    mean = math.fsum(graded) / len(graded)
    if not math.isnan(given) and abs(given - mean) > _TOLERANCE:
        raise TableError(
            f"{where}: the score of {model!r} is {given:g}, and its samples have the mean {mean:g}; "
            "leave one of the two out"
        )
    return mean


def _sample_matrix(
    given: Sequence[Sequence[Any]], shape: tuple[int, int], models: list[str]
) -> NDArray[np.object_]:
    rows = [list(row) for row in given]
    if len(rows) != shape[0] or any(len(row) != shape[1] for row in rows):
        raise TableError(f"samples has not the shape {shape} of {shape[0]} queries and {shape[1]} models")
    array = np.full(shape, None, dtype=object)
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            if cell is not None:
                array[number, column] = _samples(f"row {number}", models[column], cell) or None
    return array
