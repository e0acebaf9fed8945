"""How good a router is, on rows it has not seen, and how sure that is."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from langchain_avengers._arrays import known_mean
from langchain_avengers.errors import RouterError
from langchain_avengers.evaluation.arrays import Floats, Ints, arrays, task_names
from langchain_avengers.evaluation.baselines import (
    CalibrationRows,
    Kind,
    Policy,
    best_index,
    best_single,
    chosen,
    knn,
    max_expert,
    oracle,
    random_choice,
    ridge,
    single,
    strong_weak,
)
from langchain_avengers.evaluation.pareto import ParetoFront, sweep_costs
from langchain_avengers.evaluation.reliability import Reliability, reliability
from langchain_avengers.evaluation.stats import (
    Estimate,
    cost_estimate,
    difference_estimate,
    gain_estimate,
    jsonable,
    mean_estimate,
    over_tasks,
    rows_to_tell,
)

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from langchain_avengers.routing.router import ClusterRouter
    from langchain_avengers.routing.table import ScoreTable

Outcome = Literal["better", "no better", "worse", "too few rows"]

FEWEST_ROWS = 10
"""Below so many rows with both scores the verdict is always "too few rows"."""

WORTHWHILE = 0.02
"""The smallest gain of AvgAcc that matters: when the interval excludes it, the router is "no better"."""


class NotHeldOutWarning(UserWarning):
    """Rows a router is evaluated on were among those it was fitted on."""


@dataclass(frozen=True)
class Result:
    """One way of answering the rows: the router, a baseline, a single model.

    Attributes:
        name: As printed.
        kind: `"router"`, `"baseline"`, `"model"`, or `"oracle"` for what reads the scores it is judged on.
        detail: What a reader needs beside the name, such as the model that Best Single is.
        avg_acc: AvgAcc with its interval.
        cost: Mean US dollars per query, averaged over tasks as AvgAcc is; `None` when the table has no
            costs.
        difference: The router's AvgAcc minus this one's, on the rows both have a score for; `None` for the
            router.
        measured: Share of the rows whose answer has a score, in [0, 1].
        tasks: Mean score by task.
    """

    name: str
    kind: Kind
    detail: str
    avg_acc: Estimate
    cost: Estimate | None
    difference: Estimate | None
    measured: float
    tasks: dict[str, float]


@dataclass(frozen=True)
class Part:
    """A part of the rows, a task or a cluster, and how the router did there.

    Attributes:
        name: The task, or the cluster's number.
        n: Rows.
        router: Mean score of the router.
        best_single: Mean score of Best Single.
        difference: Router minus Best Single.
        chosen: The model the router chose most often here.
        chosen_share: In how many of the rows, in [0, 1].
        best: The best model here, in hindsight.
        best_score: Its mean score.
    """

    name: str
    n: int
    router: float
    best_single: float
    difference: Estimate
    chosen: str
    chosen_share: float
    best: str
    best_score: float


@dataclass(frozen=True)
class Voted:
    """The strategy that a pool with this router runs by default, replayed on the recorded answers.

    Attributes:
        strategy: Its name.
        answers: Answers drawn for a query, mean.
        confidence: How well the confidence of the vote tells right answers from wrong ones.
        share: The same of the share of answers that agree: what the confidence would be without calibration.
    """

    strategy: str
    answers: float
    confidence: Reliability
    share: Reliability


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found. Prints as tables; `to_dict` is JSON-safe.

    Attributes:
        verdict: The outcome in words, with the numbers behind it.
        outcome: The router against Best Single: `"better"`, `"worse"`, `"no better"` (a gain of `WORTHWHILE` is
            excluded), or `"too few rows"` to tell.
        more_rows: About so many more rows are needed to tell; 0 unless there are too few.
        held_out: No row was among those the router was fitted on.
        in_training_set: Rows that were.
        n: Rows evaluated.
        metrics: By LLMRouterBench's names, defined in `evaluation.metrics`: AvgAcc, Gain@R, Gain@B, Gap@O,
            PerfGain, CostSave, ParetoDist. `None` when it cannot be had; `notes` says why.
        results: The router first, then baselines, oracles and single models.
        tasks: The router by task.
        clusters: The router by cluster of the router.
        traffic: How many rows each model was chosen for.
        pareto: The Pareto front of cost and accuracy; `None` when the table has no costs.
        voted: The deployed strategy; `None` when no answers are recorded, or the router learned no vote of them.
        best_single: The model that is best on calibration rows.
        confidence: Of all intervals.
        notes: What was left out, and why.
    """

    verdict: str
    outcome: Outcome
    more_rows: int
    held_out: bool
    in_training_set: int
    n: int
    metrics: dict[str, Estimate | None]
    results: tuple[Result, ...]
    tasks: tuple[Part, ...]
    clusters: tuple[Part, ...]
    traffic: dict[str, int]
    pareto: ParetoFront | None
    best_single: str
    confidence: float
    notes: tuple[str, ...]
    voted: Voted | None = None

    @property
    def mark(self) -> str:
        """What the verdict begins with when rows are in the training set; else empty."""
        rows = self.in_training_set
        return f"NOT HELD OUT ({rows} of {self.n} rows were seen in fitting). " if rows else ""

    @property
    def seen(self) -> int:
        """Old name of `in_training_set`; goes with the next release."""
        warnings.warn("Evaluation.seen is now Evaluation.in_training_set", DeprecationWarning, stacklevel=2)
        return self.in_training_set

    @property
    def front(self) -> ParetoFront | None:
        """Old name of `pareto`; goes with the next release."""
        warnings.warn("Evaluation.front is now Evaluation.pareto", DeprecationWarning, stacklevel=2)
        return self.pareto

    def __getitem__(self, name: str) -> Result:
        """The result of this name, such as `"Router"` or `"Best Single"`."""
        for result in self.results:
            if result.name == name:
                return result
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """The evaluation as JSON-safe plain data: what is NaN here is None there."""
        data: dict[str, Any] = jsonable(asdict(self))
        return data | {"seen": data["in_training_set"], "front": data["pareto"]}  # the names of 0.1

    def __str__(self) -> str:
        """The tables as plain text, 110 columns wide."""
        from io import StringIO

        from rich.console import Console

        console = Console(file=StringIO(), width=110, color_system=None)
        console.print(self)
        assert isinstance(console.file, StringIO)
        return console.file.getvalue().rstrip()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The tables for a rich console."""
        from langchain_avengers.evaluation.tables import tables

        yield from tables(self)


def evaluate(
    router: ClusterRouter,
    table: ScoreTable,
    *,
    vectors: NDArray[Any] | None = None,
    calibration: ScoreTable | None = None,
    calibration_vectors: NDArray[Any] | None = None,
    cost_weights: Sequence[float] | None = None,
    leave_out_seen: bool = False,
    k: int | None = None,
    n_boot: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Evaluation:
    """Judge a router on held-out rows, beside every baseline, with intervals.

    Best Single is the model with the highest AvgAcc on the rows the router was fitted on, the first by name
    of equal ones: it is chosen without looking at `table`. Max Expert and Oracle do look, and are marked
    so. Intervals are those of `evaluation.stats`, paired by row for a difference. A model not measured on a
    row counts neither as right nor as wrong there: means are over measured rows, differences over rows
    measured on both sides, and `Result.measured` says how many there were.

    Args:
        router: A fitted router.
        table: Rows to judge it on, with scores of all of the router's models.
        vectors: Shape (n, d). The rows' embeddings; embedded by the router when not given.
        calibration: The rows the router was fitted on: adds the baselines that learn, which are kNN, ridge and,
            of two models, RouteLLM's strong/weak. Without them they are left out, and said.
        calibration_vectors: Shape (c, d). Their embeddings; embedded by the router when not given.
        cost_weights: Weights of cost swept for the Pareto front; `pareto.COST_WEIGHTS` when not given.
        leave_out_seen: Leave rows out that the router was fitted on, and say so, instead of marking the evaluation.
        k: Neighbours of the kNN baseline; chosen on the calibration rows when not given.
        n_boot: Bootstrap resamples behind the interval of ParetoDist.
        confidence: Of the intervals.
        seed: Seed of the resampling.

    Warns:
        NotHeldOutWarning: Rows of the table were seen in fitting; the evaluation is marked.

    Raises:
        RouterError: The table lacks one of the router's models.

    Example:
        >>> train, test = table.split(0.3)                                   # doctest: +SKIP
        >>> print(evaluate(ClusterRouter().fit(train, None), test))          # doctest: +SKIP
    """
    notes: list[str] = []
    names = list(router.models_)
    extra = [name for name in table.models if name not in names]
    if extra:
        notes.append(f"Not among the router's models, left out: {', '.join(extra)}.")
    where = router.embed_many(table.queries) if vectors is None else np.asarray(vectors)
    if leave_out_seen:
        rows = len(table)
        table, where = held_out_rows(router, table, where)
        if len(table) < rows:
            notes.append(f"{rows - len(table)} rows that were seen in fitting are left out.")
    scores, costs, tasks = arrays(router, table)
    empty = np.isnan(scores).all(axis=1)
    if empty.any():
        notes.append(f"{int(empty.sum())} rows without any score left out.")
        table, where = table.select_rows(~empty), where[~empty]
        scores, costs, tasks = arrays(router, table)
    if np.isnan(scores).any():
        notes.append(
            f"{np.isnan(scores).mean():.1%} of the scores were not measured: "
            "means are over measured rows, differences over rows measured on both sides."
        )
    trained_on = int(np.asarray(router.seen(table.queries)).sum())
    if trained_on:
        message = f"{trained_on} of {len(table)} rows were seen in fitting: this is not a held-out evaluation"
        warnings.warn(
            message + "; evaluate on other rows (ScoreTable.split)", NotHeldOutWarning, stacklevel=2
        )
        notes.insert(0, message + ".")

    choices = np.asarray(router.choose(where), np.int64)
    best = best_single(router)
    policies = [chosen("Router", "router", choices, scores, costs), random_choice(scores, costs)]
    policies.append(
        Policy(
            "Best Single",
            "baseline",
            scores[:, best],
            None if costs is None else costs[:, best],
            detail=names[best],
        )
    )
    voted, policy = _deployed(router, table, where)
    if policy is not None:
        policies.append(policy)
    if calibration is None:
        notes.append(
            "kNN left out, and the other learned baselines: they need the calibration rows (calibration=...)."
        )
    else:
        near = (
            router.embed_many(calibration.queries)
            if calibration_vectors is None
            else np.asarray(calibration_vectors)
        )
        known, _, groups = arrays(router, calibration)
        policies += _learned(CalibrationRows(near, known, groups, names), where, k, scores, costs)
    policies += [max_expert(scores, costs, tasks, names), oracle(scores, costs)]
    policies += sorted(
        (single(name, index, scores, costs) for index, name in enumerate(names)),
        key=lambda policy: (-over_tasks(policy.scores, tasks), policy.name),
    )
    results = tuple(_result(policy, policies[0], tasks, task_names(table), confidence) for policy in policies)
    gains = _gains(policies, tasks, confidence)

    front, unpriced = None, [] if costs is None else _unpriced(router)
    if unpriced:
        notes.append(f"No Pareto front: the router knows no cost of {', '.join(unpriced)}.")
    elif costs is not None and router.scoring == "rank":
        notes.append("No Pareto front: scoring='rank' knows no cost_weight.")
    elif costs is not None:
        front = sweep_costs(
            router,
            table,
            vectors=where,
            best=best,
            cost_weights=cost_weights,
            n_boot=n_boot,
            confidence=confidence,
            seed=seed,
        )
    else:
        notes.append("No Pareto front: the table holds no costs.")
    if front is not None and front.cost_save is None:
        notes.append("CostSave: no point of the front is as accurate as Best Single, or that costs nothing.")
    clusters = np.asarray(router.assign(where), np.int64)
    against = results[2].difference
    assert against is not None
    both = int((~np.isnan(policies[0].scores) & ~np.isnan(policies[2].scores)).sum())
    outcome = _outcome(against, both) if (choices != best).any() else "no better"
    labels = [str(cluster) for cluster in range(router.n_clusters_)]
    clusters = np.asarray(router.assign(where), np.int64)
    evaluation = Evaluation(
        verdict="",
        outcome=outcome,
        more_rows=rows_to_tell(against, both, WORTHWHILE) if outcome == "too few rows" else 0,
        held_out=not trained_on,
        in_training_set=trained_on,
        n=len(table),
        metrics={
            "AvgAcc": results[0].avg_acc,
            **gains,
            "PerfGain": front.perf_gain if front else gains["Gain@B"],
            "CostSave": front.cost_save if front else None,
            "ParetoDist": front.pareto_dist if front else None,
        },
        results=results,
        tasks=_parts(tasks, task_names(table), choices, best, scores, names, confidence),
        clusters=_parts(clusters, labels, choices, best, scores, names, confidence),
        traffic={name: int((choices == index).sum()) for index, name in enumerate(names)},
        pareto=front,
        best_single=names[best],
        confidence=confidence,
        notes=tuple(notes),
        voted=voted,
    )
    return replace(evaluation, verdict=_verdict(evaluation))


def _deployed(
    router: ClusterRouter, table: ScoreTable, vectors: NDArray[Any]
) -> tuple[Voted | None, Policy | None]:
    """The strategy that a pool runs by default on the recorded answers."""
    if getattr(router, "policy_", None) is None or (table.answers is None and table.samples is None):
        return None, None
    from langchain_avengers.evaluation.replaying import replay

    found = replay(router, table, vectors=vectors)
    answers = float(found.samples.mean())
    costs = None if table.costs is None else found.costs
    policy = Policy(
        "Routed and voted", "router", found.scores, costs, detail=f"learned, {answers:.1f} answers a query"
    )
    voted = Voted(
        "learned",
        answers,
        reliability(found.confidences, found.scores),
        reliability(found.shares, found.scores),
    )
    return voted, policy


def held_out_rows(
    router: ClusterRouter, table: ScoreTable, vectors: NDArray[Any]
) -> tuple[ScoreTable, NDArray[Any]]:
    """The rows that the router was not fitted on, with their vectors.

    Raises:
        RouterError: There is no such row.
    """
    new = ~np.asarray(router.seen(table.queries))
    if not new.any():
        raise RouterError("the router was fitted on every one of these rows: evaluate on others")
    return table.select_rows(new), vectors[new]


def _unpriced(router: ClusterRouter) -> list[str]:
    """Models of whose cost the router knows nothing, so that it cannot weigh costs."""
    unknown = np.isnan(np.asarray(router.cluster_costs_, float)).all(axis=0)
    return [name for name, missing in zip(router.models_, unknown, strict=True) if missing]


def _learned(
    rows: CalibrationRows, vectors: NDArray[Any], k: int | None, scores: Floats, costs: Floats | None
) -> list[Policy]:
    """The baselines that are fitted on the calibration rows."""
    found = {
        "kNN": knn(rows, vectors, k),
        "Ridge": ridge(rows, vectors),
        "Strong/weak": strong_weak(rows, vectors),
    }
    return [
        chosen(name, "baseline", choice[0], scores, costs, choice[1])
        for name, choice in found.items()
        if choice is not None
    ]


def _result(policy: Policy, router: Policy, tasks: Ints, labels: list[str], confidence: float) -> Result:
    """A policy beside the router's."""
    return Result(
        name=policy.name,
        kind=policy.kind,
        detail=policy.detail,
        avg_acc=mean_estimate(policy.scores, tasks, confidence),
        cost=None if policy.costs is None else cost_estimate(policy.costs, tasks, confidence),
        difference=None
        if policy is router
        else difference_estimate(router.scores, policy.scores, tasks, confidence),
        measured=float((~np.isnan(policy.scores)).mean()),
        tasks={label: known_mean(policy.scores[tasks == code]) for code, label in enumerate(labels)},
    )


def _gains(policies: Sequence[Policy], tasks: Ints, confidence: float) -> dict[str, Estimate | None]:
    """Gain@R, Gain@B and Gap@O of the first policy."""
    router, *others = policies
    gains: dict[str, Estimate | None] = {}
    for metric, name in (("Gain@R", "Random"), ("Gain@B", "Best Single"), ("Gap@O", "Oracle")):
        other = next(policy for policy in others if policy.name == name and policy.kind != "model")
        gain = gain_estimate(router.scores, other.scores, tasks, confidence)
        gains[metric] = gain if metric != "Gap@O" else Estimate(-gain.value, -gain.high, -gain.low)
    return gains


def _parts(
    codes: Ints,
    labels: list[str],
    choices: Ints,
    best: int,
    scores: Floats,
    names: list[str],
    confidence: float,
) -> tuple[Part, ...]:
    """The router against Best Single in each task, or each cluster."""
    routed, fixed = scores[np.arange(len(scores)), choices], scores[:, best]
    parts = []
    for code in np.unique(codes):
        rows = codes == code
        count = np.bincount(choices[rows], minlength=len(names))
        means = known_mean(scores[rows], axis=0)
        top = best_index(means, names)
        parts.append(
            Part(
                name=labels[code],
                n=int(rows.sum()),
                router=known_mean(routed[rows]),
                best_single=known_mean(fixed[rows]),
                difference=difference_estimate(routed[rows], fixed[rows], codes[rows], confidence),
                chosen=names[int(count.argmax())],
                chosen_share=float(count.max() / rows.sum()),
                best=names[top],
                best_score=float(means[top]),
            )
        )
    return tuple(parts)


def _outcome(difference: Estimate, n: int) -> Outcome:
    """What a difference with its interval says, of `n` rows measured on both sides."""
    if n < FEWEST_ROWS or not difference.known:
        return "too few rows"
    if difference.sign:
        return "better" if difference.sign > 0 else "worse"
    return "no better" if difference.high < WORTHWHILE else "too few rows"


def _verdict(evaluation: Evaluation) -> str:
    difference = evaluation["Best Single"].difference
    assert difference is not None
    best, points = f"Best Single ({evaluation.best_single})", 100 * difference.value
    span = f"{100 * evaluation.confidence:g} % interval {_span(difference)}"
    verdict = {
        "better": f"The router beats {best} by {points:.2f} points of AvgAcc ({span}).",
        "worse": f"The router is worse than {best} by {-points:.2f} points of AvgAcc ({span}): "
        "use that model alone.",
        "no better": f"The router is no better than {best}: {points:+.2f} points of AvgAcc ({span}).",
        "too few rows": f"Too few rows to tell the router from {best}: {points:+.2f} points of AvgAcc ({span}). "
        f"About {evaluation.more_rows:,} more rows are needed.",
    }[evaluation.outcome]
    for result in evaluation.results:
        lead = result.difference
        if result.kind == "baseline" and result.name != "Best Single" and lead and lead.sign < 0:
            detail = f" ({result.detail})" if result.detail else ""
            size = f"{-100 * lead.value:.2f} points of AvgAcc"
            verdict += f" {result.name}{detail} beats the router by {size} ({_span(lead)})."
    router, single_cost = evaluation["Router"].cost, evaluation["Best Single"].cost
    if router and single_cost and router.known and single_cost.value > 0:
        change = router.value / single_cost.value - 1
        verdict += (
            f" It costs {abs(change):.0%} {'less' if change < 0 else 'more'}." if abs(change) >= 0.005 else ""
        )
    advised = evaluation.pareto.advised if evaluation.pareto else None
    if advised is not None:
        verdict += (
            f" With cost_weight={advised.cost_weight:g}, advised by the calibration rows, it is "
            f"{100 * advised.difference.value:+.2f} points from that model ({_span(advised.difference)}) "
            f"at {advised.saving.value:.0%} less cost."
        )
    return evaluation.mark + verdict


def _span(estimate: Estimate) -> str:
    return f"{100 * estimate.low:+.2f} to {100 * estimate.high:+.2f}"
