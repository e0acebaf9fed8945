"""The router as a runnable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage, HumanMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableSerializable
from langchain_core.runnables.config import ensure_config
from pydantic import ConfigDict, Field, SkipValidation

from langchain_avengers.errors import PoolError
from langchain_avengers.pipeline.messages import routing_text
from langchain_avengers.pipeline.settings import GlobalRouter, Router, RoutingText
from langchain_avengers.routing.decision import RoutingDecision


class ClusterRouterRunnable(RunnableSerializable[LanguageModelInput, RoutingDecision]):
    """Routes what a chat model would be asked: a string, a prompt value or messages in, a `RoutingDecision`
    out.

    Attributes:
        router: A fitted `ClusterRouter`.
        top_n: Models to choose.
        allowed_models: The only models to choose from. None: all.
        cost_weight: Weight of cost against score, in [0, 1]. None: as the router was fitted.
        routing_text: What is embedded; see `Settings`.

    `allowed_models`, `cost_weight` and `top_n` can be set for one call in `config["configurable"]`.

    Example:
        ```python
        selector = ClusterRouterRunnable(router=router).names()
        selector.invoke("What is 7 + 5?")  # "qwen"
        ```
    """

    router: SkipValidation[Router]
    top_n: int = Field(default=1, ge=1)
    allowed_models: Sequence[str] | None = None
    cost_weight: float | None = Field(default=None, ge=0, le=1)
    routing_text: RoutingText = "last_human"

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def model_post_init(self, context: Any) -> None:
        """Check the router."""
        missing = [name for name in ("models_", "embed", "route_vector") if not hasattr(self.router, name)]
        if missing:
            raise PoolError(
                f"router has to be a fitted ClusterRouter, not a {type(self.router).__name__}: it has no {missing[0]}"
            )

    def names(self) -> Runnable[LanguageModelInput, str]:
        """The runnable that gives the top model's name alone."""
        return self | RunnableLambda(_top, name="name")

    def invoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> RoutingDecision:
        """Route one query."""
        return self._call_with_config(self._route, input, config, **kwargs)

    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> RoutingDecision:
        """Route one query."""
        return await self._acall_with_config(self._aroute, input, config, **kwargs)

    def _route(
        self, input: LanguageModelInput, run_manager: CallbackManagerForChainRun, config: RunnableConfig
    ) -> RoutingDecision:
        text = self._text(input)
        return self._decide(self.router.embed(text) if text else None, config)

    async def _aroute(
        self, input: LanguageModelInput, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig
    ) -> RoutingDecision:
        text = self._text(input)
        return self._decide(await self.router.aembed(text) if text else None, config)

    def _text(self, input: LanguageModelInput) -> str:
        return routing_text(to_messages(input), self.routing_text)

    def _decide(self, vector: Any, config: RunnableConfig) -> RoutingDecision:
        configured = ensure_config(config).get("configurable", {})
        top_n = configured.get("top_n", self.top_n)
        models = configured.get("allowed_models", self.allowed_models)
        weight = configured.get("cost_weight", self.cost_weight)
        if vector is not None:
            return self.router.route_vector(vector, top_n=top_n, models=models, cost_weight=weight)
        if isinstance(self.router, GlobalRouter):
            return self.router.route_globally(top_n=top_n, models=models, cost_weight=weight)
        raise ValueError("there is no text to route by, and the router has no global ranking")


def to_messages(input: LanguageModelInput) -> list[BaseMessage]:
    """What a chat model takes, as messages.

    Raises:
        ValueError: The input is nothing a chat model takes.
    """
    if isinstance(input, str):
        return [HumanMessage(input)]
    if isinstance(input, PromptValue):
        return input.to_messages()
    if isinstance(input, Sequence):
        return convert_to_messages(input)
    raise ValueError(f"invalid input type {type(input).__name__}: give a string, a prompt value or messages")


def _top(decision: RoutingDecision) -> str:
    return decision.chosen[0]
