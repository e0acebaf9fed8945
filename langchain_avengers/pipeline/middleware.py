"""Routing inside an agent: each run, or each model call, goes to the model of the pool that is best for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired, cast

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain.agents.middleware.types import ExtendedModelResponse, OmitFromInput
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langgraph.config import get_config
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command
from typing_extensions import TypedDict, Unpack

from langchain_avengers.errors import SamplingError
from langchain_avengers.pipeline.from_pool import unpacked
from langchain_avengers.pipeline.health import ModelHealth
from langchain_avengers.pipeline.messages import capable
from langchain_avengers.pipeline.nodes import CallContext, Pipeline
from langchain_avengers.pipeline.pool_model import CallOptions
from langchain_avengers.pipeline.sampling import broken_off
from langchain_avengers.pipeline.settings import CONTROLS, Models, Router, RoutingText, Settings
from langchain_avengers.pipeline.state import DecisionData
from langchain_avengers.pipeline.sync_async import Step, arun, run
from langchain_avengers.pipeline.tracing import CallWatch
from langchain_avengers.providers import blames_query, describe, without_secrets

Response = ModelResponse[Any] | AIMessage | ExtendedModelResponse[Any]


class MiddlewareOptions(TypedDict, total=False):
    """The settings that routing alone has a use for."""

    allowed_models: Sequence[str] | None
    cost_weight: float | None
    routing_text: RoutingText


class AgentRoute(TypedDict):
    """Which model answers an agent's run, and the decision behind it."""

    model: str
    decision: DecisionData


class RoutedState(AgentState[Any]):
    """An agent's state with its route."""

    avengers_route: NotRequired[Annotated[AgentRoute | None, OmitFromInput]]


class AvengersMiddleware(AgentMiddleware[RoutedState, Any, Any]):
    """Routes an agent's model calls, with the tools and the streaming of the model that answers.

    A run keeps its model from its first call to its last, so that the provider's prompt cache is of use; the
    decision is in the agent's state as `avengers_route`. It moves only when it must: when the model fails, may not
    answer, or is known not to be able. A conversation keeps its model over runs while its topic stays in the same
    cluster. Every answer carries the decision in `response_metadata["avengers"]`. For agents that vote, use
    `ChatAvengers` as the agent's model instead.

    `allowed_models` and `cost_weight` can be set for one run, in `config["configurable"]` or in the context.

    Needs the extra `agents`.

    Example:
        ```python
        models = {"qwen": qwen, "llama": llama}
        agent = create_agent(qwen, tools, middleware=[AvengersMiddleware(router, models)])
        ```
    """

    state_schema = RoutedState

    def __init__(
        self,
        router: Router,
        models: Models,
        *,
        sticky: bool = True,
        route: Literal["once_per_run", "every_call"] = "once_per_run",
        **options: Unpack[MiddlewareOptions],
    ) -> None:
        """Put models behind a router's names.

        Args:
            router: A fitted `ClusterRouter`.
            models: A chat model for each of the router's models.
            sticky: Whether a conversation keeps its model while its topic stays the same.
            route: Whether a run keeps its model, or every call is routed anew.
            options: `allowed_models`, `cost_weight` or `routing_text`; see `Settings`.

        Raises:
            PoolError: Names of router and models differ.
            ValueError: An option has no effect here, or a value it cannot have.
        """
        super().__init__()
        _refuse(options, MiddlewareOptions.__annotations__, "option")
        if route not in ("once_per_run", "every_call"):
            raise ValueError(f"route {route!r}: give 'once_per_run' or 'every_call'")
        models, _ = unpacked(router, models, {})
        self._settings = Settings(strategy="direct", sticky=sticky, **options)
        self._pipeline = Pipeline(router, models, self._settings)
        self._once = route == "once_per_run"

    def before_agent(self, state: RoutedState, runtime: Any) -> dict[str, Any] | None:
        """Forget the route of the run before."""
        return {"avengers_route": None} if state.get("avengers_route") else None

    async def abefore_agent(self, state: RoutedState, runtime: Any) -> dict[str, Any] | None:
        """Forget the route of the run before."""
        return self.before_agent(state, runtime)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> Response:
        """Let the routed model answer."""
        calls = _Calls(self._pipeline, request, *run(self._route(request)))
        for name in calls.names:
            try:
                return calls.answered(name, handler(calls.to(name)), keep=self._once)
            except GraphBubbleUp:
                raise
            except Exception as error:
                calls.failed(name, error)
        raise calls.no_answer()

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> Response:
        """Let the routed model answer."""
        calls = _Calls(self._pipeline, request, *await arun(self._route(request)))
        for name in calls.names:
            try:
                return calls.answered(name, await handler(calls.to(name)), keep=self._once)
            except GraphBubbleUp:
                raise
            except Exception as error:
                calls.failed(name, error)
        raise calls.no_answer()

    def _route(self, request: ModelRequest[Any]) -> Step[tuple[list[str], DecisionData]]:
        """The models to ask, the routed one first, and the decision behind it."""
        settings = self._settings.controlled(_controls(request))
        state = cast(Mapping[str, Any] | None, request.state) or {}
        kept: AgentRoute | None = state.get("avengers_route") if self._once else None
        if kept is not None and self._may_stay(kept["model"], request, settings):
            decision, first = kept["decision"], [kept["model"]]
        else:
            context = CallContext.of(settings, options=CallOptions(tools=request.tools))
            decided, _ = yield from self._pipeline.decide(request.messages, context)
            decision = decided["decision"]
            first = decision["chosen"]
        others = (row["name"] for row in decision["ranking"])
        allowed = settings.allowed_models or self._pipeline.models
        return [name for name in dict.fromkeys([*first, *others]) if name in allowed], decision

    def health(self) -> dict[str, ModelHealth]:
        """How each model is doing."""
        return self._pipeline.health()

    def _may_stay(self, name: str, request: ModelRequest[Any], settings: Settings) -> bool:
        models = self._pipeline.models
        if name not in models or name not in (settings.allowed_models or models):
            return False
        able, _ = capable(models, list(models), request.messages, bool(request.tools))
        return name in able and models[name].breaker.admits()


class _Calls:
    """The tries at one model call of an agent, one model after the other."""

    def __init__(
        self, pipeline: Pipeline, request: ModelRequest[Any], names: list[str], decision: DecisionData
    ) -> None:
        self.names = names
        self._pipeline, self._request, self._decision = pipeline, request, decision
        self._watch = CallWatch()
        self._errors: dict[str, Exception] = {}

    def to(self, name: str) -> ModelRequest[Any]:
        """The request with that model."""
        pooled = self._pipeline.models[name]
        # Bound arguments go as settings: an agent binds its tools to the model itself.
        settings = {**pooled.bound_arguments, **self._request.model_settings}
        model = cast(BaseChatModel, pooled.model or pooled.runnable)
        self._watch = CallWatch()
        if isinstance(model, BaseChatModel):
            held = model.callbacks
            watched = [*(held if isinstance(held, list) else held.handlers if held else ()), self._watch]
            model = model.model_copy(update={"callbacks": watched})
        return self._request.override(model=model, model_settings=settings)

    def answered(self, name: str, response: ModelResponse[Any], *, keep: bool) -> Response:
        """The response with the decision on its message, and in the state of the run."""
        self._pipeline.models[name].breaker.answered()
        told = {"model": name, "strategy": "direct", "decision": self._decision}
        for message in response.result:
            if isinstance(message, AIMessage):
                message.response_metadata = {**message.response_metadata, "avengers": told}
        if not keep or self._request.state is None:
            return response
        route = AgentRoute(model=name, decision=self._decision)
        if self._request.state.get("avengers_route") == route:
            return response
        return ExtendedModelResponse(response, Command(update={"avengers_route": route}))

    def failed(self, name: str, error: Exception) -> None:
        """Note what the model raised; what another middleware raised, or the agent itself, is raised again."""
        ours = error in self._watch.errors or isinstance(error, NotImplementedError)
        if not ours:
            raise error
        self._errors[name] = error = without_secrets(error)
        if not blames_query(error):
            self._pipeline.models[name].breaker.failed(describe(error))
        if self._watch.heard:
            raise broken_off(name, error) from error

    def no_answer(self) -> SamplingError:
        """The error that says why no model answered."""
        causes = "; ".join(f"{name}: {describe(error)}" for name, error in self._errors.items())
        failure = SamplingError(f"no model answered: {causes}", list(self._errors.values()))
        failure.__cause__ = failure.exceptions[0]
        return failure


def _controls(request: ModelRequest[Any]) -> dict[str, Any]:
    """What the run's config or context sets for this call."""
    try:
        configured: Mapping[str, Any] = get_config().get("configurable", {})
    except RuntimeError:  # called outside a graph
        configured = {}
    context = getattr(request.runtime, "context", None)
    given = context if isinstance(context, Mapping) else getattr(context, "__dict__", None) or {}
    controls = {k: v for k in CONTROLS if (v := configured.get(k, given.get(k))) is not None}
    _refuse(controls, MiddlewareOptions.__annotations__, "control")
    return controls


def _refuse(given: Mapping[str, Any], known: Mapping[str, Any], kind: str) -> None:
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(
            f"{kind} {unknown[0]!r} has no effect in AvengersMiddleware, which only routes: it takes "
            f"{', '.join(known)}. For agents whose model samples and votes, give them ChatAvengers as model"
        )
