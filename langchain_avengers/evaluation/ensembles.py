"""Votes of recorded answers: how many models to ask, with which weights, and what a strategy would have
scored.

More models are not better when one leads. `choose_ensemble` decides from calibration rows alone; by default
it stays with the best single model unless a vote is shown to beat it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_avengers._arrays import known_mean
from langchain_avengers.errors import TableError
from langchain_avengers.routing.table import ScoreTable
from langchain_avengers.voting.answers import extract_answer
from langchain_avengers.voting.equivalence import partition
from langchain_avengers.voting.voters import log_odds

Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Which models to ask, and what their votes weigh.

    Attributes:
        models: Names, highest weight first. One name: no vote, only that model.
        weights: The weight of each model's vote, positive.
        score: Mean score of the vote on the rows it was chosen on.
        single: The best single model's on the same rows.
        stderr: Standard error of the difference, paired by row.
        path: `(models, mean score)` for every size that was tried, in order.
    """

    models: tuple[str, ...]
    weights: tuple[float, ...]
    score: float
    single: float
    stderr: float
    path: tuple[tuple[tuple[str, ...], float], ...]


def answer_classes(table: ScoreTable) -> Labels:
    """Which recorded answers are the same: shape (n_queries, n_models), a class per row and answer, -1
    where none.

    Raises:
        TableError: The table records no answers.
    """
    if table.answers is None:
        raise TableError(
            "the table records no answers to vote on; calibrate with answers kept, or give `answers`"
        )
    labels = np.full(table.scores.shape, -1, dtype=np.int64)
    for row, query in enumerate(table.queries):
        found = [
            (column, answer)
            for column, text in enumerate(table.answers[row])
            if text is not None and (answer := extract_answer(text, query)) is not None
        ]
        if found:
            labels[row, [column for column, _ in found]] = partition([answer for _, answer in found], query)
    return labels


def vote_scores(
    table: ScoreTable,
    models: Sequence[str],
    weights: Sequence[float] | None = None,
    *,
    labels: Labels | None = None,
) -> NDArray[np.float64]:
    """Score of the weighted vote of these models on every row, shape (n_queries,).

    Args:
        table: Rows with recorded answers.
        models: Who votes.
        weights: Weight of each vote, positive; equal when not given. On a tie the heavier model behind an
            answer decides, then the earlier one, as in `MajorityVoter`.
        labels: What `answer_classes` gave for the table, to save finding it again.

    Returns:
        The recorded score of the winning answer, where its heaviest model gave it; NaN where that was not
        measured. Where nobody answered, the score of the heaviest model.
    """
    labels = answer_classes(table) if labels is None else labels
    columns = np.array([table.models.index(name) for name in models], dtype=np.int64)
    given = np.ones(len(columns)) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(-given, kind="stable")
    columns, given = columns[order], given[order]
    chosen = labels[:, columns]
    n = len(chosen)
    totals = np.zeros((n, max(int(labels.max(initial=0)) + 1, 1)))
    for position, weight in enumerate(given):
        cast = np.flatnonzero(chosen[:, position] >= 0)
        totals[cast, chosen[cast, position]] += weight
    behind = np.where(chosen >= 0, np.take_along_axis(totals, np.maximum(chosen, 0), axis=1), -1.0)
    # argmax takes the first, which is the heaviest model behind the heaviest answer
    winner = np.argmax(np.round(behind, 9), axis=1)
    won: NDArray[np.float64] = table.scores[np.arange(n), columns[winner]].astype(np.float64)
    return won


def choose_ensemble(
    table: ScoreTable,
    *,
    models: Sequence[str] | None = None,
    weights: str = "log_odds",
    max_models: int | None = None,
    standard_errors: float = 2.0,
    labels: Labels | None = None,
) -> Ensemble:
    """How many models to ask, which, and with which weights, from calibration rows alone.

    Starting from the best single model, the model whose vote helps most is added, one after the other. A
    size is taken only if its vote beats the best single model by `standard_errors` standard errors of the
    paired difference; of those sizes, the smallest within one standard error of the best. The bar is two
    rather than one because the additions were picked for doing well on these very rows.

    Args:
        table: Calibration rows with recorded answers.
        models: The pool; every model of the table when not given.
        weights: `"log_odds"` of each model's mean score here, or `"equal"`.
        max_models: Stop at this size.
        standard_errors: The bar, 0 or more.
        labels: What `answer_classes` gave for the table.

    Raises:
        TableError: The table records no answers, or a model of the pool has no score in it.
        ValueError: `weights` is neither of the two.
    """
    if weights not in ("log_odds", "equal"):
        raise ValueError(f'weights={weights!r}: takes "log_odds" or "equal"')
    pool = list(table.models if models is None else models)
    labels = answer_classes(table) if labels is None else labels
    means = {name: known_mean(_column(table, name)) for name in pool}
    weight = {name: log_odds(means[name]) if weights == "log_odds" else 1.0 for name in pool}
    left = sorted(pool, key=lambda name: -means[name])
    path: list[tuple[list[str], NDArray[np.float64]]] = [([left[0]], _column(table, left.pop(0)))]
    while left and len(path) < (max_models or len(pool)):
        team = path[-1][0]
        tried = {
            name: vote_scores(table, [*team, name], [weight[m] for m in (*team, name)], labels=labels)
            for name in left
        }
        # ties in help go to the better model: `left` is in that order
        best = max(left, key=lambda name: round(known_mean(tried[name]), 12))
        left.remove(best)
        path.append(([*team, best], tried[best]))
    single = path[0][1]
    gains = [_paired(scores, single) for _, scores in path]
    passed = [
        i for i, (gain, error) in enumerate(gains) if i and gain > 0 and gain >= standard_errors * error
    ]
    pick = 0
    if passed:
        top = max(passed, key=lambda i: gains[i][0])
        pick = min(i for i in passed if gains[i][0] >= gains[top][0] - gains[top][1])
    team = sorted(path[pick][0], key=lambda name: -weight[name])
    return Ensemble(
        models=tuple(team),
        weights=tuple(weight[name] for name in team),
        score=known_mean(path[pick][1]),
        single=known_mean(single),
        stderr=gains[pick][1],
        path=tuple((tuple(names), known_mean(scores)) for names, scores in path),
    )


def _column(table: ScoreTable, name: str) -> NDArray[np.float64]:
    if name not in table.models:
        raise TableError(f"the table has no model {name!r}; it has {', '.join(table.models)}")
    scores = np.asarray(table.scores[:, table.models.index(name)], dtype=np.float64)
    if np.isnan(scores).all():
        raise TableError(f"model {name!r} has no score in the table")
    return scores


def _paired(scores: NDArray[np.float64], single: NDArray[np.float64]) -> tuple[float, float]:
    """Mean difference over the rows where both are measured, and its standard error."""
    gain = scores - single
    gain = gain[~np.isnan(gain)]
    if len(gain) < 2:
        return 0.0, 0.0
    return float(gain.mean()), float(gain.std(ddof=1) / np.sqrt(len(gain)))


# --- cheap models first ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cascade:
    """Cheap models that are asked first, and the strong one that is asked where their answers are not all the same.

    With `strategy="escalate"` a pool does this: `allowed_models` and `top_n` for the cheap ones, one sample each,
    `confidence_threshold=1`, `escalate_to` the strong one.

    Attributes:
        models: The cheap models, cheapest first; empty: only the strong one is asked.
        strong: The strong model.
        difference: Mean score minus the strong model's alone, on the rows it was chosen on, paired by row.
        stderr: Standard error of that.
        saving: `1 - cost / cost(strong)` on these rows.
        escalated: Share of the rows on which the strong one is asked.
    """

    models: tuple[str, ...]
    strong: str
    difference: float
    stderr: float
    saving: float
    escalated: float


def cascade_scores(
    table: ScoreTable, models: Sequence[str], strong: str, *, labels: Labels | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """What a cascade scores and costs on recorded answers, and where it escalates; each of shape (n_queries,).

    An answer of a cheap model that cannot be read escalates. The cost is that of every model asked.

    Raises:
        TableError: The table records no answers, or no costs.
    """
    if table.costs is None:
        raise TableError("the table holds no costs: what a cascade saves needs them in the rows' `costs`")
    labels = answer_classes(table) if labels is None else labels
    columns = [table.models.index(name) for name in models]
    last = table.models.index(strong)
    cast = labels[:, columns]
    same = (cast >= 0).all(axis=1) & (cast == cast[:, :1]).all(axis=1) & bool(columns)
    answering = np.where(same, columns[0] if columns else last, last)
    scores = table.scores[np.arange(len(table)), answering].astype(np.float64)
    costs = table.costs[:, columns].sum(axis=1, dtype=np.float64) + np.where(same, 0.0, table.costs[:, last])
    return scores, costs, ~same


def choose_cascade(
    table: ScoreTable,
    *,
    strong: str | None = None,
    max_models: int = 4,
    standard_errors: float = 1.96,
    labels: Labels | None = None,
) -> Cascade:
    """Which cheap models to ask before the strong one, from calibration rows alone.

    Of all teams of two to `max_models` models that cost less than the strong one (of the twelve best of these), the
    one that saves most is taken among those that lose no more than so many standard errors of the paired difference.
    The default takes losses too small for these rows to tell from none.

    Args:
        table: Calibration rows with recorded answers and costs.
        strong: The strong model; the one with the highest mean score when not given.
        max_models: Largest team.
        standard_errors: The loss allowed, 0 or more.
        labels: What `answer_classes` gave for the table.
    """
    labels = answer_classes(table) if labels is None else labels
    means = {name: known_mean(_column(table, name)) for name in table.models}
    strong = strong or max(table.models, key=lambda name: means[name])
    alone, price, _ = cascade_scores(table, (), strong, labels=labels)
    assert table.costs is not None  # what went before has asked for them
    costs = {name: known_mean(table.costs[:, m]) for m, name in enumerate(table.models)}
    cheap = sorted((m for m in table.models if costs[m] < costs[strong]), key=lambda m: -means[m])[:12]
    cheap.sort(key=lambda m: costs[m])
    best = Cascade((), strong, 0.0, 0.0, 0.0, 1.0)
    for size in range(2, max_models + 1):
        for team in combinations(cheap, size):
            scores, spent, escalated = cascade_scores(table, team, strong, labels=labels)
            known = ~np.isnan(spent) & ~np.isnan(price)
            saving = 1 - float(spent[known].sum() / price[known].sum())
            difference, stderr = _paired(scores, alone)
            if saving > best.saving and difference >= -standard_errors * stderr:
                best = Cascade(team, strong, difference, stderr, saving, float(escalated.mean()))
    return best


# --- strategies, replayed on recorded answers ---------------------------------------------------------------

STRATEGIES: dict[str, str] = {
    "direct": "the top model alone",
    "mixture of 3": "the top three vote, weighted by the log-odds of their expected scores",
    "mixture of 3, equal": "the top three vote with equal weights",
    "all models": "every model votes, weighted by the log-odds of its expected score",
    "model switch": "the top two; where they differ, the third decides",
}
"""What can be replayed on a table with one recorded answer a model, by name."""


def strategy_scores(
    strategy: str, router: Any, table: ScoreTable, vectors: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """What a strategy would have scored and cost on recorded answers.

    Args:
        strategy: A key of `STRATEGIES`.
        router: A fitted `ClusterRouter` over models of the table.
        table: Rows with recorded answers (`"direct"` needs none).
        vectors: The queries' embeddings, shape (n_queries, d).

    Returns:
        Scores, and costs in US dollars of every model asked (`None` without recorded costs); both of shape
        (n_queries,).

    Raises:
        TableError: The strategy votes, and the table records no answers.
        ValueError: The strategy is not known.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy {strategy!r}: takes one of {', '.join(map(repr, STRATEGIES))}")
    decisions = [router.route_vector(vector) for vector in vectors]
    index = {name: column for column, name in enumerate(table.models)}
    ranked = [[(index[s.name], s.score) for s in d.ranking if s.name in index] for d in decisions]
    labels = None if strategy == "direct" else answer_classes(table)
    scores = np.full(len(table), np.nan)
    costs = None if table.costs is None else np.zeros(len(table))
    for row, standing in enumerate(ranked):
        asked, winner = _replay(strategy, standing, None if labels is None else labels[row])
        scores[row] = table.scores[row, winner]
        if costs is not None and table.costs is not None:
            costs[row] = float(np.sum(table.costs[row, asked]))
    return scores, costs


def _replay(
    strategy: str, standing: Sequence[tuple[int, float]], labels: NDArray[np.int64] | None
) -> tuple[list[int], int]:
    """The columns asked, and the one whose answer wins."""
    first = standing[0][0]
    if strategy == "direct" or labels is None or len(standing) == 1:
        return [first], first
    if strategy == "model switch":
        pair = [column for column, _ in standing[:2]]
        if labels[pair[0]] == labels[pair[1]] >= 0 or len(standing) < 3:
            return pair, first
        team = list(standing[:3])
        equal = True
    else:
        team = list(standing if strategy == "all models" else standing[:3])
        equal = strategy.endswith("equal")
    totals: dict[int, float] = {}
    for column, score in team:
        if labels[column] >= 0:
            vote = 1.0 if equal else log_odds(score)
            totals[int(labels[column])] = totals.get(int(labels[column]), 0.0) + vote
    columns = [column for column, _ in team]
    voting = [column for column in columns if labels[column] >= 0]
    if not voting:
        return columns, first
    # `max` takes the first of equals: the better ranked model
    return columns, max(voting, key=lambda column: round(totals[int(labels[column])], 9))
