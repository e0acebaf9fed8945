"""What a run would ask and cost, without asking."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from langchain_avengers.calibration.asking import estimate_tokens
from langchain_avengers.calibration.graders import GraderLike, check_reference
from langchain_avengers.calibration.options import CalibrationOptions
from langchain_avengers.calibration.questions import Dataset, PathLike, read_dataset
from langchain_avengers.calibration.store import FILE, ModelStatus, Store
from langchain_avengers.pool import Pool


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """What a run would ask of one model.

    Attributes:
        answers: Samples still to ask.
        output_tokens: As the answers stored so far are long; without any, 200 a sample or `max_tokens`.
        cost: US dollars; None when the price is not known.
    """

    name: str
    questions: int
    answers: int
    requests: int
    input_tokens: int
    output_tokens: int
    cost: float | None


def plan(
    models: Pool,
    dataset: Dataset,
    options: CalibrationOptions,
    *,
    grader: GraderLike | None = None,
    out: PathLike | None = None,
    fields: Mapping[str, str] | None = None,
) -> list[ModelPlan]:
    """Estimate a run without asking, storing or needing a key.

    Args:
        models: The pool.
        dataset: As for `calibrate`.
        options: The run's options.
        grader: As for `calibrate`; given, each question's reference is checked.
        out: A store, to leave out what is answered already.
        fields: As for `calibrate`.

    Raises:
        CalibrationError: The data set cannot be read, or a reference does not suit the grader.
    """
    questions, tokens = 0, 0
    for question in itertools.islice(read_dataset(dataset, fields), options.limit):
        questions += 1
        if grader is not None:
            check_reference(question, grader, questions)
        tokens += estimate_tokens(question.messages)
    states: dict[str, ModelStatus] = {}
    if out is not None and (Path(out) / FILE).exists():
        with Store(out, create=False) as store:
            states = {state.name: state for state in store.status()}
    plans = []
    for name, spec in models.items():
        state = states.get(name)
        stored = state.graded + state.ungraded if state else 0
        answers = max(0, questions * options.samples - stored)
        requests = answers if "no-n" in spec.capabilities else -(-answers // options.samples)
        guess = min(200, spec.max_tokens or 200)
        each = state.output_tokens / stored if state and stored else guess
        used = (round(tokens / max(questions, 1) * requests), round(each * answers))
        cost = spec.price.cost(*used) if spec.price else None
        plans.append(ModelPlan(name, questions, answers, requests, *used, cost))
    return plans
