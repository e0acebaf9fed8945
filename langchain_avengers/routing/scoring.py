"""How good each model is in each cluster: sums that can be added to, and the three scoring rules on them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from langchain_avengers._arrays import known_mean, ratio
from langchain_avengers.routing.table import ScoreTable

Array = NDArray[np.float64]

SCORINGS = ("mean", "rank", "balanced")


@dataclass(frozen=True)
class ClusterStats:
    """Sums over the calibration rows of each cluster, all of shape (K, M) float64, where M is the number of models.

    Attributes:
        counts: Measured scores.
        sums: Sum of the scores.
        squares: Sum of the squared scores.
        cost_counts: Measured costs.
        cost_sums: Sum of the costs, US dollars.
        lent_counts: Rows' worth of scores that a model which joined later has from the pool; see `prior_from_pool`.
        lent_sums: Sum of those scores.
    """

    counts: Array
    sums: Array
    squares: Array
    cost_counts: Array
    cost_sums: Array
    lent_counts: Array
    lent_sums: Array

    @classmethod
    def of(cls, table: ScoreTable, labels: NDArray[np.intp], n_clusters: int) -> ClusterStats:
        """Sum up a table whose rows have these cluster labels."""
        from scipy.sparse import csr_matrix

        n = len(table)
        members = csr_matrix((np.ones(n), labels, np.arange(n + 1)), shape=(n, n_clusters)).T

        def per_cluster(values: NDArray[np.float64]) -> Array:
            return np.asarray(members @ values)

        scores = table.scores.astype(np.float64)
        known = ~np.isnan(scores)
        scores = np.where(known, scores, 0.0)
        shape = (n_clusters, len(table.models))
        cost_counts, cost_sums = np.zeros(shape), np.zeros(shape)
        if table.costs is not None:
            costs = table.costs.astype(np.float64)
            priced = ~np.isnan(costs)
            cost_counts, cost_sums = (
                per_cluster(priced.astype(np.float64)),
                per_cluster(np.where(priced, costs, 0.0)),
            )
        return cls(
            per_cluster(known.astype(np.float64)),
            per_cluster(scores),
            per_cluster(scores**2),
            cost_counts,
            cost_sums,
            np.zeros(shape),
            np.zeros(shape),
        )

    @classmethod
    def zeros(cls, n_clusters: int, n_models: int) -> ClusterStats:
        """The sums over no rows."""
        return cls(*(np.zeros((n_clusters, n_models)) for _ in cls.__dataclass_fields__))

    def at_rows(self, rows: list[int], n_clusters: int) -> ClusterStats:
        """The same sums at other rows of a larger table of clusters, with zeros elsewhere."""
        larger = ClusterStats.zeros(n_clusters, self.counts.shape[1])
        for name in self.__dataclass_fields__:
            getattr(larger, name)[rows] = getattr(self, name)
        return larger

    def __add__(self, other: ClusterStats) -> ClusterStats:
        """The sums over both sets of rows."""
        return ClusterStats(
            *(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__)
        )

    def take_models(self, columns: list[int]) -> ClusterStats:
        """The sums of some models, in the order given."""
        return ClusterStats(*(getattr(self, name)[:, columns] for name in self.__dataclass_fields__))

    def append_model(self, other: ClusterStats) -> ClusterStats:
        """The sums of this and of further models of the same clusters."""
        return ClusterStats(
            *(np.hstack([getattr(self, name), getattr(other, name)]) for name in self.__dataclass_fields__)
        )

    @property
    def global_scores(self) -> Array:
        """Mean score of each model over all its rows, shape (M,); NaN for a model without any."""
        return ratio(self.sums.sum(axis=0), self.counts.sum(axis=0))

    @property
    def costs(self) -> Array:
        """Mean cost per answer, (K, M) US dollars.

        Where a cluster has none it is the model's mean, and NaN where that has none either.
        """
        overall = self.global_costs
        return np.where(self.cost_counts > 0, ratio(self.cost_sums, self.cost_counts), overall)

    @property
    def global_costs(self) -> Array:
        """Mean cost per answer of each model, shape (M,) US dollars; NaN where none was measured."""
        return ratio(self.cost_sums.sum(axis=0), self.cost_counts.sum(axis=0))

    def means(self, prior_strength: float) -> Array:
        """Posterior mean score, shape (K, M): the cluster's mean shrunk toward the model's global mean.

        (sum + λ g) / (n + λ), with λ = `prior_strength` rows. With λ = 0 a cell without rows is the global mean.
        What the pool lent counts as rows.
        """
        prior = self.global_scores
        rows = self.counts + self.lent_counts + prior_strength
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (self.sums + self.lent_sums + prior_strength * prior) / rows
        return np.where(rows > 0, means, prior)

    def prior_from_pool(self, joining: ClusterStats) -> ClusterStats:
        """The sums of a model that joins, shape (K, 1), with what it may take from this pool until it has more rows.

        Clusters are hard or easy for all models alike: the joining model is expected at the pool's mean in the
        cluster, better or worse by the same margin everywhere. That expectation is worth as many rows as an
        empirical Bayes estimate says (within-cell variance over the variance of what the margin leaves unexplained in
        the pool), and no more than the model has in all.
        """
        if self.counts.shape[1] < 2:
            return joining
        cells = self.means(1.0)
        level = cells.mean(axis=1, keepdims=True)
        margins = cells - level
        known = self.counts > 1
        within = np.where(known, self.squares - ratio(self.sums**2, self.counts), 0.0).sum()
        within /= max((self.counts[known] - 1).sum(), 1.0)
        noise = ratio(np.full_like(cells, within), self.counts)
        unexplained = float(np.mean((margins - margins.mean(axis=0)) ** 2) - known_mean(noise))
        rows = joining.counts.sum()
        worth = min(within / unexplained, rows) if unexplained > 0 else rows
        margin = (joining.sums - joining.counts * level).sum() / rows
        lent = np.full_like(joining.counts, worth)
        return replace(joining, lent_counts=lent, lent_sums=lent * np.clip(level + margin, 0.0, 1.0))

    def stderrs(self, prior_strength: float) -> Array:
        """Standard error of `means`, shape (K, M); NaN where fewer than two rows stand behind a cell."""
        return _stderr(self.counts, self.sums, self.squares, self.lent_counts + prior_strength)

    @property
    def global_stderrs(self) -> Array:
        """Standard error of `global_scores`, shape (M,)."""
        return _stderr(self.counts.sum(axis=0), self.sums.sum(axis=0), self.squares.sum(axis=0), np.zeros(1))


def _stderr(counts: Array, sums: Array, squares: Array, prior: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        variance = np.maximum(squares - sums**2 / counts, 0.0) / (counts - 1)
        return np.where(counts > 1, np.sqrt(variance * counts) / (counts + prior), np.nan)


def rank_values(means: Array, order: NDArray[np.intp]) -> Array:
    """The paper's value of a model in a cluster, 1 / (rank + 0.1) with the best at rank 0; shape (K, M).

    Args:
        means: Mean scores, shape (K, M).
        order: Models in the order in which ties are decided, shape (M,).
    """
    ranked = order[np.argsort(-means[:, order], axis=1, kind="stable")]
    ranks = np.empty_like(ranked)
    np.put_along_axis(ranks, ranked, np.arange(means.shape[1])[None, :], axis=1)
    return np.asarray(1.0 / (ranks + 0.1))


def balanced_values(means: Array, costs: Array, cost_weight: float) -> Array:
    """Avengers-Pro's value (arXiv 2508.12631), shape (K, M): α of performance, 1 − α of cheapness.

    α is 1 − cost_weight. Both are scaled within the cluster to [0, 1] over the models; what all models have in
    equal measure is 0 for all.
    """
    performance = _unit_scale(means)
    if cost_weight == 0:
        return performance
    values: Array = (1 - cost_weight) * performance + cost_weight * (1 - _unit_scale(costs))
    return values


def _unit_scale(values: Array) -> Array:
    low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    span = high - low
    scaled: Array = np.divide(values - low, span, out=np.zeros_like(values), where=span > 0)
    return scaled


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """A ridge regression of each model's score on the query vector, and what it says of its own rows.

    Attributes:
        weights: Shape (M, d) float32. A model without a score has zeros.
        intercepts: Shape (M,). A model without a score has NaN.
        left_out: The prediction for each row by the regression on all other rows, shape (n, M).
    """

    weights: NDArray[np.float32]
    intercepts: Array
    left_out: Array


def fit_linear(vectors: NDArray[np.float32], scores: NDArray[np.float32], strength: float) -> RidgeFit:
    """Ridge regression of each model's score on the query vector.

    Args:
        vectors: Shape (n, d).
        scores: Shape (n, M), NaN where not measured.
        strength: Ridge penalty, in rows of unit length.
    """
    known = ~np.isnan(scores)
    weights, intercepts = np.zeros((scores.shape[1], vectors.shape[1])), np.full(scores.shape[1], np.nan)
    left_out = np.full(scores.shape, np.nan)
    # models measured on the same rows share one factorisation
    for pattern in np.unique(known, axis=1).T:
        columns = np.flatnonzero((known == pattern[:, None]).all(axis=0))
        if not pattern.any():
            continue
        rows = vectors[pattern].astype(np.float64)
        targets = scores[pattern][:, columns].astype(np.float64)
        centre, mean = rows.mean(axis=0), targets.mean(axis=0)
        rows -= centre
        gram = rows.T @ rows
        gram[np.diag_indices_from(gram)] += strength
        solution = np.linalg.solve(gram, rows.T @ (targets - mean))
        weights[columns] = solution.T
        intercepts[columns] = mean - centre @ solution
        # the residual of a row that is left out is its residual over 1 - leverage
        fitted = vectors @ solution + intercepts[columns]
        leverage = np.einsum("nd,dn->n", rows, np.linalg.solve(gram, rows.T)) + 1 / len(rows)
        inside = targets - (targets - fitted[pattern]) / np.maximum(1 - leverage, 1e-6)[:, None]
        fitted[pattern] = inside
        left_out[:, columns] = fitted
    return RidgeFit(weights.astype(np.float32), intercepts, left_out)
