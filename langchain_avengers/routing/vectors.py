"""Vectors given by callers: checked, float32, of unit length."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langchain_avengers._arrays import row_norms
from langchain_avengers.errors import RouterError

Vectors = NDArray[np.float32]


def as_vectors(vectors: ArrayLike, width: int | None = None) -> Vectors:
    """The vectors as an array of shape (n, d) float32.

    Args:
        vectors: Anything numpy reads as an array of numbers.
        width: The d that is wanted; any from 1 on when None.

    Raises:
        RouterError: They are not numbers, or have another shape.
    """
    try:
        array: Vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise RouterError(f"the vectors are not an array of numbers: {error}") from error
    if array.ndim != 2 or array.shape[1] == 0 or (width is not None and array.shape[1] != width):
        raise RouterError(f"the vectors have shape {array.shape}; expected (n, {width or 'd'})")
    return array


def checked_norms(vectors: Vectors) -> Vectors:
    """Euclidean length of each row, shape (n,).

    Raises:
        RouterError: A row has no direction: it holds NaN or infinity, or is all zeros. The first such row is named.
    """
    norms: Vectors = row_norms(vectors)
    wrong = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if len(wrong):
        row = int(wrong[0])
        reason = "is all zeros" if norms[row] == 0 else "holds NaN or infinity"
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise RouterError(f"vector {row} {reason}{more}")
    return norms


def unit_vectors(vectors: ArrayLike, width: int | None = None) -> Vectors:
    """The vectors as an array of shape (n, d) float32, each row of length 1.

    Raises:
        RouterError: As `as_vectors` and `checked_norms`.
    """
    array = as_vectors(vectors, width)
    units: Vectors = array / checked_norms(array)[:, None]
    return units
