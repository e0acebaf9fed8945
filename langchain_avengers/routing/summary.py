"""A fitted router described: its models, its clusters and the best model of each, and what to look out for.

The card, `avengers fit` and `inspect`, and reports all say what is said here.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from langchain_avengers.routing.pairing import SURE
from langchain_avengers.routing.ranking import Ranker
from langchain_avengers.routing.state import FittedRouter

FEW_ROWS = 10
"""A cluster with fewer calibration rows than this says little."""


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """One model of a router.

    Attributes:
        name: Its name.
        score: Mean score over all its calibration rows, in [0, 1].
        rows: Calibration rows on which it was scored.
        cost: Mean US dollars per answer; None when no cost is known.
        clusters_led: Number of clusters in which it is the best model.
    """

    name: str
    score: float
    rows: int
    cost: float | None
    clusters_led: int


@dataclass(frozen=True, slots=True)
class ClusterSummary:
    """One cluster of a router.

    Attributes:
        id: Its number.
        rows: Calibration rows in it: those of its most measured model.
        model: The best model, by the router's scoring rule at its own cost weight; ties go by the router's order.
        score: That model's mean score in the cluster, shrunk as `prior_strength` says.
        lead: How much higher that is than the score of the second model; None when there is only one model.
        sure: The lead is more than two standard errors, paired by row.
        tasks: Calibration rows by task.
        examples: Up to three calibration queries, the nearest to the centroid first.
    """

    id: int
    rows: int
    model: str
    score: float
    lead: float | None
    sure: bool
    tasks: dict[str, int]
    examples: list[str]


@dataclass(frozen=True, slots=True)
class RouterSummary:
    """A router described.

    Attributes:
        clusters_count: K.
        embeddings: Name of the embedder; None when none is recorded.
        dimensions: d.
        parameters: The constructor's parameters.
        novelty_distance: Distance beyond which a query is novel.
        fingerprint: Sixteen hexadecimal digits that tell routers apart.
        models: Best first.
        clusters: Largest first.
        checks: What a reader should know before trusting it, one line each.
    """

    clusters_count: int
    embeddings: str | None
    dimensions: int
    parameters: dict[str, Any]
    novelty_distance: float
    fingerprint: str
    models: list[ModelSummary]
    clusters: list[ClusterSummary]
    checks: list[str]

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain data."""
        return asdict(self)


def summarise(state: FittedRouter) -> RouterSummary:
    """Describe a fitted router."""
    clusters = _clusters(state)
    led = [cluster.model for cluster in clusters]
    rows, costs = state.stats.counts.sum(axis=0), state.stats.global_costs
    models = [
        ModelSummary(
            name,
            float(state.global_scores[m]),
            int(rows[m]),
            None if math.isnan(costs[m]) else float(costs[m]),
            led.count(name),
        )
        for m, name in enumerate(state.models)
    ]
    models.sort(key=lambda model: (-model.score, model.name))
    return RouterSummary(
        clusters_count=len(clusters),
        embeddings=state.embedder.name,
        dimensions=state.width,
        parameters=asdict(state.parameters),
        novelty_distance=state.novelty_distance,
        fingerprint=state.fingerprint,
        models=models,
        clusters=clusters,
        checks=_checks(state, models, clusters),
    )


def leaders(state: FittedRouter) -> np.ndarray[Any, np.dtype[np.intp]]:
    """The two best models of each cluster, shape (K, 2) (or (K, 1)); indices into `models`.

    Best is the highest value by the router's scoring rule at its own cost weight. Ties go by `FittedRouter.order`.
    """
    values = Ranker(state).cluster_values(state.parameters.cost_weight)
    best: np.ndarray[Any, np.dtype[np.intp]] = state.order[np.argsort(-values, axis=1, kind="stable")[:, :2]]
    return best


def _clusters(state: FittedRouter) -> list[ClusterSummary]:
    scores, errors = state.cluster_scores, state.cluster_stderrs
    clusters = []
    for k, best in enumerate(leaders(state)):
        lead = noise = None
        if len(best) > 1:
            lead = float(scores[k, best[0]] - scores[k, best[1]])
            noise = state.lead_stderr(errors[k, best[0]], errors[k, best[1]], *best.tolist())
        clusters.append(
            ClusterSummary(
                id=k,
                rows=int(state.stats.counts[k].max()),
                model=state.models[best[0]],
                score=float(scores[k, best[0]]),
                lead=lead,
                # an unknown error is NaN, which nothing is more than
                sure=lead is not None and noise is not None and lead > SURE * noise,
                tasks=dict(state.calibration.cluster_tasks[k]),
                examples=list(state.calibration.examples[k]),
            )
        )
    return sorted(clusters, key=lambda cluster: (-cluster.rows, cluster.id))


def _checks(state: FittedRouter, models: list[ModelSummary], clusters: list[ClusterSummary]) -> list[str]:
    checks = []
    if state.embedder.name is None:
        checks.append("no embedding model is recorded: it was fitted on vectors alone")
    if small := [cluster.id for cluster in clusters if cluster.rows < FEW_ROWS]:
        checks.append(f"clusters with fewer than {FEW_ROWS} rows: {_listed(small)}")
    if len(models) > 1 and (close := [cluster.id for cluster in clusters if not cluster.sure]):
        checks.append(f"clusters where the lead is within two standard errors: {_listed(close)}")
    if idle := [model.name for model in models if not model.clusters_led]:
        checks.append(f"models that lead no cluster: {_listed(idle)}")
    unpriced = [model.name for model in models if model.cost is None]
    if len(unpriced) == len(models):
        checks.append("no costs are known, so cost_weight cannot be used")
    elif unpriced:
        checks.append(f"models without a known cost: {_listed(unpriced)}")
    if len(state.clusterings) > 1 or state.linear is not None:
        checks.append(
            "decisions also weigh further clusterings and a regression: see avengers route --explain"
        )
    return checks


def _listed(names: list[Any]) -> str:
    return ", ".join(map(str, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
