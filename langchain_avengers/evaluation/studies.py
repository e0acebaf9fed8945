"""The paper's studies on one's own table: what each parameter is worth, over seeds, with intervals.

A *cell* is one router: parameters, training share, embedder and seed. Finished cells are kept in a JSONL
file under the hash of all that decides their result, so a study that was stopped goes on where it was, and
settings that studies share are run once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from langchain_avengers._arrays import known_mean
from langchain_avengers.errors import RouterError, TableError
from langchain_avengers.evaluation.arrays import table_arrays
from langchain_avengers.evaluation.baselines import best_of_table
from langchain_avengers.evaluation.metrics import avg_acc
from langchain_avengers.evaluation.stats import Estimate, difference_estimate, jsonable, student
from langchain_avengers.evaluation.study_cells import (
    CellStore,
    cell_key,
    embed_once,
    fingerprint_of_rows,
    fingerprint_of_vectors,
)

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from rich.console import Console, ConsoleOptions, RenderResult

    from langchain_avengers.routing.router import ClusterRouter
    from langchain_avengers.routing.table import ScoreTable

Vectors = NDArray[np.float32]
Study = Literal[
    "clusters", "clusterer", "scoring", "top_k", "models", "size", "tasks", "embedder", "strategy"
]
STUDIES: tuple[Study, ...] = (
    "clusters",
    "clusterer",
    "scoring",
    "top_k",
    "models",
    "size",
    "tasks",
    "embedder",
    "strategy",
)

CLUSTERS = (2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 140)
TOP_K = tuple(
    (top_k, beta) for top_k in (1, 2, 3, 5, 11) for beta in ((6.0,) if top_k == 1 else (3.0, 6.0, 30.0))
)
SHARES = (0.05, 0.1, 0.2, 0.4, 0.7)
MOST_TASKS = 20
"""With more tasks than these, leaving each out takes long: the study is then run only when asked for."""
SUBSETS = 256
"""At most so many subsets of a size are tried; of more, this many are drawn."""


STRATEGIES: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "direct": lambda models, answers: {"strategy": "direct"},
    "self_consistency": lambda models, answers: {"strategy": "self_consistency", "n_samples": answers},
    "mixture of 3": lambda models, answers: {"strategy": "mixture", "top_n": 3, "n_samples": 3},
    "all models": lambda models, answers: {"strategy": "mixture", "top_n": models, "n_samples": models},
    "model_switch": lambda models, answers: {"strategy": "model_switch", "n_samples": answers},
    "learned": lambda models, answers: {"strategy": "learned"},
}
"""Strategies of the study by name: what is set for so many models with at most so many recorded answers each."""


@dataclass(frozen=True)
class Setting:
    """What a cell is, but for its seed: every field that decides its result.

    Attributes:
        params: Parameters of the router that are not its defaults.
        embedder: Name of the vectors used.
        share: Share of the training rows used, in (0, 1].
        n_models: Models kept by automatic selection; `None` keeps all.
        strategy: A key of `STRATEGIES`, measured on recorded answers; `None` measures routing alone.
        left_out: A task whose rows are not fitted to; the router is then judged on that task's test rows alone.
    """

    params: tuple[tuple[str, Any], ...] = ()
    embedder: str = "default"
    share: float = 1.0
    n_models: int | None = None
    strategy: str | None = None
    left_out: str | None = None


@dataclass(frozen=True)
class Row:
    """One setting of one study, over all seeds.

    Attributes:
        study: Name of the study.
        setting: As printed; `"default"` is the router with all defaults.
        seeds: Cells behind the row.
        avg_acc: Mean AvgAcc over the seeds, with its Student t interval.
        difference: AvgAcc minus that of the default setting with the same seed; `None` for the default
            itself.
        over_best_single: AvgAcc minus Best Single's, over the seeds.
        rows_interval: Over-Best-Single of the first seed with the paired interval over test
            rows: how sure the number is for *these* rows, where the others say how much a seed moves it.
        detail: Further means over the seeds: clusters used, seconds to fit, best and mean of all subsets...
    """

    study: str
    setting: str
    seeds: int
    avg_acc: Estimate
    difference: Estimate | None
    over_best_single: Estimate
    rows_interval: Estimate
    detail: dict[str, float]


@dataclass(frozen=True)
class Ablation:
    """What `ablate` found. Prints as one table a study; `to_dict` is JSON-safe.

    Attributes:
        rows: Study by study, the default first.
        notes: What was left out, and why.
        reused: Cells taken from an earlier run.
        ran: Cells run now.
    """

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    reused: int
    ran: int

    def to_dict(self) -> dict[str, Any]:
        """The studies as JSON-safe plain data."""
        data: dict[str, Any] = jsonable(asdict(self))
        return data

    def study(self, name: str) -> tuple[Row, ...]:
        """The rows of one study."""
        return tuple(row for row in self.rows if row.study == name)

    def __str__(self) -> str:
        """The tables as plain text, 110 columns wide."""
        from io import StringIO

        from rich.console import Console

        console = Console(file=StringIO(), width=110, color_system=None)
        console.print(self)
        return cast(StringIO, console.file).getvalue().rstrip()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The tables for a rich console."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        for name in dict.fromkeys(row.study for row in self.rows):
            grid = Table(title=name, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
            for column in ("", "AvgAcc [95 %]", "- default", "- Best Single", ""):
                grid.add_column(column, justify="right" if column else "left")
            for row in self.study(name):
                detail = "  ".join(
                    f"{key} {value:.4g}" for key, value in row.detail.items() if value == value
                )
                difference = row.difference.points(signed=True) if row.difference else ""
                cells = [row.avg_acc.points(), difference, row.over_best_single.points(signed=True)]
                grid.add_row(row.setting, *cells, detail)
            yield grid
        for note in self.notes:
            yield Text(f"Note: {note}", style="dim")


def ablate(
    table: ScoreTable,
    vectors: Vectors | None = None,
    *,
    embeddings: Embeddings | None = None,
    embedders: Mapping[str, Embeddings | Vectors] | None = None,
    studies: Iterable[str] | None = None,
    seeds: int | Sequence[int] = 5,
    test_size: float = 0.3,
    test: ScoreTable | None = None,
    test_vectors: Vectors | None = None,
    params: Mapping[str, Any] | None = None,
    settings: Mapping[str, Sequence[Any]] | None = None,
    out: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    n_jobs: int = -1,
    on_cell: Callable[[int, int], None] | None = None,
) -> Ablation:
    """Run studies, each setting with several seeds.

    A seed decides the split into training and test rows (unless `test` is given), the router's
    `random_state`, and the rows drawn for a smaller training share. All settings of a seed see the same
    split, so differences are paired.

    Args:
        table: Graded rows.
        vectors: Shape (n, d). The rows' embeddings; embedded with `embeddings` when not given.
        embeddings: Embedder of the rows; the package's default when neither is given.
        embedders: For the study `"embedder"`: name to embedder, or to the vectors of `table`'s rows.
        studies: Of `STUDIES`; when not given, all for which the table has data, `"tasks"` up to 20 tasks.
        seeds: How many, or which.
        test_size: Share of the rows each seed holds out.
        test: Test rows, the same for every seed; then all of `table` is for training.
        test_vectors: Shape (t, d). Their embeddings.
        params: Parameters of every router that are not the defaults.
        settings: Study to values, instead of the ones built in: `{"clusters": [4, 8]}`, `{"top_k": [(3,
            6.0)]}`, `{"size": [0.1, 0.5]}`, `{"scoring": ["mean"]}`, `{"clusterer": ["ward"]}`,
            `{"models": [2, 3]}`.
        out: JSONL file of finished cells. What it holds is not run again.
        cache_dir: Folder in which embeddings are kept.
        n_jobs: Processes, as joblib counts them.
        on_cell: Called with (cells done, cells) as each is done.

    Raises:
        TableError: There is no such study, or the table lacks what one that was asked for needs.
    """
    wanted = _wanted(studies, table, embedders)
    numbers = list(range(seeds)) if isinstance(seeds, int) else [int(seed) for seed in seeds]
    if not numbers:
        raise RouterError("seeds is 0: a study needs at least one, and two for an interval")
    base = {} if params is None else dict(params)
    spaces: dict[str, tuple[Vectors, Vectors | None]] = {}
    notes: list[str] = []

    def space(name: str, source: Embeddings | Vectors | None) -> None:
        own = source if isinstance(source, np.ndarray) else embed_once(source, name, table.queries, cache_dir)
        far = None
        if test is not None:
            if isinstance(source, np.ndarray) and name != "default":
                raise TableError(f"embedder {name!r}: with test= give an embedder, not vectors")
            given = test_vectors if name == "default" else None
            embedder = None if isinstance(source, np.ndarray) else source
            far = given if given is not None else embed_once(embedder, name, test.queries, cache_dir)
        if len(own) != len(table):
            raise TableError(f"embedder {name!r}: {len(own)} vectors for {len(table)} rows")
        spaces[name] = np.asarray(own, np.float32), far

    space("default", embeddings if vectors is None else np.asarray(vectors))
    for name, source in (embedders or {}).items() if "embedder" in wanted else ():
        space(name, source)

    plan = {study: _settings(study, table, base, embedders, dict(settings or {}), notes) for study in wanted}
    common = fingerprint_of_rows(table, test, test_size)
    fingerprint = {name: f"{common} {fingerprint_of_vectors(pair)}" for name, pair in spaces.items()}
    cells = {
        cell_key(fingerprint[setting.embedder], setting, seed): (setting, seed)
        for group in plan.values()
        for setting in group.values()
        for seed in numbers
    }
    store = CellStore(Path(out) if out is not None else None)
    done = {key: store.found[key] for key in cells if key in store.found}
    reused, todo = len(done), {key: cell for key, cell in cells.items() if key not in done}
    # cells that differ only in what is measured share one router
    fits: dict[tuple[Setting, int], list[tuple[str, Setting]]] = {}
    for key, (setting, seed) in todo.items():
        fits.setdefault((replace(setting, n_models=None, strategy=None), seed), []).append((key, setting))
    jobs = [
        (group, table, spaces[setting.embedder], test, test_size, seed)
        for (setting, seed), group in fits.items()
    ]
    for key, result in _parallel(jobs, n_jobs):
        setting, seed = cells[key]
        store.add(key, {"setting": asdict(setting), "seed": seed}, result)
        done[key] = result
        if on_cell is not None:
            on_cell(len(done), len(cells))
    rows = []
    for study, settings_of in plan.items():
        results = {
            label: [done[cell_key(fingerprint[setting.embedder], setting, seed)] for seed in numbers]
            for label, setting in settings_of.items()
        }
        if study == "tasks":
            rows.append(_row(study, "each task left out in turn", _mean_cells(list(results.values())), None))
        rows += [_row(study, label, cell, results.get("default")) for label, cell in results.items()]
    if len(numbers) < 2:
        notes.append("One seed: the intervals over seeds are left open.")
    return Ablation(tuple(rows), tuple(dict.fromkeys(notes)), reused, len(todo))


def _wanted(
    studies: Iterable[str] | None, table: ScoreTable, embedders: Mapping[str, Any] | None
) -> list[Study]:
    needs = {
        "embedder": (bool(embedders), "several embedders (embedders=...)"),
        "strategy": (table.answers is not None, "the models' answers in the table"),
        "models": (len(table.models) > 2, "three models or more"),
        "tasks": (len(set(table.tasks or ())) > 1, "two tasks or more"),
    }
    if studies is None:
        many = len(set(table.tasks or ())) > MOST_TASKS
        return [s for s in STUDIES if needs.get(s, (True, ""))[0] and not (many and s == "tasks")]
    wanted: list[Study] = []
    for study in studies:
        if study not in STUDIES:
            raise TableError(f"there is no study {study!r}; studies are {', '.join(STUDIES)}")
        there, what = needs.get(study, (True, ""))
        if not there:
            raise TableError(f"the study {study!r} needs {what}")
        wanted.append(study)
    return wanted


def _settings(
    study: Study,
    table: ScoreTable,
    base: dict[str, Any],
    embedders: Mapping[str, Any] | None,
    given: dict[str, Sequence[Any]],
    notes: list[str],
) -> dict[str, Setting]:
    """Label to setting, the default first."""

    def setting(**changed: Any) -> Setting:
        return Setting(tuple(sorted({**base, **changed}.items())))

    default = setting()
    if study == "clusters":
        most = len(table) // 4
        values = [k for k in given.get(study, CLUSTERS) if k <= most]
        return {"default": default, **{f"K={k}": setting(n_clusters=k) for k in values}}
    if study == "clusterer":
        from langchain_avengers.routing.clusterers import CLUSTERERS

        return {
            "default": default,
            **{name: setting(clusterer=name) for name in given.get(study, tuple(CLUSTERERS))},
        }
    if study == "scoring":
        rules = [
            rule for rule in ("mean", "rank", "balanced") if rule != "balanced" or table.costs is not None
        ]
        if table.costs is None:
            notes.append("Scoring 'balanced' left out: the table holds no costs.")
        return {"default": default, **{rule: setting(scoring=rule) for rule in given.get(study, rules)}}
    if study == "top_k":
        pairs = given.get(study, TOP_K)
        ranks = {
            f"rank rule, top_k={k} beta={b:g}": setting(scoring="rank", top_k=k, beta=b) for k, b in pairs
        }
        return {
            "default": default,
            **{f"top_k={k} beta={b:g}": setting(top_k=k, beta=b) for k, b in pairs},
            **ranks,
        }
    if study == "tasks":
        params = tuple(sorted(base.items()))
        names = given.get(study, sorted(set(table.tasks or ())))
        return {f"without {name}": Setting(params, left_out=name) for name in names}
    if study == "models":
        sizes = given.get(study, range(1, len(table.models)))
        params = tuple(sorted(base.items()))
        return {"default": default, **{f"{size} models": Setting(params, n_models=size) for size in sizes}}
    if study == "size":
        params = tuple(sorted(base.items()))
        return {
            "default": default,
            **{
                f"{share:.0%} of the rows": Setting(params, share=share) for share in given.get(study, SHARES)
            },
        }
    params = tuple(sorted(base.items()))
    if study == "embedder":
        return {"default": default, **{name: Setting(params, embedder=name) for name in embedders or {}}}
    names = given.get(study, tuple(STRATEGIES))
    return {"default": default, **{name: Setting(params, strategy=name) for name in names}}


def _parallel(jobs: Sequence[tuple[Any, ...]], n_jobs: int) -> Iterator[tuple[str, dict[str, float]]]:
    if not jobs:
        return
    if n_jobs == 1 or len(jobs) == 1:
        for job in jobs:
            yield from _cells(*job)
        return
    from joblib import Parallel, delayed

    # a worker computes with one thread: cells are what runs side by side
    results = Parallel(
        n_jobs=n_jobs, return_as="generator_unordered", inner_max_num_threads=1, backend="loky"
    )(delayed(_cells)(*job) for job in jobs)
    for cells in results:
        yield from cells


def _cells(
    group: Sequence[tuple[str, Setting]],
    table: ScoreTable,
    space: tuple[Vectors, Vectors | None],
    test: ScoreTable | None,
    test_size: float,
    seed: int,
) -> list[tuple[str, dict[str, float]]]:
    """Fit the router that these cells share, and measure each."""
    from langchain_avengers.routing.router import ClusterRouter

    if test is None:
        train, held, fit_on, judge_on = _split(table, space[0], test_size, seed)
    else:
        assert space[1] is not None
        train, held, fit_on, judge_on = table, test, space[0], space[1]
    first = group[0][1]
    if first.left_out is not None:
        known = np.array([task != first.left_out for task in train.tasks or ()])
        asked = np.array([task == first.left_out for task in held.tasks or ()])
        train, fit_on = train.select_rows(known), fit_on[known]
        held, judge_on = held.select_rows(asked), judge_on[asked]
    if first.share < 1:
        rows = _draw(train, first.share, seed)
        train, fit_on = train.select_rows(rows), fit_on[rows]
    router = ClusterRouter(**{"random_state": seed, **dict(first.params)})
    started = time.perf_counter()
    votes = any(setting.strategy == "learned" for _, setting in group)
    router.fit(train, None, vectors=fit_on, learn_vote=votes)
    seconds = time.perf_counter() - started
    shared = {"clusters": float(router.n_clusters_), "rows": float(len(train)), "fit_s": seconds}
    best = best_of_table(train, list(router.models_))
    return [
        (key, {**_measured(router, held, judge_on, best, setting, seed), **shared}) for key, setting in group
    ]


def _measured(
    router: ClusterRouter, held: ScoreTable, judge_on: Vectors, best: int, setting: Setting, seed: int
) -> dict[str, float]:
    names = list(router.models_)
    scores, costs, tasks = table_arrays(held, names)
    result: dict[str, float] = {}
    if setting.strategy is not None:
        from langchain_avengers.evaluation.replaying import replay

        options = STRATEGIES[setting.strategy](len(names), int(held.n_samples.max()))
        found = replay(router, held, vectors=judge_on, **options)
        routed = found.scores
        result["answers"] = float(found.samples.mean())
        if held.costs is not None:
            result["cost"] = avg_acc(found.costs, tasks)
    else:
        kept = None if setting.n_models is None else list(router.select_models(setting.n_models))
        choices = np.asarray(router.choose(judge_on, models=kept), np.int64)
        routed = scores[np.arange(len(held)), choices]
        if costs is not None:
            result["cost"] = avg_acc(costs[np.arange(len(held)), choices], tasks)
        if setting.n_models is not None:
            result |= _subsets(router, setting.n_models, judge_on, scores, tasks, seed)
    over = difference_estimate(routed, scores[:, best], tasks)
    return {
        "avg_acc": avg_acc(routed, tasks),
        "best_single": avg_acc(scores[:, best], tasks),
        "over": over.value,
        "over_low": over.low,
        "over_high": over.high,
        **result,
    }


def _subsets(
    router: Any, size: int, vectors: Vectors, scores: NDArray[np.float64], tasks: NDArray[np.int64], seed: int
) -> dict[str, float]:
    """AvgAcc over the subsets of that size: all, or `SUBSETS` drawn ones. The clusters stay."""
    names = list(router.models_)
    if comb(len(names), size) <= SUBSETS:
        subsets: Iterable[tuple[int, ...]] = combinations(range(len(names)), size)
    else:
        rng = np.random.default_rng(seed)
        subsets = {
            tuple(sorted(rng.choice(len(names), size, replace=False).tolist())) for _ in range(SUBSETS)
        }
    rows = np.arange(len(scores))
    found = []
    for subset in subsets:
        choices = np.asarray(router.choose(vectors, models=[names[index] for index in subset]), np.int64)
        found.append(avg_acc(scores[rows, choices], tasks))
    return {"subsets": float(len(found)), "best_subset": max(found), "mean_subset": float(np.mean(found))}


def _split(
    table: ScoreTable, vectors: Vectors, test_size: float, seed: int
) -> tuple[ScoreTable, ScoreTable, Vectors, Vectors]:
    """The table's split, with its vectors: a query is on one side only, so membership of the text decides."""
    train, test = table.split(test_size, seed=seed)
    held = set(test.queries)
    mask = np.fromiter((query in held for query in table.queries), bool, len(table))
    return train, test, vectors[~mask], vectors[mask]


def _draw(table: ScoreTable, share: float, seed: int) -> NDArray[np.int64]:
    """Rows of a share of the table, the same share of every task, at least one of each."""
    rng = np.random.default_rng(seed)
    labels = np.asarray(table.tasks or [""] * len(table))
    drawn = [
        rng.permutation(rows)[: max(1, round(share * len(rows)))]
        for rows in (np.flatnonzero(labels == label) for label in np.unique(labels))
    ]
    return np.sort(np.concatenate(drawn))


def _mean_cells(settings: Sequence[list[dict[str, float]]]) -> list[dict[str, float]]:
    """For every seed the mean over settings of what its cells measured."""
    means = [
        {name: float(known_mean([cell[name] for cell in cells])) for name in cells[0]}
        for cells in zip(*settings, strict=True)
    ]
    # these intervals are those of one task's rows
    return [cell | {"over_low": float("nan"), "over_high": float("nan")} for cell in means]


def _row(
    study: str, label: str, cells: list[dict[str, float]], default: list[dict[str, float]] | None
) -> Row:
    difference = None
    if label != "default" and default is not None:
        difference = student([a["avg_acc"] - b["avg_acc"] for a, b in zip(cells, default, strict=True)])
    shown = [
        key
        for key in ("clusters", "rows", "fit_s", "cost", "subsets", "best_subset", "mean_subset")
        if key in cells[0]
    ]
    return Row(
        study=study,
        setting=label,
        seeds=len(cells),
        avg_acc=student([cell["avg_acc"] for cell in cells]),
        difference=difference,
        over_best_single=student([cell["over"] for cell in cells]),
        rows_interval=Estimate(cells[0]["over"], cells[0]["over_low"], cells[0]["over_high"]),
        detail={key: float(np.mean([cell[key] for cell in cells])) for key in shown},
    )
