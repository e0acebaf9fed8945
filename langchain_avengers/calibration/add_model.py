"""A new model joins a router by few answers: those that tell most about it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langchain_avengers._arrays import known_mean
from langchain_avengers.calibration.graders import GRADERS, GraderLike
from langchain_avengers.calibration.models import Models, resolve_models
from langchain_avengers.calibration.questions import PathLike, Question
from langchain_avengers.calibration.runner import calibrate
from langchain_avengers.calibration.store import FILE, Store
from langchain_avengers.errors import CalibrationError, PoolError, RouterError
from langchain_avengers.pool import Pool
from langchain_avengers.routing.table import ScoreTable

if TYPE_CHECKING:
    from langchain_avengers.routing.router import ClusterRouter

_VECTOR_WEIGHT = 0.5
"""How much the place of a question counts beside the known models' scores, when like is put to like."""


def budget_rows(budget: float, rows: int) -> int:
    """A budget as a number of rows: a share below 1, a count from 1 on.

    Raises:
        CalibrationError: It is not positive.
    """
    if budget <= 0:
        raise CalibrationError(f"the budget must be positive, not {budget}")
    return min(rows, max(1, round(budget * rows) if budget < 1 else int(budget)))


def choose_rows(
    router: ClusterRouter,
    table: ScoreTable,
    budget: float,
    *,
    vectors: ArrayLike | None = None,
    seed: int = 0,
) -> NDArray[np.intp]:
    """The rows to ask a new model: in every cluster as many as its share, each standing for rows like it.

    Within a cluster, rows are put together that the known models answered alike and that lie near each
    other; the row nearest to the middle of each group is asked. These are the anchor points of
    tinyBenchmarks (arXiv 2402.14992, section 3.2), per cluster of the router.

    Args:
        router: A fitted router.
        table: Calibration rows with the known models' scores.
        budget: Rows to choose: a share of the table below 1, else a count.
        vectors: The rows' embeddings, shape (n, d), if at hand.
        seed: Of the grouping.

    Returns:
        Row numbers in ascending order; at most `budget` of them, and, when the budget allows, at least one
        a cluster.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    known = [name for name in table.models if name in router.models_]
    X = router.embed_many(table.queries) if vectors is None else np.asarray(vectors, dtype=np.float32)
    scores = table.select_models(known).scores if known else np.zeros((len(table), 1), np.float32)
    # A score that was not measured tells nothing: it stands at the model's mean.
    means = np.nan_to_num(known_mean(scores, axis=0))
    features = np.hstack([np.where(np.isnan(scores), means, scores), _VECTOR_WEIGHT * X])
    labels = router.assign(X)
    rng, chosen = np.random.default_rng(seed), list[int]()
    for cluster, count in _shares(labels, budget_rows(budget, len(table))).items():
        members = np.flatnonzero(labels == cluster)
        if count >= len(members):
            chosen.extend(members.tolist())
            continue
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", ConvergenceWarning
            )  # fewer distinct rows than groups: seen to below
            groups = KMeans(count, n_init=1, random_state=seed).fit(features[members])
        distances = ((features[members] - groups.cluster_centers_[groups.labels_]) ** 2).sum(1)
        insides = [np.flatnonzero(groups.labels_ == group) for group in range(count)]
        anchors = [int(members[inside[distances[inside].argmin()]]) for inside in insides if len(inside)]
        rest = np.setdiff1d(members, anchors)
        chosen += anchors + rng.permutation(rest)[: count - len(anchors)].tolist()
    return np.array(sorted(chosen), dtype=np.intp)


def _shares(labels: NDArray[np.intp], budget: int) -> dict[int, int]:
    """How many rows of each cluster: in proportion, by largest remainder, at least one while the budget lasts."""
    clusters, sizes = np.unique(labels, return_counts=True)
    if budget < len(clusters):
        largest = np.argsort(-sizes, kind="stable")[:budget]
        return {int(clusters[i]): 1 for i in largest}
    exact = sizes / sizes.sum() * (budget - len(clusters))
    counts = 1 + np.floor(exact).astype(int)
    for i in np.argsort(-(exact - np.floor(exact)), kind="stable")[: budget - counts.sum()]:
        counts[i] += 1
    return {
        int(cluster): int(min(count, size))
        for cluster, count, size in zip(clusters, counts, sizes, strict=True)
    }


def add_model(
    router: ClusterRouter,
    name: str,
    models: Models,
    source: PathLike,
    *,
    budget: float = 0.1,
    grader: GraderLike | None = None,
    vectors: ArrayLike | None = None,
    seed: int = 0,
    **options: Any,
) -> ScoreTable:
    """Ask a new model a few questions of an earlier calibration, and let it join the router.

    Only the new model is asked; clusters and the other models' scores stay. Its answers are kept in
    `source/add-NAME`, so that an interrupted run goes on, a larger budget adds to it, and none is paid twice.

    Args:
        router: A fitted router; the model is added to it. One that was added before is added anew, with all answers.
        name: The model's name, in `models`.
        models: As for `calibrate`; of these only `name` is asked.
        source: Folder of the calibration store whose questions are used.
        budget: Questions to ask: a share of them below 1, else a count.
        grader: How to grade; None for the store's own grader, if it goes by name.
        vectors: Embeddings of the store's measured questions in their order, if at hand.
        seed: Of the choice of questions.
        **options: As for `calibrate`.

    Returns:
        The new model's rows.

    Raises:
        CalibrationError: The store has no measured question, or its grader must be given.
        PoolError: `models` lack the name.
        RouterError: The router has the model already, and the budget asks no further question.
    """
    if isinstance(models, str | os.PathLike):
        models = Pool.read(models)
    if name not in models:
        raise PoolError(f"no model {name!r} was given; there are {', '.join(models)}")
    one: Models = models.select([name]) if isinstance(models, Pool) else {name: models[name]}
    resolve_models(one)  # a missing key is told before the embedder is loaded
    with Store(source, create=False) as store:
        grader = grader or _stored_grader(store)
        questions, rows = _unzip(store)
    if not rows:
        raise CalibrationError(f"{store.folder}: holds no measured question to choose from")
    table = ScoreTable.from_rows(rows)
    X = router.embed_many(table.queries) if vectors is None else np.asarray(vectors, dtype=np.float32)
    out = store.folder / f"add-{name.replace('/', '-')}"
    # What was asked before comes first: a store's dataset may grow at its end, and each answer counts.
    before = _asked_before(out, questions)
    count = budget_rows(budget, len(table))
    if name in router.models_ and count <= len(before):
        raise RouterError(
            f"the router has {name!r} already, by {len(before)} questions; a budget of more adds to them"
        )
    if name in router.models_ and not before:
        raise RouterError(f"the router has {name!r} already, and not by add-model")
    chosen = [row for row in choose_rows(router, table, budget, vectors=X, seed=seed) if row not in before]
    wanted = before + chosen[: max(0, count - len(before))]
    asked = calibrate(one, [questions[row] for row in wanted], grader, out=out, **options)
    # A question whose answer failed has no row: vectors are matched by the query.
    place = {query: row for row, query in enumerate(table.queries)}
    if name in router.models_:
        router.remove_model(name)
    router.add_model(name, asked, vectors=X[[place[query] for query in asked.queries]])
    return asked


def _asked_before(out: Path, questions: Sequence[Question]) -> list[int]:
    """The places of the questions an earlier, perhaps smaller onboarding has chosen, in its order."""
    if not (out / FILE).exists():
        return []
    place = {question.key(): row for row, question in enumerate(questions)}
    with Store(out, create=False) as store:
        keys = store.question_keys()
    if any(key not in place for key in keys):
        raise CalibrationError(
            f"{out}: asked questions that {out.parent} does not hold; remove it to begin anew"
        )
    return [place[key] for key in keys]


def _unzip(store: Store) -> tuple[Sequence[Question], list[dict[str, Any]]]:
    pairs = list(store.measured())
    return [question for question, _ in pairs], [row for _, row in pairs]


def _stored_grader(store: Store) -> str:
    name = store.get_setting("grader")
    if name not in {*GRADERS, "code", "judge"}:
        raise CalibrationError(f"{store.folder}: was graded by {name!r}, a function: give it again as grader")
    return name
