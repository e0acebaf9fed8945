"""Grading and embedding of very large sets as Ray Data pipelines (extra `ray`).

The very functions of the local runner, spread over a cluster: the same rows give the same table, on one worker or a
hundred. Input and output are files Ray can reach from every node (Parquet, JSONL; local, S3, ...).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from langchain_avengers._arrays import unit_rows
from langchain_avengers.calibration.graders import GraderLike, make_grader
from langchain_avengers.calibration.questions import Question
from langchain_avengers.calibration.store.results import GradedSample, native_row
from langchain_avengers.errors import CalibrationError
from langchain_avengers.routing.table import ScoreTable

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

Batch = dict[str, Any]


def answer_rows(questions: Mapping[int, Question], samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Answers as flat rows for `grade_dataset`: from questions by number, and rows of `Store.samples()`."""
    return [
        {
            "question_id": row["question_id"],
            "question": questions[row["question_id"]].to_json(),
            "model": row["model"],
            "sample_index": row["sample_index"],
            "answer": row["answer"],
            "cost": row["cost"],
        }
        for row in samples
        if row["answer"] is not None
    ]


def grade_dataset(
    data: Any, grader: GraderLike = "exact", *, workers: int = 2, batch_size: int = 256, **options: Any
) -> Any:
    """Grade a Ray dataset of answers.

    Args:
        data: A `ray.data.Dataset` with the columns of `answer_rows`.
        grader: As for `make_grader`; a callable must be importable on the workers.
        workers: Processes that grade.
        batch_size: Answers at a time.
        **options: As for `make_grader`.

    Returns:
        The dataset with a column `score`.
    """
    return data.map_batches(
        _Grade,
        fn_constructor_args=(grader, options),
        batch_size=batch_size,
        concurrency=workers,
        batch_format="numpy",
    )


def embed_dataset(
    data: Any,
    make_embeddings: Callable[[], Embeddings],
    *,
    column: str = "query",
    workers: int = 2,
    batch_size: int = 64,
) -> Any:
    """Embed a column of a Ray dataset.

    Args:
        data: A `ray.data.Dataset`.
        make_embeddings: Makes the embedder, once in each worker, e.g. `default_embeddings`.
        column: Column of texts.
        workers: Processes that embed.
        batch_size: Texts at a time.

    Returns:
        The dataset with a column `vector`, float32, L2-normalised.
    """
    return data.map_batches(
        _Embed, fn_constructor_args=(make_embeddings, column), batch_size=batch_size, concurrency=workers,
        batch_format="numpy",
    )  # fmt: skip


def table_of(graded: Any) -> ScoreTable:
    """The score table of a graded dataset, in the order of the question ids; cells are means over their samples.

    Raises:
        CalibrationError: The dataset is empty.
    """
    cells: dict[int, dict[str, list[tuple[int, GradedSample]]]] = {}
    questions: dict[int, str] = {}
    for row in graded.iter_rows():
        number = int(row["question_id"])
        questions[number] = str(row["question"])
        cost = row.get("cost")
        known = None if cost is None or np.isnan(cost) else float(cost)
        sample = GradedSample(float(row["score"]), known, str(row["answer"]))
        samples = cells.setdefault(number, {}).setdefault(str(row["model"]), [])
        samples.append((int(row["sample_index"]), sample))
    if not cells:
        raise CalibrationError("the dataset holds no graded answer")
    return ScoreTable.from_rows(
        native_row(
            Question.from_json(body),
            {
                model: [sample for _, sample in sorted(cells[number][model])]
                for model in sorted(cells[number])
            },
        )
        for number, body in sorted(questions.items())
    )


class _Grade:
    """A worker's grader: made once, then called batch by batch."""

    def __init__(self, grader: GraderLike, options: Mapping[str, Any]) -> None:
        self.grader = make_grader(grader, **options)

    def __call__(self, batch: Batch) -> Batch:
        return {**batch, "score": asyncio.run(self._scores(batch))}

    async def _scores(self, batch: Batch) -> np.ndarray[Any, Any]:
        pairs = zip(batch["question"], batch["answer"], strict=True)
        graded = [self.grader(Question.from_json(str(question)), str(answer)) for question, answer in pairs]
        return np.array([grade.score for grade in await asyncio.gather(*graded)], dtype=np.float64)


class _Embed:
    """A worker's embedder."""

    def __init__(self, make_embeddings: Callable[[], Embeddings], column: str) -> None:
        self.embeddings, self.column = make_embeddings(), column

    def __call__(self, batch: Batch) -> Batch:
        vectors = self.embeddings.embed_documents([str(text) for text in batch[self.column]])
        return {**batch, "vector": unit_rows(vectors)}
