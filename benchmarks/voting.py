"""Extraction and voting on recorded answers, adaptive stopping on simulated ones, and the time of a vote.

Reads RouterBench's ARC files from `../shared/data/routerbench` or `$AVENGERS_DATA/routerbench`.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from langchain_avengers import ClusterRouter, MajorityVoter, ScoreTable
from langchain_avengers.evaluation import replay
from langchain_avengers.voting.answers import extract_answer
from langchain_avengers.voting.stopping import leader_is_safe

DATA = (
    Path(os.environ.get("AVENGERS_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
    / "routerbench"
)
NUMBERS = (5, 10, 15, 20, 25, 40)
AGREEMENTS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def read(split: str) -> ScoreTable:
    """One of the two files as a table; an unscored answer is NaN."""
    with open(DATA / f"arc_challenge_{split}.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    tail = "|model_response"
    models = sorted(name.removesuffix(tail) for name in rows[0] if name.endswith(tail))
    return ScoreTable(
        [row["prompt"] for row in rows],
        models,
        [[float(row[m]) if row[m] else np.nan for m in models] for row in rows],
        answers=[[row[m + tail] for m in models] for row in rows],
    )


def extraction(table: ScoreTable) -> dict[str, tuple[int, int]]:
    """Per model: answers whose letter agrees with the recorded score, and answers with a score."""
    agree = {name: [0, 0] for name in table.models}
    assert table.answers is not None
    for query, texts, scores in zip(table.queries, table.answers, table.scores, strict=True):
        letters = [answer.value if (answer := extract_answer(text, query)) else None for text in texts]
        right = Counter(x for x, score in zip(letters, scores, strict=True) if score == 1 and x)
        for name, letter, score in zip(table.models, letters, scores, strict=True):
            if not np.isnan(score) and right:
                agree[name][0] += (letter == right.most_common(1)[0][0]) == (score == 1)
                agree[name][1] += 1
    return {name: (good, n) for name, (good, n) in agree.items()}


def votes(train: ScoreTable, test: ScoreTable) -> list[dict[str, Any]]:
    """The learned vote beside the best single model and votes of the whole pool, on the test half, without routing."""
    pools = {"six open": [m for m in train.models if "/" in m], "all eleven": list(train.models)}
    nowhere = np.ones((len(test), 1))
    results = []
    for pool, names in pools.items():
        fit, held = train.select_models(names), test.select_models(names)
        router = ClusterRouter(n_clusters=1).fit(fit, vectors=np.ones((len(fit), 1)))
        policy = router.policy_
        assert policy is not None
        everybody: Any = {"strategy": "mixture", "top_n": len(names), "n_samples": len(names)}
        plan = policy.plan()

        def mean(**settings: Any) -> float:
            return float(np.nanmean(replay(router, held, vectors=nowhere, **settings).scores))  # noqa: B023

        results.append(
            {
                "pool": pool,
                "models": [plan.only] if plan.only else names,
                "chosen": mean(),
                "best single": float(held.mean_scores().max()),
                "equal vote": mean(**everybody, voter=MajorityVoter()),
                "log-odds vote": mean(**everybody),
            }
        )
    return results


def rivals(agreement: float) -> dict[str, list[float]]:
    """Ways in which the samples that miss the usual answer fall."""
    rest = 1 - agreement
    split = [rest] if agreement > 0.5 else [rest / 2, rest / 2]
    return {
        "strong": split,
        "four": [rest / 4] * 4,
        "ten": [rest / 10] * 10,
        "zipf": [rest * w for w in (0.5, 0.25, 0.125, 0.125)],
    }


def stopping(n: int, agreement: float, trials: int = 4000) -> tuple[float, float]:
    """`(kept, saved)`, the worst over the kinds of rivals: decisions of the full vote kept, and samples saved."""
    kept, saved = 1.0, 1.0
    for others in rivals(agreement).values():
        shares = np.array([agreement, *others])
        draws = np.random.default_rng(0).choice(len(shares), size=(trials, n), p=shares / shares.sum())
        same, used = 0, 0
        for row in draws:
            counts: Counter[int] = Counter()
            stopped: tuple[int, int] | None = None
            for drawn, answer in enumerate(row.tolist(), 1):
                counts[answer] += (
                    1  # a Counter keeps the order of arrival: its maximum is the earlier of equals
                )
                if stopped is None and leader_is_safe(counts, remaining=n - drawn):
                    stopped = (max(counts, key=counts.__getitem__), drawn)
            assert stopped is not None
            same += stopped[0] == max(counts, key=counts.__getitem__)
            used += stopped[1]
        kept, saved = min(kept, same / trials), min(saved, 1 - used / (trials * n))
    return kept, saved


def most_saved(n: int = 5, keep: float = 0.99, at: float = 0.9) -> dict[str, Any]:
    """The most that any stopping rule can save of `n` samples at agreement `at` while it keeps `keep` of the full
    vote's decisions at every agreement, against every kind of rivals.

    Exact: a rule, even one that tosses coins and minds the order, is the chance to go on after each pattern of
    answers; what it keeps and saves is linear in the chances to have gone on so far. So a linear program finds the
    best one. Beside it, for comparison, the rule that stops when the first two answers agree.
    """
    from scipy.optimize import linprog

    def winner(labels: Sequence[int]) -> int:
        return max(range(len(set(labels))), key=labels.count)  # the earlier of equals

    def patterns(shares: Sequence[float]) -> dict[tuple[int, ...], float]:
        """Chance of each pattern of `n` answers, numbered by first appearance."""
        chances: Counter[tuple[int, ...]] = Counter()
        for draw in product(range(len(shares)), repeat=n):
            first = {answer: i for i, answer in enumerate(dict.fromkeys(draw))}
            chances[tuple(first[answer] for answer in draw)] += float(
                np.prod([shares[answer] for answer in draw])
            )
        return chances

    kinds = {
        (agreement, kind): patterns([agreement, *others])
        for agreement in AGREEMENTS
        for kind, others in rivals(agreement).items()
        if kind != "ten"  # between "four" and no rivals at all
    }
    seen = sorted(
        {pattern[:drawn] for chances in kinds.values() for pattern in chances for drawn in range(1, n)}
    )
    place = {pattern: i for i, pattern in enumerate(seen)}

    def account(chances: dict[tuple[int, ...], float]) -> tuple[np.ndarray, float, np.ndarray]:
        """What going on after each pattern adds to the decisions kept, those kept by stopping at once, samples used."""
        kept, used, base = np.zeros(len(seen)), np.zeros(len(seen)), 0.0
        for pattern, chance in chances.items():
            right = [winner(pattern[:drawn]) == winner(pattern) for drawn in range(1, n + 1)]
            base += chance * right[0]
            for drawn in range(1, n):
                kept[place[pattern[:drawn]]] += chance * (right[drawn] - right[drawn - 1])
                used[place[pattern[:drawn]]] += chance
        return kept, base, used

    accounts = {kind: account(chances) for kind, chances in kinds.items()}
    rows = [-kept for kept, _, _ in accounts.values()]
    limits = [base - keep for _, base, _ in accounts.values()]
    for pattern in seen:  # to have gone on here is to have gone on before
        if len(pattern) > 1:
            row = np.zeros(len(seen))
            row[place[pattern]], row[place[pattern[:-1]]] = 1, -1
            rows.append(row)
            limits.append(0.0)
    worst = max((used for (agreement, _), (_, _, used) in accounts.items() if agreement == at), key=np.sum)
    best = linprog(worst, A_ub=np.array(rows), b_ub=limits, bounds=(0, 1))
    certain = {
        p for p in seen if p.count(winner(p)) > sorted([*(p.count(x) for x in set(p)), 0])[-2] + n - len(p)
    }
    two = np.array([not any(p[:k] in certain or p[:k] == (0, 0) for k in range(1, len(p) + 1)) for p in seen])
    agreeing = {
        kind: (base + kept @ two, 1 - (1 + used @ two) / n) for kind, (kept, base, used) in accounts.items()
    }
    return {
        "most saved by any rule": 1 - (1 + float(best.fun)) / n,
        "first two agree": {
            "kept": {str(a): min(k for (b, _), (k, _) in agreeing.items() if b == a) for a in AGREEMENTS},
            "saved": min(saved for (a, _), (_, saved) in agreeing.items() if a == at),
        },
    }


def main() -> None:
    results: dict[str, Any] = {}
    if DATA.exists():
        train, test = read("train"), read("test")
        both = [extraction(train), extraction(test)]
        print(f"{'extraction agrees with the score':<40}{'answers':>9}{'agree':>10}")
        total = [0, 0]
        results["extraction"] = {}
        for name in train.models:
            good, n = (sum(part[name][i] for part in both) for i in (0, 1))
            total = [total[0] + good, total[1] + n]
            results["extraction"][name] = good / n
            print(f"{name:<40}{n:>9}{good / n:>10.3%}")
        results["extraction"]["all"] = total[0] / total[1]
        print(f"{'all':<40}{total[1]:>9}{total[0] / total[1]:>10.3%}\n")
        results["votes"] = votes(train, test)
        columns = ("chosen", "best single", "equal vote", "log-odds vote")
        print(f"{'pool (test half)':<18}" + "".join(f"{name:>15}" for name in columns) + "  models chosen")
        for row in results["votes"]:
            figures = "".join(f"{row[name]:>15.2%}" for name in columns)
            print(f"{row['pool']:<18}{figures}  {', '.join(row['models'])}")
    else:
        print(f"no recorded answers at {DATA}; set AVENGERS_DATA")
    print("\nadaptive stopping, worst of four kinds of rivals: decisions kept / samples saved")
    print(f"{'agreement':<10}" + "".join(f"{f'n={n}':>18}" for n in NUMBERS))
    results["stopping"] = {}
    for agreement in AGREEMENTS:
        cells = {n: stopping(n, agreement) for n in NUMBERS}
        results["stopping"][str(agreement)] = {n: {"kept": k, "saved": s} for n, (k, s) in cells.items()}
        print(f"{agreement:<10}" + "".join(f"{k:>10.2%}{s:>8.1%}" for k, s in cells.values()))
    results["five samples"] = bound = most_saved()
    print(
        f"\nof 5 samples any rule that keeps 99 % at every agreement saves at most, at agreement 0.9, "
        f"{bound['most saved by any rule']:.1%}"
    )
    two = bound["first two agree"]
    print(
        f"stopping when the first two agree saves {two['saved']:.1%} there, and keeps "
        + ", ".join(f"{kept:.1%} at {agreement}" for agreement, kept in two["kept"].items())
    )
    try:
        from benchmarks.common import save_result
    except ImportError:
        print("\nbenchmarks.common is not there: nothing saved")
    else:
        save_result("voting", results)


if __name__ == "__main__":
    main()
