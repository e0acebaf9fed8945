"""`avengers fit`: score tables to a saved router."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from langchain_avengers.cli import common, output


def command(
    tables: common.Tables,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to save the router in.", show_default=False)
    ],
    clusters: Annotated[
        str,
        typer.Option(
            "--clusters", metavar="auto|K", help="Number of clusters; auto finds it by cross-validation."
        ),
    ] = "auto",
    clusterer: Annotated[
        str, typer.Option(help="kmeans, minibatch, hierarchical, gmm, spectral or birch.")
    ] = "kmeans",
    scoring: Annotated[
        str, typer.Option(help="mean, rank (the paper's) or balanced (Avengers-Pro).")
    ] = "mean",
    cost_weight: Annotated[
        float, typer.Option(min=0, max=1, help="From 0 (only the score counts) to 1 (only the cost counts).")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the clustering.")] = 0,
    embeddings: common.EmbeddingsName = None,
    vectors: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.npy|COLUMN",
            help="Embeddings of the queries, in order: one file, or one for each table file. Or the column of a "
            "Parquet table (file or folder) that holds them; the table is then read in pieces, in bounded memory.",
        ),
    ] = None,
    overwrite: common.Overwrite = False,
    format: common.Format = "auto",
    task: common.Task = None,
    json: common.Json = False,
) -> None:
    """Fit a router to score tables and save it.

    Every row is used. Keep the rows for avengers evaluate in other files. With --vectors nothing is embedded, and the
    router records no embedding model unless --embeddings names the one that made the vectors.
    """
    from langchain_avengers.routing.artifact import JSON_NAME
    from langchain_avengers.routing.router import ClusterRouter
    from langchain_avengers.routing.streaming import fit_parquet
    from langchain_avengers.routing.summary import summarise

    common.keep_existing(out, out / JSON_NAME, overwrite)
    router = ClusterRouter(
        n_clusters=_clusters(clusters),
        clusterer=clusterer,
        scoring=scoring,
        cost_weight=cost_weight,
        random_state=seed,
    )
    column = _column(vectors, tables)
    if column is not None and (format != "auto" or task is not None):
        raise typer.BadParameter("--format and --task do not go with --vectors COLUMN")
    score = None
    with output.notes():
        if column is not None:
            model = common.load_embeddings(embeddings) if embeddings else None
            fit_parquet(router, tables[0], model, vectors=column)
        else:
            table = common.read_table(tables, format=format, task=task)
            if vectors:
                found = common.read_vectors(vectors, len(table))
                model = common.load_embeddings(embeddings) if embeddings else None
            else:
                model = common.load_embeddings(embeddings)
                found = common.embed(model, table.queries)
            router.fit(table, model, vectors=found)
            score = router.score(table, vectors=found)
        router.save(out)
    about = summarise(router.fitted_).to_dict()
    vote = None if router.policy_ is None else router.policy_.to_dict()
    if json:
        output.print_json(
            {"router": out, "rows": router.n_rows_, "score_on_these_rows": score, "vote": vote, **about}
        )
        return
    output.say(
        f"{router.n_rows_:,} rows, {len(router.models_)} models, {router.n_clusters_} clusters -> {out}"
    )
    output.print_models(about["models"])
    if router.policy_ is not None:
        output.say(f"The vote learned: {router.policy_.summary}")
    if score is not None:
        output.say(f"Mean score of the router's choices on these same rows, so not held out: {score:.4f}")
    for check in about["checks"]:
        output.note(f"note: {check}")


def _column(vectors: list[Path] | None, tables: list[Path]) -> str | None:
    """The column that `--vectors` names; None when it names files."""
    if not vectors or len(vectors) > 1 or vectors[0].suffix == ".npy" or vectors[0].exists():
        return None
    if len(tables) > 1 or not (tables[0].suffix == ".parquet" or tables[0].is_dir()):
        raise typer.BadParameter(
            f"--vectors is {str(vectors[0])!r}: there is no such file, and a column is that of one Parquet table"
        )
    return str(vectors[0])


def _clusters(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"--clusters is {text!r}; give auto or a whole number from 1 on")
    return int(text)
