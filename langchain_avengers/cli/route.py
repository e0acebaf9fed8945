"""`avengers route`: which model a query goes to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langchain_avengers._text import shorten
from langchain_avengers.cli import common, output

if TYPE_CHECKING:
    from langchain_avengers.routing.decision import RoutingDecision

_BATCH = 64
"""Lines of stdin that are embedded together."""


def command(
    router: common.RouterPath,
    queries: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUERY...|-]",
            help="Queries; - reads them from stdin, one in each line.",
            show_default=False,
        ),
    ] = None,
    top_n: Annotated[int, typer.Option(min=1, help="Models to choose.")] = 1,
    cost_weight: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="From 0 (only the score counts) to 1 (only the cost counts)."),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--models", metavar="NAME", help="Only these models; repeatable, or a,b."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why this model and not the others.")
    ] = False,
    embeddings: common.EmbeddingsName = None,
    vectors: common.VectorFiles = None,
    json: common.Json = False,
) -> None:
    """Say which model a query goes to.

    With --json, one query gives one document; several queries, stdin or --vectors give one line for each.
    """
    if bool(queries) == bool(vectors):
        raise typer.BadParameter("give queries, or - for stdin, or --vectors")
    fitted = common.load_router(router, embeddings=embeddings)
    names = [name for given in models for name in given.split(",") if name] if models else None
    options: dict[str, Any] = {"top_n": top_n, "models": names, "cost_weight": cost_weight}
    if vectors:
        rows = common.read_vectors(vectors)
        for number, vector in enumerate(rows):
            _print(f"vector {number}", fitted.route_vector(vector, **options), json=json)
        return
    if queries == ["-"]:
        lines = (line.strip() for line in sys.stdin)
        for batch in _batches(line for line in lines if line):
            for query, decision in zip(batch, fitted.route_many(batch, **options), strict=True):
                _print(query, decision, json=json)
        return
    assert queries is not None
    if explain:
        for query in queries:
            found = fitted.explain_vector(fitted.embed(query), query=query, cost_weight=cost_weight)
            if json:
                (output.print_json if len(queries) == 1 else output.print_json_line)(found.to_dict())
            else:
                output.say(str(found))
        return
    decisions = fitted.route_many(queries, **options)
    if json and len(queries) == 1:
        output.print_json({"query": queries[0], **decisions[0].to_dict()})
    elif len(queries) == 1:
        _print_one(decisions[0])
    else:
        for query, decision in zip(queries, decisions, strict=True):
            _print(query, decision, json=json)


def _batches(lines: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(lines, _BATCH)):
        yield batch


def _print(query: str, decision: RoutingDecision, *, json: bool) -> None:
    if json:
        output.print_json_line({"query": query, **decision.to_dict()})
    else:
        novel = "\tnovel" if decision.novel else ""
        output.say(f"{', '.join(decision.chosen)}\t{shorten(query, 100)}{novel}")


def _print_one(decision: RoutingDecision) -> None:
    where = ", ".join(f"cluster {k} ({weight:.2f})" for k, weight in decision.clusters)
    output.say(f"{', '.join(decision.chosen)}   [{where or 'novel: the ranking over all rows'}]")
    output.say(decision.reason)
    rows = [(row.name, row.score, row.stderr, row.n, row.cost) for row in decision.ranking]
    output.print_table(("model", "score", "stderr", "rows", "cost, $"), rows)
