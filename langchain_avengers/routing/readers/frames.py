"""Formats made of columns: CSV, RouterBench, EmbedLLM, Parquet, pandas."""

from __future__ import annotations

import ast
import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from langchain_avengers.errors import TableError
from langchain_avengers.routing.readers.files import UNREADABLE, bounded, open_bytes, parquet_library, parse
from langchain_avengers.routing.rows import RowBuilder, TableData, check

QUERY = ("query", "question", "prompt")
TASK = ("task", "dataset", "category", "eval_name")
MODEL = ("model", "model_name", "model_id")
SCORE = ("score", "label")
COST = ("cost",)
ANSWER = ("answer", "response")
NOT_KEPT = ("", "Unnamed: 0", "id", "index", "sample_id", "prompt_id", "category_id", "model_id", "metadata")
"""Column names, the first of each taken that a frame has. `NOT_KEPT` are known and passed over."""

Floats = NDArray[np.float64]
Repeated = Literal["error", "max"]

_NOTHING = ("", "nan", "na", "none", "null")


@dataclass(frozen=True)
class _Columns:
    """Which column of a frame is what."""

    query: str
    task: str | None
    scores: dict[str, str]
    costs: dict[str, str]
    answers: dict[str, str]
    model: str | None = None
    key: str | None = None
    messages: str | None = None
    samples: dict[str, str] = field(default_factory=dict)


def read_csv(path: Path, task: str | None = None) -> TableData:
    """A wide or long frame (`read_frame`) as CSV."""
    return _read_csv(path, task, columns_of)


def read_routerbench(path: Path, task: str | None = None) -> TableData:
    """RouterBench's CSV (arXiv 2403.12031).

    A column of scores a model, its answers in `MODEL|model_response` and costs in `MODEL|total_cost`, the
    task in `eval_name`. Prompts and answers are list literals: of one text mostly; several are joined by an
    empty line.
    """
    return _read_csv(path, task, _routerbench_columns, text=_literal)


def read_embedllm(path: Path, task: str | None = None) -> TableData:
    """EmbedLLM's CSV (arXiv 2410.02223), one row an answer.

    Columns `prompt_id`, `prompt`, `model_name`, `label`, `category`; `model_id` and `category_id` are not
    kept. A model that stands several times with one prompt has the highest of the labels, as in the authors'
    code.
    """
    return _read_csv(path, task, columns_of, repeated="max")


def read_parquet(path: Path, task: str | None = None) -> TableData:
    """A wide or long frame (`read_frame`) as Parquet."""
    pq = parquet_library(path)
    import pyarrow as pa

    try:
        with open_bytes(path) as file:
            frame = pq.read_table(file)
    except (*UNREADABLE, ValueError) as error:  # pyarrow's own errors are of these kinds
        raise TableError(f"{path}: not a readable Parquet file: {' '.join(str(error).split())}") from None
    names = [str(name) for name in frame.column_names]

    def numbers(name: str) -> Floats | None:
        column = frame.column(name)
        is_number = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean)
        if not any(test(column.type) for test in is_number):
            return None
        return np.asarray(column.cast(pa.float64()).to_numpy())

    return _read_columns(str(path), names, lambda name: frame.column(name).to_pylist(), numbers, task)


def read_frame(frame: Any, *, task: str | None = None) -> TableData:
    """A pandas DataFrame, wide or long.

    Wide, one row a query: a query column (`query`, `question` or `prompt`), optionally a task column (`task`,
    `dataset`, `category` or `eval_name`), scores in `score:MODEL` columns (where there is none, in every further
    column, named by its model), and optionally `cost:MODEL`, `answer:MODEL`, `samples:MODEL` (a list of
    {"answer", "score"}; not in CSV), and `messages` (a query's chat messages, as a list or as JSON).

    Long, one row an answer, where there are a model column (`model`, `model_name` or `model_id`) and a score
    column (`score` or `label`): optionally also `cost`, and `answer` or `response`. Rows of the same task, query
    and `prompt_id`, if there is one, make one row of the table.

    `id`, `index`, `sample_id`, `category_id` and `metadata` are not kept.

    Args:
        frame: The DataFrame; NaN, None and NA are "not measured".
        task: The task of every row.
    """
    from pandas.api.types import is_numeric_dtype

    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise TableError(f"frame: two columns are named {twice!r}")

    def values(name: str) -> list[Any]:
        column = frame.iloc[:, names.index(name)]
        return list(column.astype(object).where(column.notna(), None))

    def numbers(name: str) -> Floats | None:
        column = frame.iloc[:, names.index(name)]
        if not is_numeric_dtype(column.dtype):
            return None
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))

    return _read_columns("frame", names, values, numbers, task)


def write_parquet(table: TableData, file: IO[bytes]) -> None:
    """Write a table as a wide frame; `read_parquet` gives the same table back."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise TableError("Parquet needs pyarrow: pip install 'langchain-avengers[parquet]'") from None
    columns: dict[str, Any] = {"query": pa.array(table.queries, pa.string())}
    if table.tasks is not None:
        columns["task"] = pa.array(table.tasks, pa.string())
    if table.messages is not None:
        texts = [None if row is None else json.dumps(row, ensure_ascii=False) for row in table.messages]
        columns["messages"] = pa.array(texts, pa.string())
    for number, model in enumerate(table.models):
        columns[f"score:{model}"] = pa.array(table.scores[:, number], pa.float32(), from_pandas=True)
    for number, model in enumerate(table.models):
        if table.costs is not None:
            columns[f"cost:{model}"] = pa.array(table.costs[:, number], pa.float32(), from_pandas=True)
        if table.answers is not None:
            columns[f"answer:{model}"] = pa.array(table.answers[:, number].tolist(), pa.string())
        if table.samples is not None:
            kind = pa.list_(pa.struct({"answer": pa.string(), "score": pa.float64()}))
            cells = table.samples[:, number].tolist()
            drawn = [None if cell is None else [one._asdict() for one in cell] for cell in cells]
            columns[f"samples:{model}"] = pa.array(drawn, kind)
    pq.write_table(pa.table(columns), file)


def columns_of(where: str, names: Sequence[str]) -> _Columns:
    """Find out which column is what (`read_frame` has the rule).

    Raises:
        TableError: There is no query column, or no score column.
    """
    query = _first(names, QUERY)
    if query is None:
        raise TableError(f"{where}: no column named {', '.join(QUERY[:-1])} or {QUERY[-1]}")
    task, model, score = _first(names, TASK), _first(names, MODEL), _first(names, SCORE)
    if model is not None and score is not None:
        cost, answer = _first(names, COST), _first(names, ANSWER)
        key = "prompt_id" if "prompt_id" in names else None
        costs, answers = {"": cost} if cost else {}, {"": answer} if answer else {}
        return _Columns(query, task, {"": score}, costs, answers, model=model, key=key)
    prefixed = {
        kind: {name.split(":", 1)[1]: name for name in names if name.startswith(f"{kind}:")}
        for kind in ("score", "cost", "answer", "samples")
    }
    messages = "messages" if "messages" in names else None
    known = {
        query,
        task,
        messages,
        *NOT_KEPT,
        *(name for kind in prefixed.values() for name in kind.values()),
    }
    rest = [name for name in names if name not in known]
    if prefixed["score"] and rest:
        raise TableError(
            f"{where}: column {rest[0]!r} is not known; next to score:MODEL columns name it score:{rest[0]}"
        )
    scores = prefixed["score"] or {name: name for name in rest}
    if not scores:
        raise TableError(f"{where}: no column of scores; name one by each model")
    return _Columns(
        query,
        task,
        scores,
        prefixed["cost"],
        prefixed["answer"],
        messages=messages,
        samples=prefixed["samples"],
    )


def _routerbench_columns(where: str, names: Sequence[str]) -> _Columns:
    costs = {name.rsplit("|", 1)[0]: name for name in names if name.endswith("|total_cost")}
    answers = {name.rsplit("|", 1)[0]: name for name in names if name.endswith("|model_response")}
    models = [name for name in (costs or answers) if name in names]
    scores = {name: name for name in names if name in costs or name in answers}
    if "prompt" not in names or not models:
        raise TableError(
            f"{where}: RouterBench's CSV has a prompt column and a score column a model; this has not"
        )
    orphan = next((name for name in (*costs, *answers) if name not in scores), None)
    if orphan is not None:
        raise TableError(f"{where}: model {orphan!r} has costs or answers and no column of scores")
    return _Columns("prompt", _first(names, TASK), scores, costs, answers)


def _read_csv(
    path: Path,
    task: str | None,
    roles: Callable[[str, Sequence[str]], _Columns],
    *,
    text: Callable[[str], str] | None = None,
    repeated: Repeated = "error",
) -> TableData:
    builder = RowBuilder()
    limit = csv.field_size_limit(2**31 - 1)  # an answer may be longer than the 128 kB that are the default
    where = "line 0"
    try:
        with io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(bounded(path, file), strict=True)
            names = next(reader, None)
            if names is None:
                raise TableError(f"{path}: an empty file; a table has at least one row")
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise TableError(f"{path}, line 1: two columns are named {twice!r}")
            columns = roles(str(path), names)
            for values in reader:
                where = f"line {reader.line_num}"
                if not values:
                    continue
                place = f"{path}, {where}"
                if len(values) != len(names):
                    raise TableError(f"{place}: {len(values)} fields, and {len(names)} columns in the header")
                row: dict[str, Any] = dict(zip(names, values, strict=True))
                for name in (*columns.scores.values(), *columns.costs.values()):
                    row[name] = _number(place, name, row[name])
                for name in columns.answers.values():
                    row[name] = (text(row[name]) if text else row[name]) or None
                if text:
                    row[columns.query] = text(row[columns.query])
                _add(builder, place, row, columns, task, repeated)
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: not UTF-8 text, after {where}: {error.reason}") from None
    except (*UNREADABLE, csv.Error) as error:
        raise TableError(f"{path}: not readable CSV, after {where}: {error}") from None
    finally:
        csv.field_size_limit(limit)
    return builder.build(str(path))


def _read_columns(
    source: str,
    names: Sequence[str],
    values: Callable[[str], list[Any]],
    numbers: Callable[[str], Floats | None],
    task: str | None,
) -> TableData:
    """A table from columns: `values` gives one as a list, `numbers` as floats where it holds numbers, else None."""
    columns = columns_of(source, names)
    if columns.model is None and columns.messages is None:
        scores = {model: numbers(name) for model, name in columns.scores.items()}
        costs = {model: numbers(name) for model, name in columns.costs.items()}
        if all(column is not None for column in (*scores.values(), *costs.values())):
            return _wide(source, columns, values, scores, costs, task)
    used = [columns.query, columns.task, columns.model, columns.key, columns.messages]
    used += [*columns.scores.values(), *columns.costs.values(), *columns.answers.values()]
    used += columns.samples.values()
    taken = {name: values(name) for name in used if name is not None}
    builder = RowBuilder()
    for number, cells in enumerate(zip(*taken.values(), strict=True)):
        row = dict(zip(taken, cells, strict=True))
        where = f"{source}, row {number}"
        if columns.messages and row[columns.messages] is not None:
            given = row[columns.messages]
            row[columns.query] = parse(where, given) if isinstance(given, str) else list(given)
        _add(builder, where, row, columns, task, "error")
    return builder.build(source)


def _wide(
    source: str,
    columns: _Columns,
    values: Callable[[str], list[Any]],
    scores: Mapping[str, Floats | None],
    costs: Mapping[str, Floats | None],
    task: str | None,
) -> TableData:
    """A wide frame whose scores and costs are numbers, without an object a cell."""
    models = list(scores)
    queries = [query.tolist() if isinstance(query, np.ndarray) else query for query in values(columns.query)]
    unknown, unsaid = np.full(len(queries), np.nan), [None] * len(queries)
    answers = {model: values(name) for model, name in columns.answers.items()}
    samples = {model: values(name) for model, name in columns.samples.items()}
    if orphan := next((name for name in (*costs, *answers, *samples) if name not in scores), None):
        raise TableError(f"{source}: model {orphan!r} has costs, answers or samples and no column of scores")
    tasks: list[Any] = [task] * len(queries) if task or not columns.task else values(columns.task)
    said = [answers.get(model, unsaid) for model in models]
    drawn = [samples.get(model, unsaid) for model in models]
    try:
        return check(
            queries,
            models,
            np.array(list(scores.values())).T,
            tasks=tasks if any(tasks) else None,
            costs=np.array([costs.get(model, unknown) for model in models]).T if costs else None,
            answers=list(zip(*said, strict=True)) if answers else None,
            samples=list(zip(*drawn, strict=True)) if samples else None,
        )
    except TableError as error:
        raise TableError(f"{source}{', ' if str(error).startswith('row ') else ': '}{error}") from None


def _add(
    builder: RowBuilder,
    where: str,
    row: Mapping[str, Any],
    columns: _Columns,
    task: str | None,
    repeated: Repeated,
) -> None:
    query = row[columns.query]
    query = query.tolist() if isinstance(query, np.ndarray) else query
    task = task or (row[columns.task] or None if columns.task else None)
    if columns.model is None:
        scores, costs, answers, samples = (
            {model: row[name] for model, name in kind.items()}
            for kind in (columns.scores, columns.costs, columns.answers, columns.samples)
        )
        builder.add(where, query, scores, costs, answers, task, samples)
        return
    score, cost, answer = (
        row[kind[""]] if kind else None for kind in (columns.scores, columns.costs, columns.answers)
    )
    key = (task, row[columns.key] if columns.key else None, query if isinstance(query, str) else repr(query))
    builder.add_cell(where, key, query, row[columns.model], score, cost, answer, task, repeated=repeated)


def _first(names: Iterable[str], wanted: Sequence[str]) -> str | None:
    have = set(names)
    return next((name for name in wanted if name in have), None)


def _number(where: str, column: str, text: str) -> float | None:
    stripped = text.strip().lower()
    if stripped in _NOTHING:
        return None
    if stripped in ("true", "false"):
        return float(stripped == "true")
    try:
        return float(stripped)
    except ValueError:
        raise TableError(f"{where}, column {column!r}: {text[:40]!r} is not a number") from None


def _literal(text: str) -> str:
    """The text in a list literal such as `['A']`; text that is no literal is itself."""
    if not text.startswith("["):
        return text
    try:
        parts = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    if not all(isinstance(part, str) for part in parts):
        return text
    return "\n\n".join(parts)
