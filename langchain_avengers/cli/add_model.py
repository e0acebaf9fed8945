"""`avengers add-model`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from langchain_avengers.cli import common, output


def command(
    name: Annotated[str, typer.Argument(help="The new model's name in the pool file.", show_default=False)],
    router: Annotated[Path, typer.Option("--router", help="Folder of the saved router.", show_default=False)],
    pool: Annotated[
        Path, typer.Option("--pool", help="Pool file (YAML) that has the model.", show_default=False)
    ],
    table: Annotated[
        Path, typer.Option("--table", help="Folder of the calibration whose questions are used.")
    ] = Path("table"),
    budget: Annotated[
        float, typer.Option(help="Questions to ask: a share when below 1, else a number.")
    ] = 0.1,
    samples: Annotated[int, typer.Option(min=1, help="Answers to each question.")] = 1,
    grader: Annotated[str | None, typer.Option(help="Grader; by default the one of the calibration.")] = None,
    allow_code: Annotated[
        bool,
        typer.Option("--allow-code", help="Allow the grader `code` to run model-written code in a sandbox."),
    ] = False,
    code_isolation: common.CodeIsolation = "namespaces",
    max_cost: Annotated[float | None, typer.Option(help="Stop when this many US dollars are spent.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to save to; by default the router's own.")] = None,
    embeddings: common.EmbeddingsName = None,
    json: common.Json = False,
) -> None:
    """Add a new model to a router. Only the new model is asked, and only the most informative questions."""
    from langchain_avengers.calibration.add_model import add_model
    from langchain_avengers.cli.bars import Bars
    from langchain_avengers.pool import Pool

    routed = common.load_router(router, embeddings=embeddings)
    asked = add_model(
        routed,
        name,
        Pool.read(pool),
        table,
        budget=budget,
        grader=grader,
        samples=samples,
        allow_code=common.allow_code(allow_code, code_isolation),
        max_cost=max_cost,
        watch=lambda run: Bars(run, json),
    )
    routed.save(out or router)
    score, position = float(asked.scores.mean()), routed.models_.index(name)
    best = routed.cluster_scores_.argmax(axis=1)
    clusters = [cluster for cluster, model in enumerate(best.tolist()) if model == position]
    result = {
        "model": name, "questions": len(asked), "score": score, "saved": str(out or router), "leads_clusters": clusters,
    }  # fmt: skip
    if json:
        output.print_json(result)
        return
    output.print_table(
        ["model", "questions asked", "mean score", "clusters it leads"],
        [[name, len(asked), score, ", ".join(map(str, clusters)) or "none"]],
    )
    output.note(f"saved to {out or router}")
