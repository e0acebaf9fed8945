"""The paper's studies on the RouterDC split, five seeds each: what every parameter is worth on the test files.

The clusters, the size of the training set and the number of models are varied about the defaults. Clusterer, scoring
rule and the nearest clusters' softmax are varied about the plain recipe at K=16, so that they are seen by themselves.

    python -m benchmarks.ablations [FILE.jsonl]    # of finished cells: a run that was stopped goes on
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, console, routerdc, save_result
from langchain_avengers.evaluation.studies import ablate

SEEDS = 5
PLAIN: dict[str, Any] = {"n_clusters": 16}
SETTINGS: dict[str, list[Any]] = {
    "clusters": [4, 8, 12, 16, 32, 64, 140],
    "clusterer": ["minibatch", "hierarchical", "gmm", "spectral", "birch"],
    "scoring": ["rank"],
    "top_k": [(3, 6.0), (3, 30.0), (5, 30.0), (11, 3.0), (11, 30.0)],
}
STUDIES: tuple[tuple[dict[str, Any], list[str]], ...] = (
    ({}, ["clusters", "size", "models"]),
    (PLAIN, ["clusterer", "scoring", "top_k"]),
)


def main(cells: Path | None = None) -> None:
    train, X = routerdc("train")
    test, test_X = routerdc("test")
    tables: dict[str, Any] = {}
    start = time.perf_counter()
    for params, studies in STUDIES:
        found = ablate(
            train,
            X,
            test=test,
            test_vectors=test_X,
            studies=studies,
            params=params,
            settings=SETTINGS,
            seeds=SEEDS,
            out=cells,
        )
        console.print(found)
        data = found.to_dict()
        for study in studies:
            tables[study] = {
                "params": params,
                "seeds": SEEDS,
                "rows": [row for row in data["rows"] if row["study"] == study],
            }
    console.print(f"{time.perf_counter() - start:.0f} s; written to {RESULTS.name}/ablations.json")
    save_result("ablations", tables)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
