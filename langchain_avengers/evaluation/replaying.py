"""What a strategy would have scored on recorded answers: the real nodes, with models that give the recorded texts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, convert_to_messages
from langchain_core.runnables import Runnable, RunnableConfig
from numpy.typing import ArrayLike, NDArray
from typing_extensions import Unpack

from langchain_avengers.errors import SamplingError, TableError
from langchain_avengers.pipeline.nodes import CallContext, Pipeline
from langchain_avengers.pipeline.settings import GraphOptions, Router, Settings, Strategy, VoterName
from langchain_avengers.pipeline.state import PipelineState
from langchain_avengers.pipeline.sync_async import arun
from langchain_avengers.routing.decision import RoutingDecision
from langchain_avengers.routing.rows import RecordedSample
from langchain_avengers.routing.table import ScoreTable
from langchain_avengers.routing.vectors import unit_vectors
from langchain_avengers.voting.voters import Voter

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Replay:
    """What a strategy came to on each of n rows; arrays of shape (n,).

    Attributes:
        scores: The recorded score of the answer given, in [0, 1]; NaN when it was not graded, or no model had answered.
        samples: Answers drawn.
        costs: US dollars of all answers drawn; NaN when one of them has no recorded cost.
        confidences: The confidence of the vote, in [0, 1].
        shares: Share of the answers drawn that are the winning one, in [0, 1].
    """

    scores: Floats
    samples: NDArray[np.int64]
    costs: Floats
    confidences: Floats
    shares: Floats


class ReplayOptions(GraphOptions, total=False):
    """The settings of a pool, but for its strategy."""

    n_samples: int | None
    top_n: int
    voter: VoterName | Voter


def replay(
    router: Router,
    table: ScoreTable,
    *,
    vectors: ArrayLike | None = None,
    strategy: Strategy | None = "learned",
    **settings: Unpack[ReplayOptions],
) -> Replay:
    """Answer every query of a table by recorded answers, as a pool with these settings would.

    A model gives its recorded answers in order; asked for more than are recorded, it fails. A model without a recorded
    answer to a query is not asked.

    Args:
        router: A fitted router over models of the table.
        table: Rows with recorded answers; for `"direct"` their scores are enough.
        vectors: The queries' embeddings, shape (n, d); embedded when not given.
        strategy: How the pool answers; None: as the router does by default.
        settings: Any other setting of a pool.

    Raises:
        TableError: The table lacks a model of the router.
        ValueError: The strategy writes an answer that is not recorded (`"aggregate"`).
        PoolError: The settings do not fit the router.

    Example:
        >>> table = ScoreTable(["7 + 5?"], ["a", "b"], [[1, 0]], answers=[["12", "13"]])
        >>> from langchain_avengers import ClusterRouter
        >>> router = ClusterRouter(n_clusters=1).fit(table, vectors=[[1.0, 0.0]])
        >>> replay(router, table, vectors=[[1.0, 0.0]], strategy="direct").scores
        array([1.])
    """
    if strategy == "aggregate":
        raise ValueError("strategy 'aggregate' writes answers of its own, and no recorded score is theirs")
    if missing := [name for name in router.models_ if name not in table.models]:
        raise TableError(f"the table has no answers of the router's {', '.join(missing)}")
    replayed = _Replayed(router, table.select_models(list(router.models_)), vectors)
    chosen = Settings(**{"max_retries": 0, **settings, "strategy": strategy})
    pipeline = Pipeline(replayed, {name: _Recorded(replayed, name) for name in router.models_}, chosen)
    return _run(lambda: replayed.answer_all(pipeline, chosen))


class _Replayed:
    """A table's rows, one after the other; as a router it gives the vector of the row at hand."""

    def __init__(self, router: Router, table: ScoreTable, vectors: ArrayLike | None) -> None:
        self._router, self._table = router, table
        self.models_ = list(table.models)
        self.policy_ = getattr(router, "policy_", None)
        self.cost_weight = getattr(router, "cost_weight", 0.0)
        if vectors is None:
            self._vectors = np.array([router.embed(query) for query in table.queries])
        else:
            self._vectors = unit_vectors(vectors)
        if len(self._vectors) != len(table):
            raise TableError(f"{len(self._vectors)} vectors for {len(table)} rows; give one a row")
        self._row = 0
        self._given: dict[str, int] = {}

    # what the pipeline asks of a router

    def embed(self, query: str) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = self._vectors[self._row]
        return vector

    async def aembed(self, query: str) -> NDArray[np.float32]:
        return self.embed(query)

    def route_vector(self, vector: NDArray[np.float32], **options: Any) -> RoutingDecision:
        return self._router.route_vector(vector, **options)

    @property
    def embeddings(self) -> Any:
        if getattr(self._router, "embeddings_name", "") is None:
            return None  # fitted on vectors alone: there is no embedder to load
        return getattr(self._router, "embeddings", None)

    # what the models ask

    def next_answer(self, model: str) -> RecordedSample:
        """The model's next recorded answer to the row's query."""
        number = self._given.get(model, 0)
        self._given[model] = number + 1
        recorded = self._table.recorded(self._row, self.models_.index(model))
        if number >= len(recorded):
            raise _NotRecorded(f"{len(recorded)} answers of {model} are recorded, and no more")
        return recorded[number]

    # the whole table

    async def answer_all(self, pipeline: Pipeline, settings: Settings) -> Replay:
        n = len(self._table)
        there = self._table.n_samples > 0
        result = Replay(
            np.full(n, np.nan), np.zeros(n, dtype=np.int64), np.full(n, np.nan), np.zeros(n), np.zeros(n)
        )
        for self._row in range(n):
            self._given = {}
            able = [name for name, has in zip(self.models_, there[self._row], strict=True) if has]
            allowed = (
                able if settings.allowed_models is None else [m for m in able if m in settings.allowed_models]
            )
            if not allowed:
                continue
            mine = (
                settings
                if len(allowed) == len(self.models_)
                else settings.controlled({"allowed_models": allowed})
            )
            try:
                state = await arun(pipeline.answer(self._messages(), CallContext.of(mine)))
            except SamplingError:
                continue
            self._note(result, state)
        return result

    def _messages(self) -> Sequence[BaseMessage]:
        given = self._table.messages[self._row] if self._table.messages else None
        if given is None:
            return [HumanMessage(self._table.queries[self._row])]
        return convert_to_messages(given)

    def _note(self, result: Replay, state: PipelineState) -> None:
        row, answer, vote = self._row, state["answer"], state["vote"]
        assert answer is not None
        assert vote is not None
        result.scores[row] = np.nan if (score := answer.additional_kwargs["score"]) is None else score
        result.samples[row] = len(state["samples"])
        result.confidences[row] = vote["confidence"]
        agreeing = next((c["count"] for c in vote["tally"] if vote["winner"] in c["samples"]), 0)
        result.shares[row] = agreeing / len(state["samples"])
        if self._table.costs is not None:
            columns = [self.models_.index(sample["model"]) for sample in state["samples"]]
            result.costs[row] = self._table.costs[row, columns].sum(dtype=np.float64)


class _NotRecorded(Exception):
    """A model was asked for more answers than are recorded. It is the query's fault, not the model's."""

    status_code = 400


class _Recorded(Runnable[LanguageModelInput, AIMessage]):
    """A model that gives its recorded answers, with their scores beside them."""

    def __init__(self, replayed: _Replayed, name: str) -> None:
        self._replayed, self._name = replayed, name

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> AIMessage:
        sample = self._replayed.next_answer(self._name)
        return AIMessage(sample.answer or "", additional_kwargs={"score": sample.score})

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> AIMessage:
        return self.invoke(input)


def _run(work: Callable[[], Coroutine[Any, Any, Replay]]) -> Replay:
    """Run on a loop of its own; in a notebook, where one runs already, in another thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work()).result()
