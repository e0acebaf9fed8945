"""What the learned vote saves on RouterBench's ARC-Challenge, where one model leads and costs most.

With a weight of cost it asks cheap models first, and the strong one when they are not sure. The weight is the greatest
at which it loses at most a point on the training rows, out of fold; the test rows say what it gives. The queries begin
with the same five examples, which fill the embedder's window: what is embedded is the question after them.

    python -m benchmarks.learned_cost
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.common import console, data, save_result
from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.evaluation import replay
from langchain_avengers.evaluation.baselines import best_single
from langchain_avengers.evaluation.stats import Estimate, difference_estimate, jsonable, saving_estimate
from langchain_avengers.routing.embeddings import default_embeddings

SEEDS = 3
LOSS = 0.01


def learned(
    train: ScoreTable, test: ScoreTable, vectors: np.ndarray, test_vectors: np.ndarray, seed: int
) -> dict[str, Any]:
    """The learned vote at the weight of cost chosen on the training rows, judged on the test rows."""
    router = ClusterRouter(random_state=seed).fit(train, vectors=vectors)
    policy = router.policy_
    assert policy is not None
    weights = np.geomspace(1e-4, 1, 400).tolist()
    weight = max([w for w in weights if policy.plan(w).gain >= -LOSS], default=0.0)
    found = replay(router, test, vectors=test_vectors, cost_weight=weight)
    best = best_single(router)
    assert test.costs is not None
    alone, price = test.scores[:, best].astype(float), test.costs[:, best].astype(float)
    everywhere = np.zeros(len(test))
    return {
        "strong": router.models_[best],
        "cost_weight": weight,
        "plan": asdict(policy.plan(weight)),
        "difference": asdict(difference_estimate(found.scores, alone, everywhere)),
        "saving": asdict(saving_estimate(found.costs, price, everywhere)),
        "answers": float(found.samples.mean()),
    }


def main() -> None:
    train, test = (
        ScoreTable.read(data("routerbench") / f"arc_challenge_{part}.csv") for part in ("train", "test")
    )
    shared = len(os.path.commonprefix(train.queries))  # noqa: RUF071 - characters are what is compared
    embedder = default_embeddings()
    vectors, test_vectors = (
        np.asarray(embedder.embed_documents([query[shared:] for query in table.queries]), np.float32)
        for table in (train, test)
    )
    voted = [learned(train, test, vectors, test_vectors, seed) for seed in range(SEEDS)]
    for seed, one in enumerate(voted):
        console.print(
            f"seed {seed}: {Estimate(**one['saving']).points()} % of Best Single's cost saved, "
            f"{Estimate(**one['difference']).points(signed=True)} points, {one['answers']:.1f} answers a query"
        )
    save_result("learned_cost", jsonable({"rows": len(test), "runs": voted}))


if __name__ == "__main__":
    main()
