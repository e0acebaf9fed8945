"""A fitted router as one of LangChain's decision models. Needs langchain-core 1.8 or newer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from langchain_core.messages import BaseMessage, HumanMessage, convert_to_messages
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, SkipValidation

from langchain_avengers.errors import RouterError
from langchain_avengers.pipeline.messages import routing_text
from langchain_avengers.pipeline.settings import GlobalRouter, Router, RoutingText
from langchain_avengers.routing.decision import ModelScore, RoutingDecision

try:
    from langchain_core.decisions import BaseDecisionModel, ClassifierResponse
except ImportError as error:
    raise ImportError(
        f"ClusterRouterDecisions needs langchain-core >= 1.8, and {version('langchain-core')} is installed: "
        "pip install -U langchain-core"
    ) from error


class ClusterRouterDecisions(BaseDecisionModel):  # type: ignore[misc, unused-ignore]  # not there before 1.8
    """Answers a `Choice` between a router's models from calibration, with no model call.

    The labels of the `Choice` are names of the router's models; their descriptions and the instructions are not
    read. The answer's `choice` is the model that the router ranks first. `probabilities` say how likely each model
    is the best of them on queries like this one, given its calibration scores and their standard errors;
    `confidence` is that of the choice. Other kinds of questions are refused.

    Attributes:
        router: A fitted `ClusterRouter`.
        cost_weight: Weight of cost against score, in [0, 1]. None: as the router was fitted.
        routing_text: What of the messages is embedded; see `Settings`.

    Example:
        ```python
        from langchain.agents.middleware import ModelChoice, ModelRouterMiddleware

        middleware = ModelRouterMiddleware(
            choices={"qwen": ModelChoice(model=qwen, criteria=""), "llama": ModelChoice(model=llama, criteria="")},
            instructions="",
            classifier=ClusterRouterDecisions(router=router),
        )
        ```
    """

    router: SkipValidation[Router]
    model: str = "cluster-router"
    cost_weight: float | None = Field(default=None, ge=0, le=1)
    routing_text: RoutingText = "last_human"

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    @property
    def _provider(self) -> str:
        return "avengers"

    def _classify(self, state: Any, questions: Mapping[str, Any]) -> ClassifierResponse:
        text = _text(state, self.routing_text)
        return self._answered(self.router.embed(text) if text else None, questions)

    async def _aclassify(self, state: Any, questions: Mapping[str, Any]) -> ClassifierResponse:
        text = _text(state, self.routing_text)
        return self._answered(await self.router.aembed(text) if text else None, questions)

    def _answered(
        self, vector: NDArray[np.float32] | None, questions: Mapping[str, Any]
    ) -> ClassifierResponse:
        answers = {name: self._choice(name, question, vector) for name, question in questions.items()}
        return ClassifierResponse.model_validate({"model": self.model, "answers": answers})

    def _choice(self, name: str, question: Any, vector: NDArray[np.float32] | None) -> dict[str, Any]:
        if question.type != "choice":
            raise RouterError(
                f"question {name!r} is a {type(question).__name__}: a router answers a Choice between its models, "
                f"{', '.join(self.router.models_)}"
            )
        labels = list(question.criteria)
        if unknown := sorted(set(labels) - set(self.router.models_)):
            raise RouterError(
                f"question {name!r} has labels that the router does not know: {', '.join(unknown)}. "
                f"It knows: {', '.join(self.router.models_)}"
            )
        decision = self._decide(vector, labels)
        chances = dict(
            zip([row.name for row in decision.ranking], best_chances(decision.ranking), strict=True)
        )
        chosen = decision.chosen[0]
        return {
            "type": "choice",
            "choice": chosen,
            "probabilities": {label: chances[label] for label in labels},
            "confidence": chances[chosen],
        }

    def _decide(self, vector: NDArray[np.float32] | None, labels: list[str]) -> RoutingDecision:
        if vector is not None:
            return self.router.route_vector(vector, models=labels, cost_weight=self.cost_weight)
        if isinstance(self.router, GlobalRouter):
            return self.router.route_globally(models=labels, cost_weight=self.cost_weight)
        raise RouterError("there is no text to route by, and the router has no global ranking")


_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def best_chances(ranking: Sequence[ModelScore]) -> list[float]:
    """The chance of each model that its true mean score is the highest, in the order given; they sum to 1.

    The mean score of a model is taken as normal around its expected score, with its standard error. For a model with
    fewer than two rows behind it, that is the error of a single answer.
    """
    from scipy.special import ndtr

    means = np.array([row.score for row in ranking])
    errors = np.array([_error(row) for row in ranking])
    # the chance that all others lie below, at points of each model's own distribution: shape (models, points, others)
    points = means[:, None] + errors[:, None] * _NODES
    below = ndtr((points[:, :, None] - means) / errors)
    below[np.arange(len(means)), :, np.arange(len(means))] = 1.0
    chances = below.prod(axis=2) @ _WEIGHTS
    return [float(chance) for chance in chances / chances.sum()]


def _error(row: ModelScore) -> float:
    spread = math.sqrt(max(row.score * (1 - row.score), 0.01))
    return max(row.stderr, 1e-3) if row.stderr is not None else spread


def _text(state: Any, how: RoutingText) -> str:
    """What a decision model's state says: a text, messages, or plain data."""
    if isinstance(state, Mapping) and "messages" in state:
        state = state["messages"]
    if isinstance(state, str):
        state = [HumanMessage(state)]
    elif isinstance(state, BaseMessage):
        state = [HumanMessage(state.content)]
    elif isinstance(state, Sequence) and state and all(isinstance(part, BaseMessage) for part in state):
        state = convert_to_messages(state)
    else:
        state = [HumanMessage(json.dumps(state, default=str, ensure_ascii=False))]
    return routing_text(state, how)
