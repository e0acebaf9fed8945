"""`avengers quickstart`: real small models on this machine, from questions to a voted answer."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langchain_avengers._text import shorten
from langchain_avengers.cli import common, output

if TYPE_CHECKING:
    from langchain_avengers.quickstart.chat_model import ChatExpert
    from langchain_avengers.quickstart.run import QuickstartResult
    from langchain_avengers.routing.router import ClusterRouter


def command(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder the router is saved to.")] = Path(
        "quickstart-router"
    ),
    n_samples: Annotated[
        int, typer.Option(min=1, max=50, help="Answers of each expert to each question.")
    ] = 5,
    questions: Annotated[
        int, typer.Option(min=16, max=128, help="How many of the built-in questions to ask.")
    ] = 112,
    temperature: Annotated[float, typer.Option(min=0, help="Temperature of every expert.")] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of sampling, split and clustering.")] = 0,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="Folder or GGUF file of another language model.", show_default=False),
    ] = None,
    json: common.Json = False,
) -> None:
    """Run the whole recipe on real models: calibrate, fit, evaluate, route, sample, vote.

    Three experts answer built-in questions of four kinds. Each expert is SmolLM2-135M-Instruct under worked
    examples of its own. Needs no hub, no key and no GPU once installed.
    """
    # Spinning threads make torch slow on a machine that does other work too. torch reads this once, when it loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from langchain_avengers.cli.bars import Bars
    from langchain_avengers.quickstart.experts import experts as make_experts
    from langchain_avengers.quickstart.questions import questions as built_in
    from langchain_avengers.quickstart.run import run
    from langchain_avengers.routing.embeddings import default_embeddings, embeddings_name

    started = time.perf_counter()
    seconds: dict[str, float] = {}
    asked = built_in(questions)
    experts = make_experts(
        weights=None if weights is None else str(weights), temperature=temperature, seed=seed
    )

    with _timed("load the embedder", seconds):
        embeddings = default_embeddings()
    with _timed("load the language model", seconds):
        model = next(iter(experts.values())).language_model
    output.note(f"        embedder {embeddings_name(embeddings)}")
    output.note(
        f"        {len(experts)} experts on {model.name}, {model.parameters / 1e6:.0f} million parameters"
    )
    done = f"calibrate on {len(asked)} questions, {n_samples} answers of each expert; fit and evaluate"
    with _timed(done, seconds, live=False), output.notes():
        result = run(
            experts, asked, embeddings, n_samples=n_samples, seed=seed, watch=lambda run: Bars(run, json)
        )
        result.router.save(out)
        scores = out.with_name(f"{out.name}-scores.jsonl")
        result.table.write(scores)

    if not json:
        output.print_rich(result.evaluation)
        _print_voting(result, n_samples)
    with _timed("answer a question", seconds, say=False):
        demo = _answer(result.router, dict(experts), result.held_out[0], n_samples, quiet=json)
    total = time.perf_counter() - started
    if json:
        seconds["total"] = total
        files = {"router": out, "table": scores}
        output.print_json({**result.to_dict(), "demo": demo, "seconds": seconds, **files})
        return
    output.say(f"\n{total:.0f} s in all. Router: {out}; scores: {scores}. Next:\n")
    output.say(f'  avengers route {out} "What is 8 + 9?" "What is the capital of Turkey?"')
    output.say(f"  avengers route {out} --explain \"What is the opposite of 'cold'?\"")
    output.say(f"  avengers inspect {out}")
    output.say(f"  avengers fit {scores} --out my-router")


@contextmanager
def _timed(what: str, seconds: dict[str, float], *, say: bool = True, live: bool = True) -> Iterator[None]:
    """Measure a step, and say on stderr that it runs and how long it took."""
    live = live and say and sys.stderr.isatty()
    if live:
        typer.echo(f"  … {what}", err=True, nl=False)
    started = time.perf_counter()
    yield
    seconds[what] = round(time.perf_counter() - started, 2)
    if say:
        typer.echo(("\r" if live else "") + f"{seconds[what]:5.1f} s  {what}", err=True)


def _print_voting(result: QuickstartResult, n_samples: int) -> None:
    tasks = [part.name for part in result.evaluation.tasks]
    rows: list[list[str]] = []
    for name, voted in result.voting.items():
        single = result.evaluation[name]
        rows.append([name, f"{single.avg_acc.value:.1%}", *(f"{single.tasks[task]:.0%}" for task in tasks)])
        rows.append([f"{name}, voting", f"{voted['all']:.1%}", *(f"{voted[task]:.0%}" for task in tasks)])
    output.print_table(
        ["", "all", *tasks],
        rows,
        title=f"One answer, and a majority vote of {n_samples}, on the same questions",
    )


def _answer(
    router: ClusterRouter, models: dict[str, ChatExpert], question: str, n_samples: int, *, quiet: bool
) -> dict[str, Any]:
    """Answer a question by the graph, printing each node's work as it is done."""
    from langchain_core.messages import HumanMessage

    from langchain_avengers.pipeline.graph import create_avengers_graph
    from langchain_avengers.pipeline.state import Input

    graph = create_avengers_graph(router, models, n_samples=n_samples)
    done: dict[str, Any] = {"question": question}
    if not quiet:
        output.say(f"\nOne question through the graph: {question}")
    shown = ["vector", "samples", "decision", "vote", "answer"]
    given = Input(messages=[HumanMessage(question)])
    for update in graph.stream(given, stream_mode="updates", output_keys=shown):
        for node, state in update.items():
            line = _describe(node, state, done)
            if not quiet:
                output.say(f"  {node:7} {line}")
    return done


def _describe(node: str, state: dict[str, Any], done: dict[str, Any]) -> str:
    """One node's work in one line; what is worth keeping goes into `done`."""
    if node == "embed":
        return f"{len(state['vector'])} dimensions"
    if node == "route":
        decision = done["decision"] = state["decision"]
        scores = ", ".join(f"{row['name']} {row['score']:.2f}" for row in decision["ranking"])
        where = " and ".join(f"cluster {cluster}" for cluster, _ in decision["clusters"]) or "novel"
        return f"{where}: {scores}"
    if node == "sample":
        drawn = done["samples"] = [sample["message"].text for sample in state["samples"]]
        return f"{done['decision']['chosen'][0]}: {', '.join(shorten(text, 24) or '(nothing)' for text in drawn)}"
    vote = done["vote"] = state["vote"]
    done["answer"] = state["answer"].text
    tally = ", ".join(f"{each['value']} × {each['count']}" for each in vote["tally"])
    return f"{tally or 'no answer'} -> {done['answer']} (confidence {vote['confidence']:.2f})"
