"""`avengers evaluate`: how good a saved router is on rows it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from langchain_avengers.cli import common, output


def command(
    router: common.RouterPath,
    tables: common.Tables,
    vectors: common.VectorFiles = None,
    calibration: Annotated[
        list[Path] | None,
        typer.Option(metavar="TABLE", help="The rows that the router was fitted on; adds kNN and ridge."),
    ] = None,
    leave_out_seen: Annotated[
        bool, typer.Option("--leave-out-seen", help="Leave rows out that the router was fitted on.")
    ] = False,
    embeddings: common.EmbeddingsName = None,
    format: common.Format = "auto",
    task: common.Task = None,
    resamples: Annotated[
        int, typer.Option(min=1, help="Number of bootstrap resamples for the intervals.")
    ] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    json: common.Json = False,
) -> None:
    """Compare a router with single models, Random, Best Single, Max Expert and Oracle on held-out rows.

    Prints a verdict, the metrics, and the router by task and by cluster. Differences have 95 % intervals.
    """
    import warnings

    from langchain_avengers.evaluation.evaluate import NotHeldOutWarning, evaluate

    fitted = common.load_router(router, embeddings=embeddings)
    table = common.read_table(tables, format=format, task=task)
    where = (
        common.read_vectors(vectors, len(table))
        if vectors
        else common.embed(fitted.embeddings, table.queries)
    )
    known = common.read_table(calibration, format=format, task=task) if calibration else None
    near = common.embed(fitted.embeddings, known.queries) if known is not None else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotHeldOutWarning)  # the verdict says it, in words
        found = evaluate(
            fitted,
            table,
            vectors=where,
            leave_out_seen=leave_out_seen,
            calibration=known,
            calibration_vectors=near,
            n_boot=resamples,
            seed=seed,
        )
    if json:
        output.print_json(found.to_dict())
        return
    output.print_rich(found)
