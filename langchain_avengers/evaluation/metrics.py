"""The numbers a router is judged by, under LLMRouterBench's names (arXiv 2601.07206).

All work on plain arrays. A *point* is `(cost, accuracy)`: mean US dollars per query and AvgAcc in [0, 1],
both averaged over tasks with equal weight, so that the two describe one mix of traffic. The benchmark
publishes no code for PerfGain, CostSave and ParetoDist; their definitions here are written out below and
are what this package reports.

| name | definition |
|---|---|
| AvgAcc | mean over tasks of the mean score of a task's rows |
| Gain@R, Gain@B | `AvgAcc / AvgAcc(Random) - 1`, `AvgAcc / AvgAcc(Best Single) - 1` |
| Gap@O | `1 - AvgAcc / AvgAcc(Oracle)` |
| PerfGain | Gain@B of the router's most accurate point |
| CostSave | largest `1 - cost / cost(Best Single)` of a router's point at least as accurate as Best Single |
| ParetoDist | mean normalised L1 distance of the router's points to the Pareto front of all points compared |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langchain_avengers.evaluation.stats import over_tasks

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def avg_acc(scores: ArrayLike, tasks: ArrayLike) -> float:
    """AvgAcc: the mean over tasks, unweighted, of the mean score of each task's measured rows.

    Args:
        scores: Shape (n,). Score of the answer given to each row; NaN is "not measured" and left out.
        tasks: Shape (n,). The task of each row, of any kind that compares.

    Returns:
        A number in the range of `scores`; NaN when nothing was measured.
    """
    return over_tasks(scores, tasks)


def gain(accuracy: float, baseline: float) -> float:
    """Gain@R or Gain@B: relative improvement `accuracy / baseline - 1`; NaN over a baseline of 0."""
    return accuracy / baseline - 1 if baseline else float("nan")


def gap(accuracy: float, oracle: float) -> float:
    """Gap@O: the share of the oracle's accuracy that is missing, `1 - accuracy / oracle`; lower is better."""
    return -gain(accuracy, oracle)


def perf_gain(points: ArrayLike, best_single: tuple[float, float]) -> float:
    """PerfGain: the gain over Best Single at the router's most accurate point, whatever it costs.

    Args:
        points: Shape (p, 2). The router's (cost, accuracy) points.
        best_single: Best Single's (cost, accuracy).
    """
    return gain(float(np.asarray(points, float)[:, 1].max()), best_single[1])


def cost_save(points: ArrayLike, best_single: tuple[float, float]) -> float | None:
    """CostSave: the largest share of Best Single's cost saved at no loss of accuracy.

    Args:
        points: Shape (p, 2). The router's (cost, accuracy) points.
        best_single: Best Single's (cost, accuracy).

    Returns:
        `1 - cost / cost(Best Single)` of the cheapest point that is at least as accurate; negative when
        holding the accuracy costs more; `None` when no point holds it, or when Best Single costs nothing.
    """
    array = np.asarray(points, float)
    holding = array[array[:, 1] >= best_single[1] - 1e-12, 0]
    if not holding.size or not best_single[0] > 0:
        return None
    return 1 - float(holding.min()) / best_single[0]


def pareto_front(points: ArrayLike) -> Bools:
    """Which points no other point beats: none is as cheap and as accurate, and better in one of the two.

    Args:
        points: Shape (p, 2). (cost, accuracy) points.

    Returns:
        Shape (p,). True on the front. Equal points are on it together.
    """
    array = np.asarray(points, float)
    cost, accuracy = array[:, 0], array[:, 1]
    as_good = (cost[None, :] <= cost[:, None]) & (accuracy[None, :] >= accuracy[:, None])
    better = (cost[None, :] < cost[:, None]) | (accuracy[None, :] > accuracy[:, None])
    front: Bools = np.logical_not(np.asarray((as_good & better).any(axis=1)))
    return front


def pareto_dist(points: ArrayLike, others: ArrayLike) -> float:
    """ParetoDist: how far the router's points lie from the front of everything compared.

    The front is taken over `points` and `others` together. Cost and accuracy are each scaled to [0, 1]
    over all these points (a coordinate in which they do not differ counts 0). A point's distance is the L1
    distance to the nearest point of the front: 0 on the front, at most 2. The mean over the router's
    points is returned; lower is better.

    Args:
        points: Shape (p, 2). The router's (cost, accuracy) points.
        others: Shape (q, 2). The points it is compared with: single models, other routers.
    """
    router = np.asarray(points, float)
    everything = np.vstack([router, np.asarray(others, float).reshape(-1, 2)])
    low, span = everything.min(axis=0), np.ptp(everything, axis=0)
    scale = np.divide(1.0, span, out=np.zeros(2), where=span > 0)
    front = (everything[pareto_front(everything)] - low) * scale
    distance = np.abs((router - low)[:, None, :] * scale - front[None, :, :]).sum(axis=2).min(axis=1)
    return float(distance.mean())
