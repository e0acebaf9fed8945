"""`avengers learn`: a router that has learned from feedback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from langchain_avengers.cli import common, output
from langchain_avengers.errors import PoolError


def command(
    router: common.RouterPath,
    store: Annotated[
        Path,
        typer.Option("--from", metavar="STORE", help="Store of avengers serve --store.", show_default=False),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder to save to; by default the router's own.")
    ] = None,
    held_back: Annotated[
        float, typer.Option(help="Share of the feedback that judges the new router, between 0 and 1.")
    ] = 0.3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge the new router; save nothing.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split.")] = 0,
    embeddings: common.EmbeddingsName = None,
    json: common.Json = False,
) -> None:
    """Fold the feedback of a served pool into its router.

    Start the server with --keep-queries: feedback without its query cannot be used. The new router replaces the old
    one only if it is not worse on feedback held back. A running server loads it by itself.
    """
    try:
        from langchain_avengers.serving.learning import learn
        from langchain_avengers.serving.store import Store
    except ImportError as error:
        raise PoolError(f"learn needs {error.name}: pip install 'langchain-avengers[serve]'") from None
    if not store.is_file():
        raise PoolError(f"{store}: there is no such store; avengers serve --store makes one")
    fitted = common.load_router(router, embeddings=embeddings)
    kept = Store(store)
    try:
        judged = kept.judged()
        with output.notes():
            learned, lesson = learn(fitted, judged, held_back=held_back, seed=seed)
        saved = lesson.accepted and not dry_run
        if saved:
            learned.save(out or router)
            kept.mark_learned(judged)
    finally:
        kept.close()
    if json:
        output.print_json({**lesson.to_dict(), "saved": str(out or router) if saved else None})
    else:
        output.say(lesson.verdict)
        if lesson.requests:
            output.say(f"It chooses another model for {lesson.departures:.0%} of the queries held back.")
        for change in lesson.changed:
            way = "better" if change.better else "worse"
            output.say(
                f"{change.model} answers {way} than calibration says, by {abs(change.shift):.0%} since its judged "
                f"answer {change.since + 1}: another model may stand behind the name. Calibrate it again."
            )
        output.note(f"saved to {out or router}" if saved else "nothing was saved")
    if not lesson.accepted:
        raise typer.Exit(1)
