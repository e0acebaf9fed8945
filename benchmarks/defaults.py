"""The default router beside plainer ones, on the fitting rows of every public set: seen tasks and tasks left out.

python -m benchmarks.defaults

Seen tasks: twice, routers are fitted to 70 % of the rows and judged on the rest. Tasks left out: the tasks are
dealt into folds, routers are fitted to all folds but one and judged on that one. Test files are not read.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.common import console, print_table, routerdc, save_result
from benchmarks.mmlu_pro import AT_MOST_8B
from benchmarks.reasoning_gym import BESIDE
from benchmarks.recorded import load
from langchain_avengers import ClusterRouter, ScoreTable

Set = tuple[ScoreTable, np.ndarray]
REPEATS, TASK_FOLDS = 2, 5
PLAIN = {"n_clusterings": 5, "novelty_quantile": 1.0}
CANDIDATES: dict[str, dict[str, object]] = {
    "all defaults": {},
    "K=8, five clusterings, 0.3 of a ridge regression": {**PLAIN, "n_clusters": 8, "linear_weight": 0.3},
    **{f"K={k}, five clusterings": {**PLAIN, "n_clusters": k} for k in (16, 64)},
}


def sets() -> dict[str, Set]:
    """The fitting rows of each set, without recorded answers, which routing does not read."""
    table, vectors = load("reasoning_gym")
    gym = table.select_models([name for name in table.models if name not in BESIDE])
    mmlu, mmlu_vectors = load("mmlu_pro")
    return {
        "RouterDC, 7 models": routerdc("train"),
        "reasoning-gym, 7 models": (plain(gym), vectors),
        "MMLU-Pro, 14 small models": (plain(mmlu.select_models(list(AT_MOST_8B))), mmlu_vectors),
    }


def plain(table: ScoreTable) -> ScoreTable:
    return ScoreTable(table.queries, table.models, table.scores, tasks=table.tasks)


def splits(table: ScoreTable, *, unseen: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    tasks = np.asarray(table.tasks)
    if not unseen:
        for seed in range(REPEATS):
            rows = np.random.default_rng(seed).permutation(len(table))
            yield rows[: int(0.7 * len(rows))], rows[int(0.7 * len(rows)) :]
        return
    names = np.random.default_rng(0).permutation(np.unique(tasks))
    for number in range(min(TASK_FOLDS, len(names))):
        outside = np.isin(tasks, names[number :: min(TASK_FOLDS, len(names))])
        yield np.flatnonzero(~outside), np.flatnonzero(outside)


def mean(table: ScoreTable, rows: np.ndarray, chosen: np.ndarray) -> float:
    return 100 * table.select_rows(rows).task_mean(table.scores[rows, chosen])


def main() -> None:
    found: dict[str, dict[str, float]] = {"best single": {}, **{name: {} for name in CANDIDATES}}
    for name, (table, vectors) in sets().items():
        for unseen in (False, True):
            column = f"{name}, {'tasks left out' if unseen else 'seen tasks'}"
            scores: dict[str, list[float]] = {}
            for inside, outside in splits(table, unseen=unseen):
                train = table.select_rows(inside)
                best = int(np.argmax([train.task_mean(s) for s in train.scores.T]))
                scores.setdefault("best single", []).append(mean(table, outside, np.full(len(outside), best)))
                for candidate, params in CANDIDATES.items():
                    router = ClusterRouter(**params).fit(train, vectors=vectors[inside])  # type: ignore[arg-type]  # each row names its own
                    scores.setdefault(candidate, []).append(
                        mean(table, outside, router.choose(vectors[outside]))
                    )
            for candidate, values in scores.items():
                found[candidate][column] = float(np.mean(values))
            console.print(f"[dim]{column}")
    columns = list(found["best single"])
    rows = [[name, *(round(values[column], 2) for column in columns)] for name, values in found.items()]
    print_table("Accuracy in %, mean over tasks", ["router", *columns], rows)
    save_result("defaults", found)


if __name__ == "__main__":
    main()
