"""How few rows a new model needs: RouterDC, every model held out in turn and added with a share of its rows.

The rows are drawn at random, or chosen by `choose_rows` from what the other models scored. Figures are mean accuracy
over the five in-distribution test sets, in percent.
"""

from __future__ import annotations

import copy
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import console, data, routerdc, save_result
from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.calibration.add_model import budget_rows, choose_rows

SHARES = (0.05, 0.10, 0.25)
SEEDS = 3
ROUTER: dict[str, Any] = {"n_clusters": 8, "n_clusterings": 5, "linear_weight": 0.277}


def main() -> None:
    warnings.simplefilter("ignore")  # the 19 test questions published in train, too
    table, vectors = routerdc("train")
    tests = []
    for file in sorted(data("routerdc", "test").glob("*.json")):
        tests.append((ScoreTable.read(file), np.load(file.with_suffix(".minilm-f16.npy")).astype(np.float32)))

    def accuracy(router: ClusterRouter) -> float:
        return 100 * float(np.mean([router.score(test, vectors=X) for test, X in tests]))

    def added(base: ClusterRouter, name: str, rows: np.ndarray) -> float:
        router = copy.deepcopy(base)
        router.add_model(name, table.select_rows(rows).select_models([name]), vectors=vectors[rows])
        return accuracy(router)

    results: dict[str, dict[str, float]] = {}
    for name in table.models:
        others = [other for other in table.models if other != name]
        known = table.select_models(others)
        base = ClusterRouter(**ROUTER).fit(known, vectors=vectors)
        line = {"without": accuracy(base), "all": added(base, name, np.arange(len(table)))}
        for share in SHARES:
            drawn = {"random": [], "chosen": []}  # type: dict[str, list[float]]
            for seed in range(SEEDS):
                rows = np.random.default_rng(seed).permutation(len(table))[: budget_rows(share, len(table))]
                drawn["random"].append(added(base, name, rows))
                rows = choose_rows(base, known, share, vectors=vectors, seed=seed)
                drawn["chosen"].append(added(base, name, rows))
            for how, values in drawn.items():
                line[f"{how} {share:.0%}"] = float(np.mean(values))
        results[name] = line
        console.print(name, {key: round(value, 2) for key, value in line.items()})
    columns = list(results[table.models[0]])
    mean = {column: float(np.mean([line[column] for line in results.values()])) for column in columns}
    console.print("mean", {key: round(value, 2) for key, value in mean.items()})
    save_result("add_model", {"router": ROUTER, "seeds": SEEDS, "mean": mean, "models": results})


if __name__ == "__main__":
    main()
