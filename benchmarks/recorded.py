"""A pool of models on recorded answers: best single, routed, and routed and voted, beside models of other pools.

The questions are split into fit and test by the hash of their text and a seed; three seeds. Everything is default.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from benchmarks.common import console, data, print_table, save_result
from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.evaluation import replay
from langchain_avengers.evaluation.baselines import best_single
from langchain_avengers.evaluation.reliability import reliability
from langchain_avengers.evaluation.stats import Estimate, difference_estimate, jsonable, mean_estimate

SEEDS = 3
TEST_SHARE = 0.3


def load(name: str) -> tuple[ScoreTable, np.ndarray]:
    """The table of that folder of the data, and its vectors, shape (n, 384)."""
    folder = data(name)
    return ScoreTable.read(folder / "rows.jsonl"), np.load(folder / "minilm.npy").astype(np.float32)


def in_test(query: str, seed: int) -> bool:
    """Whether a question is one of the test questions, by the hash of its text."""
    digest = blake2b(f"{seed}\n{query}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < TEST_SHARE * 2**64


def run(name: str, models: Sequence[str], beside: Sequence[str]) -> None:
    """Measure a pool of the table's models, and those beside it on the same test questions."""
    table, X = load(name)
    pool = table.select_models(models)
    runs = [_one(pool, table, X, beside, seed) for seed in range(SEEDS)]
    rows = {key: _mean([one["rows"][key] for one in runs]) for key in runs[0]["rows"]}
    shown = [[label, Estimate(**row["score"]).points(), row["answers"]] for label, row in rows.items()]
    title = f"{name}: {len(models)} models, {runs[0]['test_rows']} of {len(table)} questions to test, {SEEDS} seeds"
    print_table(title, ["", "score, % [95 %]", "answers a question"], shown)
    gain = _mean([{"score": one["gain"], "answers": None} for one in runs])["score"]
    saved = _mean([{"score": one["halved"], "answers": None} for one in runs])["score"]
    error = float(np.mean([one["calibration_error"] for one in runs]))
    auroc = float(np.mean([one["auroc"] for one in runs]))
    console.print(
        f"routed and voted against best single {Estimate(**gain).points(signed=True)}; with half the answers against "
        f"all {Estimate(**saved).points(signed=True)}; calibration error {100 * error:.1f} points, AUROC {auroc:.3f}"
    )
    content = {
        "rows": rows,
        "gain": gain,
        "halved": saved,
        "calibration_error": error,
        "auroc": auroc,
        "runs": runs,
    }
    save_result(name, jsonable({"questions": len(table), "models": len(models), **content}))


def _one(
    pool: ScoreTable, table: ScoreTable, X: np.ndarray, beside: Sequence[str], seed: int
) -> dict[str, Any]:
    """One split."""
    test = np.array([in_test(query, seed) for query in pool.queries])
    fit, held = pool.select_rows(~test), pool.select_rows(test)
    began = time.perf_counter()
    router = ClusterRouter(random_state=seed).fit(fit, vectors=X[~test])
    seconds = time.perf_counter() - began
    policy = router.policy_
    assert policy is not None
    full = replay(router, held, vectors=X[test])
    half = policy.cost_weight_for(policy.plan(0.0).answers / 2)
    halved = replay(router, held, vectors=X[test], cost_weight=half)
    single = held.scores[:, best_single(router)].astype(float)
    routed = held.scores[np.arange(len(held)), router.choose(X[test])].astype(float)
    rows = {
        "best single model": _row(single, 1),
        "routed": _row(routed, 1),
        "routed and voted": _row(full.scores, full.samples.mean()),
        "routed and voted, half the answers": _row(halved.scores, halved.samples.mean()),
    }
    others = table.select_rows(test).select_models(beside)
    rows |= {model: _row(others.scores[:, m].astype(float), 1) for m, model in enumerate(beside)}
    sure = reliability(full.confidences, full.scores)
    console.print(f"seed {seed}, fitted in {seconds:.0f} s: {policy.summary}")
    return {
        "test_rows": len(held),
        "rows": rows,
        "gain": _difference(full.scores, single),
        "halved": _difference(halved.scores, full.scores),
        "calibration_error": sure.error,
        "auroc": sure.auroc,
        "fit_seconds": seconds,
        "summary": policy.summary,
    }


def _row(scores: np.ndarray, answers: float) -> dict[str, Any]:
    one = np.zeros(len(scores))
    return {"score": mean_estimate(scores, one).to_dict(), "answers": float(answers)}


def _difference(ours: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    return difference_estimate(ours, theirs, np.zeros(len(ours))).to_dict()


def _mean(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean over seeds of values and of the ends of their intervals, which are those of the questions."""
    score = {key: float(np.mean([row["score"][key] for row in rows])) for key in ("value", "low", "high")}
    answers = [row["answers"] for row in rows if row["answers"] is not None]
    return {"score": score, "answers": float(np.mean(answers)) if answers else None}
