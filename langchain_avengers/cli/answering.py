"""The options of `ask` and `serve`: how the pool answers."""

from __future__ import annotations

from typing import Annotated

import typer

StrategyName = Annotated[
    str | None,
    typer.Option(
        help="learned, direct, self_consistency, mixture, model_switch, escalate or aggregate. By default learned for "
        "a router with a learned vote, else self_consistency."
    ),
]
Samples = Annotated[
    int | None,
    typer.Option(min=1, help="Answers drawn, at most. By default 5; learned: as many as it finds useful."),
]
TopN = Annotated[int, typer.Option(min=1, help="Models the answers come from.")]
VoterChoice = Annotated[
    str,
    typer.Option(
        help="auto, majority, log_odds, medoid, judge, or execution, which runs model-written code in a sandbox."
    ),
]
Judge = Annotated[str | None, typer.Option(metavar="NAME", help="Model that judges, for --voter judge.")]
EscalateTo = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Model that answers when the vote is unsure, for --strategy escalate."),
]
CostWeight = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="From 0 (only the score counts) to 1 (only the cost counts)."),
]
Timeout = Annotated[float | None, typer.Option(min=0.001, help="Most seconds for one request to a model.")]


def check(strategy: str | None, voter: str, judge: str | None, escalate_to: str | None) -> None:
    """Refuse names that do not exist, and options that lack another one.

    Raises:
        typer.BadParameter: Naming the option.
    """
    from langchain_avengers.pipeline.settings import STRATEGIES, VOTERS

    for option, value, known in (
        ("--strategy", strategy or "direct", STRATEGIES),
        ("--voter", voter, VOTERS),
    ):
        if value not in known:
            raise typer.BadParameter(f"{option} is {value!r}; give one of {', '.join(known)}")
    if strategy == "escalate" and escalate_to is None:
        raise typer.BadParameter("--strategy escalate needs --escalate-to NAME")
    if voter == "judge" and judge is None:
        raise typer.BadParameter("--voter judge needs --judge NAME")
