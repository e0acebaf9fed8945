"""ScoreTable: how well each model did on each query."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langchain_avengers._arrays import known_mean
from langchain_avengers._files import replacing
from langchain_avengers.errors import TableError
from langchain_avengers.routing.rows import (
    Message,
    RecordedSample,
    RowBuilder,
    TableData,
    check,
    check_names,
    join,
)

if TYPE_CHECKING:
    from langsmith import Client

PathLike = str | os.PathLike[str]

_OPTIONAL: dict[str, Callable[[Any], Any]] = {
    "costs": lambda costs: not np.isnan(costs).all(),
    "answers": lambda answers: (answers != np.array(None)).any(),
    "samples": lambda samples: (samples != np.array(None)).any(),
    "messages": lambda messages: any(row is not None for row in messages),
}
"""Parts a table may lack, with the test that one holds something."""


@dataclass(frozen=True, init=False, eq=False, repr=False)
class ScoreTable:
    """Queries by models, with the score of every answer that was graded. Immutable.

    A cell that was not measured is NaN, never 0. A row may be unmeasured as a whole (every answer to it
    failed), and so may a model; a table in which nothing was measured is an error. The same query may stand
    in several rows: each row counts.

    Args:
        queries: Query texts. A query may be a list of chat messages (dicts with `role` and `content`,
            `(role, content)` pairs, or LangChain messages); its text is then that of the last human message.
        models: Model names, all different.
        scores: Shape (n_queries, n_models), in [0, 1]; NaN or None where not measured.
        tasks: The task (data set, subject) of each query.
        costs: Same shape as `scores`, US dollars per answer, not negative; NaN where not known.
        answers: Same shape as `scores`, the models' answers as text; None where there is none.
        samples: Same shape as `scores`, several answers of a model to one query: None, or a list of (answer, score)
            pairs or of mappings with these two. An answer without text and a score that is not known are None. The
            cell's score is then the mean of its samples' scores, and its answer the first one's, where none is given.

    Attributes:
        queries: List of n_queries texts.
        models: List of n_models names.
        tasks: List of n_queries names, or None.
        scores: float32, read-only, shape (n_queries, n_models).
        costs: float32, read-only, same shape; None where no cost is known.
        answers: Object array of `str | None`, read-only, same shape; None where no answer is recorded.
        messages: For each query the chat messages it was given as, or None; None where no query was given so.
        samples: Object array of `tuple[RecordedSample, ...] | None`, read-only, same shape; None where no cell has
            samples. `recorded` gives the answers of a cell whether they stand here or in `answers`.

    Raises:
        TableError: Something above does not hold. The message names the row and the model.

    Example:
        >>> table = ScoreTable(["7 + 5?", "Capital of Peru?"], ["small", "large"], [[1, 1], [0, None]])
        >>> table.scores[1].tolist()
        [0.0, nan]
    """

    queries: list[str]
    models: list[str]
    tasks: list[str] | None
    scores: NDArray[np.float32]
    costs: NDArray[np.float32] | None
    answers: NDArray[np.object_] | None
    messages: list[list[Message] | None] | None
    samples: NDArray[np.object_] | None

    def __init__(
        self,
        queries: Sequence[str | Sequence[Any]],
        models: Sequence[str],
        scores: ArrayLike,
        *,
        tasks: Sequence[str] | None = None,
        costs: ArrayLike | None = None,
        answers: ArrayLike | None = None,
        samples: Sequence[Sequence[Any]] | None = None,
    ) -> None:
        """Check and copy what is given; the class's docstring says what."""
        data = check(queries, models, scores, tasks=tasks, costs=costs, answers=answers, samples=samples)
        self._set(data)

    def _set(self, data: TableData) -> None:
        for field in fields(TableData):
            value = getattr(data, field.name)
            # "nothing known" has one form, None, so that equal tables stay equal through files and selections
            if field.name in _OPTIONAL and value is not None and not _OPTIONAL[field.name](value):
                value = None
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            object.__setattr__(self, field.name, value)

    @classmethod
    def _of(cls, data: TableData) -> ScoreTable:
        """A table of parts that are valid; the arrays must be this table's own."""
        table = object.__new__(cls)
        table._set(data)
        return table

    def _data(self) -> TableData:
        return TableData(*(getattr(self, field.name) for field in fields(TableData)))

    # -- reading and writing

    @classmethod
    def read(
        cls,
        path: PathLike | Sequence[PathLike],
        *,
        format: str = "auto",
        task: str | None = None,
        probabilities: bool | None = None,
    ) -> ScoreTable:
        """Read a file, a list of files, or a folder; the formats are those of `readers.FORMATS`.

        Args:
            path: Where. Files of a list or folder are read in the order given (a folder's by name) and
                joined by `concat`. `.gz` files are read as what they hold.
            format: A name in `readers.FORMATS`; `"auto"` finds it from the content.
            task: The task of every row. Otherwise it is what the row says, else the file's name without
                `train` or `test` (`gsm8k-train.json` and `gsm8k-test.json` are both `gsm8k`). A single
                native, CSV or Parquet file without tasks stays without.
            probabilities: RouterDC files only: whether the scores are probabilities of the right option, so
                that a score above 0 means right and counts 1. None decides file by file:
                `readers.read_routerdc` has the rule.

        Raises:
            TableError: A file cannot be read, its format is not known, or a row is wrong. Names file, line,
                field.
        """
        from langchain_avengers.routing.readers import read

        return cls._of(read(path, format=format, task=task, probabilities=probabilities))

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]]) -> ScoreTable:
        """Build a table from native rows.

        Args:
            rows: Mappings with `query` (text or chat messages), `scores` ({model: number}), and optionally
                `task`, `costs` ({model: dollars}), `answers` ({model: text}), `samples` ({model: list of
                {"answer": text, "score": number}}). A missing model or None is "not measured". A model with samples
                needs no score: it is their mean. `id` and `metadata` are taken and not kept; any other key is an
                error. Either every row has a task or none has.

        Raises:
            TableError: A row is wrong; names it by its number, from 0, and the field.
        """
        builder = RowBuilder()
        for number, row in enumerate(rows):
            builder.add_native(f"row {number}", row)
        return cls._of(builder.build())

    @classmethod
    def from_pandas(cls, frame: Any, *, task: str | None = None) -> ScoreTable:
        """Build a table from a pandas DataFrame, wide or long.

        Wide: one row a query; a column `query`, optionally `task`, one column of scores a model (named by
        the model, or `score:MODEL`), and optionally `cost:MODEL` and `answer:MODEL`. Long: one row an
        answer; columns `query`, `model`, `score`, optionally `task`, `cost`, `answer`. `readers.read_frame`
        lists other spellings taken.

        Args:
            frame: The DataFrame.
            task: The task of every row; otherwise the `task` column's, if there is one.

        Raises:
            TableError: A column is missing or holds something else; names the row by its number, from 0.
        """
        from langchain_avengers.routing.readers import read_frame

        return cls._of(read_frame(frame, task=task))

    @classmethod
    def from_langsmith(
        cls,
        project: str,
        *,
        feedback_key: str,
        client: Client | None = None,
        limit: int | None = None,
    ) -> ScoreTable:
        """Build a table from traced runs with feedback; `readers.read_langsmith` says how runs become rows.

        Args:
            project: Name of the LangSmith project.
            feedback_key: The feedback that is the score, in [0, 1].
            client: LangSmith client; by default one from the environment.
            limit: At most so many runs, the newest.
        """
        from langchain_avengers.routing.readers import read_langsmith

        return cls._of(read_langsmith(project, feedback_key=feedback_key, client=client, limit=limit))

    def rows(self) -> Iterator[dict[str, Any]]:
        """The table as native rows, one a query; `from_rows` is the inverse. Unmeasured scores are None."""
        for index in range(len(self)):
            messages = self.messages[index] if self.messages else None
            row: dict[str, Any] = {"query": self.queries[index] if messages is None else messages}
            if self.tasks is not None:
                row["task"] = self.tasks[index]
            row["scores"] = dict(zip(self.models, _plain(self.scores[index]), strict=True))
            if self.costs is not None:
                row["costs"] = _known(self.models, _plain(self.costs[index]))
            drawn = {} if self.samples is None else _known(self.models, self.samples[index])
            if self.answers is not None:
                said = _known(self.models, self.answers[index])
                # the first sample's answer is the cell's: it is not written twice
                row["answers"] = {
                    m: text for m, text in said.items() if m not in drawn or text != drawn[m][0].answer
                }
            if drawn:
                row["samples"] = {model: [one._asdict() for one in cell] for model, cell in drawn.items()}
            yield row

    def write(self, path: PathLike) -> None:
        """Write the table to a `.jsonl` file (native rows) or a `.parquet` file (wide; extra `parquet`).

        The file appears whole or not at all; an older one of the name is replaced.

        Raises:
            TableError: The name ends in something else.
        """
        target = Path(path)
        if target.suffix not in (".jsonl", ".parquet"):
            raise TableError(
                f"{target}: a table is written as .jsonl or .parquet; give the file one of these endings"
            )
        with replacing(target) as file:
            if target.suffix == ".jsonl":
                for row in self.rows():
                    file.write(_json_line(row))
            else:
                from langchain_avengers.routing.readers import write_parquet

                write_parquet(self._data(), file)

    # -- parts and sums

    def split(self, test_size: float = 0.3, *, seed: int = 0) -> tuple[ScoreTable, ScoreTable]:
        """Split into (train, test), stratified by task.

        A query that stands in several rows stays on one side. Which side depends on its text, the seed and
        the other queries of its task, not on the order of rows. A task of two or more different queries is
        on both.

        Args:
            test_size: Share of the queries that go to the test side, in (0, 1).
            seed: Any integer; another seed is another split.

        Raises:
            TableError: `test_size` is out of range, or there are not two different queries.
        """
        if not 0 < test_size < 1:
            raise TableError(f"test_size is {test_size}; give a share between 0 and 1")
        strata: dict[str, str] = {}
        for query, task in zip(self.queries, self.tasks or [""] * len(self), strict=True):
            strata[query] = min(task, strata.get(query, task))
        if len(strata) < 2:
            raise TableError("a split needs at least two different queries; the table has one")
        by_task: dict[str, list[str]] = {}
        for query, task in strata.items():
            by_task.setdefault(task, []).append(query)
        test: set[str] = set()
        seen = 0
        for task in sorted(by_task):
            members = sorted(by_task[task], key=lambda query: _digest(query, seed))
            seen += len(members)
            # what rounding took from one small task the next one gets
            share = math.floor(seen * test_size + 0.5) - len(test)
            least = 1 if len(members) > 1 else 0
            test.update(members[: min(max(share, least), len(members) - least)])
        ordered = sorted(strata, key=lambda query: _digest(query, seed))
        if not test:
            test.add(ordered[0])
        elif len(test) == len(strata):
            test.discard(ordered[-1])
        mask = np.fromiter((query in test for query in self.queries), dtype=bool, count=len(self))
        return self.select_rows(~mask), self.select_rows(mask)

    def select_rows(self, rows: ArrayLike | slice) -> ScoreTable:
        """The table of the rows given.

        Args:
            rows: Row numbers (repeats allowed, order kept), a boolean mask of shape (n_queries,), or a slice.

        Raises:
            TableError: No row is selected, one is not in the table, or the mask has another length.
        """
        if isinstance(rows, slice):
            rows = np.arange(len(self))[rows]
        index = np.asarray(rows)
        if index.size == 0:
            raise TableError("no row is selected; a table has at least one")
        if index.dtype == bool:
            if index.shape != (len(self),):
                raise TableError(f"the row mask has shape {index.shape}, the table {len(self)} rows")
            index = np.flatnonzero(index)
            if index.size == 0:
                raise TableError("no row is selected; a table has at least one")
        if index.ndim != 1 or index.dtype.kind not in "iu":
            raise TableError(
                f"rows are selected by a list of numbers or a mask, not {index.dtype} of shape {index.shape}"
            )
        beyond = index[(index < -len(self)) | (index >= len(self))]
        if beyond.size:
            raise TableError(f"row {beyond[0]} is not in the table, which has {len(self)} rows")
        chosen = index.tolist()
        return self._of(
            TableData(
                [self.queries[i] for i in chosen],
                list(self.models),
                None if self.tasks is None else [self.tasks[i] for i in chosen],
                self.scores[index],
                None if self.costs is None else self.costs[index],
                None if self.answers is None else self.answers[index],
                None if self.messages is None else [self.messages[i] for i in chosen],
                None if self.samples is None else self.samples[index],
            )
        )

    def select_models(self, models: Sequence[str]) -> ScoreTable:
        """The table of the models named, in the order named. Every row stays, also one then unmeasured.

        Raises:
            TableError: No model is named, one is named twice, or one is not in the table.
        """
        names = check_names([models] if isinstance(models, str) else models)
        unknown = [name for name in names if name not in self.models]
        if unknown:
            raise TableError(f"not in the table: {', '.join(unknown)}; it has {', '.join(self.models)}")
        columns = [self.models.index(name) for name in names]
        return self._of(
            TableData(
                list(self.queries),
                names,
                None if self.tasks is None else list(self.tasks),
                self.scores[:, columns],
                None if self.costs is None else self.costs[:, columns],
                None if self.answers is None else self.answers[:, columns],
                None if self.messages is None else list(self.messages),
                None if self.samples is None else self.samples[:, columns],
            )
        )

    def with_task(self, task: str) -> ScoreTable:
        """The same table with every row of the one task."""
        return self._of(self._data().with_task(task))

    # A plain function with self among `*tables`, so that `ScoreTable.concat([a, b])` and `a.concat(b)` both
    # work.
    def concat(*tables: ScoreTable | Iterable[ScoreTable]) -> ScoreTable:
        """The rows of several tables, one after the other: `ScoreTable.concat([a, b])` or `a.concat(b)`.

        The models are those of all tables, in the order they appear; a cell of a model that a table does not
        know is not measured.

        Raises:
            TableError: No table is given, or some tables have tasks and some have none.
        """
        parts: list[ScoreTable] = []
        for item in tables:
            parts.extend([item] if isinstance(item, ScoreTable) else item)
        return ScoreTable._of(join([part._data() for part in parts]))

    # -- recorded answers

    @property
    def n_samples(self) -> NDArray[np.intp]:
        """Number of recorded answers of each cell, shape (n_queries, n_models)."""
        count = (~np.isnan(self.scores)).astype(np.intp)
        if self.answers is not None:
            count[self.answers != np.array(None)] = 1
        if self.samples is not None:
            for row, column in np.argwhere(self.samples != np.array(None)).tolist():
                count[row, column] = len(self.samples[row, column])
        return count

    def recorded(self, row: int, column: int) -> tuple[RecordedSample, ...]:
        """The recorded answers of one cell: its samples, else its one answer (or None) with the cell's score.

        Nothing where neither an answer nor a score is known.
        """
        drawn = None if self.samples is None else self.samples[row, column]
        if drawn is not None:
            return tuple(drawn)
        answer = None if self.answers is None else self.answers[row, column]
        score = float(self.scores[row, column])
        if math.isnan(score):
            return () if answer is None else (RecordedSample(answer, None),)
        return (RecordedSample(answer, score),)

    # -- figures

    @property
    def task_names(self) -> list[str]:
        """The different tasks, sorted; empty where the table has none."""
        return sorted(set(self.tasks or ()))

    def mean_scores(self) -> NDArray[np.float64]:
        """Each model's mean over the rows where it was measured, shape (n_models,); NaN if it never was."""
        return np.asarray(known_mean(self.scores, axis=0))

    def task_means(self, values: ArrayLike) -> dict[str, float]:
        """The mean of `values`, shape (n_queries,), within each task; NaN values are left out.

        A table without tasks has the one task `""`. A task with nothing but NaN has the mean NaN.
        """
        array = np.asarray(values, dtype=np.float64)
        if array.shape != (len(self),):
            raise TableError(f"values have shape {array.shape}; give one a row, ({len(self)},)")
        if self.tasks is None:
            return {"": known_mean(array)}
        names, which = np.unique(np.array(self.tasks, dtype=object), return_inverse=True)
        measured = ~np.isnan(array)
        sums = np.bincount(which[measured], weights=array[measured], minlength=len(names))
        counts = np.bincount(which[measured], minlength=len(names))
        with np.errstate(invalid="ignore"):
            return dict(zip(names.tolist(), (sums / counts).tolist(), strict=True))

    def task_mean(self, values: ArrayLike) -> float:
        """The unweighted mean over tasks of the mean of `values`, shape (n_queries,), within each.

        The measure of RouterDC and LLMRouterBench (AvgAcc). NaN values are left out. Without
        tasks it is the plain mean.
        """
        return float(known_mean(list(self.task_means(values).values())))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.queries)

    def __eq__(self, other: object) -> bool:
        """Same content; an unmeasured cell equals an unmeasured cell."""
        if not isinstance(other, ScoreTable):
            return NotImplemented
        plain = ("queries", "models", "tasks", "messages")
        return all(getattr(self, name) == getattr(other, name) for name in plain) and all(
            _same(getattr(self, name), getattr(other, name))
            for name in ("scores", "costs", "answers", "samples")
        )

    __hash__ = None  # type: ignore[assignment]  # compared by content, too large to hash

    def __repr__(self) -> str:
        """A summary: size, what is known, and the ten best models by mean score."""
        parts = [f"{len(self):,} queries x {len(self.models)} models"]
        if self.tasks is not None:
            parts.append(f"{len(self.task_names)} tasks")
        measured = float((~np.isnan(self.scores)).mean())
        parts.append("all measured" if measured == 1 else f"{measured:.1%} measured")
        parts += [
            name for name in ("costs", "answers", "samples", "messages") if getattr(self, name) is not None
        ]
        means = sorted(
            zip(self.mean_scores().tolist(), self.models, strict=True), key=lambda pair: (-pair[0], pair[1])
        )
        lines = [f"  {mean:.3f}  {name}" for mean, name in means[:10]]
        lines += [f"  ... and {len(means) - 10} more"] if len(means) > 10 else []
        return "\n".join([f"ScoreTable({', '.join(parts)})", *lines])


def _same(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other, equal_nan=one.dtype != object)


def _plain(values: NDArray[np.float32]) -> list[float | None]:
    # the shortest decimal that is this float32: 0.1, not 0.10000000149011612
    return [None if math.isnan(value) else _shortest(value) for value in values]


@lru_cache(maxsize=1 << 16)
def _shortest(value: np.float32) -> float:
    return float(str(value))


def _known(models: list[str], values: Iterable[Any]) -> dict[str, Any]:
    return {model: value for model, value in zip(models, values, strict=True) if value is not None}


def _digest(query: str, seed: int) -> bytes:
    return blake2b(f"{seed}\n{query}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _json_line(row: Mapping[str, Any]) -> bytes:
    try:
        return (json.dumps(row, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # half of a surrogate pair has no UTF-8, but an escape
        return (json.dumps(row) + "\n").encode()
