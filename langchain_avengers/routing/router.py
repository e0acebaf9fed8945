"""ClusterRouter: which model of a pool is best on queries like this one.

The facade over the parts: `fitting` makes a `FittedRouter` (`state`) from rows, `pool_changes` makes another one of it,
`ranking` decides, `explanation` and `summary` tell why, `artifact` keeps it on disk.
"""

from __future__ import annotations

import asyncio
import math
import os
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any, Generic, Literal, Self, TypeVar, overload

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import ArrayLike, NDArray

from langchain_avengers._arrays import known_mean
from langchain_avengers._text import well_formed
from langchain_avengers.errors import RouterError
from langchain_avengers.routing import artifact, fitting, pool_changes
from langchain_avengers.routing import embeddings as embedders
from langchain_avengers.routing.clusterers import nearest
from langchain_avengers.routing.decision import RoutingDecision
from langchain_avengers.routing.explanation import Explanation, explain
from langchain_avengers.routing.parameters import Estimator
from langchain_avengers.routing.ranking import Ranker
from langchain_avengers.routing.state import Embedder, FittedRouter
from langchain_avengers.routing.summary import leaders
from langchain_avengers.routing.table import ScoreTable
from langchain_avengers.routing.trust import allowed_name
from langchain_avengers.routing.tuning import best_subset
from langchain_avengers.routing.vectors import Vectors, unit_vectors

T = TypeVar("T")


class _Fitted(Generic[T]):
    """An attribute read from the fitted state; before `fit` there is none."""

    def __init__(self, read: Callable[[FittedRouter], T]) -> None:
        self._read = read

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, router: None, owner: type) -> Self: ...
    @overload
    def __get__(self, router: ClusterRouter, owner: type) -> T: ...
    def __get__(self, router: ClusterRouter | None, owner: type) -> T | Self:
        if router is None:
            return self
        if router._ranker is None:
            raise AttributeError(f"this router is not fitted: it has no {self._name} yet")
        return self._read(router._ranker.state)


class ClusterRouter(Estimator):
    """Routes a query to the model of a pool that did best on the calibration queries most like it.

    The recipe of "The Avengers" (arXiv 2505.19797): embed, cluster, score each model in each cluster; a query goes to
    the best model of its nearest cluster. No training and, with `n_clusters` given, one parameter.

    With `n_clusters="auto"` no single K decides. The rows are clustered at several K, and the estimates are weighed by
    what the calibration rows show, together with a ridge regression of the score on the query's vector. When the rows
    show no pattern, the model that is best over all rows answers everything. docs/routing.md has the measurements.

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
            them; None never calls a query novel. `"auto"` is 0.97, and 1 when routing helps the rows beyond that too.
        n_clusterings: Number of clusterings of each K that are averaged (scoring `"mean"` only); `"auto"` is 3 when
            `n_clusters` is `"auto"`, else 1.
        linear_weight: Share in [0, 1) of the ridge regression in a model's expected score (scoring `"mean"` only);
            `"auto"` is fitted when `n_clusters` is `"auto"`, else 0.
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
        n_clusterings_: Number of clusterings, of every K together.
        linear_share_: Share of the ridge regression in a model's expected score; 0 when there is none.
        novelty_distance_: Distance to the nearest centroid of the finest clustering beyond which a query is novel.
        curve_: The leave-one-out score of each resolution by itself.
        cluster_tasks_: For each cluster, how many of its rows belong to each task.
        policy_: The learned vote (`voting.policy.VotePolicy`), or None: whom to ask and what their votes weigh.
        cost_advice_: A weight of cost that saves and loses nothing by cross-validation on the calibration rows; None
            when there is none.
        subsets_: The best subset found of each number of models, with its cross-validated score; empty when it is not
            known.
        examples_: For each cluster, up to three of its calibration queries, the nearest to the centroid first.

    When there are several clusterings, the attributes above show the first. It has the middle one of the K tried, and
    is the one reported in decisions and explanations.

    Example:
        >>> queries = ["7 + 5?", "2 * 3?", "Capital of Peru?", "Capital of Chad?"]
        >>> table = ScoreTable(queries, ["a", "b"], [[1, 0], [1, 0], [0, 1], [0, 1]])
        >>> vectors = [[1.0, 0.1], [1.0, 0.0], [0.0, 1.0], [0.1, 1.0]]
        >>> router = ClusterRouter(n_clusters=2).fit(table, vectors=vectors)
        >>> router.route_vector([0.1, 2.0]).chosen
        ('b',)
    """

    models_ = _Fitted(lambda state: list(state.models))
    centroids_ = _Fitted(lambda state: state.centroids)
    cluster_scores_ = _Fitted(lambda state: state.cluster_scores)
    cluster_stderrs_ = _Fitted(lambda state: state.cluster_stderrs)
    cluster_counts_ = _Fitted(lambda state: state.stats.counts.astype(np.int64))
    cluster_costs_ = _Fitted(lambda state: state.stats.costs.astype(np.float32))
    global_scores_ = _Fitted(lambda state: state.global_scores)
    task_scores_ = _Fitted(lambda state: state.task_scores)
    n_clusters_ = _Fitted(lambda state: len(state.centroids))
    n_clusterings_ = _Fitted(lambda state: len(state.clusterings))
    n_rows_ = _Fitted(lambda state: state.calibration.n_rows)
    linear_share_ = _Fitted(lambda state: 0.0 if state.linear is None else state.linear.share)
    novelty_distance_ = _Fitted(lambda state: state.novelty_distance)
    curve_ = _Fitted(lambda state: list(state.calibration.curve))
    cluster_tasks_ = _Fitted(lambda state: [dict(tasks) for tasks in state.calibration.cluster_tasks])
    examples_ = _Fitted(lambda state: [list(queries) for queries in state.calibration.examples])
    cost_advice_ = _Fitted(lambda state: state.calibration.cost_advice)
    subsets_ = _Fitted(lambda state: list(state.calibration.subsets))
    fingerprint_ = _Fitted(lambda state: state.fingerprint)
    policy_ = _Fitted(lambda state: state.policy)

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
        novelty_quantile: float | Literal["auto"] | None = "auto",
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
        self._ranker: Ranker | None = None
        self._embeddings: Embeddings | None = None
        self._trusted: tuple[str, ...] = ()

    # -- fitting

    def fit(
        self,
        table: ScoreTable,
        embeddings: Embeddings | None = None,
        *,
        vectors: ArrayLike | None = None,
        learn_vote: bool = True,
    ) -> Self:
        """Learn from calibration rows: the route, and from recorded answers the vote.

        Args:
            table: The calibration rows.
            embeddings: The embedder of the queries, kept for routing; None is the default one, loaded when needed.
            vectors: The queries' embeddings, shape (n, d), if they are at hand: nothing is embedded then. Rows are
                L2-normalised here.
            learn_vote: Whether to learn a vote (`policy_`) when the table has recorded answers.

        Raises:
            RouterError: A parameter is out of range, a model has no score at all, or `vectors` do not fit the table.
        """
        if not isinstance(table, ScoreTable):
            raise RouterError(
                f"fit takes a ScoreTable, not a {type(table).__name__}: ScoreTable.from_rows(rows) makes one"
            )
        parameters = self.parameters()
        fitting.check_rows(parameters, table)
        if vectors is None:
            embeddings = embeddings or embedders.default_embeddings()
            X = embedders.embed_texts(embeddings, table.queries)
            _warn_of_equal_vectors(table.queries, X)
        else:
            X = _one_a_row(unit_vectors(vectors), table)
        embedder = Embedder() if embeddings is None else embedders.recorded(embeddings)
        state = replace(fitting.fit(parameters, table, X), embedder=embedder)
        if learn_vote:
            from langchain_avengers.routing.vote_learning import learn_vote as learn

            state = replace(state, policy=learn(state, table, X))
        self._embeddings = embeddings
        self.fitted_ = state
        return self

    @property
    def fitted_(self) -> FittedRouter:
        """The fitted state: immutable, so that it is whole at any moment. Assigning another one swaps it in one step.

        Raises:
            RouterError: The router is not fitted.
        """
        return self._ready().state

    @fitted_.setter
    def fitted_(self, state: FittedRouter) -> None:
        self._ranker = Ranker(state)

    def _ready(self) -> Ranker:
        ranker = self._ranker
        if ranker is None:
            raise RouterError("this router is not fitted: call fit(table), or ClusterRouter.load(path)")
        return ranker

    # -- embedding

    @property
    def embeddings(self) -> Embeddings:
        """The embedder of queries; the default one is loaded at first use.

        Raises:
            ArtifactError: The router was fitted with another embedder than the one at hand, or names one that is not
                allowed (`trust_embedder` of `load`).
            WeightsNotFoundError: The embedder's weights are nowhere.
        """
        if self._embeddings is None:
            state = self.fitted_
            name = state.embedder.name
            found = embedders.default_embeddings(name and allowed_name(name, self._trusted))
            embedders.check_embedder(found, state.embedder, state.width)
            self._embeddings = found
        return self._embeddings

    @property
    def embeddings_name(self) -> str | None:
        """The name of the embedder the router was fitted with; None when it was fitted on vectors alone."""
        return None if self._ranker is None else self._ranker.state.embedder.name

    def embed(self, query: str) -> Vectors:
        """The query's embedding, shape (d,) float32, L2-normalised."""
        return self._unit(self.embeddings.embed_query(well_formed(query)))

    async def aembed(self, query: str) -> Vectors:
        """`embed` without blocking the event loop."""
        embeddings = self._embeddings
        if embeddings is None:  # loading the default one takes seconds
            embeddings = await asyncio.to_thread(lambda: self.embeddings)
        return self._unit(await embeddings.aembed_query(well_formed(query)))

    def embed_many(self, queries: Sequence[str]) -> Vectors:
        """The queries' embeddings, shape (n, d) float32, L2-normalised; equal texts are embedded once."""
        return embedders.embed_texts(self.embeddings, queries, self.fitted_.width)

    def _unit(self, vector: Sequence[float]) -> Vectors:
        return np.asarray(unit_vectors([vector], self.fitted_.width)[0])

    def _vectors_of(self, table: ScoreTable, vectors: ArrayLike | None) -> Vectors:
        if vectors is None:
            return self.embed_many(table.queries)
        return _one_a_row(unit_vectors(vectors, self.fitted_.width), table)

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
        self._ready()
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
        self._ready()
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
        ranker = self._ready()
        if not len(queries):
            return []
        names = None if models is None else list(models)
        vectors = self.embed_many(queries)
        return [ranker.decide(row, top_n=top_n, models=names, cost_weight=cost_weight) for row in vectors]

    def route_vector(
        self,
        vector: ArrayLike,
        *,
        top_n: int = 1,
        models: Iterable[str] | None = None,
        cost_weight: float | None = None,
    ) -> RoutingDecision:
        """Route a query by its embedding, shape (d,); it need not be normalised."""
        return self._ready().decide(vector, top_n=top_n, models=models, cost_weight=cost_weight)

    def route_globally(
        self, *, top_n: int = 1, models: Iterable[str] | None = None, cost_weight: float | None = None
    ) -> RoutingDecision:
        """Rank the models for a query of which nothing is known, such as one without text.

        The ranking is that of a novel query: the models' scores over all of calibration.
        """
        return self._ready().decide_globally(top_n=top_n, models=models, cost_weight=cost_weight)

    def choose(
        self, vectors: ArrayLike, *, models: Iterable[str] | None = None, cost_weight: float | None = None
    ) -> NDArray[np.intp]:
        """The best model of each query: the hot path, arithmetic on float32 arrays with no loop over queries.

        The choice is the one `route_vector` makes for each query.

        Args:
            vectors: Embeddings, shape (n, d); need not be normalised.
            models: Candidates, a subset of `models_`; all by default.
            cost_weight: For this call; the router's own by default.

        Returns:
            Indices into `models_`, shape (n,).
        """
        return self._ready().choose(vectors, models=models, cost_weight=cost_weight)

    # -- looking at it

    def assign(self, vectors: ArrayLike) -> NDArray[np.intp]:
        """The cluster whose centroid is nearest to each vector, shape (n,); vectors (n, d) as for `choose`."""
        state = self.fitted_
        return nearest(unit_vectors(vectors, state.width), state.centroids)

    def score(self, table: ScoreTable, *, vectors: ArrayLike | None = None) -> float:
        """Mean score of the chosen models over the rows of a table; rows where it was not measured are left out.

        Raises:
            RouterError: The table lacks a model of the router, or no chosen model was measured.
        """
        names = self.fitted_.models
        missing = [name for name in names if name not in table.models]
        if missing:
            raise RouterError(f"the table has no scores of {', '.join(map(repr, missing))}")
        columns = np.array([table.models.index(name) for name in names])
        chosen = columns[self.choose(self._vectors_of(table, vectors))]
        mean = known_mean(table.scores[np.arange(len(table)), chosen])
        if math.isnan(mean):
            raise RouterError("no row of the table has a measured score of the model chosen for it")
        return float(mean)

    def seen(self, queries: Sequence[str]) -> NDArray[np.bool_]:
        """Which of the queries were calibration rows (told by a 64-bit digest of the text), shape (n,).

        All False when the router was fitted on more than 250,000 rows, whose digests are not kept.
        """
        digests = self.fitted_.calibration.query_digests
        if digests is None:
            return np.zeros(len(queries), dtype=bool)
        return np.isin(fitting.query_digests(queries), digests)

    def select_models(self, n: int, *, rule: Literal["greedy", "leaders"] = "greedy") -> list[str]:
        """A subset of the models to route among.

        Args:
            n: Number of models.
            rule: `"greedy"`: one after the other, the model with which the router scores highest, exchanged as long as
                that helps; by cross-validation at `fit`, or by the clusters' scores when the pool has changed since or
                there were few rows.
                `"leaders"`: the paper's rule, the models that are best in the most clusters, ties by global mean.

        Raises:
            RouterError: n is not in [1, M], or there is no such rule.
        """
        state = self.fitted_
        if not 1 <= n <= len(state.models):
            raise RouterError(f"n is {n}; the router has {len(state.models)} models")
        if rule == "greedy":
            return list(best_subset(state, n))
        if rule != "leaders":
            raise RouterError(f"rule is {rule!r}; give 'greedy' or 'leaders'")
        led = np.bincount(leaders(state)[:, 0], minlength=len(state.models))[state.order]
        return [state.models[m] for m in state.order[np.argsort(-led, kind="stable")[:n]]]

    def explain(self, query: str, *, cost_weight: float | None = None) -> Explanation:
        """Why the router decides as it does for a query; prints as a table."""
        return self.explain_vector(self.embed(query), query=query, cost_weight=cost_weight)

    def explain_vector(
        self, vector: ArrayLike, *, query: str = "", cost_weight: float | None = None
    ) -> Explanation:
        """`explain` for an embedding, shape (d,)."""
        ranker = self._ready()
        decision = ranker.decide(vector, cost_weight=cost_weight)
        return explain(ranker.state, decision, unit_vectors(np.asarray(vector)[None])[0], query)

    # -- changing the pool

    def add_model(self, name: str, table: ScoreTable, *, vectors: ArrayLike | None = None) -> None:
        """Let a new model join by labelled rows alone; clusters stay as they are (the paper, section 4).

        When its rows are few, the pool says how hard each cluster is for every model; see
        `ClusterStats.prior_from_pool`. Other threads may route meanwhile: they see the router before or after the
        change.

        Args:
            name: The model's name, a column of the table; the table's other columns are not looked at.
            table: Rows on which it was scored: any queries, not necessarily those of calibration.
            vectors: Their embeddings, shape (n, d), if at hand.

        Raises:
            RouterError: The router has the model already, or the table has no score of it.
        """
        pool_changes.check_joins(self.fitted_, name, table)
        X = self._vectors_of(table, vectors)
        self.fitted_ = pool_changes.add_model(self.fitted_, name, table, X)

    def update(self, table: ScoreTable, *, vectors: ArrayLike | None = None) -> None:
        """Fold further graded rows in; clusters stay as they are.

        Means, counts and costs become what they would be with these rows in the calibration and the same clusters.
        The linear part, if there is one, moves toward the new rows as far as their number warrants beside the old
        ones (old rows counted as spread evenly over all directions).

        Args:
            table: Rows with scores of some or all of the router's models.
            vectors: Their embeddings, shape (n, d), if at hand.

        Raises:
            RouterError: The table has a model the router does not know (`add_model` adds one).
        """
        self.fitted_.check_models(table.models)
        X = self._vectors_of(table, vectors)
        self.fitted_ = pool_changes.update(self.fitted_, table, X)

    def remove_model(self, name: str) -> None:
        """Take a model out of the pool.

        Raises:
            RouterError: The router does not know it, or it is the last one.
        """
        self.fitted_ = pool_changes.remove_model(self.fitted_, name)

    # -- keeping it

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the router to a folder: `router.json`, `centroids.npy` and a card, `README.md`.

        A router that is there already is replaced in one step: a reader, or the next run after a kill, finds the old
        one or the new one whole.

        Raises:
            ArtifactError: The folder cannot be written.
        """
        artifact.save(self.fitted_, path)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        embeddings: Embeddings | None = None,
        trust_embedder: str | Collection[str] = (),
        sha256: str | None = None,
        revision: str | None = None,
    ) -> Self:
        """Read a saved router. Nothing in it is run, and it does not choose what is loaded.

        Args:
            path: The folder, or a hub name `user/name` if there is no such folder.
            embeddings: The embedder it was fitted with; checked against the recorded fingerprint. None is the one
                named in the artefact, loaded and checked when first needed, if it may be: see `trust_embedder`.
            trust_embedder: Names of embedders that may be loaded when the artefact names them, beside the default one
                and the one in `AVENGERS_EMBEDDINGS`. `owner/name@revision` pins a commit of the hub.
            sha256: SHA-256 of `router.json` in hexadecimal, if you know it. It covers the whole router: `router.json`
                holds the digest of the array.
            revision: Commit, tag or branch of a router on the hub.

        Raises:
            ArtifactError: The artefact is missing, damaged, foreign, newer, of another digest or of another embedder.
        """
        state = artifact.load(path, digest=sha256, revision=revision)
        if embeddings is not None:
            embedders.check_embedder(embeddings, state.embedder, state.width)
        router = cls(**asdict(state.parameters))
        router._embeddings = embeddings
        router._trusted = (trust_embedder,) if isinstance(trust_embedder, str) else tuple(trust_embedder)
        router.fitted_ = state
        return router

    def push_to_hub(self, name: str, *, private: bool = False, token: str | None = None) -> str:
        """Save the router to the Hugging Face Hub, from where `load("user/router")` reads it.

        Args:
            name: `user/router`; made if there is none.
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
        if type(self._embeddings).__name__ == "HuggingFaceEmbeddings" and self.embeddings_name:
            # torch modules stay behind: the same one, which the caller gave, is loaded again by name
            state["_embeddings"] = None
            state["_trusted"] = (*self._trusted, self.embeddings_name)
        return state


def _one_a_row(X: Vectors, table: ScoreTable) -> Vectors:
    if len(X) != len(table):
        raise RouterError(f"{len(X)} vectors for {len(table)} rows of the table; give one a row")
    return X


def _warn_of_equal_vectors(queries: Sequence[str], X: Vectors) -> None:
    texts, different = len(set(queries)), len({row.tobytes() for row in np.round(X, 3)})
    if 5 * different < texts:
        warnings.warn(
            f"{texts} different queries have only {different} different vectors, so that the router cannot tell them "
            "apart: perhaps they begin alike for longer than the embedder reads; embed what differs",
            stacklevel=3,
        )
