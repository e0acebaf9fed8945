"""Formats made of JSON objects: native, Avengers, RouterDC, LLMRouterBench."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from langchain_avengers.errors import TableError
from langchain_avengers.routing.readers.files import json_rows, lines, need, parse
from langchain_avengers.routing.rows import RowBuilder, TableData, check


def read_native(path: Path, task: str | None = None) -> TableData:
    """Native rows (`ScoreTable.from_rows`), as JSON Lines or a JSON list."""
    builder = RowBuilder()
    for where, row in json_rows(path):
        builder.add_native(where, row, task=task)
    return builder.build(str(path))


def read_avengers(path: Path, task: str | None = None) -> TableData:
    """`{query, dataset, records: {model: score}, usages?: {model: {cost}}}` of Avengers and Avengers-Pro.

    A model without a record is not measured, and one without a usage has no known cost. Other fields
    (`index`, token counts) are not kept.
    """
    builder = RowBuilder()
    for where, given in json_rows(path):
        row = need(where, given, "query", "records")
        usages = row.get("usages")
        if usages is not None and not isinstance(usages, Mapping):
            raise TableError(
                f"{where}: usages is a {type(usages).__name__}, not an object of usages by model"
            )
        costs = {}
        for model, usage in (usages or {}).items():
            if usage is not None:
                costs[model] = need(f"{where}, usages of {model!r}", usage).get("cost")
        builder.add(where, row["query"], row["records"], costs, task=task or row.get("dataset"))
    return builder.build(str(path))


def read_routerdc(path: Path, task: str | None = None, *, probabilities: bool | None = None) -> TableData:
    """RouterDC's `{question, scores}` (arXiv 2409.19886).

    The multiple-choice and MATH files (MMLU, CMMLU, ARC, C-EVAL, MATH) hold the probability of the right
    option, and 0 where the answer was wrong: there a score above 0 counts 1. The GSM8K, HumanEval and MBPP
    files hold the fraction right of ten samples, which is used as it is.

    Args:
        path: The file.
        task: The task of every row.
        probabilities: Which of the two the file is. None takes it for the first when any of its scores is not
            a multiple of 0.1.
    """
    builder = RowBuilder()
    for where, given in json_rows(path):
        row = need(where, given, "question", "scores")
        builder.add(where, row["question"], row["scores"], task=task)
    table = builder.build(str(path))
    if probabilities is None:
        tenths = table.scores * 10
        probabilities = bool((np.abs(tenths - np.rint(tenths)) > 1e-4).any())
    if not probabilities:
        return table
    right = np.where(np.isnan(table.scores), np.nan, table.scores > 0)
    return check(table.queries, table.models, right, tasks=table.tasks)


def read_llmrouterbench(paths: Sequence[Path], task: str | None = None) -> TableData:
    """Result files of LLMRouterBench, each the `records` of one model on one data set, joined into one table.

    Model and data set are the file's `model_name` and `dataset_name`, else those of its folders,
    `DATASET/SPLIT/MODEL/FILE.json`. The query is the `prompt` that was sent (`origin_query` where that is
    empty); a record whose `score` is null is not measured; the answer is `raw_output` where that is text,
    else `prediction`. As the benchmark's own loader does, demo runs are passed over, and so are older runs
    (by the time in the file's name) of the same model, data set and split; a warning says how many.
    """
    builder = RowBuilder()
    passed_over = 0
    for _, group in groupby(sorted(paths, key=lambda path: path.parent), key=lambda path: path.parent):
        newest: dict[tuple[str, ...], tuple[str, Path, object]] = {}
        for path in group:
            result = need(str(path), parse(str(path), "".join(line for _, line in lines(path))), "records")
            if result.get("demo"):
                passed_over += 1
                continue
            key, stamp = _identity(path, result), _stamp(path)
            passed_over += key in newest
            if key not in newest or stamp > newest[key][0]:
                newest[key] = (stamp, path, result["records"])
        for (dataset, split, model), (_, path, records) in newest.items():
            _add_records(builder, path, records, (dataset, split), model, task or dataset)
    if passed_over:
        said = f"{passed_over} LLMRouterBench files were not read: demo runs, or older runs of the same"
        warnings.warn(said, stacklevel=2)
    return builder.build(str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more files")


def _identity(path: Path, result: Mapping[str, Any]) -> tuple[str, ...]:
    """Data set, split and model of a result file."""
    fields = ("dataset_name", "split", "model_name")
    folders = path.absolute().parts[-4:-1]
    names = tuple(str(result.get(field) or folder) for field, folder in zip(fields, folders, strict=False))
    if len(names) < len(fields):
        raise TableError(f"{path}: field 'model_name' is missing, and no folders DATASET/SPLIT/MODEL name it")
    return names


def _stamp(path: Path) -> str:
    """The time in a result file's name, else the name: the later one sorts last."""
    found = re.search(r"\d{8}_\d{6}(?=\.json)", path.name)
    return found[0] if found else path.name


def _add_records(
    builder: RowBuilder, path: Path, records: object, source: tuple[str, str], model: str, task: str
) -> None:
    if not isinstance(records, list):
        raise TableError(f"{path}: records is a {type(records).__name__}, not a list")
    for item, given in enumerate(records, start=1):
        where = f"{path}, record {item}"
        record = need(where, given, "index", "score")
        query = _text(record.get("prompt")) or _text(record.get("origin_query"))
        answer = record.get("raw_output")
        if not isinstance(answer, str):
            answer = _text(record.get("prediction")) or None
        # the index alone does not tell rows apart: a model may be sent a prompt of its own
        key = (*source, str(record["index"]), query)
        builder.add_cell(where, key, query, model, record["score"], record.get("cost"), answer, task)


def _text(value: object) -> str:
    """A field that may be text, null, or messages, as text."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)
