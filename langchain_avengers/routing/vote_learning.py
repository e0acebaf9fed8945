"""Learning the vote from the same rows as the route: recorded answers, and what a router expects of each model."""

from __future__ import annotations

import numpy as np
from langchain_core.messages import AIMessage
from numpy.typing import NDArray

from langchain_avengers.routing.fitting import canonical, query_digests, refit
from langchain_avengers.routing.ranking import Ranker
from langchain_avengers.routing.rows import RecordedSample
from langchain_avengers.routing.state import FittedRouter
from langchain_avengers.routing.table import ScoreTable
from langchain_avengers.routing.vectors import Vectors
from langchain_avengers.voting.majority import answer_classes
from langchain_avengers.voting.policy import VotePolicy
from langchain_avengers.voting.policy_fitting import MIN_ROWS, RecordedAnswers, fit_policy
from langchain_avengers.voting.vote import Sample

_FOLDS = 10  # of the router: with fewer, what it expects is worse than what it will know
_VOTE_FOLDS = 5
_MAX_ROWS = 20_000  # more are sampled


def learn_vote(state: FittedRouter, table: ScoreTable, X: Vectors) -> VotePolicy | None:
    """Learn a vote from the calibration rows of a router.

    Args:
        state: The fitted router.
        table: The rows it was fitted to.
        X: Their unit vectors, shape (n, d).

    Returns:
        The policy; None when the table has no recorded answers, or too few rows with them.
    """
    if table.answers is None and table.samples is None:
        return None
    table, X = canonical(table.select_models(state.models), X)
    rows = np.flatnonzero(_answered(table).any(axis=1))
    if len(rows) < MIN_ROWS:
        return None
    digests = query_digests(table.queries)
    if len(rows) > _MAX_ROWS:
        rows = np.sort(rows[np.argsort(digests[rows], kind="stable")[:_MAX_ROWS]])
    # rows of one query are in one fold; which, does not depend on the order of the rows
    _, fold = np.unique(digests, return_inverse=True)
    fold = fold % _FOLDS
    answers = RecordedAnswers(
        *recorded_classes(table.select_rows(rows)),
        _expected_out_of_fold(state, table, X, fold)[rows],
        None if table.costs is None else table.costs[rows].astype(np.float64),
    )
    return fit_policy(state.models, answers, fold[rows] % _VOTE_FOLDS)


def _answered(table: ScoreTable) -> NDArray[np.bool_]:
    """Which cells have an answer that can be read, shape (n, M)."""
    answered = np.zeros(table.scores.shape, dtype=bool)
    for part in (table.answers, table.samples):
        if part is not None:
            answered |= part != np.array(None)
    return answered


def recorded_classes(table: ScoreTable) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The classes of equal answers in a table, and the answers' scores; both of shape (n, M, J).

    Returns:
        Labels, numbered from 0 in each row, -1 where an answer could not be read and -2 where there is none; and
        scores, NaN where not graded.
    """
    n, m = table.scores.shape
    drawn = table.n_samples
    labels = np.full((n, m, max(int(drawn.max(initial=0)), 1)), -2, dtype=np.intp)
    scores = np.full(labels.shape, np.nan)
    for row, query in enumerate(table.queries):
        cells = [(column, table.recorded(row, column)) for column in np.flatnonzero(drawn[row]).tolist()]
        given = [(column, k, sample) for column, cell in cells for k, sample in enumerate(cell)]
        if not given:
            continue
        at = (row, [column for column, _, _ in given], [k for _, k, _ in given])
        labels[at] = answer_classes([_sample(sample) for _, _, sample in given], query)
        scores[at] = [np.nan if sample.score is None else sample.score for _, _, sample in given]
    return labels, scores


def _sample(recorded: RecordedSample) -> Sample:
    return Sample(AIMessage(recorded.answer or ""))


def _expected_out_of_fold(
    state: FittedRouter, table: ScoreTable, X: Vectors, fold: NDArray[np.intp]
) -> NDArray[np.float64]:
    """What routers that have not seen a row expect of each model on it, shape (n, M)."""
    expected = np.zeros(table.scores.shape)
    for number in range(_FOLDS):
        inside, outside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        if not len(inside) or not len(outside):
            continue
        ranker = Ranker(refit(state, table.select_rows(inside), X[inside]))
        expected[outside] = ranker.expected(X[outside])
    return expected
