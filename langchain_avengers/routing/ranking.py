"""From a query's vector to a ranking of the models: the hot path, float32 array arithmetic.

One kernel serves one query and many. Its products are rounded differently in a batch than alone. A query between two
clusters, or two models of nearly equal value, could go one way alone and the other way in a batch. The kernel says when
rounding could decide, and such a query is worked out alone in float64, which always gives the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langchain_avengers.errors import RouterError
from langchain_avengers.routing.decision import ModelScore, RoutingDecision
from langchain_avengers.routing.parameters import check_cost_weight
from langchain_avengers.routing.scoring import balanced_values, rank_values
from langchain_avengers.routing.state import FittedRouter
from langchain_avengers.routing.vectors import as_vectors, checked_norms

Floats = NDArray[Any]

_ROUNDING = 1e-5
"""More than float32 products of unit vectors are off by: closer calls than this are worked out in float64."""

_BLOCK = 16_384
"""Queries ranked at a time in a batch, which bounds the memory."""


@dataclass(slots=True)
class _Location:
    """Where n queries lie among C clusterings.

    Attributes:
        near: The deciding clusters of each clustering, nearest first, as rows of `Ranker._parts`; shape (n, C, k).
        shares: Their weights, which sum to 1 over the last axis; None when k is 1.
        squared: Squared distance to the nearest centroid of the finest clustering, shape (n,).
        novel: Whether that is beyond the novelty distance, shape (n,).
        close: Whether rounding could have decided one of these, shape (n,).
    """

    near: NDArray[np.intp]
    shares: Floats | None
    squared: Floats
    novel: NDArray[np.bool_]
    close: NDArray[np.bool_]


class Ranker:
    """A fitted router made ready to rank. It never changes, and may be shared between threads.

    Args:
        state: The fitted router. All arrays of models here are in its `order`, so that the first of the highest
            values is the winner of a tie.
    """

    def __init__(self, state: FittedRouter) -> None:
        self.state = state
        parameters, stats, order = state.parameters, state.stats, state.order
        self.names = [state.models[m] for m in order]
        self._column = {name: column for column, name in enumerate(self.names)}
        self._scoring, self._top_k, self._beta = parameters.scoring, parameters.top_k, parameters.beta
        sizes = [len(part.centroids) for part in state.clusterings]
        self._first, self._rows = sizes[0], sum(sizes)
        blocks = [part.centroids for part in state.clusterings]
        if state.linear is not None:
            blocks.append(state.linear.weights[order])
            self._intercepts = state.linear.intercepts[order].astype(np.float32)
        self._stack = np.ascontiguousarray(np.vstack(blocks), dtype=np.float32)
        start = sum(sizes[: state.finest])
        self._finest = slice(start, start + sizes[state.finest])
        centroids = self._stack[: self._rows]
        self._half_squares = np.einsum("kd,kd->k", centroids, centroids) / 2
        # clusterings side by side, (C, largest K): the shorter ones repeat their last cluster, out of reach
        self._starts = np.cumsum([0, *sizes[:-1]])[:, None]
        self._lasts = np.array(sizes)[:, None] - 1
        places = np.arange(max(sizes))
        self._beyond = places > self._lasts
        self._grid = np.minimum(places, self._lasts) + self._starts
        self._overall = stats.global_scores[order].astype(np.float32)
        # each cluster's part in the expected score; the parts of one query's clusters and the linear part add up to it
        rest = state.overall_weight * stats.global_scores / len(sizes)
        self._parts = np.vstack(
            [
                (part.weight * part.stats.means(parameters.prior_strength) + rest)[:, order]
                for part in state.clusterings
            ]
        ).astype(np.float32)
        self._costs, self._overall_costs = stats.costs[:, order], stats.global_costs[order]
        self._limits = np.maximum(state.novelty_distance, state.novelty_reach).astype(np.float64) ** 2
        # with one cluster a query and nothing else to weigh, a cluster's ranking is made once
        self._by_cluster = len(sizes) == 1 and self._top_k == 1 and state.linear is None
        self._nearest_alone = len(sizes) == 1 and self._top_k == 1 and self._scoring != "rank"
        self._rankings: dict[tuple[int, float], tuple[ModelScore, ...]] = {}

    # -- one query

    def decide(
        self,
        vector: ArrayLike,
        *,
        top_n: int = 1,
        models: Iterable[str] | None = None,
        cost_weight: float | None = None,
    ) -> RoutingDecision:
        """Route one query by its vector, shape (d,); `ClusterRouter.route_vector` says how."""
        x = np.asarray(vector, dtype=np.float32)
        if x.shape != (self.state.width,):
            raise RouterError(f"the vector has shape {x.shape}; the router takes ({self.state.width},)")
        norm = math.sqrt(float(x @ x))
        if not norm or not math.isfinite(norm):
            raise RouterError("the vector is all zeros" if norm == 0 else "the vector holds NaN or infinity")
        weight = self._cost_weight(cost_weight)
        products = (self._stack @ x)[None, :] / norm
        found = self._locate(products)
        if found.close[0]:
            products = self._exact_products(x)
            found = self._locate(products)
        ranking = self._ranking(x, products, found, weight)
        novel = bool(found.novel[0])
        clusters = () if novel else self._clusters(found)
        distance = math.sqrt(max(float(found.squared[0]), 0.0))
        return self._decision(
            ranking, top_n, models, weight, clusters=clusters, distance=distance, novel=novel
        )

    def decide_globally(
        self, *, top_n: int = 1, models: Iterable[str] | None = None, cost_weight: float | None = None
    ) -> RoutingDecision:
        """Rank the models for a query of which nothing is known, as for one far from every cluster."""
        weight = self._cost_weight(cost_weight)
        products = np.zeros((1, len(self._stack)), dtype=np.float32)
        found = replace(self._locate(products), novel=np.array([True]))
        values, expected, _ = self._value(products, found, weight)
        ranking = self._rows_of(values[0], expected[0], found)
        return self._decision(ranking, top_n, models, weight, clusters=(), distance=2.0, novel=True)

    def _decision(
        self,
        ranking: tuple[ModelScore, ...],
        top_n: int,
        models: Iterable[str] | None,
        weight: float,
        *,
        clusters: tuple[tuple[int, float], ...],
        distance: float,
        novel: bool,
    ) -> RoutingDecision:
        if models is not None:
            allowed = set(self._columns_of(models))
            ranking = tuple(row for row in ranking if self._column[row.name] in allowed)
        if weight:
            self._check_costs(row.name for row in ranking if row.cost is None)
        if not 1 <= top_n <= len(ranking):
            raise RouterError(f"top_n is {top_n}; there are {len(ranking)} candidate models")
        chosen = tuple([row.name for row in ranking[:top_n]])
        best_overall = self.names[0]
        if models is not None:
            best_overall = next(name for name in self.names if self._column[name] in allowed)
        return RoutingDecision(chosen, ranking, clusters, distance, novel, best_overall)

    def _clusters(self, found: _Location) -> tuple[tuple[int, float], ...]:
        if found.shares is None:
            return ((int(found.near[0, 0, 0]), 1.0),)
        near, shares = found.near[0, 0].tolist(), found.shares[0, 0].tolist()
        return tuple(zip(near, shares, strict=True))[: self._first]

    def _ranking(
        self, x: Floats, products: Floats, found: _Location, cost_weight: float
    ) -> tuple[ModelScore, ...]:
        if not self._by_cluster:
            return self._ranked(x, products, found, cost_weight)
        key = (-1 if found.novel[0] else int(found.near[0, 0, 0]), cost_weight)
        ranking = self._rankings.get(key)
        if ranking is None:
            ranking = self._ranked(x, products, found, cost_weight)
            if len(self._rankings) < 10_000:  # callers may use any number of weights
                self._rankings[key] = ranking
        return ranking

    def _ranked(
        self, x: Floats, products: Floats, found: _Location, cost_weight: float
    ) -> tuple[ModelScore, ...]:
        values, expected, close = self._value(products, found, cost_weight)
        if close[0]:
            products = self._exact_products(x)
            found = self._locate(products)
            values, expected, _ = self._value(products, found, cost_weight)
        return self._rows_of(values[0], expected[0], found)

    def _rows_of(self, values: Floats, expected: Floats, found: _Location) -> tuple[ModelScore, ...]:
        """The models with what stands behind their scores, best first; values and expected scores of shape (M,)."""
        state, order = self.state, self.state.order
        if found.novel[0]:
            stderrs, counts = state.stats.global_stderrs, state.stats.counts.sum(axis=0)
            costs = self._overall_costs
        else:
            near = found.near[0, 0][: self._first]
            shares = np.ones(1) if found.shares is None else found.shares[0, 0][: self._first]
            stderrs = np.sqrt((shares[:, None] ** 2 * state.cluster_stderrs[near] ** 2).sum(axis=0))
            counts, costs = state.stats.counts[near].sum(axis=0), shares @ self._costs[near]
        scores = np.clip(expected, 0, 1).tolist()
        ranks = np.argsort(-values, kind="stable").tolist()
        errors, rows, prices = (
            stderrs[order].tolist(),
            counts[order].tolist(),
            [_dollars(c) for c in costs.tolist()],
        )
        return tuple(
            ModelScore(
                self.names[c],
                scores[c],
                None if math.isnan(errors[c]) else errors[c],
                int(rows[c]),
                None if math.isnan(prices[c]) else prices[c],
            )
            for c in ranks
        )

    # -- many queries

    def choose(
        self, vectors: ArrayLike, *, models: Iterable[str] | None = None, cost_weight: float | None = None
    ) -> NDArray[np.intp]:
        """The best model of each query, shape (n,); `ClusterRouter.choose` says how."""
        X = as_vectors(vectors, self.state.width)
        norms = checked_norms(X)
        weight = self._cost_weight(cost_weight)
        columns = np.arange(len(self.names)) if models is None else np.array(sorted(self._columns_of(models)))
        if weight:
            unpriced = np.isnan(self._overall_costs[columns])
            self._check_costs(self.names[c] for c in columns[unpriced])
        chosen = np.empty(len(X), dtype=np.intp)
        for start in range(0, len(X), _BLOCK):
            rows = slice(start, start + _BLOCK)
            products = X[rows] @ self._stack.T
            products /= norms[rows, None]
            best, close = self._best(products, columns, weight)
            for row in np.flatnonzero(close):
                best[row] = self._best(self._exact_products(X[start + row]), columns, weight)[0][0]
            chosen[rows] = best
        winners: NDArray[np.intp] = self.state.order[columns[chosen]]
        return winners

    def expected(self, vectors: ArrayLike) -> NDArray[np.float64]:
        """The expected score of each of the state's models on each query, (n, d) in, (n, M) out."""
        X = as_vectors(vectors, self.state.width)
        norms = checked_norms(X)
        scores = np.empty((len(X), len(self.names)))
        for start in range(0, len(X), _BLOCK):
            rows = slice(start, start + _BLOCK)
            products = X[rows] @ self._stack.T
            products /= norms[rows, None]
            _, found, _ = self._value(products, self._locate(products), 0.0)
            scores[rows, self.state.order] = np.clip(found, 0, 1)
        return scores

    def _best(
        self, products: Floats, columns: NDArray[np.intp], cost_weight: float
    ) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """The best of some columns for each query, and whether rounding could have decided; shapes (n,)."""
        found = self._locate(products)
        if self._by_cluster:
            cluster_best = self.cluster_values(cost_weight)[:, columns].argmax(axis=1)
            best = cluster_best[found.near[:, 0, 0]]
            if found.novel.any():
                best[found.novel] = self._novel_values(cost_weight)[columns].argmax()
            return best, found.close
        values, _, close = self._value(products, found, cost_weight, columns)
        return values[:, columns].argmax(axis=1), found.close | close

    # -- the kernel

    def _exact_products(self, x: Floats) -> Floats:
        """Products of one vector of any length with the stack in float64, shape (1, R)."""
        exact = x.astype(np.float64)
        products: Floats = (self._stack.astype(np.float64) @ exact)[None, :] / math.sqrt(exact @ exact)
        return products

    def _locate(self, products: Floats) -> _Location:
        """Find the deciding clusters from the products of unit vectors with the stack, shape (n, R)."""
        # half the squared distance to a centroid, less the 1/2 that is the same for all
        half = self._half_squares - products[:, : self._rows]
        finest = half[:, self._finest]
        closest, lowest = finest.argmin(axis=1), finest.min(axis=1)
        squared = 1.0 + 2.0 * lowest
        beyond = squared - self._limits[closest]
        novel, close = beyond > 0, np.abs(beyond) < 2 * _ROUNDING
        if self._nearest_alone:  # the short way for the most common router of one clustering
            within = half <= lowest[:, None] + _ROUNDING
            if np.count_nonzero(within) > len(within):
                close |= within.sum(axis=1) > 1
            return _Location(closest[:, None, None], None, squared, novel, close)
        # the paper's code goes by the inner product, the other rules by the distance
        far = -products[:, : self._rows] if self._scoring == "rank" else half
        if len(self._grid) == 1:
            far = far[:, None, :]
        else:
            far = far[:, self._grid]
            far[:, self._beyond] = np.inf
        shares: Floats | None = None
        if self._top_k == 1:
            near = far.argmin(axis=2)[:, :, None]
            within = far <= far.min(axis=2, keepdims=True) + _ROUNDING
            close |= within.sum(axis=(1, 2)) > len(self._grid)
        else:
            ranked = np.argsort(far, axis=2, kind="stable")[:, :, : self._top_k + 1]
            gaps = np.take_along_axis(far, ranked, axis=2)
            with np.errstate(invalid="ignore"):  # between two that are out of reach
                close |= (np.diff(gaps, axis=2) < _ROUNDING).any(axis=(1, 2))
            near, gaps = ranked[:, :, : self._top_k], gaps[:, :, : self._top_k] - gaps[:, :, :1]
            shares = np.exp(-self._beta * np.where(np.isfinite(gaps), gaps, 0.0)) * np.isfinite(gaps)
            shares /= shares.sum(axis=2, keepdims=True)
        if len(self._grid) > 1:
            near = np.minimum(near, self._lasts) + self._starts
        return _Location(near, shares, squared, novel, close)

    def _value(
        self,
        products: Floats,
        found: _Location,
        cost_weight: float,
        columns: NDArray[np.intp] | None = None,
    ) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """The values by which models rank, their expected scores, both (n, M); whether rounding could decide, (n,)."""
        if found.shares is None:
            expected = self._parts[found.near[:, :, 0]].sum(axis=1)
        else:
            expected = np.einsum("nck,nckm->nm", found.shares, self._parts[found.near])
        if self.state.linear is not None:
            expected += self.state.linear.share * (products[:, self._rows :] + self._intercepts)
        expected[found.novel] = self._overall
        if self._scoring == "mean":
            values = expected
            if cost_weight:
                costs = self._of_first(found, self._costs)
                costs[found.novel] = self._overall_costs
                values = self._less_cost(expected, costs, cost_weight)
        else:
            values = self._of_first(found, self.cluster_values(cost_weight))
            values[found.novel] = self._novel_values(cost_weight)
        if cost_weight:  # a model of unknown cost is never the best by it; callers name it in an error
            values = np.where(np.isnan(values), -np.inf, values)
        close = np.zeros(len(values), dtype=bool)
        if found.shares is not None or self.state.linear is not None:
            rivals = values if columns is None else values[:, columns]
            if rivals.shape[1] > 1:
                second, first = np.partition(rivals, -2, axis=1)[:, -2:].T
                close = first < second + _ROUNDING
        return values, expected, close

    def _of_first(self, found: _Location, table: Floats) -> Floats:
        """A table by clusters of the first clustering, (K, M), at each query's place in it, (n, M)."""
        near = found.near[:, 0]
        if found.shares is None:
            return np.asarray(table[near[:, 0]])
        return np.asarray(np.einsum("nk,nkm->nm", found.shares[:, 0], table[near]))

    def cluster_values(self, cost_weight: float) -> Floats:
        """The value of each model in each cluster of the first clustering by the scoring rule, (K, M) in `names`."""
        return (
            self._own_values
            if cost_weight == self.state.parameters.cost_weight
            else self._values_at(cost_weight)
        )

    @cached_property
    def _own_values(self) -> Floats:
        return self._values_at(self.state.parameters.cost_weight)

    def _values_at(self, cost_weight: float) -> Floats:
        state = self.state
        means = state.stats.means(state.parameters.prior_strength)[:, state.order]
        if self._scoring == "balanced":
            return balanced_values(means, self._costs, cost_weight)
        if self._scoring == "rank":
            return rank_values(state.stats.means(0.0), state.order)[:, state.order].astype(np.float32)
        values = self._less_cost(means.astype(np.float32), self._costs, cost_weight)
        return np.where(np.isnan(values), -np.inf, values)

    def _novel_values(self, cost_weight: float) -> Floats:
        """The value of each model for a query far from every cluster, shape (M,)."""
        if self._scoring == "balanced":
            overall = self.state.stats.global_scores[self.state.order]
            return np.asarray(balanced_values(overall[None], self._overall_costs[None], cost_weight)[0])
        return np.asarray(self._less_cost(self._overall, self._overall_costs, cost_weight))

    def _less_cost(self, scores: Floats, costs: Floats, cost_weight: float) -> Floats:
        if not cost_weight:
            return scores
        known = self._overall_costs[~np.isnan(self._overall_costs)]
        dearest = known.max(initial=0.0)  # when all models are free, cost decides nothing
        return (1 - cost_weight) * scores - cost_weight * (costs / dearest if dearest else 0.0 * costs)

    # -- checks

    def _cost_weight(self, cost_weight: float | None) -> float:
        if cost_weight is None:
            return self.state.parameters.cost_weight
        check_cost_weight(cost_weight, self._scoring)
        return cost_weight

    def _columns_of(self, models: Iterable[str]) -> list[int]:
        if isinstance(models, str):
            raise RouterError(f"models is the text {models!r}; give a list of names")
        names = list(models)
        self.state.check_models(names)
        if not names:
            raise RouterError("models is empty; name at least one candidate")
        return [self._column[name] for name in dict.fromkeys(names)]

    def _check_costs(self, unpriced: Iterable[str]) -> None:
        names = list(unpriced)
        if names:
            raise RouterError(
                f"cost_weight needs costs, and none is known of {', '.join(map(repr, names))}: "
                "calibrate with costs, leave these models out with models=, or set cost_weight=0"
            )


def _dollars(cost: float) -> float:
    """A cost without the noise of float32, which has seven digits."""
    return float(f"{cost:.7g}")
