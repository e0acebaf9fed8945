"""The pipeline as a LangGraph graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import get_runtime
from langgraph.types import Command, Send, StateSnapshot
from typing_extensions import Unpack

from langchain_avengers.pipeline.from_pool import unpacked
from langchain_avengers.pipeline.nodes import CallContext, Pipeline
from langchain_avengers.pipeline.schedule import SCHEDULES
from langchain_avengers.pipeline.settings import (
    CONTROLS,
    Controls,
    GraphOptions,
    Models,
    Router,
    Settings,
    Strategy,
    VoterName,
)
from langchain_avengers.pipeline.state import Input, NodeUpdate, Output, PipelineState, SampleRequest
from langchain_avengers.pipeline.sync_async import Job, Step, arun, run
from langchain_avengers.pipeline.tracing import Trace, progress_events
from langchain_avengers.voting.voters import Voter


class _Again:
    """Whether a node runs again because its first run raised: LangGraph keeps the error beside the checkpoint."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.graph: CompiledStateGraph[Any, Any, Any, Any] | None = None

    def __call__(self, config: RunnableConfig) -> Job:
        """The question as a job, as a checkpointer may have to be asked."""
        place, graph = self._place(config), self.graph
        if place is None or graph is None:
            return Job(lambda: False, _no)

        def asked() -> bool:
            try:
                return self._failed(graph.get_state(place))
            except ValueError:  # there is no checkpointer
                return False

        async def aasked() -> bool:
            try:
                return self._failed(await graph.aget_state(place))
            except ValueError:
                return False

        return Job(asked, aasked)

    def _failed(self, snapshot: StateSnapshot) -> bool:
        return any(task.name == self._name and task.error for task in snapshot.tasks)

    def _place(self, config: RunnableConfig) -> RunnableConfig | None:
        """The config of this graph's latest checkpoint; None when nothing is kept."""
        configured = config.get("configurable", {})
        if "thread_id" not in configured:
            return None
        namespace = configured.get("checkpoint_ns", "").rpartition("|")[0]
        kept = {key: value for key, value in configured.items() if key != "checkpoint_id"}
        return {"configurable": {**kept, "checkpoint_ns": namespace}}


async def _no() -> bool:
    return False


class _Node(Runnable[Any, Any]):
    """A pipeline's node as LangGraph runs it, with no run in the trace beside the one LangGraph makes."""

    def __init__(
        self,
        settings: Settings,
        step: Callable[[PipelineState, CallContext], Step[NodeUpdate]],
        *,
        leads: bool,
    ) -> None:
        """Wrap a step; `leads`: it says itself what comes next."""
        self._settings = settings
        self._step = step
        self._leads = leads

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        return self._output(input, run(self._step(input, self._context(config or {}))))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        return self._output(input, await arun(self._step(input, self._context(config or {}))))

    def _context(self, config: RunnableConfig) -> CallContext:
        context = get_runtime().context
        given = context if isinstance(context, Mapping) else getattr(context, "__dict__", None) or {}
        configured = config.get("configurable", {})
        controls = {k: v for k in CONTROLS if (v := configured.get(k, given.get(k))) is not None}
        settings = self._settings.controlled(controls)
        manager = config.get("callbacks")
        trace = Trace(None)
        if manager is not None and not isinstance(manager, list):
            # The one answer of `direct` is the graph's own stream of tokens.
            inherit = "all" if settings.strategy == "direct" else settings.inner_callbacks
            trace = Trace.under(manager.parent_run_id, manager, inherit)
        emit = progress_events(config) if settings.progress else None
        return CallContext.of(settings, trace=trace, emit=emit, config=config)

    def _output(self, state: PipelineState, given: NodeUpdate) -> Any:
        if not self._leads:
            return given.update
        sends = []
        for wanted in given.requests:
            # Only who writes an answer from the candidates gets to see them.
            seen = ("messages", "samples") if wanted.role == "aggregate" else ("messages",)
            payload = {key: state[key] for key in seen}  # type: ignore[literal-required]
            sends.append(Send("sample", {**payload, "wanted": wanted._asdict()}))
        return Command(update=given.update, goto=sends or END)


def create_avengers_graph(
    router: Router,
    models: Models,
    *,
    strategy: Strategy | None = None,
    n_samples: int | None = None,
    top_n: int = 1,
    voter: VoterName | Voter = "auto",
    checkpointer: BaseCheckpointSaver[Any] | bool | None = None,
    interrupt_before: list[str] | Literal["*"] | None = None,
    interrupt_after: list[str] | Literal["*"] | None = None,
    name: str = "avengers",
    **options: Unpack[GraphOptions],
) -> CompiledStateGraph[PipelineState, Controls, Input, Output]:
    """Build the graph that embeds a query, routes it, samples and votes.

    Args:
        router: A fitted `ClusterRouter`.
        models: A chat model for each of the router's models.
        strategy: How the samples are drawn and elected. None: `"learned"` when the router has a learned vote, else
            `"self_consistency"`.
        n_samples: Samples drawn for a query, at most. None: as many as `"learned"` finds useful, else 5.
        top_n: Models the samples are spread over.
        voter: Who elects the winner.
        checkpointer: Where the graph remembers its threads.
        interrupt_before: Nodes to stop before: `"embed"`, `"route"`, `"sample"`, `"vote"`.
        interrupt_after: Nodes to stop after.
        name: The graph's name in traces and as a subgraph.
        options: Any other field of `Settings`.

    Returns:
        A compiled graph. Input: `{"messages": [...]}`. Output: the messages with the answer appended,
        `"answer"`, and as plain data `"decision"`, `"vote"` and `"account"`. Its context, and
        `config["configurable"]`, take `Controls`.

    Raises:
        PoolError: Names of router and models differ.
        ValueError: A setting is unknown or has a value it cannot have.

    Example:
        ```python
        graph = create_avengers_graph(router, {"qwen": qwen, "llama": llama})
        graph.invoke({"messages": [("human", "What is 7 + 5?")]}, context={"n_samples": 3})["answer"]
        ```
    """
    models, given = unpacked(router, models, options)
    settings = Settings(strategy=strategy, n_samples=n_samples, top_n=top_n, voter=voter, **given)
    pipeline = Pipeline(router, models, settings)

    again = _Again("vote")

    def vote(state: PipelineState, context: CallContext) -> Step[NodeUpdate]:
        if not any(sample["role"] == "sample" for sample in state["samples"]):
            (failed_before,) = yield [again(context.config)]
            if failed_before:  # resumed after an outage: ask the models anew
                return pipeline.anew(state, context)
        return (yield from pipeline.vote(state, context))

    def sample(state: PipelineState, context: CallContext) -> Step[NodeUpdate]:
        sent = cast(Mapping[str, Any], state)["wanted"]
        return pipeline.sample(state, SampleRequest(**sent), context)

    graph = StateGraph(PipelineState, context_schema=Controls, input_schema=Input, output_schema=Output)
    graph.add_node("embed", _Node(settings, pipeline.embed, leads=False))
    graph.add_node(
        "route",
        _Node(settings, pipeline.route, leads=True),
        destinations={"sample": SCHEDULES[settings.strategy_for(router)].fan},
    )
    graph.add_node("sample", _Node(settings, sample, leads=False))
    graph.add_node(
        "vote",
        _Node(settings, vote, leads=True),
        destinations=_ways_back(settings, settings.strategy_for(router)),
    )
    graph.add_edge(START, "embed")
    graph.add_edge("embed", "route")
    graph.add_edge("sample", "vote")
    compiled: CompiledStateGraph[PipelineState, Controls, Input, Output] = graph.compile(
        checkpointer=checkpointer,
        interrupt_before=interrupt_before,
        interrupt_after=interrupt_after,
        name=name,
    )
    compiled.stream_channels = list(
        Output.__annotations__
    )  # what is between the nodes is no client's business
    again.graph = compiled
    return compiled


def _ways_back(settings: Settings, strategy: Strategy) -> dict[str, str]:
    """What leads from the vote back to sampling, as labels of the picture."""
    # At most nine words together: LangChain breaks longer labels in two.
    unsure = f"below {settings.confidence_threshold:g}:"
    back = {
        "model_switch": f"{unsure} second model",
        "escalate": f"{unsure} stronger model",
        "aggregate": "candidates to aggregator",
        "learned": "not sure: next models",
    }.get(strategy)
    rounds = "next round" if settings.min_samples else None
    return {"sample": ", ".join(x for x in (back, rounds, "failed: next model") if x), END: "answer"}
