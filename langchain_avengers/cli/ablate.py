"""`avengers ablate`: the paper's studies on your own table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from langchain_avengers.cli import common, output


def command(
    tables: common.Tables,
    study: Annotated[
        list[str] | None,
        typer.Option(
            help="clusters, clusterer, scoring, top_k, models, size, tasks, embedder or strategy; repeatable. "
            "By default all studies for which the table has data."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds for every setting.")] = 5,
    vectors: common.VectorFiles = None,
    embedder: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another embedding model for the study of embedders; repeatable."),
    ] = None,
    embeddings: common.EmbeddingsName = None,
    test: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="TABLE", help="Test rows; without them every seed holds out a share of the rows."
        ),
    ] = None,
    test_size: Annotated[float, typer.Option(help="Share of the rows held out, between 0 and 1.")] = 0.3,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="File of finished runs; they are not run again."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Also write a page with a figure for each study.")
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Also write every figure as a PNG file; needs --report."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder that keeps embeddings between runs.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Number of processes; -1 means one for each core.")] = -1,
    format: common.Format = "auto",
    task: common.Task = None,
    json: common.Json = False,
) -> None:
    """Repeat the paper's studies on a score table.

    Shows how much each parameter changes the result, over several seeds, with intervals."""
    from langchain_avengers.evaluation.studies import ablate

    if png is not None and report is None:
        raise typer.BadParameter("--png needs --report, the page that the figures stand in")
    table = common.read_table(tables, format=format, task=task)
    held = common.read_table(test, format=format, task=task) if test else None
    known = common.read_vectors(vectors, len(table)) if vectors else None
    with output.progress() as bar:
        job = bar.add_task("routers", total=None)
        found = ablate(
            table,
            known,
            embeddings=common.load_embeddings(embeddings) if embeddings or known is None else None,
            embedders={name: common.load_embeddings(name) for name in embedder or ()},
            studies=study or None,
            seeds=seeds,
            test=held,
            test_size=test_size,
            out=out,
            cache_dir=cache,
            n_jobs=jobs,
            on_cell=lambda done, total: bar.update(job, completed=done, total=total),
        )
    if report is not None:
        from langchain_avengers.evaluation.study_report import write_study_report

        write_study_report(found, report, png=png)
        output.note(f"{report} written")
    if json:
        output.print_json(found.to_dict())
        return
    output.print_rich(found)
