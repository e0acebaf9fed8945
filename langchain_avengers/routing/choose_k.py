"""Finding the number of clusters from the calibration rows alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

_GRID = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_FOLDS = 5
_REPEATS = 2
_MAX_ROWS = 6_000

Rows = NDArray[np.intp]


class CurvePoint(TypedDict):
    """One candidate: its cross-validated score, and how far behind the best it is with the standard error of that."""

    n_clusters: int
    score: float
    behind: float
    stderr: float


def candidates(n_rows: int) -> list[int]:
    """The numbers of clusters worth trying for so many rows: at least five rows a cluster, at most 0.8 √n clusters."""
    most = max(1, min(n_rows // 5, int(0.8 * n_rows**0.5)))
    return [k for k in _GRID if k <= most]


def choose_n_clusters(
    n_rows: int,
    tasks: Sequence[str] | None,
    routed_scores: Callable[[Rows, Rows, Sequence[int]], NDArray[np.floating]],
    *,
    seed: int = 0,
) -> tuple[int, list[CurvePoint]]:
    """Choose the number of clusters by cross-validated routed score with a one-standard-error rule.

    Every candidate routes the rows of each of five folds by what the other folds say, twice over; its score is the
    mean over tasks of what the chosen models scored. The smallest candidate stands that is behind the best by no
    more than one standard error of that difference, row by row (paired, so the difficulty of the rows cancels out).

    Args:
        n_rows: Number of calibration rows; beyond 6,000 a random sample of them is used.
        tasks: The task of each row, or None; folds are stratified by it.
        routed_scores: Called with (fitting rows, held-out rows, candidate numbers of clusters), in threads; returns
            the score of the model chosen for each held-out row by each candidate, shape (candidates, rows), NaN
            where that was not measured.
        seed: Seed of the folds.

    Returns:
        The number of clusters, and the curve it was read from.
    """
    from joblib import Parallel, delayed

    rng = np.random.default_rng(seed)
    rows = rng.permutation(n_rows)[:_MAX_ROWS]
    grid = candidates(int(len(rows) * (1 - 1 / _FOLDS)))
    if len(grid) == 1 or len(rows) < 2 * _FOLDS:
        return 1, []
    group = np.zeros(len(rows), dtype=np.intp)
    if tasks is not None:
        group = np.unique(np.asarray(tasks)[rows], return_inverse=True)[1]
    folds = []
    for _ in range(_REPEATS):
        # deal the rows of each task out to the folds in turn
        fold = np.empty(len(rows), dtype=np.intp)
        fold[np.lexsort((rng.random(len(rows)), group))] = np.arange(len(rows)) % _FOLDS
        folds += [fold == number for number in range(_FOLDS)]
    routed = np.zeros((len(grid), len(rows)))
    held_out = Parallel(n_jobs=-1, prefer="threads")(
        delayed(routed_scores)(rows[~outside], rows[outside], grid) for outside in folds
    )
    for outside, found in zip(folds, held_out, strict=True):
        routed[:, outside] += found / _REPEATS
    scores = np.array([_task_mean(values, group)[0] for values in routed])
    best = int(scores.argmax())
    curve: list[CurvePoint] = []
    for index, n_clusters in enumerate(grid):
        behind, stderr = _task_mean(routed[best] - routed[index], group)
        curve.append(
            {"n_clusters": n_clusters, "score": float(scores[index]), "behind": behind, "stderr": stderr}
        )
    return next(point["n_clusters"] for point in curve if point["behind"] <= point["stderr"]), curve


def _task_mean(values: NDArray[np.floating], group: NDArray[np.intp]) -> tuple[float, float]:
    """Mean over groups of the group means, and its standard error; NaN values are left out."""
    known = ~np.isnan(values)
    values, group = values[known], group[known]
    n = np.bincount(group)
    used = n > 0
    mean = np.bincount(group, values)[used] / n[used]
    square = np.bincount(group, values**2)[used] / n[used]
    variance = np.maximum(square - mean**2, 0) / np.maximum(n[used] - 1, 1)
    return float(mean.mean()), float(np.sqrt(variance.sum()) / len(mean))
