"""A fitted router as plain, immutable data: arrays and names, and what follows from them directly."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from langchain_avengers._arrays import ratio
from langchain_avengers.errors import RouterError
from langchain_avengers.routing.pairing import lead_stderr
from langchain_avengers.routing.parameters import Parameters
from langchain_avengers.routing.resolutions import CurvePoint
from langchain_avengers.routing.scoring import ClusterStats
from langchain_avengers.routing.vectors import Vectors
from langchain_avengers.voting.policy import VotePolicy


@dataclass(frozen=True, eq=False)
class Clustering:
    """One clustering of the calibration rows.

    Attributes:
        centroids: Shape (K, d) float32, not re-normalised. K may differ between the clusterings of a router.
        stats: The models' sums in each cluster.
        weight: What its estimate counts in a model's expected score, in [0, 1].
    """

    centroids: Vectors
    stats: ClusterStats
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Linear:
    """A ridge regression of each model's score on the query's unit vector.

    Attributes:
        weights: Shape (M, d) float32.
        intercepts: Shape (M,) float64.
        share: What it counts in a model's expected score, in [0, 1].
    """

    weights: Vectors
    intercepts: NDArray[np.float64]
    share: float


@dataclass(frozen=True, eq=False)
class Embedder:
    """The embedder a router was fitted with: what tells it from another.

    Attributes:
        name: As `embeddings_name` gives it; None when the router was fitted on vectors alone.
        probe: Its unit embedding of the fixed sentence `PROBE`, shape (d,) float32; None when it is not known.
    """

    name: str | None = None
    probe: Vectors | None = None


@dataclass(frozen=True, slots=True)
class Subset:
    """Some of the models, found by greedy selection on the calibration rows.

    Attributes:
        models: Their names, in the order of their own scores.
        score: Cross-validated score of a router of these models, the mean over tasks, in [0, 1].
    """

    models: tuple[str, ...]
    score: float


@dataclass(frozen=True, slots=True)
class CostAdvice:
    """A weight of cost that cross-validation on the calibration rows finds to lose nothing.

    Attributes:
        cost_weight: The weight.
        difference: Held-out score with it, minus Best Single's on the same rows.
        stderr: Standard error of `difference`, paired by row.
        saving: Share of Best Single's cost that is saved.
    """

    cost_weight: float
    difference: float
    stderr: float
    saving: float


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a router remembers of its calibration rows. It explains decisions and does not change them.

    Attributes:
        n_rows: Number of rows.
        curve: The leave-one-out score of each resolution; empty when K was given.
        cluster_tasks: For each cluster of the first clustering, its rows by task.
        examples: For each cluster of the first clustering, up to three queries, the nearest to the centroid first.
        tasks: The T tasks in order; one without a name stands for the rows of a table without tasks.
        by_task: The models' sums in each task, shapes (T, M).
        query_digests: Sorted 64-bit digests of the queries, shape (q,); None when they are not kept.
        subsets: The subset of one model, of two and so on to all; empty when it is not known.
        correlations: How the models' scores move together on rows of one cluster, shape (M, M); None when not known.
        cost_advice: A weight of cost; None when there is none that saves without a loss.
    """

    n_rows: int
    curve: tuple[CurvePoint, ...]
    cluster_tasks: tuple[Mapping[str, int], ...]
    examples: tuple[tuple[str, ...], ...]
    tasks: tuple[str, ...]
    by_task: ClusterStats
    query_digests: NDArray[np.uint64] | None = None
    subsets: tuple[Subset, ...] = ()
    cost_advice: CostAdvice | None = None
    correlations: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class FittedRouter:
    """All that a fitted router is. A change of the pool makes a new one.

    Attributes:
        parameters: Those it was fitted with.
        models: Names of the M models.
        clusterings: One or more. The first is the one shown.
        linear: The linear part, if there is one. A model's expected score is the weighted sum of what the clusterings
            and the linear part say; what their weights lack to 1 is the weight of the global mean.
        novelty_quantile: Share of the calibration rows nearer than that, with `"auto"` resolved; None for never.
        novelty_distance: Distance to the nearest centroid of the finest clustering beyond which a query is novel;
            infinity for never.
        novelty_reach: The same for the queries of each cluster of the finest clustering, shape (K,) float32, when that
            is farther: a kind of question that is spread widely is not novel for that. 0 when few rows tell.
        calibration: What is remembered of the calibration rows.
        embedder: What the queries were embedded with.
        policy: The learned vote; None when the calibration rows had no recorded answers, or too few.
    """

    parameters: Parameters
    models: tuple[str, ...]
    clusterings: tuple[Clustering, ...]
    linear: Linear | None
    novelty_quantile: float | None
    novelty_distance: float
    novelty_reach: Vectors
    calibration: Calibration
    embedder: Embedder = field(default_factory=Embedder)
    policy: VotePolicy | None = None

    @property
    def centroids(self) -> Vectors:
        """Centroids of the first clustering, shape (K, d)."""
        return self.clusterings[0].centroids

    @property
    def stats(self) -> ClusterStats:
        """Sums of the first clustering."""
        return self.clusterings[0].stats

    @property
    def width(self) -> int:
        """d, the length of a query's vector."""
        return int(self.centroids.shape[1])

    @cached_property
    def finest(self) -> int:
        """Place of the clustering with the most clusters, the first of several."""
        return int(np.argmax([len(part.centroids) for part in self.clusterings]))

    @property
    def overall_weight(self) -> float:
        """Weight of the global mean in a model's expected score, in [0, 1]; 1 when calibration showed no pattern."""
        share = 0.0 if self.linear is None else self.linear.share
        return max(0.0, 1.0 - share - sum(part.weight for part in self.clusterings))

    @cached_property
    def cluster_scores(self) -> NDArray[np.float32]:
        """Posterior mean score of each model in each cluster of the first clustering, shape (K, M)."""
        return self.stats.means(self.parameters.prior_strength).astype(np.float32)

    @cached_property
    def cluster_stderrs(self) -> NDArray[np.float64]:
        """Standard error of each of `cluster_scores`; NaN where fewer than two rows stand behind it."""
        return self.stats.stderrs(self.parameters.prior_strength)

    def lead_stderr(self, one: float, other: float, first: int, second: int) -> float:
        """Standard error of one model's mean minus another's, paired by row; NaN when an error is unknown.

        Args:
            one: Standard error of the first mean.
            other: Standard error of the second mean.
            first: Index of the first model.
            second: Index of the second model.
        """
        known = self.calibration.correlations
        return lead_stderr(one, other, 0.0 if known is None else float(known[first, second]))

    @property
    def global_scores(self) -> NDArray[np.float32]:
        """Mean score of each model over all its calibration rows, shape (M,)."""
        return self.stats.global_scores.astype(np.float32)

    @property
    def task_scores(self) -> NDArray[np.float32]:
        """Mean score of each model in each task, shape (T, M); NaN where not measured."""
        by_task = self.calibration.by_task
        return ratio(by_task.sums, by_task.counts).astype(np.float32)

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """The models in the order that decides ties, shape (M,): global mean score, then cost, then name.

        An unknown cost comes last.
        """
        scores, costs = self.stats.global_scores, self.stats.global_costs
        ranked = sorted(
            range(len(self.models)),
            key=lambda m: (
                -round(float(scores[m]), 9),
                math.inf if math.isnan(costs[m]) else costs[m],
                self.models[m],
            ),
        )
        return np.array(ranked, dtype=np.intp)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that differ between routers that could decide differently."""
        digest = sha256(repr((self.models, asdict(self.parameters), self.embedder.name)).encode())
        for part in self.clusterings:
            digest.update(part.centroids.tobytes())
            digest.update(repr(part.weight).encode())
            for sums in fields(part.stats):
                digest.update(getattr(part.stats, sums.name).tobytes())
        if self.linear is not None:
            digest.update(self.linear.weights.tobytes() + self.linear.intercepts.tobytes())
            digest.update(repr(self.linear.share).encode())
        digest.update(repr(self.novelty_distance).encode() + self.novelty_reach.tobytes())
        if self.policy is not None:
            digest.update(repr(self.policy.to_dict()).encode())
        return digest.hexdigest()[:16]

    def check_models(self, names: Iterable[str]) -> None:
        """Refuse names that are not among the models."""
        unknown = [name for name in names if name not in self.models]
        if unknown:
            raise RouterError(
                f"the router does not know {', '.join(map(repr, unknown))}; "
                f"it knows {', '.join(map(repr, self.models))}"
            )
