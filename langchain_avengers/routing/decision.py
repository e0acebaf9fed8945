"""What a router says about one query: plain, frozen, JSON-safe data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ModelScore:
    """One model's standing for a query.

    Attributes:
        name: The router's name of the model.
        score: Expected score of the model on queries like this one, in [0, 1], whatever rule ranks the models.
        stderr: Standard error of the cluster's mean score; `None` where fewer than two rows stand behind it.
        n: Calibration rows of the deciding cluster(s) behind the score.
        cost: Mean US dollars per answer on such queries; `None` where no cost was measured.
    """

    name: str
    score: float
    stderr: float | None
    n: int
    cost: float | None


@dataclass(frozen=True, slots=True)
class RoutingDecision:
    """A routing decision.

    Attributes:
        chosen: The names of the `top_n` models, best first.
        ranking: Every candidate model, best first.
        clusters: `(cluster id, weight)` of the clusters that decided, nearest first; weights sum to 1.
            Empty when the query is novel.
        distance: Euclidean distance of the L2-normalised query to its nearest centroid, in [0, 2].
        novel: The query is farther from every cluster than calibration queries are: the global ranking was used.
        best_overall: The candidate with the best mean over all calibration rows; empty when it is not known.
    """

    chosen: tuple[str, ...]
    ranking: tuple[ModelScore, ...]
    clusters: tuple[tuple[int, float], ...]
    distance: float
    novel: bool
    best_overall: str = ""

    @property
    def reason(self) -> str:
        """Why the first model was chosen, in one sentence."""
        first = self.chosen[0]
        if self.novel:
            return f"far from every calibration query: {first} is the best over all rows"
        expected = {row.name: row.score for row in self.ranking}
        if first == self.best_overall:
            return f"{first} is the best here and over all rows"
        if self.best_overall not in expected:
            return f"{first} is the best here"
        lead = 100 * (expected[first] - expected[self.best_overall])
        if lead <= 0:
            rival = f"{self.best_overall}, the best over all rows, is {-lead:.1f} points above it"
            return f"{first} is chosen for its cost; {rival}"
        return f"{first} is expected {lead:.1f} points above {self.best_overall}, the best over all rows"

    def to_dict(self) -> dict[str, Any]:
        """The decision as JSON-safe plain data; `from_dict` is its inverse."""
        # by hand: this is on the path of every query, and dataclasses.asdict copies each value
        return {
            "chosen": list(self.chosen),
            "ranking": [
                {"name": row.name, "score": row.score, "stderr": row.stderr, "n": row.n, "cost": row.cost}
                for row in self.ranking
            ],
            "clusters": [[cluster, weight] for cluster, weight in self.clusters],
            "distance": self.distance,
            "novel": self.novel,
            "best_overall": self.best_overall,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RoutingDecision:
        """Build a decision from what `to_dict` gave."""
        return cls(
            chosen=tuple(data["chosen"]),
            ranking=tuple(ModelScore(**row) for row in data["ranking"]),
            clusters=tuple((int(cluster), float(weight)) for cluster, weight in data["clusters"]),
            distance=float(data["distance"]),
            novel=bool(data["novel"]),
            best_overall=str(data.get("best_overall", "")),
        )
