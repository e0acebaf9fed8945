"""`avengers serve`: the pool behind OpenAI's protocol."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from langchain_avengers.cli import answering, common, output
from langchain_avengers.errors import PoolError

if TYPE_CHECKING:
    from langchain_avengers.serving.app import ServerSettings


def command(
    router: common.RouterPath,
    pool: Annotated[
        Path, typer.Option("--pool", metavar="FILE", help="Pool file (YAML): the models.", show_default=False)
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Clients' keys (YAML), hashed. Keys without limits: AVENGERS_SERVE_KEY."
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="SQLite file that keeps feedback, requests and sessions."),
    ] = None,
    keep_queries: Annotated[
        bool, typer.Option("--keep-queries", help="Keep the text of queries in the store too.")
    ] = False,
    explore: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of answers for which a model that may be better is drawn, to learn from.",
        ),
    ] = 0.0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    strategy: answering.StrategyName = None,
    n_samples: answering.Samples = None,
    top_n: answering.TopN = 1,
    voter: answering.VoterChoice = "auto",
    judge: answering.Judge = None,
    escalate_to: answering.EscalateTo = None,
    cost_weight: answering.CostWeight = None,
    timeout: answering.Timeout = None,
    max_retries: Annotated[
        int, typer.Option(min=0, help="Further attempts of a request to a model that may succeed later.")
    ] = 4,
    max_concurrent: Annotated[
        int, typer.Option(min=1, help="Requests that each process answers at once.")
    ] = 512,
    max_queue: Annotated[int, typer.Option(min=0, help="Requests that wait in each process.")] = 1024,
    queue_seconds: Annotated[float, typer.Option(min=0.001, help="Most seconds that a request waits.")] = 30,
    max_body: Annotated[int, typer.Option(min=1, help="Most bytes of a request.")] = 20_000_000,
    drain_seconds: Annotated[
        int, typer.Option(min=0, help="Most seconds to finish requests after SIGTERM.")
    ] = 60,
    embeddings: common.EmbeddingsName = None,
) -> None:
    """Serve the pool to every client of OpenAI's protocol.

    Models: avengers (as the options say), avengers:direct and the other strategies, and each member by name. When
    the router's folder changes, the new router serves; a damaged one is refused. Needs a key when other machines
    can reach it.
    """
    answering.check(strategy, voter, judge, escalate_to)
    try:
        import uvicorn

        from langchain_avengers.serving.app import VARIABLE, ServerSettings
        from langchain_avengers.serving.keys import KeyRing, is_loopback
    except ImportError as error:
        raise PoolError(f"serve needs {error.name}: pip install 'langchain-avengers[serve]'") from None

    options = {
        "strategy": strategy, "n_samples": n_samples, "top_n": top_n, "voter": voter, "judge": judge,
        "escalate_to": escalate_to, "cost_weight": cost_weight, "timeout": timeout, "max_retries": max_retries,
    }  # fmt: skip
    settings = ServerSettings(
        router=router, pool=pool, options={name: v for name, v in options.items() if v is not None},
        embeddings=embeddings, keys=keys, store=store, keep_queries=keep_queries, explore=explore,
        max_concurrent=max_concurrent, max_queue=max_queue, queue_seconds=queue_seconds, max_body=max_body,
    )  # fmt: skip
    if not KeyRing.read(keys) and not is_loopback(host):
        raise PoolError(
            f"other machines can reach {host}, so clients need a key: give --keys FILE or set AVENGERS_SERVE_KEY"
        )
    _check(settings)
    os.environ[VARIABLE] = settings.model_dump_json()
    with tempfile.TemporaryDirectory(prefix="avengers-metrics-") as folder:
        if workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        uvicorn.run(
            "langchain_avengers.serving.app:from_environment", factory=True, host=host, port=port,
            workers=workers, access_log=False, log_config=None, timeout_graceful_shutdown=drain_seconds,
            server_header=False, backlog=4096,
        )  # fmt: skip


def _check(settings: ServerSettings) -> None:
    """Fail in one line before a server starts, not in each of its processes."""
    from langchain_avengers.serving.app import load_engine

    with output.notes():
        engine = load_engine(settings)
    output.note(f"{settings.router}: {len(engine.members)} models; router {engine.fingerprint}")
