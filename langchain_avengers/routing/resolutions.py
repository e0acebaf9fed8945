"""How much each resolution may say: clusterings of several K, and a ridge regression, weighed by what the rows show.

No single K is right for all tables: eight clusters serve five kinds of questions, a hundred serve ninety. So the rows
are clustered at several K, and a model's expected score is

    global mean + Σ_j w_j · (estimate_j − global mean),    w_j ≥ 0,  Σ w_j ≤ 1,

with one estimate for each K and one of the ridge regression. The weights are fitted by non-negative least squares on
leave-one-out estimates of the calibration rows (stacking: Breiman 1996, "Stacked regressions"). Finer resolutions take
part only when routing with them is better by more than one standard error. When calibration shows no pattern, every
weight is 0, and the model that is best over all rows answers everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from langchain_avengers.routing.scoring import ClusterStats

Floats = NDArray[np.float64]


class CurvePoint(TypedDict):
    """The resolutions up to one: their leave-one-out score, how far behind the best, and the standard error of that."""

    n_clusters: int
    score: float
    behind: float
    stderr: float


_FEWEST, _MOST = 8, 128
"""Clusters of the coarsest and of the finest resolution, when there are rows enough for them."""

_ROWS_A_CLUSTER = 5
_LEVELS = 3

EQUAL_PART = 0.3
"""Share of the joint weight that is spread evenly over all parts: it steadies the fitted weights."""


def ladder(n_rows: int) -> list[int]:
    """The numbers of clusters for so many rows, coarsest first, in even steps of their logarithm.

    At least five rows a cluster on average; 8, 32 and 128 clusters from 640 rows on.
    """
    finest = max(1, min(n_rows // _ROWS_A_CLUSTER, _MOST))
    return sorted({round(k) for k in np.geomspace(min(_FEWEST, finest), finest, _LEVELS)})


def leave_one_out(
    stats: ClusterStats, labels: NDArray[np.intp], scores: NDArray[np.float32], prior_strength: float
) -> Floats:
    """What the other rows say of each row by one clustering, shape (n, M).

    Args:
        stats: The sums of the clustering.
        labels: The cluster of each row, shape (n,).
        scores: The rows' scores, shape (n, M), NaN when not measured.
        prior_strength: Rows' worth of the global mean.
    """
    known = ~np.isnan(scores)
    own = np.where(known, scores, 0.0).astype(np.float64)
    overall = leave_one_out_means(scores)
    counts = stats.counts[labels] - known + prior_strength
    sums = stats.sums[labels] - own + prior_strength * overall
    return np.asarray(np.where(counts > 0, sums / np.where(counts > 0, counts, 1), overall))


def leave_one_out_means(scores: NDArray[np.float32]) -> Floats:
    """Each model's mean over all other rows, shape (n, M); a model with one row keeps that row's score."""
    known = ~np.isnan(scores)
    own = np.where(known, scores, 0.0).astype(np.float64)
    totals, counts = own.sum(axis=0), known.sum(axis=0)
    others = counts - known
    return np.asarray(
        np.where(others > 0, (totals - own) / np.maximum(others, 1), totals / np.maximum(counts, 1))
    )


def fit_weights(scores: NDArray[np.float32], clustered: Sequence[Floats], linear: Floats | None) -> Floats:
    """Weights of the clusterings and of the linear part.

    Only differences between models decide a route, so the squared error is that of scores less their mean over the
    models measured on the row.

    Args:
        scores: The rows' scores, shape (n, M), NaN when not measured.
        clustered: Leave-one-out estimates of each resolution, shapes (n, M).
        linear: The same of the ridge regression, or None.

    Returns:
        Shape (J,), or (J + 1,) with a linear part; non-negative, with a sum of at most 1. All 0 when routing by the
        leave-one-out estimates loses to the best single model by more than two standard errors.
    """
    from scipy.optimize import nnls

    known = ~np.isnan(scores)
    overall = leave_one_out_means(scores)
    parts = [*clustered] if linear is None else [*clustered, linear]
    features = np.stack([_apart(part - overall, known).ravel() for part in parts], axis=1)
    target = _apart(np.where(known, scores, 0.0) - overall, known).ravel()
    # the same problem in as many rows as there are weights, and one more that holds their sum to 1
    gram, product = features.T @ features, features.T @ target
    size = float(np.trace(gram))
    if size <= 0:
        return np.zeros(len(parts))
    root = np.linalg.cholesky(gram + 1e-9 * size * np.eye(len(parts)))
    reduced = np.linalg.solve(root, product)
    weights, _ = nnls(root.T, reduced)
    if weights.sum() > 1:
        firm = 1e3 * np.sqrt(size)
        weights, _ = nnls(np.vstack([root.T, np.full(len(parts), firm)]), np.append(reduced, firm))
        weights /= max(weights.sum(), 1.0)
    weights = (1 - EQUAL_PART) * weights + EQUAL_PART * weights.sum() / len(parts)
    routed = blend(scores, weights, clustered, linear)
    return np.zeros(len(parts)) if _harms(scores, routed, overall) else weights


def _harms(scores: NDArray[np.float32], routed: Floats, overall: Floats) -> bool:
    """Whether routing loses to the best single model by more than two standard errors, paired by row."""
    gain = routed_scores(scores, routed) - routed_scores(scores, overall)
    gain = gain[~np.isnan(gain)]
    return len(gain) > 1 and bool(gain.mean() + 2 * gain.std(ddof=1) / np.sqrt(len(gain)) < 0)


def routed_scores(scores: NDArray[np.float32], expected: Floats) -> Floats:
    """The score of the model with the highest expectation among those measured on a row, shape (n,)."""
    known = ~np.isnan(scores)
    best = np.where(known, expected, -np.inf).argmax(axis=1)
    return np.asarray(scores[np.arange(len(scores)), best], dtype=np.float64)


def _apart(values: Floats, known: NDArray[np.bool_]) -> Floats:
    """Values less their mean over the models measured on the row; 0 for the others."""
    held = np.where(known, values, 0.0)
    mean = held.sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    return np.where(known, held - mean, 0.0)


def blend(
    scores: NDArray[np.float32], weights: Floats, clustered: Sequence[Floats], linear: Floats | None
) -> Floats:
    """What the weighed parts say of each row together, shape (n, M); arguments as in `fit_weights`."""
    overall = leave_one_out_means(scores)
    parts = [*clustered] if linear is None else [*clustered, linear]
    apart = [weight * (part - overall) for weight, part in zip(weights, parts, strict=True)]
    return np.asarray(overall + sum(apart))


def score_curve(
    sizes: Sequence[int], blends: Sequence[Floats], scores: NDArray[np.float32], tasks: Sequence[str] | None
) -> tuple[CurvePoint, ...]:
    """What routing scores with the resolutions up to each one, the mean over tasks, each row by what the others say.

    Args:
        sizes: Number of clusters of each resolution.
        blends: What the resolutions up to each one say together, shapes (n, M).
        scores: The rows' scores, shape (n, M), NaN when not measured.
        tasks: The task of each row, or None.
    """
    group = np.unique(np.asarray(tasks or [""] * len(scores)), return_inverse=True)[1]
    routed = [routed_scores(scores, expected) for expected in blends]
    means = [_task_mean(values, group)[0] for values in routed]
    best = int(np.argmax(means))
    curve = []
    for n_clusters, mean, values in zip(sizes, means, routed, strict=True):
        behind, stderr = _task_mean(routed[best] - values, group)
        curve.append(CurvePoint(n_clusters=n_clusters, score=mean, behind=behind, stderr=stderr))
    return tuple(curve)


def coarsest_of_the_best(curve: Sequence[CurvePoint]) -> int:
    """Place of the first point that is behind the best by no more than one standard error of the difference."""
    return next(place for place, point in enumerate(curve) if point["behind"] <= point["stderr"])


def _task_mean(values: Floats, group: NDArray[np.intp]) -> tuple[float, float]:
    """Mean over groups of the group means, and its standard error; NaN values are left out."""
    known = ~np.isnan(values)
    values, group = values[known], group[known]
    n = np.bincount(group)
    used = n > 0
    mean = np.bincount(group, values)[used] / n[used]
    square = np.bincount(group, values**2)[used] / n[used]
    variance = np.maximum(square - mean**2, 0) / np.maximum(n[used] - 1, 1)
    return float(mean.mean()), float(np.sqrt(variance.sum()) / len(mean))
