"""Routing inside an agent: every model call goes to the member that is best for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, cast

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import ExtendedModelResponse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langgraph.errors import GraphBubbleUp
from typing_extensions import TypedDict, Unpack

from langchain_avengers.errors import SamplingError
from langchain_avengers.pipeline.nodes import CallContext, Pipeline
from langchain_avengers.pipeline.pool_model import CallOptions
from langchain_avengers.pipeline.settings import Models, Router, RoutingText, Settings
from langchain_avengers.pipeline.state import PipelineState
from langchain_avengers.pipeline.sync_async import arun, run
from langchain_avengers.providers import describe

Response = ModelResponse[Any] | AIMessage | ExtendedModelResponse[Any]


class MiddlewareOptions(TypedDict, total=False):
    """The settings that routing alone has a use for."""

    allowed_models: Sequence[str] | None
    cost_weight: float | None
    routing_text: RoutingText


class AvengersMiddleware(AgentMiddleware[Any, Any, Any]):
    """Routes each model call of an agent, with the tools and streaming of the model that answers.

    A conversation keeps its model while its topic stays in the same cluster, and a tool's result goes back
    to the model that called it. When a model fails the next of the ranking is asked. Every answer carries
    the decision in
    `response_metadata["avengers"]`. For agents that vote, use `ChatAvengers` as the agent's model instead.

    Needs the extra `agents`.

    Example:
        ```python
        agent = create_agent(qwen, tools, middleware=[AvengersMiddleware(router, {"qwen": qwen, "llama":
        llama})])
        ```
    """

    def __init__(
        self,
        router: Router,
        models: Models,
        *,
        sticky: bool = True,
        **options: Unpack[MiddlewareOptions],
    ) -> None:
        """Put models behind a router's names.

        Args:
            router: A fitted `ClusterRouter`.
            models: A chat model for each of the router's models.
            sticky: Whether a conversation keeps its model.
            options: `allowed_models`, `cost_weight` or `routing_text`; see `Settings`.

        Raises:
            PoolError: Names of router and models differ.
            ValueError: An option is unknown or has a value it cannot have.
        """
        super().__init__()
        self._settings = Settings(strategy="direct", sticky=sticky, **options)
        self._pipeline = Pipeline(router, models, self._settings)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> Response:
        """Let the routed model answer."""
        state, _ = run(self._pipeline.decide(request.messages, self._context(request)))
        causes: list[str] = []
        for name, routed in self._requests(request, state):
            try:
                return _stamped(handler(routed), name, state)
            except GraphBubbleUp:
                raise
            except Exception as error:
                causes.append(f"{name}: {describe(error)}")
        raise SamplingError(f"no model answered: {'; '.join(causes)}")

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> Response:
        """Let the routed model answer."""
        state, _ = await arun(self._pipeline.decide(request.messages, self._context(request)))
        causes: list[str] = []
        for name, routed in self._requests(request, state):
            try:
                return _stamped(await handler(routed), name, state)
            except GraphBubbleUp:
                raise
            except Exception as error:
                causes.append(f"{name}: {describe(error)}")
        raise SamplingError(f"no model answered: {'; '.join(causes)}")

    def _context(self, request: ModelRequest[Any]) -> CallContext:
        return CallContext.of(self._settings, options=CallOptions(tools=request.tools))

    def _requests(
        self, request: ModelRequest[Any], state: PipelineState
    ) -> Iterator[tuple[str, ModelRequest[Any]]]:
        decision = state["decision"]
        ranking = [row["name"] for row in decision["ranking"]]
        for name in dict.fromkeys([*decision["chosen"], *ranking]):
            pooled = self._pipeline.models[name]
            # Bound arguments go as settings: an agent binds its tools to the model itself.
            settings = {**pooled.bound_arguments, **request.model_settings}
            model = cast(BaseChatModel, pooled.model or pooled.runnable)
            yield name, request.override(model=model, model_settings=settings)


def _stamped(response: ModelResponse[Any], name: str, state: PipelineState) -> ModelResponse[Any]:
    """The response with the decision on its message, where the next call finds it."""
    for message in response.result:
        if isinstance(message, AIMessage):
            summary = {"model": name, "strategy": "direct", "decision": state["decision"]}
            message.response_metadata = {**message.response_metadata, "avengers": summary}
    return response
