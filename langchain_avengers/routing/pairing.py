"""How sure the lead of one model over another is: errors paired by row, one rule for all that is printed.

Two models answer the same rows, and what is hard for one is hard for the other. The standard error of their difference
is therefore smaller than that of two independent means: sqrt(a² + b² - 2 r a b), r the correlation of their scores.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SURE = 2.0
"""A lead of more than so many paired standard errors is sure; with less, either model would do."""


def correlations(scores: NDArray[np.floating], labels: NDArray[np.intp]) -> NDArray[np.float64]:
    """How the models' scores move together on rows of one cluster, shape (M, M).

    Args:
        scores: Shape (n, M); NaN is "not measured": a pair counts the rows on which both are.
        labels: The cluster of each row, shape (n,).

    Returns:
        Correlations about the means of the clusters; 0 for models without a row or a spread in common, 1 on the
        diagonal.
    """
    known = ~np.isnan(scores)
    filled = np.where(known, scores, 0.0).astype(np.float64)
    n_clusters = int(labels.max()) + 1
    sums, counts = np.zeros((2, n_clusters, scores.shape[1]))
    np.add.at(sums, labels, filled)
    np.add.at(counts, labels, known)
    apart = np.where(known, filled - (sums / np.maximum(counts, 1))[labels], 0.0)
    both = known.astype(np.float64)
    shared = apart.T @ apart
    spread = (apart**2).T @ both  # of one model on the rows that both have
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = shared / np.sqrt(spread * spread.T)
    found: NDArray[np.float64] = np.clip(np.nan_to_num(ratio), -1.0, 1.0)
    np.fill_diagonal(found, 1.0)
    return found


def lead_stderr(one: float, other: float, correlation: float) -> float:
    """Standard error of the difference of two means with these standard errors; NaN when one of them is unknown."""
    squared = one**2 + other**2 - 2 * correlation * one * other
    return math.sqrt(max(squared, 0.0)) if squared == squared else math.nan
