"""Fitting a router to more rows than memory holds."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from langchain_avengers._arrays import row_norms
from langchain_avengers.errors import TableError
from langchain_avengers.routing.clusterers import group_means, nearest
from langchain_avengers.routing.readers.files import parquet_library
from langchain_avengers.routing.scoring import ClusterStats
from langchain_avengers.routing.table import ScoreTable

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from langchain_avengers.routing.router import ClusterRouter

Vectors = NDArray[np.float32]

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
    _move_centroids(router, files, vectors, width, batch_rows)
    _sum_up(router, files, vectors, width, batch_rows)
    router.n_rows_ = n_rows
    router._ids = None
    router._prepare()
    return router


def _move_centroids(
    router: ClusterRouter, files: Sequence[Path], vectors: str, width: int, batch_rows: int
) -> None:
    moving = [part.centroids.astype(np.float64) for part in router._clusterings]
    weights = [part.stats.counts.max(axis=1) for part in router._clusterings]  # the sample's rows
    for file, batch in _batches(files, batch_rows, [vectors]):
        X = _vectors(file, batch, vectors, width)
        for centroids, weight in zip(moving, weights, strict=True):
            used, labels = np.unique(nearest(X, centroids.astype(np.float32)), return_inverse=True)
            n = np.bincount(labels)
            weight[used] += n
            step = group_means(X, labels, len(used)) - centroids[used]
            centroids[used] += step * (n / weight[used])[:, None]
    for part, centroids in zip(router._clusterings, moving, strict=True):
        part.centroids = np.ascontiguousarray(centroids, dtype=np.float32)


def _sum_up(router: ClusterRouter, files: Sequence[Path], vectors: str, width: int, batch_rows: int) -> None:
    for part in router._clusterings:
        part.stats = ClusterStats.zeros(len(part.centroids), len(router.models_))
    router._tasks, router._by_task = [], ClusterStats.zeros(0, len(router.models_))
    tasks: Counter[tuple[int, str]] = Counter()
    distances = np.zeros(_BINS, dtype=np.int64)
    for file, batch in _batches(files, batch_rows):
        table = _table(file, batch, vectors).select_models(router.models_)
        X = _vectors(file, batch, vectors, width)
        router._note_tasks(table)
        for number, part in enumerate(router._clusterings):
            labels = nearest(X, part.centroids)
            part.stats = part.stats + ClusterStats.of(table, labels, len(part.centroids))
            if number == 0:
                apart = row_norms(X - part.centroids[labels])
                distances += np.histogram(apart, _BINS, (0, 2))[0]
                tasks.update(zip(labels.tolist(), table.tasks or (), strict=False))
    router.cluster_tasks_ = [{} for _ in router._clusterings[0].centroids]
    for (label, task), n in sorted(tasks.items()):
        router.cluster_tasks_[label][task] = n
    if router.novelty_quantile is not None:
        below = np.cumsum(distances)
        place = int(np.searchsorted(below, router.novelty_quantile * below[-1]))
        router.novelty_distance_ = 2 * (place + 1) / _BINS  # the bin's far end


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

    from langchain_avengers.routing.router import unit_rows

    column = batch.column(vectors)
    try:
        lengths = pc.unique(pc.list_value_length(column)).to_pylist()
        flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    except (NotImplementedError, ValueError, TypeError) as error:
        raise TableError(f"{path}: column {vectors!r} does not hold lists of numbers: {error}") from None
    if column.null_count or len(lengths) > 1 or width not in (None, *lengths):
        raise TableError(f"{path}: column {vectors!r} holds rows without a vector, or of different lengths")
    return unit_rows(flat.reshape(len(column), -1), None)
