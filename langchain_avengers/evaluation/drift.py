"""Have the queries moved away from those a router was fitted on?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Drift:
    """New queries against calibration.

    Attributes:
        expected: Share of each cluster among calibration rows.
        observed: Share of each cluster among the new queries.
        distance: Jensen-Shannon distance of the two, base 2: 0 the same, 1 nothing in common.
        chance: Mean of that distance if the new queries were as many draws from calibration: what no drift
            looks like.
        p_value: Of seeing at least this distance without drift, by simulation.
        novel: Share of the new queries farther from every cluster than the novelty threshold.
        novel_expected: That share among calibration rows, when known.
    """

    expected: tuple[float, ...]
    observed: tuple[float, ...]
    distance: float
    chance: float
    p_value: float
    novel: float | None
    novel_expected: float | None

    def sentence(self) -> str:
        """What the numbers say."""
        if self.p_value < 0.01 and self.distance > 2 * self.chance:
            moved = "The new queries are spread over the clusters otherwise than calibration rows"
        else:
            moved = "The new queries are spread over the clusters as calibration rows are"
        text = (
            f"{moved}: Jensen-Shannon distance {self.distance:.3f}, chance alone gives {self.chance:.3f} "
            f"(p {'< 0.001' if self.p_value < 0.001 else f'= {self.p_value:.3f}'})."
        )
        if self.novel is not None:
            text += f" {self.novel:.1%} of them are farther from every cluster than the novelty threshold"
            expected = (
                "" if self.novel_expected is None else f", against {self.novel_expected:.1%} in calibration"
            )
            text += expected + "."
        return text


def measure_drift(
    counts: ArrayLike,
    clusters: ArrayLike,
    *,
    novel: float | None = None,
    novel_expected: float | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> Drift:
    """Compare the clusters of new queries with those of calibration rows.

    Args:
        counts: Shape (K,). Calibration rows of each cluster.
        clusters: Shape (n,). Cluster of each new query.
        novel: Share of the new queries that are novel.
        novel_expected: That share in calibration.
        draws: Simulations behind `chance` and `p_value`.
        seed: Seed of the simulations.
    """
    from scipy.spatial.distance import jensenshannon

    expected = np.asarray(counts, float)
    expected = expected / expected.sum()
    number = np.asarray(clusters, int)
    observed = np.bincount(number, minlength=len(expected)) / len(number)
    distance = jensenshannon(expected, observed, base=2)
    simulated = np.random.default_rng(seed).multinomial(len(number), expected, size=draws) / len(number)
    without = jensenshannon(np.broadcast_to(expected, simulated.shape), simulated, base=2, axis=1)
    return Drift(
        expected=tuple(expected.tolist()),
        observed=tuple(observed.tolist()),
        distance=float(distance),
        chance=float(without.mean()),
        p_value=float((1 + (without >= distance).sum()) / (1 + draws)),
        novel=novel,
        novel_expected=novel_expected,
    )
