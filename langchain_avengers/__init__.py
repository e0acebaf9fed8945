"""A pool of language models as one LangChain chat model.

Calibrate a pool once; from then on every query goes to the model that is best on queries like it, is answered several
times, and the answers vote. After "The Avengers" (arXiv 2505.19797).

Names load when first used, so importing the package is light.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_avengers.calibration.runner import calibrate
    from langchain_avengers.evaluation.evaluate import evaluate
    from langchain_avengers.pipeline.chat_model import ChatAvengers
    from langchain_avengers.pipeline.decisions import ClusterRouterDecisions as ClusterRouterDecisions
    from langchain_avengers.pipeline.graph import create_avengers_graph
    from langchain_avengers.pipeline.middleware import AvengersMiddleware
    from langchain_avengers.pipeline.runnable import ClusterRouterRunnable
    from langchain_avengers.routing.decision import ModelScore, RoutingDecision
    from langchain_avengers.routing.explanation import Explanation
    from langchain_avengers.routing.router import ClusterRouter
    from langchain_avengers.routing.table import ScoreTable
    from langchain_avengers.voting.answers import Answer, extract_answer
    from langchain_avengers.voting.voters import JudgeVoter, MajorityVoter, MedoidVoter, Sample, Vote

_HOME = {
    "ModelScore": "routing.decision",
    "RoutingDecision": "routing.decision",
    "ScoreTable": "routing.table",
    "ClusterRouter": "routing.router",
    "Explanation": "routing.explanation",
    "ClusterRouterDecisions": "pipeline.decisions",
    "ClusterRouterRunnable": "pipeline.runnable",
    "create_avengers_graph": "pipeline.graph",
    "ChatAvengers": "pipeline.chat_model",
    "AvengersMiddleware": "pipeline.middleware",
    "Answer": "voting.answers",
    "extract_answer": "voting.answers",
    "MajorityVoter": "voting.voters",
    "MedoidVoter": "voting.voters",
    "JudgeVoter": "voting.voters",
    "Sample": "voting.voters",
    "Vote": "voting.voters",
    "calibrate": "calibration.runner",
    "evaluate": "evaluation.evaluate",
}

# `ClusterRouterDecisions` is not listed: it needs a newer langchain-core than the package does.
__all__ = [
    "Answer",
    "AvengersMiddleware",
    "ChatAvengers",
    "ClusterRouter",
    "ClusterRouterRunnable",
    "Explanation",
    "JudgeVoter",
    "MajorityVoter",
    "MedoidVoter",
    "ModelScore",
    "RoutingDecision",
    "Sample",
    "ScoreTable",
    "Vote",
    "calibrate",
    "create_avengers_graph",
    "evaluate",
    "extract_answer",
]

try:
    __version__ = version("langchain-avengers")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
