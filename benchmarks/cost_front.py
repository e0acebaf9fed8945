"""The cost-quality front on RouterBench's ARC-Challenge: eleven models with real costs.

The weight of cost, and how much of the estimate is linear, are chosen on the training rows by cross-validation; the
test rows say what they give. The queries begin with the same five examples, which fill the embedder's window: what is
embedded is the question after them.

    python -m benchmarks.cost_front
"""

from __future__ import annotations

import os
import warnings
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.common import console, data, print_table, save_result
from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.evaluation.evaluate import evaluate
from langchain_avengers.evaluation.pareto import ParetoPoint, choose_cost_weight, sweep_costs
from langchain_avengers.evaluation.stats import jsonable
from langchain_avengers.routing.embeddings import default_embeddings

SEEDS = 5
WEIGHTS = [round(float(weight), 4) for weight in np.linspace(0, 0.1, 41)]
CANDIDATES: tuple[dict[str, Any], ...] = tuple(
    {"n_clusters": 16, "n_clusterings": 5, "linear_weight": share} for share in (0.3, 0.6, 0.9)
)
RULES = ("no loss in cross-validation", "loss within the interval")


def _cheapest(points: tuple[ParetoPoint, ...], rule: str) -> ParetoPoint:
    """The cheapest point the rule allows; the most accurate one where it allows none."""
    bounds = [p.difference.value if rule == RULES[0] else p.difference.high for p in points]
    allowed = [p for p, bound in zip(points, bounds, strict=True) if bound >= -1e-12]
    return min(allowed, key=lambda p: p.cost) if allowed else max(points, key=lambda p: p.avg_acc)


def main() -> None:
    train, test = (
        ScoreTable.read(data("routerbench") / f"arc_challenge_{part}.csv") for part in ("train", "test")
    )
    shared = len(os.path.commonprefix(train.queries))  # noqa: RUF071 - characters are what is compared
    embedder = default_embeddings()
    train_vectors, test_vectors = (
        np.asarray(embedder.embed_documents([query[shared:] for query in table.queries]), np.float32)
        for table in (train, test)
    )
    rows, kept = [], []
    for seed in range(SEEDS):
        found = {}
        for params in CANDIDATES:
            router = ClusterRouter(**params, random_state=seed)
            _, points = choose_cost_weight(
                router, train, vectors=train_vectors, cost_weights=WEIGHTS, seed=seed
            )
            found[params["linear_weight"]] = points
        for rule in RULES:
            picked = {share: _cheapest(points, rule) for share, points in found.items()}
            share = max(
                picked, key=lambda share: (picked[share].difference.high >= 0, picked[share].saving.value)
            )
            held = picked[share]
            params = {**CANDIDATES[0], "linear_weight": share, "random_state": seed}
            fitted = ClusterRouter(**params).fit(train, vectors=train_vectors)
            front = sweep_costs(
                fitted, test, vectors=test_vectors, cost_weights=[held.cost_weight], seed=seed
            )
            got = front.points[0]
            kept.append(
                {
                    "seed": seed,
                    "rule": rule,
                    "linear_weight": share,
                    "cross_validated": asdict(held),
                    "test": asdict(got),
                    "told_apart_from_no_loss": got.difference.sign < 0,
                }
            )
            saving = f"{100 * got.saving.value:.1f} [{100 * got.saving.low:.1f}, {100 * got.saving.high:.1f}]"
            rows.append(
                [f"{rule}, seed {seed}", f"{held.cost_weight:g}", got.difference.points(signed=True), saving]
            )
    print_table(
        f"RouterBench ARC, {len(test)} test rows, against Best Single ({front.best_single})",
        ["weight chosen by", "cost_weight", "difference, points [95 %]", "of its cost saved, % [95 %]"],
        rows,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows that stand in both files: the verdict says how many
        judged = evaluate(
            fitted, test, vectors=test_vectors, calibration=train, calibration_vectors=train_vectors
        )
    assert judged.pareto is not None
    summary = {}
    for rule in RULES:
        mine = [entry for entry in kept if entry["rule"] == rule]
        summary[rule] = {
            "saving": float(np.mean([entry["test"]["saving"]["value"] for entry in mine])),
            "difference": float(np.mean([entry["test"]["difference"]["value"] for entry in mine])),
            "seeds_with_a_loss_beyond_the_interval": sum(entry["told_apart_from_no_loss"] for entry in mine),
        }
        console.print(
            f"{rule}: {summary[rule]['saving']:.1%} of Best Single's cost saved, "
            f"{100 * summary[rule]['difference']:+.2f} points; mean of {SEEDS} seeds, of which "
            f"{summary[rule]['seeds_with_a_loss_beyond_the_interval']} lose beyond the interval"
        )
    content = {"summary": summary, "runs": kept, "front": judged.pareto.to_dict()}
    save_result("cost_front", jsonable(content))


if __name__ == "__main__":
    main()
