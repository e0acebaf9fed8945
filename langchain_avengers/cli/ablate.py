"""`avengers ablate`: the paper's studies on one's own table."""

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
            help="clusters, clusterer, scoring, top_k, models, size, embedder or strategy; several times for "
            "several. By default every one the table has what for."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of every setting.")] = 5,
    vectors: common.VectorFiles = None,
    embedder: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A further embedding model, for the study of embedders."),
    ] = None,
    embeddings: common.EmbeddingsName = None,
    test: Annotated[
        list[Path] | None,
        typer.Option(metavar="TABLE", help="Test rows; otherwise every seed holds out a share of the rows."),
    ] = None,
    test_size: Annotated[float, typer.Option(help="That share.")] = 0.3,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="Finished runs: what it holds is not run again."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where embeddings are kept between runs.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes; -1 is one a core.")] = -1,
    format: common.Format = "auto",
    task: common.Task = None,
    json: common.Json = False,
) -> None:
    """Repeat the paper's studies on a score table: what each parameter is worth, over seeds, with intervals."""
    from langchain_avengers.evaluation.ablate import ablate

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
    if json:
        output.print_json(found.to_dict())
        return
    output.print_rich(found)
