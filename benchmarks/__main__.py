"""Run the benchmarks, all or those named: `python -m benchmarks [routerdc speed …]`."""

import sys
import time
from importlib import import_module

from benchmarks.common import DataMissingError, console

ALL = (
    "reasoning_gym",
    "mmlu_pro",
    "routerdc",
    "defaults",
    "ablations",
    "coverage",
    "voting",
    "code_voting",
    "cost_front",
    "learned_cost",
    "speed",
    "growth",
    "fitting",
    "large",
    "pipeline",
    "serving",
    "extraction",
    "learning",
    "vote_speed",
    "add_model",
    "real_models",
    "calibration",
)


def main() -> None:
    names = sys.argv[1:] or ALL
    missing = 0
    began = time.perf_counter()
    for name in names:
        console.rule(name)
        start = time.perf_counter()
        try:
            import_module(f"benchmarks.{name}").main()
        except DataMissingError as error:
            console.print(f"[yellow]{name}: {error}")
            missing += 1
        console.print(f"[dim]{name}: {time.perf_counter() - start:.0f} s")
    console.print(
        f"All of it: {(time.perf_counter() - began) / 60:.0f} min. Now: python -m benchmarks.readme"
    )
    sys.exit(1 if missing == len(names) else 0)


if __name__ == "__main__":
    main()
