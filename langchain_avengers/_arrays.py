"""Array arithmetic that several parts share: unit vectors, and means that leave out what was not measured (NaN)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating]


def row_norms(vectors: Floats) -> Floats:
    """Euclidean length of each row: (n, d) in, (n,) out, of the same dtype."""
    norms: Floats = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    return norms


def unit_rows(vectors: ArrayLike, dtype: type[np.floating] = np.float32) -> Any:
    """The rows divided by their Euclidean length, shape (n, d); a row of zeros stays as it is."""
    array = np.asarray(vectors, dtype=dtype)
    norms = row_norms(array)
    return array / np.where(norms > 0, norms, 1)[:, None]


def ratio(total: NDArray[Any], count: NDArray[Any]) -> NDArray[np.float64]:
    """total / count, element by element; NaN where the count is 0."""
    total, count = np.broadcast_arrays(np.asarray(total, dtype=np.float64), count)
    mean: NDArray[np.float64] = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean


def known_mean(values: ArrayLike, axis: int | tuple[int, ...] | None = None) -> Any:
    """Mean in float64 over the values that are not NaN; NaN where none is known.

    Returns:
        An array, or a float when `axis` is None.
    """
    array = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(array)
    mean = ratio(np.where(known, array, 0.0).sum(axis=axis), known.sum(axis=axis))
    return float(mean) if axis is None else mean
