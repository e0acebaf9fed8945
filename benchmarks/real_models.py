"""The quickstart's small models behind a real HTTP server: calibrate, fit, and judge on questions held out.

`python benchmarks/real_models.py [LIMIT]`: a server process holds the models and speaks the OpenAI protocol;
`avengers calibrate` asks them over HTTP as it would any other server. 256 questions: the quickstart's 128 and as
many more of the same four kinds.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import print_table, save_result

if TYPE_CHECKING:
    from langchain_avengers.quickstart.questions import LabelledRow

SAMPLES = 3
BATCH = 16

# Beside the quickstart's own; like those, none is among the experts' worked examples.
SUMS = """
1+1 1+9 2+4 2+6 3+6 3+8 4+5 4+8 5+10 5+8 6+2 6+9 7+4 7+6 8+1 8+9
9+3 9+7 1+6 2+9 10+7 11+3 12+8 14+2 16+3 18+1 20+20 25+4 30+5 40+10 13+13 15+5
"""
CAPITALS = {
    "Afghanistan": "Kabul", "Albania": "Tirana", "Algeria": "Algiers", "Armenia": "Yerevan", "Bangladesh": "Dhaka",
    "Bolivia": "La Paz|Sucre", "Croatia": "Zagreb", "Cyprus": "Nicosia", "Ecuador": "Quito", "Estonia": "Tallinn",
    "Ethiopia": "Addis Ababa", "Georgia": "Tbilisi", "Ghana": "Accra", "India": "New Delhi|Delhi",
    "Jordan": "Amman", "Latvia": "Riga", "Libya": "Tripoli", "Lithuania": "Vilnius", "Malaysia": "Kuala Lumpur",
    "Malta": "Valletta", "Mongolia": "Ulaanbaatar|Ulan Bator", "Nepal": "Kathmandu", "Nigeria": "Abuja",
    "Pakistan": "Islamabad", "Qatar": "Doha", "Romania": "Bucharest", "Scotland": "Edinburgh", "Senegal": "Dakar",
    "Serbia": "Belgrade", "South Korea": "Seoul", "Syria": "Damascus", "Turkey": "Ankara",
}  # fmt: skip
OPPOSITES = {
    "accept": "reject|refuse", "ancient": "modern|new", "arrive": "leave|depart", "black": "white",
    "brave": "cowardly|afraid|scared", "calm": "angry|excited|nervous", "begin": "end|finish",
    "correct": "incorrect|wrong",
    "cruel": "kind", "future": "past", "generous": "selfish|stingy|mean", "guilty": "innocent", "hungry": "full",
    "increase": "decrease", "male": "female", "maximum": "minimum", "more": "less|fewer", "most": "least",
    "narrow": "wide|broad", "north": "south", "odd": "even", "polite": "rude|impolite", "private": "public",
    "remember": "forget", "safe": "dangerous|unsafe", "sharp": "blunt|dull", "simple": "complex|complicated|difficult",
    "success": "failure", "thick": "thin", "victory": "defeat", "win": "lose", "yes": "no",
}  # fmt: skip
POSITIVE = (
    "The sea was warm and the beach spotless.", "A gripping story, I could not put it down.",
    "The battery lasts for days.", "Our waiter was a delight.", "Best purchase I have made this year.",
    "The children laughed all the way through.", "Crisp, light and full of flavour.",
    "A model of how support should be.",
    "Sturdy, handsome and cheap.", "The singer was magnificent.", "We felt at home from the first hour.",
    "It does exactly what it promises.", "The garden is a joy to sit in.", "Perfect fit and a gorgeous colour.",
    "I learned a lot and enjoyed it too.", "The finest museum in the city.",
)  # fmt: skip
NEGATIVE = (
    "The soup tasted of nothing.", "It stopped working within the hour.", "The driver was late and unfriendly.",
    "A dull film with wooden acting.", "I regret buying this.", "The bed was hard and the walls were thin.",
    "Half of the parts were missing.", "Nobody picked up the phone.", "The colours faded after one wash.",
    "The worst breakfast I have ever had.", "It scratches, it squeaks, it is useless.",
    "A boring book full of mistakes.",
    "The queue was endless and the ride was short.", "They charged us twice and never said sorry.",
    "The app crashes every time.", "Cold rooms and colder staff.",
)  # fmt: skip


def all_questions(limit: int | None) -> list[LabelledRow]:
    """The first `limit` questions, kinds taking turns."""
    from langchain_avengers.quickstart.questions import questions

    sums = [tuple(map(int, pair.split("+"))) for pair in SUMS.split()]
    reviews = [
        item
        for pair in zip(POSITIVE, NEGATIVE, strict=True)
        for item in zip(("positive", "negative"), pair, strict=True)
    ]
    kinds: list[list[LabelledRow]] = [
        [_row(f"What is {a} + {b}?", "sums", str(a + b)) for a, b in sums],
        [
            _row(f"What is the capital of {country}?", "capitals", names)
            for country, names in CAPITALS.items()
        ],
        [
            _row(f"What is the opposite of '{word}'?", "opposites", others)
            for word, others in OPPOSITES.items()
        ],
        [
            _row(f"Is this review positive or negative? {text}", "reviews", feeling)
            for feeling, text in reviews
        ],
    ]
    more = [question for turn in zip(*kinds, strict=True) for question in turn]
    return list({row["query"]: row for row in [*questions(), *more]}.values())[:limit]


def _row(query: str, task: str, answers: str) -> LabelledRow:
    return {"query": query, "task": task, "reference": answers.split("|")}


def serve() -> None:
    """Serve the experts on a free port; requests that come together are answered as one batch."""
    import socket

    import uvicorn
    from langchain_core.messages import HumanMessage
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from langchain_avengers.quickstart.experts import experts

    models = experts(seed=0)

    async def chat(request: Request) -> JSONResponse:
        body = await request.json()
        if body.get("model") not in models:
            return JSONResponse({"error": {"message": f"no model {body.get('model')!r}"}}, status_code=404)
        question = HumanMessage(body["messages"][-1]["content"])
        result = await models[body["model"]].agenerate([[question]], n=body.get("n") or 1)
        generations = result.generations[0]
        usage = generations[0].message.usage_metadata
        choices = [
            {
                "index": i,
                "finish_reason": generation.message.response_metadata["finish_reason"],
                "message": {"role": "assistant", "content": generation.message.content},
            }
            for i, generation in enumerate(generations)
        ]
        return JSONResponse({
            "id": "chatcmpl-0", "object": "chat.completion", "created": int(time.time()), "model": body["model"],
            "choices": choices,
            "usage": {"prompt_tokens": usage["input_tokens"], "completion_tokens": usage["output_tokens"],
                      "total_tokens": usage["total_tokens"]},
        })  # fmt: skip

    async def main() -> None:
        app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", flush=True)
        await uvicorn.Server(uvicorn.Config(app, log_level="error")).serve(sockets=[listener])

    asyncio.run(main())


def main(limit: int | None = None) -> None:
    from langchain_avengers import ClusterRouter, ScoreTable, evaluate
    from langchain_avengers.quickstart.experts import EXAMPLES

    asked = all_questions(limit)
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
        # With its threads spinning, torch crawls on a machine that does other work too.
        server = subprocess.Popen(
            [sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
        )  # fmt: skip
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            entries = {
                expert: {"base_url": url, "max_concurrency": BATCH, "timeout": 600.0} for expert in EXAMPLES
            }
            (folder / "pool.yaml").write_text(json.dumps({"models": entries}))  # JSON is YAML
            command = ["avengers", "calibrate", "pool.yaml", "questions.jsonl", "--grader", "exact",
                       "--samples", str(SAMPLES), "--out", "table"]  # fmt: skip
            started = time.perf_counter()
            program = [sys.executable, "-c", "from langchain_avengers.cli import main; main()", *command[1:]]
            subprocess.run(program, cwd=folder, check=True)
            seconds = time.perf_counter() - started
        finally:
            server.kill()
        table = ScoreTable.read(folder / "table" / "table.jsonl")
    load.append(os.getloadavg()[0])
    train, test = table.split(0.3, seed=0)
    router = ClusterRouter().fit(train)
    result = evaluate(router, test, calibration=train)
    lines = [
        {"name": line.name, "detail": line.detail, "kind": line.kind, "accuracy": line.avg_acc.value,
         "low": line.avg_acc.low, "high": line.avg_acc.high, "tasks": line.tasks}
        for line in result.results
    ]  # fmt: skip
    tasks = sorted(set(test.tasks or ()))
    print_table(
        f"{len(asked)} questions, {SAMPLES} samples each, {seconds:.0f} s; judged on {len(test)} held out",
        ["", "accuracy", *tasks],
        [[line["name"], 100 * line["accuracy"], *(100 * line["tasks"][t] for t in tasks)] for line in lines],
    )  # fmt: skip
    print(result.verdict)
    save_result(
        "real_models",
        {"command": "python benchmarks/real_models.py", "calibrate": " ".join(command), "questions": len(asked),
         "models": list(EXAMPLES), "samples": SAMPLES, "seconds": round(seconds, 1),
         "load": [round(x, 1) for x in load],
         "n_train": len(train), "n_test": len(test), "n_clusters": router.n_clusters_, "traffic": result.traffic,
         "verdict": result.verdict, "lines": lines, "evaluation": result.to_dict()},
    )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else None)
