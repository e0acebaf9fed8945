"""How often the 95 % intervals of `evaluate` hold the truth, by simulation.

Every design is a number of tasks with a number of rows each. Tasks differ in difficulty; the two models' scores on a
row depend on each other, as those of real models do. The truth is known, since the scores are drawn from it. Beside the
coverage stands how often a verdict "better" or "worse" is wrong when both models are equally good.

    python -m benchmarks.coverage
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.common import print_table, save_result
from langchain_avengers.evaluation.stats import (
    Estimate,
    difference_estimate,
    gain_estimate,
    mean_estimate,
    saving_estimate,
)

REPETITIONS = 400
DESIGNS: dict[str, tuple[list[int], float, float, int]] = {
    # rows of each task, chance of the router, chance of Best Single, samples behind a score
    "5 tasks x 300": ([300] * 5, 0.70, 0.65, 1),
    "20 tasks x 2": ([2] * 20, 0.70, 0.60, 1),
    "20 tasks x 1": ([1] * 20, 0.70, 0.60, 1),
    "3 tasks x 10": ([10] * 3, 0.70, 0.60, 1),
    "1 task x 20": ([20], 0.70, 0.60, 1),
    "86 tasks x 4": ([4] * 86, 0.70, 0.62, 1),
    "5 tasks x 40, AvgAcc near 1": ([40] * 5, 0.985, 0.975, 1),
    "1 task x 100, AvgAcc near 1": ([100], 0.99, 0.985, 1),
    "20 tasks x 5, AvgAcc near 1": ([5] * 20, 0.985, 0.975, 1),
    "20 tasks x 1, AvgAcc near 1": ([1] * 20, 0.97, 0.95, 1),
    "20 tasks x 2, AvgAcc near 0": ([2] * 20, 0.05, 0.03, 1),
    "imbalance: 500, 200, 50, 5, 2": ([500, 200, 50, 5, 2], 0.70, 0.60, 1),
    "imbalance: 1000 and 4 x 10": ([1000, 10, 10, 10, 10], 0.80, 0.70, 1),
    "imbalance: 2 x 100 and 10 x 1": ([100, 100] + [1] * 10, 0.70, 0.60, 1),
    "20 tasks x 2, 5 samples": ([2] * 20, 0.70, 0.60, 5),
    "5 tasks x 100, 5 samples": ([100] * 5, 0.70, 0.65, 5),
}
QUANTITIES = ("AvgAcc", "difference", "Gain@B", "cost saved")


def simulate(
    sizes: list[int], ours: float, theirs: float, samples: int, rng: np.random.Generator
) -> tuple[Callable[[], Any], dict[str, float]]:
    """A function that draws (tasks, router's scores, Best Single's, their costs), and the true values."""
    tasks = np.repeat(np.arange(len(sizes)), sizes)
    # tasks differ by up to 15 points each way, by less near the ends of the scale
    room = 0.15 * np.minimum(1, 4 * np.minimum([ours, theirs], 1 - np.array([ours, theirs])).min())
    hard = rng.uniform(-room, room, len(sizes))
    hard -= hard.mean()
    a, b = np.clip(ours + hard, 0.001, 0.999), np.clip(theirs + hard, 0.001, 0.999)

    def draw() -> Any:
        ease = rng.random((len(tasks), 1))
        mine, other = rng.random((2, len(tasks), samples))
        if samples == 1:  # on six rows in ten the models agree on what is easy
            mine = np.where(rng.random((len(tasks), 1)) < 0.6, ease, mine)
            other = np.where(rng.random((len(tasks), 1)) < 0.6, ease, other)
        spread = 0.0 if samples == 1 else 0.4 * (ease[:, 0] - 0.5)
        price = rng.lognormal(sigma=0.7, size=len(tasks))
        return (
            tasks,
            (mine < (a[tasks] + spread)[:, None]).mean(axis=1),
            (other < (b[tasks] + spread)[:, None]).mean(axis=1),
            0.4 * price * rng.lognormal(sigma=0.5, size=len(tasks)),
            price * rng.lognormal(sigma=0.5, size=len(tasks)),
        )

    truth = {
        "AvgAcc": float(a.mean()),
        "difference": float(a.mean() - b.mean()),
        "Gain@B": float(a.mean() / b.mean() - 1),
        "cost saved": 0.6,
    }
    return draw, truth


def main() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for name, (sizes, ours, theirs, samples) in DESIGNS.items():
        draw, truth = simulate(sizes, ours, theirs, samples, rng)
        covered, width = dict.fromkeys(QUANTITIES, 0), 0.0
        for _ in range(REPETITIONS):
            tasks, mine, other, cost, price = draw()
            found: dict[str, Estimate] = {
                "AvgAcc": mean_estimate(mine, tasks),
                "difference": difference_estimate(mine, other, tasks),
                "Gain@B": gain_estimate(mine, other, tasks),
                "cost saved": saving_estimate(cost, price, tasks),
            }
            width += (found["difference"].high - found["difference"].low) / REPETITIONS
            for quantity, estimate in found.items():
                # a gain over a mean of 0 is not given, so it claims nothing
                covered[quantity] += not estimate.known or estimate.low <= truth[quantity] <= estimate.high
        same, _ = simulate(sizes, theirs, theirs, samples, rng)
        wrong = sum(
            difference_estimate(mine, other, tasks).sign != 0
            for tasks, mine, other, _, _ in (same() for _ in range(REPETITIONS))
        )
        rows.append(
            {
                "design": name,
                **{quantity: count / REPETITIONS for quantity, count in covered.items()},
                "width": width,
                "wrong": wrong / REPETITIONS,
            }
        )
    save_result("coverage", rows)
    print_table(
        f"Coverage of 95 % intervals, percent of {REPETITIONS} repetitions",
        ("", *QUANTITIES, "width, points", "wrong verdicts of equals"),
        [
            [row["design"], *(f"{100 * row[key]:.1f}" for key in (*QUANTITIES, "width", "wrong"))]
            for row in rows
        ],
    )
    lowest = min(min(row[quantity] for quantity in QUANTITIES) for row in rows)
    print(f"Lowest coverage: {100 * lowest:.1f} %")


if __name__ == "__main__":
    main()
