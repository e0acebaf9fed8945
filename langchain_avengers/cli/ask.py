"""`avengers ask`: a question, answered by the pool."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from langchain_avengers._text import shorten
from langchain_avengers.cli import answering, common, output
from langchain_avengers.providers import chat_model
from langchain_avengers.routing.decision import RoutingDecision

if TYPE_CHECKING:
    from langchain_avengers.pool import Pool
    from langchain_avengers.routing.router import ClusterRouter


def command(
    router: common.RouterPath,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="The question; - reads it from stdin.")],
    pool: Annotated[
        Path | None, typer.Option("--pool", metavar="FILE", help="Pool file (YAML): the models.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME=PROVIDER:MODEL", help="A model of the router; repeatable."),
    ] = None,
    strategy: answering.StrategyName = None,
    n_samples: answering.Samples = None,
    top_n: answering.TopN = 1,
    voter: answering.VoterChoice = "auto",
    judge: answering.Judge = None,
    escalate_to: answering.EscalateTo = None,
    cost_weight: answering.CostWeight = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="Temperature of every model; by default its own.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Most tokens of one answer; by default the model's own.")
    ] = None,
    timeout: answering.Timeout = None,
    embeddings: common.EmbeddingsName = None,
    json: common.Json = False,
) -> None:
    """Answer a question with the pool: route, sample, vote.

    The models come from a pool file, or from --model options such as qwen=openai:qwen2.5-7b. With --model, providers
    read their keys from the environment. Prints the answer and how it came about.
    """
    from langchain_avengers.pipeline.chat_model import ChatAvengers
    from langchain_avengers.pipeline.settings import Strategy, VoterName

    answering.check(strategy, voter, judge, escalate_to)
    if (pool is None) == (not model):
        raise typer.BadParameter("give the models by --pool FILE or by --model NAME=PROVIDER:MODEL")
    addresses = _addresses(model or [])
    text = sys.stdin.read() if question == "-" else question
    if not text.strip():
        raise typer.BadParameter("the question is empty")
    fitted = common.load_router(router, embeddings=embeddings)
    models, others = _members(fitted, pool, addresses)

    def member(name: str | None) -> Any:
        return others.get(name, name) if name else None

    if idle := [name for name in others if name not in (judge, escalate_to)]:
        output.note(f"note: the router does not know {', '.join(idle)}: not asked")
    with output.notes():
        avengers = ChatAvengers(
            router=fitted,
            models=models,
            strategy=cast(Strategy | None, strategy),
            n_samples=n_samples,
            top_n=top_n,
            voter=cast(VoterName, voter),
            judge=member(judge),
            escalate_to=member(escalate_to),
            cost_weight=cost_weight,
            temperature=temperature,
            max_tokens=max_tokens,
            timeout=timeout,
        )
        answer = avengers.invoke(text)
    about = answer.response_metadata["avengers"]
    if json:
        output.print_json({"answer": answer.text, **about})
        return
    output.say(answer.text)
    _print_account(about)


def _addresses(given: list[str]) -> dict[str, str]:
    """`NAME=PROVIDER:MODEL` options as name -> address."""
    addresses: dict[str, str] = {}
    for text in given:
        name, _, address = text.partition("=")
        if not name or not address:
            raise typer.BadParameter(f"--model is {text!r}; give NAME=PROVIDER:MODEL")
        if name in addresses:
            raise typer.BadParameter(f"--model names {name!r} twice")
        addresses[name] = address
    return addresses


def _members(
    router: ClusterRouter, pool: Path | None, addresses: dict[str, str]
) -> tuple[Pool | dict[str, Any], dict[str, Any]]:
    """The models, and those of them that the router does not know."""
    if pool is not None:
        from langchain_avengers.pool import Pool

        file = Pool.read(pool)
        return file, {name: name for name in file if name not in router.models_}
    models = {name: chat_model(name, address) for name, address in addresses.items()}
    others = {name: models.pop(name) for name in list(models) if name not in router.models_}
    return models, others


def _print_account(about: dict[str, Any]) -> None:
    vote, samples, account = about["vote"], about["samples"], about["account"]
    output.print_table(
        ("answer", "weight", "votes"),
        [(shorten(row["value"], 60), row["weight"], row["count"]) for row in vote["tally"]],
    )
    usage = about["usage"] or {}
    cost = "not known" if about["cost"] is None else f"${about['cost']:.3g}"
    output.say(f"model       {about['model']} ({about['strategy']})")
    output.say(f"why         {RoutingDecision.from_dict(about['decision']).reason}")
    output.say(f"confidence  {vote['confidence']:.2f}{' (a tie)' if vote['tie'] else ''}")
    counts = f"{samples['drawn']} drawn, {samples['failed']} failed, {samples['abstained']} without an answer"
    output.say(f"samples     {counts}")
    output.say(
        f"usage       {usage.get('input_tokens', 0)} tokens in, {usage.get('output_tokens', 0)} out, "
        f"{account['requests']} requests"
    )
    output.say(f"cost        {cost}{' (estimated)' if about['cost_is_estimate'] else ''}")
