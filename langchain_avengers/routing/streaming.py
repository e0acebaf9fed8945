"""Fitting a router to more rows than memory holds."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from langchain_avengers._arrays import row_norms
from langchain_avengers.errors import TableError
from langchain_avengers.routing.clusterers import group_means, nearest
from langchain_avengers.routing.fitting import count_tasks, task_sums
from langchain_avengers.routing.readers.files import parquet_library
from langchain_avengers.routing.scoring import ClusterStats
from langchain_avengers.routing.state import FittedRouter
from langchain_avengers.routing.table import ScoreTable
from langchain_avengers.routing.vectors import Vectors, unit_vectors

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from langchain_avengers.routing.router import ClusterRouter

_SAMPLE = 25_000
_BINS = 1 << 16  # of the distances of all rows, which are in [0, 2]
_BUFFER = 1 << 20  # bytes read at a time: without it a column is read a whole row group at a time


def fit_parquet(
    router: ClusterRouter,
    path: str | os.PathLike[str],
    embeddings: Embeddings | None = None,
    *,
    vectors: str = "embedding",
    batch_rows: int = 25_000,
) -> ClusterRouter:
    """Fit a router to Parquet files in bounded memory, in three readings.

    The first reading takes a random sample of about 25,000 rows, to which the router is fitted as always: it gives the
    number of clusters, first centroids, the linear part and the example queries. The second moves the centroids by
    mini-batch K-means (Sculley 2010) over all rows: a centroid is the running mean of the rows that came to it, the
    sample's among them, so that a file sorted by task does no harm. The third sums up scores, costs and tasks over all
    rows. No more rows than the sample are fitted as if they had been read whole.

    Args:
        router: An unfitted router; its clusterer shapes the sample's clusters.
        path: A Parquet file as `ScoreTable.write` gives it, one row a query, with one column more; or a folder of such
            files.
        embeddings: The embedder the vectors came from, to be kept for routing; nothing is embedded here.
        vectors: That column's name: the queries' embeddings, a list of d numbers a row.
        batch_rows: Rows held in memory at a time.

    Returns:
        The router, fitted. It keeps no digests of the queries.

    Raises:
        TableError: A file cannot be read, lacks the column, or has several rows a query.
        RouterError: As `ClusterRouter.fit`.
    """
    files = _files(Path(path))
    rng = np.random.default_rng(router.random_state)
    n_rows = sum(_rows_of(file, vectors) for file in files)
    if not n_rows:
        raise TableError(f"{path}: the table has no rows")
    share = min(1.0, _SAMPLE / n_rows)
    tables, parts = [], []
    for file, batch in _batches(files, batch_rows):
        rows = np.flatnonzero(rng.random(len(batch)) < share)
        if len(rows):
            batch = batch.take(rows)
            tables.append(_table(file, batch, vectors))
            parts.append(_vectors(file, batch, vectors))
    if len({part.shape[1] for part in parts}) > 1:
        raise TableError(f"{path}: column {vectors!r} holds vectors of different lengths")
    router.fit(ScoreTable.concat(tables), embeddings, vectors=np.vstack(parts))
    if share == 1.0:
        return router

    width = parts[0].shape[1]
    del tables, parts
    sample = router.fitted_
    router.fitted_ = _sum_up(
        sample, _moved(sample, files, vectors, width, batch_rows), files, vectors, batch_rows
    )
    return router


def _moved(
    sample: FittedRouter, files: Sequence[Path], vectors: str, width: int, batch_rows: int
) -> list[Vectors]:
    """The sample's centroids of each clustering, moved by all rows."""
    moving = [part.centroids.astype(np.float64) for part in sample.clusterings]
    weights = [part.stats.counts.max(axis=1) for part in sample.clusterings]  # the sample's rows
    for file, batch in _batches(files, batch_rows, [vectors]):
        X = _vectors(file, batch, vectors, width)
        for centroids, weight in zip(moving, weights, strict=True):
            used, labels = np.unique(nearest(X, centroids.astype(np.float32)), return_inverse=True)
            n = np.bincount(labels)
            weight[used] += n
            step = group_means(X, labels, len(used)) - centroids[used]
            centroids[used] += step * (n / weight[used])[:, None]
    return [np.ascontiguousarray(centroids, dtype=np.float32) for centroids in moving]


def _sum_up(
    sample: FittedRouter, moved: list[Vectors], files: Sequence[Path], vectors: str, batch_rows: int
) -> FittedRouter:
    """The router with these centroids and the sums over all rows."""
    models, quantile = list(sample.models), sample.novelty_quantile
    sums = [ClusterStats.zeros(len(centroids), len(models)) for centroids in moved]
    by_task: tuple[Sequence[str], ClusterStats] | None = None
    counted: Counter[tuple[int, str]] = Counter()
    distances = np.zeros(_BINS, dtype=np.int64)
    n_rows = 0
    for file, batch in _batches(files, batch_rows):
        table = _table(file, batch, vectors).select_models(models)
        X = _vectors(file, batch, vectors, sample.width)
        n_rows += len(table)
        by_task = task_sums(table, models, by_task)
        for number, centroids in enumerate(moved):
            labels = nearest(X, centroids)
            sums[number] = sums[number] + ClusterStats.of(table, labels, len(centroids))
            if number == sample.finest:
                distances += np.histogram(row_norms(X - centroids[labels]), _BINS, (0, 2))[0]
            if number == 0:
                counted.update(zip(labels.tolist(), table.tasks or (), strict=False))
    limit = sample.novelty_distance
    if quantile is not None:
        below = np.cumsum(distances)
        place = int(np.searchsorted(below, quantile * below[-1]))
        limit = 2 * (place + 1) / _BINS  # the bin's far end
    assert by_task is not None, "there are rows: they were counted"
    return replace(
        sample,
        clusterings=tuple(
            replace(part, centroids=centroids, stats=stats)
            for part, centroids, stats in zip(sample.clusterings, moved, sums, strict=True)
        ),
        novelty_distance=limit,
        novelty_reach=sample.novelty_reach if quantile != 1 else np.zeros_like(sample.novelty_reach),
        calibration=replace(
            sample.calibration,
            n_rows=n_rows,
            cluster_tasks=count_tasks(counted, len(moved[0])),
            tasks=tuple(by_task[0]),
            by_task=by_task[1],
            query_digests=None,
        ),
    )


def _files(path: Path) -> list[Path]:
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise TableError(f"{path}: no .parquet file in the folder")
    return files


def _rows_of(path: Path, vectors: str) -> int:
    file = _open(path)
    if vectors not in file.schema_arrow.names:
        raise TableError(f"{path}: no column {vectors!r} with the queries' embeddings")
    rows: int = file.metadata.num_rows
    return rows


def _open(path: Path) -> Any:
    pq = parquet_library(path)
    try:
        return pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: cannot be read as Parquet: {error}") from error


def _batches(
    files: Sequence[Path], batch_rows: int, columns: list[str] | None = None
) -> Iterator[tuple[Path, Any]]:
    """Arrow batches of at most `batch_rows` rows with their file.

    By default with all columns but answers, samples and messages.
    """
    for path in files:
        file = _open(path)
        kept = columns or [
            name
            for name in file.schema_arrow.names
            if not name.startswith(("answer:", "samples:")) and name != "messages"
        ]
        for batch in file.iter_batches(batch_size=batch_rows, columns=kept):
            if len(batch):
                yield path, batch


def _table(path: Path, batch: Any, vectors: str) -> ScoreTable:
    table = ScoreTable.from_pandas(batch.drop_columns([vectors]).to_pandas())
    if len(table) != len(batch):
        raise TableError(f"{path}: several rows have the same query; give one row a query, a column a model")
    return table


def _vectors(path: Path, batch: Any, vectors: str, width: int | None = None) -> Vectors:
    """The batch's unit vectors, shape (n, d)."""
    import pyarrow.compute as pc

    column = batch.column(vectors)
    try:
        lengths = pc.unique(pc.list_value_length(column)).to_pylist()
        flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    except (NotImplementedError, ValueError, TypeError) as error:
        raise TableError(f"{path}: column {vectors!r} does not hold lists of numbers: {error}") from None
    if column.null_count or len(lengths) > 1 or width not in (None, *lengths):
        raise TableError(f"{path}: column {vectors!r} holds rows without a vector, or of different lengths")
    return unit_vectors(flat.reshape(len(column), -1))
