"""How good a router is: metrics, baselines, intervals, studies, the cost-quality front and the report."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_avengers.evaluation.replaying import Replay as Replay
    from langchain_avengers.evaluation.replaying import replay as replay


def __getattr__(name: str) -> Any:
    # loaded when used: the parts of this package need no pipeline
    if name in ("Replay", "replay"):
        from importlib import import_module

        return getattr(import_module("langchain_avengers.evaluation.replaying"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
