"""Why a router decides as it does for one query."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from langchain_avengers._arrays import row_norms
from langchain_avengers._text import escape_controls, shorten
from langchain_avengers.routing.decision import ModelScore, RoutingDecision
from langchain_avengers.routing.pairing import SURE
from langchain_avengers.routing.state import FittedRouter
from langchain_avengers.routing.vectors import Vectors


@dataclass(frozen=True)
class Explanation:
    """Why a router decides as it does for one query; `str()` of it is a table.

    Attributes:
        query: The query's text.
        decision: What was decided.
        nearest: The three nearest clusters: id, distance, example queries, rows by task.
        global_scores: Each model's mean score over all calibration rows.
        novelty_distance: Distance beyond which a query is novel.
        lead_stderrs: Standard error of the first model's score minus each other's, paired by row; None when it is not
            known.
    """

    query: str
    decision: RoutingDecision
    nearest: tuple[tuple[int, float, tuple[str, ...], dict[str, int]], ...]
    global_scores: Mapping[str, float]
    novelty_distance: float
    lead_stderrs: Mapping[str, float | None]

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
            "lead_stderrs": dict(self.lead_stderrs),
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
            most = sorted(tasks.items(), key=lambda item: -item[1])[:3]
            named = ", ".join(f"{shorten(task, 40)} {n}" for task, n in most)
            about = f"e.g. '{shorten(examples[0], 60)}'" if examples else ""
            lines.append(f"{mark} cluster {k:<3} distance {distance:.3f}  {named}  {about}".rstrip())
        names = {row.name: escape_controls(row.name) for row in decision.ranking}
        width = max(map(len, names.values()))
        lines += ["", f"  {'model':<{width}}  score      ±  rows  overall  cost, $  behind the first by"]
        for place, row in enumerate(decision.ranking):
            error = f"{row.stderr:.3f}" if row.stderr is not None else "    –"
            cost = f"{row.cost:.2g}" if row.cost is not None else "–"
            gap = "chosen" if place == 0 else f"{top.score - row.score:+.3f}{self._alike(row)}"
            lines.append(
                f"{'→' if place == 0 else ' '} {names[row.name]:<{width}}  {row.score:.3f}  {error}  {row.n:>4}  "
                f"{self.global_scores[row.name]:>7.3f}  {cost:>7}  {gap}"
            )
        return "\n".join(lines)

    def _alike(self, row: ModelScore) -> str:
        error = self.lead_stderrs[row.name]
        lead = self.decision.ranking[0].score - row.score
        return " (either would do)" if error is not None and abs(lead) <= SURE * error else ""


def _lead_stderr(state: FittedRouter, top: ModelScore, row: ModelScore) -> float | None:
    if top.stderr is None or row.stderr is None:
        return None
    return state.lead_stderr(
        top.stderr, row.stderr, state.models.index(top.name), state.models.index(row.name)
    )


def explain(state: FittedRouter, decision: RoutingDecision, x: Vectors, query: str = "") -> Explanation:
    """Explain a decision.

    Args:
        state: The router that made it.
        decision: The decision.
        x: The query's unit vector, shape (d,).
        query: The query's text, if it is known.
    """
    distances = row_norms(state.centroids - x)
    return Explanation(
        query=query,
        decision=decision,
        nearest=tuple(
            (
                int(k),
                float(distances[k]),
                state.calibration.examples[k],
                dict(state.calibration.cluster_tasks[k]),
            )
            for k in np.argsort(distances, kind="stable")[:3]
        ),
        global_scores=dict(zip(state.models, state.global_scores.tolist(), strict=True)),
        novelty_distance=state.novelty_distance,
        lead_stderrs={
            row.name: _lead_stderr(state, decision.ranking[0], row) for row in decision.ranking[1:]
        },
    )
