"""ClusterRouter: which model of a pool is best on queries like this one."""

from __future__ import annotations

import asyncio
import math
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Any, Literal, Self, cast

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import ArrayLike, NDArray

from langchain_avengers._arrays import known_mean, ratio
from langchain_avengers._text import shorten
from langchain_avengers.errors import ArtifactError, RouterError
from langchain_avengers.routing import scoring
from langchain_avengers.routing.clusterers import CLUSTERERS, cluster, nearest, without_warnings
from langchain_avengers.routing.decision import ModelScore, RoutingDecision
from langchain_avengers.routing.scoring import ClusterStats
from langchain_avengers.routing.selection import CurvePoint, Rows, choose_n_clusters
from langchain_avengers.routing.table import ScoreTable

Vectors = NDArray[np.float32]
Floats = NDArray[np.floating]

PROBE = "Which planet is closest to the sun, and why is it not the hottest?"
"""The sentence whose embedding, kept in the artefact, tells one embedder from another."""

_EXAMPLES = 3
_MAX_IDS = 250_000


@dataclass
class Clustering:
    """One clustering of the calibration rows: centroids, shape (K, d) float32, and the models' sums in each cluster."""

    centroids: Vectors
    stats: ClusterStats


class ClusterRouter:
    """Routes a query to the model of a pool that did best on the calibration queries most like it.

    The recipe of "The Avengers" (arXiv 2505.19797): embed, cluster, score each model in each cluster; a query goes to
    the best model of its nearest cluster. No training and, with `n_clusters` given, one parameter.

    With `n_clusters="auto"` the number is found by cross-validation on the calibration rows, and two things the paper
    does not have make the estimate steadier: it is averaged over five clusterings that differ in their seed, and
    blended with a ridge regression of the score on the query's vector. docs/routing.md has the measurements.

    Args:
        n_clusters: Number of clusters K, or `"auto"`.
        clusterer: `"kmeans"`, `"minibatch"`, `"hierarchical"` (Ward), `"gmm"`, `"spectral"` or `"birch"`.
        scoring: How a model is valued in a cluster. `"mean"`: posterior mean score. `"rank"`: the paper's code, by the
            model's rank in the nearest cluster(s) by inner product with the centroid as it is. `"balanced"`:
            Avengers-Pro (arXiv 2508.12631), performance and cheapness each scaled within the cluster.
        prior_strength: Rows' worth of the model's global mean that a cluster's mean is shrunk by; at least 0.
        top_k: Number of nearest clusters that decide together, weighted by softmax(−β · cosine distance).
        beta: The β of that softmax; no effect with `top_k=1`.
        cost_weight: In [0, 1]. 0 looks at the score alone, 1 at the cost alone. For `"mean"` the value of a model is
            (1 − w) · score − w · cost / (the dearest model's mean cost); for `"balanced"` w is 1 − α; `"rank"` has
            none.
        novelty_quantile: A query farther from its nearest centroid than this quantile of the calibration queries (each
            measured against its cluster without itself) is novel: the global ranking decides. 1 is the farthest of
            them; None never calls a query novel.
        n_clusterings: Number of clusterings averaged (scoring `"mean"` only); `"auto"` is 5 where `n_clusters` is
            `"auto"`, else 1.
        linear_weight: Share in [0, 1) of the ridge regression in a model's expected score (scoring `"mean"` only);
            `"auto"` is 0.3 · n / (n + 500) for n rows where `n_clusters` is `"auto"`, else 0.
        random_state: Seed. Same rows and seed give the same router, whatever the order of the rows.

    Attributes:
        models_: Names of the M models.
        centroids_: Centroids, shape (K, d) float32, not re-normalised.
        cluster_scores_: Mean score of each model in each cluster, shrunk as `prior_strength` says, shape (K, M).
        cluster_stderrs_: Standard error of each of them, shape (K, M); NaN where fewer than two rows stand behind it.
        cluster_counts_: Measured scores behind each of them, shape (K, M).
        cluster_costs_: Mean cost per answer, shape (K, M) US dollars, NaN where not known.
        global_scores_: Mean score of each model over all its calibration rows, shape (M,).
        task_scores_: Mean score of each model over the calibration rows of each task (one, without a name, where the
            table has no tasks), shape (T, M); NaN where not measured.
        n_clusters_: K.
        n_clusterings_: Number of clusterings averaged.
        linear_share_: Share of the ridge regression in a model's expected score; 0 where there is none.
        novelty_distance_: Distance beyond which a query is novel.
        curve_: Where K was found: each candidate's cross-validated score.
        cluster_tasks_: For each cluster, how many of its rows belong to each task.
        examples_: For each cluster, up to three of its calibration queries, the nearest to the centroid first.

    Where several clusterings are averaged, the attributes above show the first, which is also the one reported in
    decisions and explanations.

    Example:
        >>> queries = ["7 + 5?", "2 * 3?", "Capital of Peru?", "Capital of Chad?"]
        >>> table = ScoreTable(queries, ["a", "b"], [[1, 0], [1, 0], [0, 1], [0, 1]])
        >>> vectors = [[1.0, 0.1], [1.0, 0.0], [0.0, 1.0], [0.1, 1.0]]
        >>> router = ClusterRouter(n_clusters=2).fit(table, vectors=vectors)
        >>> router.route_vector([0.1, 2.0]).chosen
        ('b',)
    """

    models_: list[str]
    centroids_: Vectors
    cluster_scores_: NDArray[np.float32]
    cluster_counts_: NDArray[np.int64]
    cluster_costs_: NDArray[np.float32]
    global_scores_: NDArray[np.float32]
    task_scores_: NDArray[np.float32]
    cluster_stderrs_: NDArray[np.float64]
    n_clusters_: int
    n_clusterings_: int
    linear_share_: float
    novelty_distance_: float
    curve_: list[CurvePoint]
    cluster_tasks_: list[dict[str, int]]
    examples_: list[list[str]]
    _ids: NDArray[np.uint64] | None
    _tasks: list[str]
    _by_task: ClusterStats

    def __init__(
        self,
        *,
        n_clusters: int | Literal["auto"] = "auto",
        clusterer: str = "kmeans",
        scoring: str = "mean",
        prior_strength: float = 5.0,
        top_k: int = 1,
        beta: float = 6.0,
        cost_weight: float = 0.0,
        novelty_quantile: float | None = 1.0,
        n_clusterings: int | Literal["auto"] = "auto",
        linear_weight: float | Literal["auto"] = "auto",
        random_state: int = 0,
    ) -> None:
        self.n_clusters = n_clusters
        self.clusterer = clusterer
        self.scoring = scoring
        self.prior_strength = prior_strength
        self.top_k = top_k
        self.beta = beta
        self.cost_weight = cost_weight
        self.novelty_quantile = novelty_quantile
        self.n_clusterings = n_clusterings
        self.linear_weight = linear_weight
        self.random_state = random_state
        self._embeddings: Embeddings | None = None
        self._embeddings_name: str | None = None
        self._probe: Vectors | None = None

    # -- parameters

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's parameters, as scikit-learn's estimators give them."""
        names = ClusterRouter.__init__.__code__.co_varnames[
            1 : 1 + ClusterRouter.__init__.__code__.co_kwonlyargcount
        ]
        return {name: getattr(self, name) for name in names}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; they take effect at the next `fit`.

        Raises:
            RouterError: A name is none of the constructor's.
        """
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise RouterError(f"unknown parameter {name!r}; ClusterRouter has {', '.join(known)}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        default = ClusterRouter().get_params()
        shown = ", ".join(f"{k}={v!r}" for k, v in self.get_params().items() if v != default[k])
        return f"ClusterRouter({shown})"

    def _check_params(self) -> None:
        def require(name: str, fine: bool, wanted: str) -> None:
            if not fine:
                raise RouterError(f"{name} is {getattr(self, name)!r}; give {wanted}")

        require(
            "n_clusters",
            self.n_clusters == "auto" or _is_int(self.n_clusters, 1),
            "'auto' or a whole number from 1 on",
        )
        require("clusterer", self.clusterer in CLUSTERERS, f"one of {', '.join(CLUSTERERS)}")
        require("scoring", self.scoring in scoring.SCORINGS, f"one of {', '.join(scoring.SCORINGS)}")
        require("prior_strength", _is_number(self.prior_strength, 0, math.inf), "a number from 0 on")
        require("top_k", _is_int(self.top_k, 1), "a whole number from 1 on")
        require("beta", _is_number(self.beta, 0, math.inf), "a number from 0 on")
        require(
            "novelty_quantile",
            self.novelty_quantile is None or _is_number(self.novelty_quantile, 0, 1),
            "0 to 1, or None",
        )
        require(
            "n_clusterings",
            self.n_clusterings == "auto" or _is_int(self.n_clusterings, 1),
            "'auto' or a whole number from 1 on",
        )
        require(
            "linear_weight",
            self.linear_weight == "auto" or _is_number(self.linear_weight, 0, 0.999),
            "'auto' or a share from 0 to below 1",
        )
        require("random_state", _is_int(self.random_state, 0), "a whole number from 0 on")
        self._check_cost_weight(self.cost_weight)
        if self.scoring != "mean" and (self._n_clusterings > 1 or self._share_of(1)):
            raise RouterError(
                f"n_clusterings and linear_weight belong to scoring='mean', not to {self.scoring!r}"
            )

    def _check_cost_weight(self, cost_weight: float) -> None:
        if not _is_number(cost_weight, 0, 1):
            raise RouterError(
                f"cost_weight is {cost_weight!r}; give a number from 0 (score alone) to 1 (cost alone)"
            )
        if cost_weight and self.scoring == "rank":
            raise RouterError(
                "scoring='rank' knows no costs: leave cost_weight at 0, or use 'mean' or 'balanced'"
            )

    # -- fitting

    def fit(
        self, table: ScoreTable, embeddings: Embeddings | None = None, *, vectors: ArrayLike | None = None
    ) -> Self:
        """Learn from calibration rows.

        Args:
            table: The calibration rows.
            embeddings: The embedder of the queries, kept for routing; None is the default one, loaded when needed.
            vectors: The queries' embeddings, shape (n, d), if they are at hand: nothing is embedded then. Rows are
                L2-normalised here.

        Raises:
            RouterError: A parameter is out of range, a model has no score at all, or `vectors` do not fit the table.
        """
        self._check_params()
        unmeasured = [
            name for name, n in zip(table.models, (~np.isnan(table.scores)).sum(0), strict=True) if n == 0
        ]
        if unmeasured:
            raise RouterError(
                f"no score is known of {', '.join(map(repr, unmeasured))}: measure some, or leave them out"
            )
        if self.n_clusters != "auto" and self.n_clusters > len(table):
            raise RouterError(f"n_clusters is {self.n_clusters}, more than the table's {len(table)} rows")
        self._embeddings = embeddings
        self._embeddings_name, self._probe = None, None
        X = self._vectors_of(table, vectors, fitting=True)
        if vectors is None or embeddings is not None:
            self._remember_embeddings()
        if vectors is None:
            _warn_of_equal_vectors(table.queries, X)
        with without_warnings():
            self._fit_sorted(*_canonical(table, X))
        return self

    def _fit_sorted(self, table: ScoreTable, X: Vectors) -> None:
        self.curve_ = []
        n_clusters = self.n_clusters if self.n_clusters != "auto" else self._choose_n_clusters(table, X)
        clusterings = self._cluster(X, n_clusters, self._n_clusterings)
        if self.n_clusters != "auto" and (found := len(clusterings[0][1])) < n_clusters:
            warnings.warn(
                f"{found} clusters instead of {n_clusters}: there are not more different vectors, "
                f"or {self.clusterer} left some empty",
                stacklevel=3,
            )
        share = self._share_of(len(table))
        linear = scoring.fit_linear(X, table.scores, _LINEAR_STRENGTH) if share else None
        self._score(table, X, clusterings, linear, share)
        if len(table) <= _MAX_IDS:
            self._ids = np.unique(_ids(table.queries))

    @property
    def _n_clusterings(self) -> int:
        if self.n_clusterings != "auto":
            return self.n_clusterings
        return 5 if self.n_clusters == "auto" and self.scoring == "mean" else 1

    def _share_of(self, n_rows: int) -> float:
        """The linear part's share; by default it grows with the rows: of few it knows little but the global mean."""
        if self.linear_weight != "auto":
            return float(self.linear_weight)
        return 0.3 * n_rows / (n_rows + 500) if self.n_clusters == "auto" and self.scoring == "mean" else 0.0

    def _cluster(self, X: Vectors, n_clusters: int, count: int, *, trial: bool = False) -> list[_Labelled]:
        """So many clusterings by different seeds."""
        return [
            cluster(
                X,
                n_clusters,
                clusterer=self.clusterer,
                seed=self.random_state + 1000 * number,
                # the first clustering is the one shown, so a good one; of many rows, where starts are dear and
                # matter less, the average makes up for the others
                n_init=1 if trial else None if number == 0 else max(1, min(5, 10_000 // len(X))),
            )
            for number in range(count)
        ]

    def _score(
        self,
        table: ScoreTable,
        X: Vectors,
        clusterings: Sequence[_Labelled],
        linear: _Linear | None,
        share: float,
    ) -> None:
        """Score the models in clusters that are there: what is fitted from scores, and all that routing needs."""
        self.models_ = list(table.models)
        self._clusterings = [
            Clustering(centroids, ClusterStats.of(table, labels, len(centroids)))
            for labels, centroids in clusterings
        ]
        self._describe_clusters(table, X, *clusterings[0])
        self._linear, self.linear_share_ = linear, share
        self._ids = None
        self._tasks, self._by_task = [], ClusterStats.zeros(0, len(self.models_))
        self._note_tasks(table)
        self.n_rows_ = len(table)
        self._prepare()

    def _choose_n_clusters(self, table: ScoreTable, X: Vectors) -> int:
        share = self._share_of(len(table))
        # two clusterings stand for the average: enough that the luck of one start does not decide
        count = min(2, self._n_clusterings)
        params = {**self.get_params(), "cost_weight": 0.0}

        def routed(inside: Rows, outside: Rows, candidates: Sequence[int]) -> Floats:
            rows, vectors = table.select_rows(inside), X[inside]
            linear = scoring.fit_linear(vectors, rows.scores, _LINEAR_STRENGTH) if share else None
            scores = []
            for n_clusters in candidates:
                trial = ClusterRouter(**params)
                trial._score(
                    rows, vectors, self._cluster(vectors, n_clusters, count, trial=True), linear, share
                )
                scores.append(table.scores[outside, trial.choose(X[outside])])
            return np.array(scores)

        chosen, self.curve_ = choose_n_clusters(len(table), table.tasks, routed, seed=self.random_state)
        return chosen

    def _describe_clusters(
        self, table: ScoreTable, X: Vectors, labels: NDArray[np.intp], centroids: Vectors
    ) -> None:
        self.centroids_ = centroids
        counts = np.bincount(labels, minlength=len(centroids))
        squared = np.maximum(
            1 + (centroids**2).sum(1)[labels] - 2 * np.einsum("nd,nd->n", X, centroids[labels]), 0
        )
        distances = np.sqrt(squared)
        # the distance to the mean of the OTHER members, n/(n-1) times as far: as a new query would see the cluster
        others = counts[labels] > 1
        apart = distances[others] * (counts[labels] / np.maximum(counts[labels] - 1, 1))[others]
        self.novelty_distance_ = (
            math.inf
            if self.novelty_quantile is None or not others.any()
            else float(np.quantile(apart, self.novelty_quantile))
        )
        self.cluster_tasks_ = [{} for _ in centroids]
        if table.tasks is not None:
            for (label, task), n in sorted(Counter(zip(labels.tolist(), table.tasks, strict=True)).items()):
                self.cluster_tasks_[label][task] = n
        self.examples_ = []
        order = np.argsort(distances, kind="stable")
        by_cluster = order[np.argsort(labels[order], kind="stable")]
        for rows in np.split(by_cluster, np.cumsum(counts)[:-1]):
            distinct = dict.fromkeys(table.queries[row] for row in rows[: 4 * _EXAMPLES].tolist())
            self.examples_.append(list(distinct)[:_EXAMPLES])

    def _prepare(self) -> None:
        """Derive everything routing needs from the fitted state."""
        first = self._clusterings[0].stats
        self.centroids_ = self._clusterings[0].centroids
        self.n_clusters_ = len(self.centroids_)
        self.n_clusterings_ = len(self._clusterings)
        means = first.means(self.prior_strength)
        self.cluster_scores_ = means.astype(np.float32)
        self.cluster_counts_ = first.counts.astype(np.int64)
        self.cluster_stderrs_ = first.stderrs(self.prior_strength)
        self._costs = first.costs
        self.cluster_costs_ = self._costs.astype(np.float32)
        self.global_scores_ = first.global_scores.astype(np.float32)
        self.task_scores_ = ratio(self._by_task.sums, self._by_task.counts).astype(np.float32)
        costs = first.global_costs
        # ties: global mean, then cost (an unknown one last), then name; arrays of values are kept in this order, so
        # that the first of the highest is the winner
        order = sorted(
            range(len(self.models_)),
            key=lambda m: (
                -round(float(first.global_scores[m]), 9),
                math.inf if math.isnan(costs[m]) else costs[m],
                self.models_[m],
            ),
        )
        self._order = np.array(order, dtype=np.intp)
        self._column = {self.models_[m]: place for place, m in enumerate(order)}
        self._squares = [np.einsum("kd,kd->k", c.centroids, c.centroids) for c in self._clusterings]
        blocks = [c.centroids for c in self._clusterings]
        if self._linear is not None:
            blocks.append(self._linear[0][self._order])
        self._stack = np.ascontiguousarray(np.vstack(blocks), dtype=np.float32)
        self._means = [
            c.stats.means(self.prior_strength)[:, order].astype(np.float32) for c in self._clusterings
        ]
        self._values = self._means
        if self.scoring == "rank":
            raw = first.means(0.0)
            self._values = [scoring.rank_values(raw, self._order)[:, order].astype(np.float32)]
        self._rankings: dict[int, tuple[ModelScore, ...]] = {}
        # with one clustering, one cluster a query and no linear part, the cluster alone decides
        self._by_cluster = (
            self.top_k == 1
            and len(self._clusterings) == 1
            and self._linear is None
            and self.scoring != "rank"
        )
        self._best: NDArray[np.intp] | None = None
        if self._by_cluster and not self.cost_weight:
            values = self._cluster_values(0.0)
            self._best = self._order[values.argmax(axis=1)]
        self._fingerprint: str | None = None

    # -- embedding

    @property
    def embeddings(self) -> Embeddings:
        """The embedder of queries; the default one is loaded at first use.

        Raises:
            ArtifactError: The router was fitted with another embedder than the one at hand.
            WeightsNotFoundError: The default embedder's weights are nowhere.
        """
        if self._embeddings is None:
            from langchain_avengers.routing.embeddings import default_embeddings

            embeddings = default_embeddings(self._embeddings_name)
            if self._probe is not None:
                self._check_embeddings(embeddings)
            self._embeddings = embeddings
        return self._embeddings

    @property
    def embeddings_name(self) -> str | None:
        """The name of the embedder the router was fitted with; None where it was fitted on vectors alone."""
        return self._embeddings_name

    def embed(self, query: str) -> Vectors:
        """The query's embedding, shape (d,) float32, L2-normalised."""
        return self._unit(self.embeddings.embed_query(query))

    async def aembed(self, query: str) -> Vectors:
        """`embed` without blocking the event loop."""
        embeddings = self._embeddings
        if embeddings is None:  # loading the default one takes seconds
            embeddings = await asyncio.to_thread(lambda: self.embeddings)
        return self._unit(await embeddings.aembed_query(query))

    def embed_many(self, queries: Sequence[str]) -> Vectors:
        """The queries' embeddings, shape (n, d) float32, L2-normalised; equal texts are embedded once."""
        distinct = list(dict.fromkeys(queries))
        place = {text: row for row, text in enumerate(distinct)}
        embedded = self.embeddings.embed_documents(distinct)
        if len(embedded) != len(distinct):
            raise RouterError(f"the embedder gave {len(embedded)} vectors for {len(distinct)} texts")
        vectors: Vectors = np.asarray(embedded, dtype=np.float32)[[place[text] for text in queries]]
        return unit_rows(vectors, self._width)

    def _unit(self, vector: Sequence[float]) -> Vectors:
        row: Vectors = unit_rows(np.asarray(vector, dtype=np.float32)[None, :], self._width)[0]
        return row

    @property
    def _width(self) -> int | None:
        return self.centroids_.shape[1] if hasattr(self, "_clusterings") else None

    def _vectors_of(self, table: ScoreTable, vectors: ArrayLike | None, *, fitting: bool = False) -> Vectors:
        if vectors is None:
            if fitting:
                self.__dict__.pop("_clusterings", None)  # an earlier fit's width says nothing
            return self.embed_many(table.queries)
        X = unit_rows(_as_float32(vectors), None if fitting else self._width)
        if len(X) != len(table):
            raise RouterError(f"{len(X)} vectors for {len(table)} rows of the table; give one a row")
        return X

    def _remember_embeddings(self) -> None:
        from langchain_avengers.routing.embeddings import embeddings_name

        self._embeddings_name = embeddings_name(self.embeddings)
        self._probe = unit_rows(
            np.asarray(self.embeddings.embed_query(PROBE), dtype=np.float32)[None, :], None
        )[0]

    def _check_embeddings(self, embeddings: Embeddings) -> None:
        """Refuse an embedder that does not embed the probe as the calibration's did."""
        vector = np.asarray(embeddings.embed_query(PROBE), dtype=np.float32)
        if len(vector) != self._width:
            raise ArtifactError(
                f"the embedder gives {len(vector)} dimensions, the router was fitted with {self._width}"
                + (f" of {self._embeddings_name}" if self._embeddings_name else "")
            )
        if self._probe is None:
            return
        cosine = float(unit_rows(vector[None, :], None)[0] @ self._probe)
        if cosine < 0.99:
            raise ArtifactError(
                f"this is not the embedder the router was fitted with ({self._embeddings_name}): a fixed sentence's "
                f"embedding has cosine {cosine:.3f} to the recorded one; pass that embedder, or fit again"
            )

    # -- routing

    def route(
        self,
        query: str,
        *,
        top_n: int = 1,
        models: Iterable[str] | None = None,
        cost_weight: float | None = None,
    ) -> RoutingDecision:
        """Route one query.

        Args:
            query: Its text.
            top_n: Number of models to choose.
            models: Candidates, a subset of `models_`; all by default.
            cost_weight: For this call; the router's own by default.

        Raises:
            RouterError: `top_n` or `cost_weight` out of range, an unknown model, a cost that is needed and not known.
        """
        self._check_fitted()
        return self.route_vector(self.embed(query), top_n=top_n, models=models, cost_weight=cost_weight)

    async def aroute(
        self,
        query: str,
        *,
        top_n: int = 1,
        models: Iterable[str] | None = None,
        cost_weight: float | None = None,
    ) -> RoutingDecision:
        """`route` without blocking the event loop."""
        self._check_fitted()
        vector = await self.aembed(query)
        return self.route_vector(vector, top_n=top_n, models=models, cost_weight=cost_weight)

    def route_many(
        self,
        queries: Sequence[str],
        *,
        top_n: int = 1,
        models: Iterable[str] | None = None,
        cost_weight: float | None = None,
    ) -> list[RoutingDecision]:
        """Route several queries, embedded together."""
        self._check_fitted()
        if not len(queries):
            return []
        names = None if models is None else list(models)
        vectors = self.embed_many(queries)
        return [self.route_vector(row, top_n=top_n, models=names, cost_weight=cost_weight) for row in vectors]

    def route_vector(
        self,
        vector: ArrayLike,
        *,
        top_n: int = 1,
        models: Iterable[str] | None = None,
        cost_weight: float | None = None,
    ) -> RoutingDecision:
        """Route a query by its embedding, shape (d,); it need not be normalised."""
        self._check_fitted()
        x = np.asarray(vector, dtype=np.float32)
        if x.shape != (self.centroids_.shape[1],):
            raise RouterError(
                f"the vector has shape {x.shape}; the router takes ({self.centroids_.shape[1]},)"
            )
        norm = math.sqrt(float(x @ x))
        if not norm or not math.isfinite(norm):
            raise RouterError("the vector is all zeros" if norm == 0 else "the vector holds NaN or infinity")
        products = self._stack @ x
        if norm != 1.0:
            products /= norm
        weight = self.cost_weight if cost_weight is None else cost_weight
        nearest_first, shares, distance = self._near(products[: self.n_clusters_])
        novel = distance > self.novelty_distance_
        if self._by_cluster and not weight:
            place = -1 if novel else int(nearest_first[0])
            ranking = self._rankings.get(place)
            if ranking is None:
                ranking = self._rankings[place] = self._ranking(
                    products, nearest_first, shares, novel, weight
                )
        else:
            ranking = self._ranking(products, nearest_first, shares, novel, weight)
        if models is not None:
            allowed = self._columns_of(models)
            ranking = tuple(row for row in ranking if self._column[row.name] in allowed)
        if weight:
            self._check_costs(row.name for row in ranking if row.cost is None)
        if not 1 <= top_n <= len(ranking):
            raise RouterError(f"top_n is {top_n}; there are {len(ranking)} candidate models")
        clusters = () if novel else tuple(zip(nearest_first.tolist(), shares.tolist(), strict=True))
        return RoutingDecision(
            tuple([row.name for row in ranking[:top_n]]), ranking, clusters, distance, novel
        )

    def _near(self, products: Floats) -> tuple[NDArray[np.intp], Floats, float]:
        """Of one unit vector: deciding clusters, nearest first, their weights, distance to the nearest centroid."""
        apart = self._squares[0] - 2 * products
        closest = int(apart.argmin())
        distance = math.sqrt(max(1.0 + float(apart[closest]), 0.0))
        if self.top_k == 1 and self.scoring != "rank":
            return np.array([closest]), np.ones(1), distance
        # the paper's code goes by the inner product, the other rules by the distance
        far = (
            1.0 - products.astype(np.float64)
            if self.scoring == "rank"
            else (apart.astype(np.float64) + 1) / 2
        )
        chosen = np.argsort(far, kind="stable")[: self.top_k]
        shares = np.exp(-self.beta * (far[chosen] - far[chosen[0]]))
        return chosen, shares / shares.sum(), distance

    def _ranking(
        self, products: Floats, clusters: NDArray[np.intp], shares: Floats, novel: bool, cost_weight: float
    ) -> tuple[ModelScore, ...]:
        stats = self._clusterings[0].stats
        order = self._order
        values, expected = (
            each[0] for each in self._assess(products[None, :], np.array([novel]), cost_weight)
        )
        if novel:
            stderrs, counts, costs = stats.global_stderrs, stats.counts.sum(axis=0), stats.global_costs
        else:
            stderrs = np.sqrt((shares[:, None] ** 2 * self.cluster_stderrs_[clusters] ** 2).sum(axis=0))
            counts = stats.counts[clusters].sum(axis=0)
            costs = shares @ self._costs[clusters]
        stderrs, counts, costs = stderrs[order], counts[order], costs[order]
        return tuple(
            ModelScore(
                self.models_[order[c]],
                float(min(max(expected[c], 0.0), 1.0)),
                None if math.isnan(stderrs[c]) else float(stderrs[c]),
                int(counts[c]),
                None if math.isnan(costs[c]) else float(costs[c]),
            )
            for c in np.argsort(-values, kind="stable")
        )

    def choose(
        self, vectors: ArrayLike, *, models: Iterable[str] | None = None, cost_weight: float | None = None
    ) -> NDArray[np.intp]:
        """The best model of each query: the hot path, arithmetic on float32 arrays with no loop over queries.

        Args:
            vectors: Embeddings, shape (n, d); need not be normalised.
            models: Candidates, a subset of `models_`; all by default.
            cost_weight: For this call; the router's own by default.

        Returns:
            Indices into `models_`, shape (n,).
        """
        self._check_fitted()
        X = _as_float32(vectors)
        if X.ndim != 2 or X.shape[1] != self.centroids_.shape[1]:
            raise RouterError(
                f"the vectors have shape {X.shape}; the router takes (n, {self.centroids_.shape[1]})"
            )
        norms = _norms(X)
        products = X @ self._stack.T
        weight = self.cost_weight if cost_weight is None else cost_weight
        if self._best is not None and not weight and models is None:
            apart = self._squares[0] * norms[:, None]
            products *= 2
            apart -= products
            closest = apart.argmin(axis=1)
            chosen: NDArray[np.intp] = self._best[closest]
            if self.novelty_distance_ < 2:
                squared = 1.0 + apart[np.arange(len(X)), closest] / norms
                chosen[squared > self.novelty_distance_**2] = self._order[0]
            return chosen
        products /= norms[:, None]
        apart = self._squares[0] - 2 * products[:, : self.n_clusters_]
        novel = np.sqrt(np.maximum(1.0 + apart.min(axis=1), 0)) > self.novelty_distance_
        values, _ = self._assess(products, novel, weight)
        candidates = range(len(self.models_)) if models is None else sorted(self._columns_of(models))
        allowed: NDArray[np.intp] = self._order[np.array(candidates, dtype=np.intp)]
        if weight:
            unpriced = np.isnan(self._clusterings[0].stats.global_costs[allowed])
            self._check_costs(self.models_[m] for m in allowed[unpriced])
        if models is not None:
            values = values[:, np.array(candidates, dtype=np.intp)]
        best: NDArray[np.intp] = allowed[values.argmax(axis=1)]
        return best

    def _assess(
        self, products: Floats, novel: NDArray[np.bool_], cost_weight: float
    ) -> tuple[Floats, Floats]:
        """Of products with `_stack`: value by which models rank, and expected score, each (n, M) in `_order`."""
        self._check_cost_weight(cost_weight)
        stats = self._clusterings[0].stats
        expected = np.zeros((len(products), len(self.models_)), dtype=np.float32)
        start = 0
        picked: NDArray[np.intp]
        for number, (squares, means) in enumerate(zip(self._squares, self._means, strict=True)):
            block = products[:, start : start + len(squares)]
            far = (
                1.0 - block.astype(np.float64)
                if self.scoring == "rank"
                else (1 + squares - 2 * block).astype(np.float64) / 2
            )
            start += len(squares)
            if self.top_k == 1:
                near = far.argmin(axis=1)[:, None]
                shares = np.ones((len(products), 1))
            else:
                near = np.argsort(far, axis=1, kind="stable")[:, : self.top_k]
                gaps = np.take_along_axis(far, near, axis=1)
                shares = np.exp(-self.beta * (gaps - gaps[:, :1]))
                shares /= shares.sum(axis=1, keepdims=True)
            expected += np.einsum("nk,nkm->nm", shares, means[near])
            if number == 0:
                picked, first_shares = near, shares
        expected /= len(self._squares)
        if self._linear is not None:
            line = products[:, start:] + self._linear[1][self._order].astype(np.float32)
            expected = (1 - self.linear_share_) * expected + self.linear_share_ * line
        overall = stats.global_scores[self._order].astype(np.float32)
        expected[novel] = overall
        if self.scoring == "mean":
            values = expected
            if cost_weight:
                dearest = (
                    np.nanmax(stats.global_costs) if not np.isnan(stats.global_costs).all() else math.nan
                )
                costs = np.einsum("nk,nkm->nm", first_shares, stats.costs[:, self._order][picked])
                costs[novel] = stats.global_costs[self._order]
                # free models all: cost decides nothing
                values = (1 - cost_weight) * expected - cost_weight * (costs / dearest if dearest else 0.0)
        else:
            table = self._cluster_values(cost_weight)
            values = np.einsum("nk,nkm->nm", first_shares, table[picked])
            if self.scoring == "rank":
                values[novel] = overall
            else:
                values[novel] = scoring.balanced_values(
                    stats.global_scores[None, self._order], stats.global_costs[None, self._order], cost_weight
                )[0]
        if cost_weight:  # a model of unknown cost is never the best by it; callers name it in an error
            values = np.where(np.isnan(values), -np.inf, values)
        return values, expected

    def _cluster_values(self, cost_weight: float) -> Floats:
        """What a model is worth in a cluster by the scoring rule, shape (K, M) in `_order`."""
        if self.scoring != "balanced":
            return self._values[0]
        stats = self._clusterings[0].stats
        means = stats.means(self.prior_strength)[:, self._order]
        return scoring.balanced_values(means, stats.costs[:, self._order], cost_weight)

    def _columns_of(self, models: Iterable[str]) -> set[int]:
        if isinstance(models, str):
            raise RouterError(f"models is the text {models!r}; give a list of names")
        names = list(models)
        self._check_models(names)
        if not names:
            raise RouterError("models is empty; name at least one candidate")
        return {self._column[name] for name in names}

    def _check_models(self, names: Iterable[str]) -> None:
        unknown = [name for name in names if name not in self._column]
        if unknown:
            raise RouterError(
                f"the router does not know {', '.join(map(repr, unknown))}; "
                f"it knows {', '.join(map(repr, self.models_))}"
            )

    def _check_costs(self, unpriced: Iterable[Any]) -> None:
        names = [str(name) for name in unpriced]
        if names:
            raise RouterError(
                f"cost_weight needs costs, and none is known of {', '.join(map(repr, names))}: "
                "calibrate with costs, leave these models out with models=, or set cost_weight=0"
            )

    def _check_fitted(self) -> None:
        if not hasattr(self, "_clusterings"):
            raise RouterError("this router is not fitted: call fit(table), or ClusterRouter.load(path)")

    # -- looking at it

    def assign(self, vectors: ArrayLike) -> NDArray[np.intp]:
        """The cluster whose centroid is nearest to each vector, shape (n,); vectors (n, d) as for `choose`."""
        self._check_fitted()
        return nearest(unit_rows(_as_float32(vectors), self._width), self.centroids_)

    def score(self, table: ScoreTable, *, vectors: ArrayLike | None = None) -> float:
        """Mean score of the chosen models over the rows of a table; rows where it was not measured are left out.

        Raises:
            RouterError: The table lacks a model of the router, or no chosen model was measured.
        """
        self._check_fitted()
        missing = [name for name in self.models_ if name not in table.models]
        if missing:
            raise RouterError(f"the table has no scores of {', '.join(map(repr, missing))}")
        column = np.array([table.models.index(name) for name in self.models_])
        chosen = column[self.choose(self._vectors_of(table, vectors))]
        got = table.scores[np.arange(len(table)), chosen]
        mean = known_mean(got)
        if math.isnan(mean):
            raise RouterError("no row of the table has a measured score of the model chosen for it")
        return float(mean)

    def seen(self, queries: Sequence[str]) -> NDArray[np.bool_]:
        """Which of the queries were calibration rows (told by a 64-bit digest of the text), shape (n,).

        All False where the router was fitted on more than 250,000 rows, whose digests are not kept.
        """
        self._check_fitted()
        if self._ids is None:
            return np.zeros(len(queries), dtype=bool)
        return np.isin(_ids(queries), self._ids)

    @property
    def fingerprint_(self) -> str:
        """Sixteen hexadecimal digits that differ between routers that could decide differently."""
        self._check_fitted()
        if self._fingerprint is None:
            digest = sha256(repr((self.models_, self.get_params(), self._embeddings_name)).encode())
            digest.update(self._stack.tobytes())
            for means in self._means:
                digest.update(means.tobytes())
            digest.update(self.cluster_costs_.tobytes())
            self._fingerprint = digest.hexdigest()[:16]
        return self._fingerprint

    def select_models(self, n: int) -> list[str]:
        """The paper's automatic subset: the n models that are best in the most clusters, ties by global mean.

        Raises:
            RouterError: n is not in [1, M].
        """
        self._check_fitted()
        if not 1 <= n <= len(self.models_):
            raise RouterError(f"n is {n}; the router has {len(self.models_)} models")
        tops = np.bincount(self._cluster_values(self.cost_weight).argmax(axis=1), minlength=len(self.models_))
        return [self.models_[self._order[c]] for c in np.argsort(-tops, kind="stable")[:n]]

    def explain(self, query: str, *, cost_weight: float | None = None) -> Explanation:
        """Why the router decides as it does for a query; prints as a table."""
        return self.explain_vector(self.embed(query), query=query, cost_weight=cost_weight)

    def explain_vector(
        self, vector: ArrayLike, *, query: str = "", cost_weight: float | None = None
    ) -> Explanation:
        """`explain` for an embedding, shape (d,)."""
        decision = self.route_vector(vector, top_n=1, cost_weight=cost_weight)
        x = unit_rows(_as_float32(vector)[None, :], self._width)[0]
        close = np.argsort(self._squares[0] - 2 * (self.centroids_ @ x), kind="stable")[:3]
        return Explanation(
            query=query,
            decision=decision,
            nearest=tuple(
                (
                    int(k),
                    float(np.linalg.norm(x - self.centroids_[k])),
                    tuple(self.examples_[k]),
                    dict(self.cluster_tasks_[k]),
                )
                for k in close
            ),
            global_scores=dict(zip(self.models_, self.global_scores_.tolist(), strict=True)),
            novelty_distance=self.novelty_distance_,
        )

    # -- changing the pool

    def add_model(self, name: str, table: ScoreTable, *, vectors: ArrayLike | None = None) -> None:
        """Let a new model join by labelled rows alone; clusters stay as they are (the paper, section 4).

        Of few rows, the pool says what they do not: how hard each cluster is for every model. See
        `ClusterStats.lend`.

        Args:
            name: The model's name, a column of the table; the table's other columns are not looked at.
            table: Rows on which it was scored: any queries, not necessarily those of calibration.
            vectors: Their embeddings, shape (n, d), if at hand.

        Raises:
            RouterError: The router has the model already, or the table has no score of it.
        """
        self._check_fitted()
        if name in self._column:
            raise RouterError(f"the router has {name!r} already; update() folds further rows in")
        if name not in table.models or np.isnan(table.scores[:, table.models.index(name)]).all():
            raise RouterError(f"the table has no score of {name!r}")
        column = table.select_models([name])
        known = np.flatnonzero(~np.isnan(column.scores[:, 0]))
        X = self._vectors_of(table, vectors)[known]
        column = column.select_rows(known)
        for part in self._clusterings:
            extra = ClusterStats.of(column, nearest(X, part.centroids), len(part.centroids))
            part.stats = part.stats.append_model(part.stats.lend(extra))
        self._by_task = self._by_task.append_model(ClusterStats.zeros(len(self._tasks), 1))
        if self._linear is not None:
            # what sets it apart from the pool's mean: of few rows little, and then it is expected to be like that
            weights, intercepts = self._linear
            usual, level = weights.mean(axis=0), intercepts.mean()
            apart = column.scores - (X @ usual + np.float32(level))[:, None]
            step, shift = scoring.fit_linear(X, apart, _LINEAR_STRENGTH)
            self._linear = np.vstack([weights, usual + step]), np.concatenate([intercepts, level + shift])
        self.models_ = [*self.models_, name]
        self._note_tasks(
            ScoreTable(
                column.queries,
                self.models_,
                _columns(column.scores, {name: 0}, self.models_),
                tasks=column.tasks,
            )
        )
        self._note_rows(column)
        self._prepare()

    def update(self, table: ScoreTable, *, vectors: ArrayLike | None = None) -> None:
        """Fold further graded rows in; clusters stay as they are.

        Means, counts and costs become what they would be had these rows been there from the start with the same
        clusters. The linear part, where there is one, moves toward the new rows as far as their number warrants
        beside the old ones (old rows counted as spread evenly over all directions).

        Args:
            table: Rows with scores of some or all of the router's models.
            vectors: Their embeddings, shape (n, d), if at hand.

        Raises:
            RouterError: The table has a model the router does not know (`add_model` adds one).
        """
        self._check_fitted()
        self._check_models(table.models)
        X = self._vectors_of(table, vectors)
        place = {name: m for m, name in enumerate(table.models)}
        rows = ScoreTable(
            table.queries,
            self.models_,
            _columns(table.scores, place, self.models_),
            tasks=table.tasks,
            costs=None if table.costs is None else _columns(table.costs, place, self.models_),
        )
        if self._linear is not None:
            weights, intercepts = self._linear
            residuals = rows.scores - (X @ weights.T + intercepts.astype(np.float32))
            old = self._clusterings[0].stats.counts.sum(axis=0)
            for m in range(len(self.models_)):
                new = int((~np.isnan(residuals[:, m])).sum())
                if not new:
                    continue
                step, shift = scoring.fit_linear(X, residuals[:, [m]], _LINEAR_STRENGTH + old[m] / X.shape[1])
                weights[m] += step[0]
                intercepts[m] += shift[0] * new / (old[m] + new)
        for part in self._clusterings:
            part.stats = part.stats + ClusterStats.of(rows, nearest(X, part.centroids), len(part.centroids))
        self._note_tasks(rows)
        self._note_rows(rows)
        self._prepare()

    def _note_tasks(self, table: ScoreTable) -> None:
        """Add the rows to the sums by task; rows of a table without tasks are one task without a name."""
        tasks = table.tasks or [""] * len(table)
        names = sorted({*self._tasks, *tasks})
        place = {name: row for row, name in enumerate(names)}
        labels = np.array([place[task] for task in tasks], dtype=np.intp)
        before = self._by_task.at_rows([place[name] for name in self._tasks], len(names))
        self._tasks, self._by_task = names, before + ClusterStats.of(table, labels, len(names))

    def _note_rows(self, table: ScoreTable) -> None:
        if self._ids is not None:
            self._ids = np.union1d(self._ids, _ids(table.queries))

    def remove_model(self, name: str) -> None:
        """Take a model out of the pool.

        Raises:
            RouterError: The router does not know it, or it is the last one.
        """
        self._check_fitted()
        self._check_models([name])
        if len(self.models_) == 1:
            raise RouterError(f"{name!r} is the router's only model and cannot be removed")
        keep = [m for m, other in enumerate(self.models_) if other != name]
        for part in self._clusterings:
            part.stats = part.stats.take_models(keep)
        self._by_task = self._by_task.take_models(keep)
        if self._linear is not None:
            self._linear = (self._linear[0][keep], self._linear[1][keep])
        self.models_ = [self.models_[m] for m in keep]
        self._prepare()

    # -- keeping it

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the router to a folder: `router.json`, `centroids.npy` and a card, `README.md`.

        A router that is there already is replaced in one step: a reader, or the next run after a kill, finds the old
        one or the new one whole.

        Raises:
            ArtifactError: The folder cannot be written.
        """
        from langchain_avengers.routing.artifact import save

        self._check_fitted()
        save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, embeddings: Embeddings | None = None) -> ClusterRouter:
        """Read a saved router.

        Args:
            path: The folder, or a hub name `user/name` where no such folder exists.
            embeddings: The embedder it was fitted with; checked against the recorded fingerprint. None is the one
                named in the artefact, loaded and checked when first needed.

        Raises:
            ArtifactError: The artefact is missing, damaged, foreign, newer, or of another embedder.
        """
        from langchain_avengers.routing.artifact import load

        router = load(path)
        if embeddings is not None:
            router._check_embeddings(embeddings)
            router._embeddings = embeddings
        return router

    def push_to_hub(self, name: str, *, private: bool = False, token: str | None = None) -> str:
        """Save the router to the Hugging Face Hub, from where `load("user/router")` reads it.

        Args:
            name: `user/router`; made where there is none.
            private: Make a new repository private.
            token: Access token; by default the one huggingface_hub finds.

        Returns:
            Address of the commit.

        Raises:
            ArtifactError: The name is none, or the hub refused.
        """
        from tempfile import TemporaryDirectory

        from langchain_avengers.routing.hub import push

        with TemporaryDirectory() as folder:
            self.save(folder)
            return push(folder, name, private=private, token=token)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        embedder = state["_embeddings"]
        if (
            embedder is not None
            and type(embedder).__name__ == "HuggingFaceEmbeddings"
            and self._embeddings_name
        ):
            state["_embeddings"] = None  # torch modules stay behind: the same one is loaded again by name
        return state


_Linear = tuple[NDArray[np.float32], NDArray[np.float64]]
"""Ridge weights, shape (M, d), and intercepts, shape (M,)."""

_Labelled = tuple[NDArray[np.intp], Vectors]
"""Labels of rows, shape (n,), and centroids, shape (K, d)."""


_LINEAR_STRENGTH = 30.0
"""Ridge penalty of the linear part, in rows: a few dozen rows hardly bend it, thousands do."""


@dataclass(frozen=True)
class Explanation:
    """Why a router decides as it does for one query; `str()` of it is a table.

    Attributes:
        query: The query's text.
        decision: What was decided.
        nearest: The three nearest clusters: id, distance, example queries, rows by task.
        global_scores: Each model's mean score over all calibration rows.
        novelty_distance: Distance beyond which a query is novel.
    """

    query: str
    decision: RoutingDecision
    nearest: tuple[tuple[int, float, tuple[str, ...], dict[str, int]], ...]
    global_scores: Mapping[str, float]
    novelty_distance: float

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON-safe plain data."""
        return {
            "query": self.query,
            "decision": self.decision.to_dict(),
            "nearest": [
                {"cluster": k, "distance": distance, "examples": list(examples), "tasks": tasks}
                for k, distance, examples, tasks in self.nearest
            ],
            "global_scores": dict(self.global_scores),
            "novelty_distance": self.novelty_distance if math.isfinite(self.novelty_distance) else None,
        }

    def __str__(self) -> str:
        decision = self.decision
        top = decision.ranking[0]
        lines = [f"Query: {shorten(self.query, 90)}"] if self.query else []
        if decision.novel:
            lines.append(
                f"Novel: {decision.distance:.3f} from the nearest cluster, farther than calibration queries "
                f"({self.novelty_distance:.3f}). The ranking over all rows decides."
            )
        for k, distance, examples, tasks in self.nearest:
            mark = "→" if any(k == cluster for cluster, _ in decision.clusters) else " "
            named = ", ".join(
                f"{task} {n}" for task, n in sorted(tasks.items(), key=lambda item: -item[1])[:3]
            )
            about = f"e.g. {shorten(examples[0], 60)!r}" if examples else ""
            lines.append(f"{mark} cluster {k:<3} distance {distance:.3f}  {named}  {about}".rstrip())
        width = max(len(row.name) for row in decision.ranking)
        lines += ["", f"  {'model':<{width}}  score      ±  rows  overall  cost, $  behind the first by"]
        for place, row in enumerate(decision.ranking):
            error = f"{row.stderr:.3f}" if row.stderr is not None else "    –"
            cost = f"{row.cost:.2g}" if row.cost is not None else "–"
            gap = "chosen" if place == 0 else f"{top.score - row.score:+.3f}" + _sure(top, row)
            lines.append(
                f"{'→' if place == 0 else ' '} {row.name:<{width}}  {row.score:.3f}  {error}  {row.n:>4}  "
                f"{self.global_scores[row.name]:>7.3f}  {cost:>7}  {gap}"
            )
        return "\n".join(lines)


def _sure(top: ModelScore, row: ModelScore) -> str:
    if top.stderr is None or row.stderr is None:
        return ""
    noise = math.hypot(top.stderr, row.stderr)
    return " (within two standard errors)" if abs(top.score - row.score) < 2 * noise else ""


def _is_int(value: object, least: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= least


def _is_number(value: object, least: float, most: float) -> bool:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return number and least <= float(cast(float, value)) <= most


def _as_float32(vectors: ArrayLike) -> Vectors:
    try:
        return np.ascontiguousarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise RouterError(f"the vectors are not an array of numbers: {error}") from error


def _norms(X: Vectors) -> Vectors:
    """Row lengths, shape (n,); a row with NaN, infinity or only zeros is an error that names it."""
    norms: Vectors = np.sqrt(np.einsum("nd,nd->n", X, X))
    wrong = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if len(wrong):
        row = int(wrong[0])
        what = "is all zeros" if norms[row] == 0 else "holds NaN or infinity"
        raise RouterError(
            f"vector {row} {what}" + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else "")
        )
    return norms


def unit_rows(X: Vectors, width: int | None) -> Vectors:
    """The rows L2-normalised; a RouterError where they are not (n, width), or one has no direction."""
    if X.ndim != 2 or X.shape[1] == 0 or (width is not None and X.shape[1] != width):
        raise RouterError(f"the vectors have shape {X.shape}; expected (n, {width or 'd'})")
    units: Vectors = X / _norms(X)[:, None]
    return units


def _warn_of_equal_vectors(queries: Sequence[str], X: Vectors) -> None:
    texts, different = len(set(queries)), len({row.tobytes() for row in np.round(X, 3)})
    if 5 * different < texts:
        warnings.warn(
            f"{texts} different queries have only {different} different vectors, so that the router cannot tell them "
            "apart: perhaps they begin alike for longer than the embedder reads; embed what differs",
            stacklevel=3,
        )


def _ids(queries: Sequence[str]) -> NDArray[np.uint64]:
    digests = b"".join(
        blake2b(query.encode("utf-8", "surrogatepass"), digest_size=8).digest() for query in queries
    )
    return np.frombuffer(digests, dtype="<u8")


def _columns(
    values: NDArray[np.float32], place: Mapping[str, int], models: Sequence[str]
) -> NDArray[np.float32]:
    unknown = np.full(len(values), np.nan, dtype=np.float32)
    return np.column_stack([values[:, place[name]] if name in place else unknown for name in models])


def _canonical(table: ScoreTable, X: Vectors) -> tuple[ScoreTable, Vectors]:
    """The rows in an order that does not depend on the one they came in; rows alike in all that matters are alike."""
    tasks = table.tasks or [""] * len(table)
    costs = table.costs if table.costs is not None else np.empty((len(table), 0), dtype=np.float32)
    keys = [
        blake2b(
            b"\0".join((query.encode("utf-8", "surrogatepass"), task.encode("utf-8", "surrogatepass")))
            + x.tobytes()
            + scores.tobytes()
            + cost.tobytes(),
            digest_size=16,
        ).digest()
        for query, task, x, scores, cost in zip(table.queries, tasks, X, table.scores, costs, strict=True)
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return table.select_rows(order), np.ascontiguousarray(X[order])
