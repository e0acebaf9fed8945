"""`avengers report`: one HTML page about a saved router."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from langchain_avengers.cli import common, output


def command(
    router: common.RouterPath,
    tables: common.Tables,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.html", help="File of the page.")] = Path(
        "report.html"
    ),
    png: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also write every figure as a PNG file.")
    ] = None,
    vectors: common.VectorFiles = None,
    calibration: Annotated[
        list[Path] | None,
        typer.Option(metavar="TABLE", help="The rows that the router was fitted on; adds kNN and ridge."),
    ] = None,
    new: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Queries, one in each line, to look for drift; by default those of the tables.",
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            metavar="ROUTER",
            help="Another saved router, to compare with on the same rows; with --vectors, of the same embedding model.",
        ),
    ] = None,
    title: Annotated[str, typer.Option(help="Title of the page.")] = "Router report",
    leave_out_seen: Annotated[
        bool, typer.Option("--leave-out-seen", help="Leave rows out that the router was fitted on.")
    ] = False,
    embeddings: common.EmbeddingsName = None,
    format: common.Format = "auto",
    task: common.Task = None,
    json: common.Json = False,
) -> None:
    """Write one HTML page about a router: should it be deployed, and why.

    The page loads nothing from the network. Figures need the extra `plots`.
    """
    import warnings

    from langchain_avengers.errors import TableError
    from langchain_avengers.evaluation.evaluate import NotHeldOutWarning
    from langchain_avengers.evaluation.report import write_report

    fitted = common.load_router(router, embeddings=embeddings)
    table = common.read_table(tables, format=format, task=task)
    where = (
        common.read_vectors(vectors, len(table))
        if vectors
        else common.embed(fitted.embeddings, table.queries)
    )
    known = common.read_table(calibration, format=format, task=task) if calibration else None
    queries = None
    if new is not None:
        queries = [line for line in new.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not queries:
            raise TableError(f"{new}: no queries in it; give one a line")
    other = common.load_router(compare) if compare is not None else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotHeldOutWarning)  # the page says it
        found = write_report(
            fitted,
            table,
            out,
            vectors=where,
            leave_out_seen=leave_out_seen,
            calibration=known,
            calibration_vectors=common.embed(fitted.embeddings, known.queries) if known is not None else None,
            new_queries=queries,
            compare=other,
            compare_vectors=where if vectors else None,
            sources=[file.name for file in tables],
            new_vectors=common.embed(fitted.embeddings, queries) if queries is not None else None,
            title=title,
            png=png,
        )
    if json:
        output.print_json({"out": out, "png": png, **found.to_dict()})
        return
    output.say(found.verdict)
    output.note(f"{out} written")
