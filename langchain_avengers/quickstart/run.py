"""The whole recipe on real models: calibrate, fit, evaluate on questions held out, vote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage

from langchain_avengers.quickstart.chat_model import BATCH, ChatExpert
from langchain_avengers.quickstart.questions import LabelledRow

if TYPE_CHECKING:
    from langchain_avengers.calibration.run import Watch
    from langchain_avengers.evaluation.evaluate import Evaluation
    from langchain_avengers.routing.router import ClusterRouter
    from langchain_avengers.routing.table import ScoreTable


@dataclass(frozen=True)
class QuickstartResult:
    """The outcome of the quickstart.

    Attributes:
        table: Every question's scores, those of the held-out questions included.
        router: Fitted on the questions not held out.
        evaluation: The router on the held-out questions.
        voting: Mean score of the elected answer on the held-out questions, by who answers (`"Router"`,
            `"Best Single"`) and by task; `"all"` is the mean over the tasks, as in the evaluation.
        n_train: Questions the router was fitted on.
        held_out: The held-out questions.
    """

    table: ScoreTable
    router: ClusterRouter
    evaluation: Evaluation
    voting: dict[str, dict[str, float]]
    n_train: int
    held_out: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The outcome as JSON-safe plain data, without router and table."""
        return {
            "evaluation": self.evaluation.to_dict(),
            "voting": self.voting,
            "n_train": self.n_train,
            "n_held_out": len(self.held_out),
            "n_clusters": self.router.n_clusters_,
        }


def run(
    experts: Mapping[str, ChatExpert],
    questions: Sequence[LabelledRow],
    embeddings: Embeddings,
    *,
    n_samples: int = 5,
    test_size: float = 0.3,
    seed: int = 0,
    watch: Watch = nullcontext,
) -> QuickstartResult:
    """Calibrate the experts on the questions, fit a router on one part of them, evaluate it on the other.

    Args:
        experts: The pool.
        questions: What to ask.
        embeddings: The router's embedding model.
        n_samples: Answers of each expert to each question.
        test_size: Share of the questions held out, in (0, 1).
        seed: Of the split, the clustering and the intervals.
        watch: Shows the calibration's progress, as for `calibrate`.
    """
    from langchain_avengers.calibration.runner import calibrate
    from langchain_avengers.evaluation.evaluate import evaluate
    from langchain_avengers.routing.router import ClusterRouter

    table = calibrate(experts, questions, "exact", samples=n_samples, max_concurrency=BATCH, watch=watch)
    train, test = table.split(test_size, seed=seed)
    router = ClusterRouter(random_state=seed).fit(train, embeddings)
    evaluation = evaluate(router, test, calibration=train, seed=seed)
    answerers = {
        "Best Single": [evaluation.best_single] * len(test),
        "Router": [decision.chosen[0] for decision in router.route_many(test.queries)],
    }
    voting = {name: _by_task(test, _elected(test, models)) for name, models in answerers.items()}
    return QuickstartResult(table, router, evaluation, voting, len(train), tuple(test.queries))


def _elected(table: ScoreTable, models: Sequence[str]) -> list[float]:
    """The score of the answer that each row's model elects by majority; 0 without an answer."""
    from langchain_avengers.voting.voters import MajorityVoter, Sample

    scores = []
    for row, model in enumerate(models):
        drawn = table.recorded(row, table.models.index(model))
        vote = MajorityVoter().vote(
            [Sample(AIMessage(sample.answer or "")) for sample in drawn], table.queries[row]
        )
        scores.append(0.0 if vote.answer is None else drawn[vote.winner].score or 0.0)
    return scores


def _by_task(table: ScoreTable, scores: Sequence[float]) -> dict[str, float]:
    """Means by task, and over the tasks."""
    tasks = np.array(table.tasks)
    means = {str(task): float(np.mean(np.array(scores)[tasks == task])) for task in np.unique(tasks)}
    return {"all": float(np.mean(list(means.values()))), **means}
