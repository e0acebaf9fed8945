"""Paired bootstrap: rows are drawn again within each stratum, the same rows for everything compared.

Drawing within a task keeps the tasks' sizes, as AvgAcc weighs tasks equally; drawing the same rows for
both sides of a difference is what makes the interval of a difference narrow. Percentile intervals (Efron
and Tibshirani 1993, chapter 13).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langchain_avengers._arrays import known_mean, ratio

Floats = NDArray[np.float64]

_CELLS = 4_000_000  # of the resampling-weight matrix held at a time: 32 MB


def stratum_means(
    values: ArrayLike, strata: ArrayLike, *, n_boot: int = 2000, seed: int = 0
) -> tuple[Floats, Floats]:
    """Means of each stratum's rows, as measured and over bootstrap resamples.

    Args:
        values: Shape (n, c). One column a quantity; NaN is "not measured" and left out of its column's mean.
        strata: Shape (n,). Stratum of each row: integers from 0.
        n_boot: Resamples. Each draws as many rows of a stratum as it has, with replacement, the same rows
            for all columns.
        seed: Seed of the resampling.

    Returns:
        The means, shape (strata, c), and the resampled means, shape (strata, n_boot, c); NaN where no row
        was measured.
    """
    columns = np.asarray(values, float)
    codes = np.asarray(strata)
    measured = ~np.isnan(columns)
    filled = np.where(measured, columns, 0.0)
    rng = np.random.default_rng(seed)
    n_strata = int(codes.max()) + 1 if codes.size else 0
    means = np.full((n_strata, columns.shape[1]), np.nan)
    resampled = np.full((n_strata, n_boot, columns.shape[1]), np.nan)
    for stratum in range(n_strata):
        rows = np.flatnonzero(codes == stratum)
        if not rows.size:
            continue
        value, seen = filled[rows], measured[rows].astype(float)
        means[stratum] = ratio(value.sum(axis=0), seen.sum(axis=0))
        step = max(1, _CELLS // rows.size)
        for start in range(0, n_boot, step):
            size = min(step, n_boot - start)
            drawn = rng.integers(rows.size, size=(size, rows.size))
            drawn += np.arange(size)[:, None] * rows.size
            times = (
                np.bincount(drawn.ravel(), minlength=size * rows.size).reshape(size, rows.size).astype(float)
            )
            resampled[stratum, start : start + size] = ratio(times @ value, times @ seen)
    return means, resampled


def over_strata(means: Floats) -> Floats:
    """The unweighted mean over strata (axis 0), leaving out strata in which nothing was measured."""
    return np.asarray(known_mean(means, axis=0))


def interval(resampled: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """The percentile interval of resampled values, shape (n_boot,); NaN resamples are left out."""
    values = np.asarray(resampled, float)
    values = values[~np.isnan(values)]
    if not values.size:
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
