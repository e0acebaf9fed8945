"""What a router learns from feedback on the asked model alone: MMLU-Pro as a stream of queries.

A router that is fitted on few rows serves, explores a little, and learns after every 500 judged queries. Beside it: the
same router without learning, and one fitted on the full labels of all rows that went by.
"""

from __future__ import annotations

import hashlib
import os
import sys

import numpy as np
from langchain_core.embeddings import Embeddings

from benchmarks.common import data, print_table, save_result
from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.serving.exploring import chances
from langchain_avengers.serving.learning import learn
from langchain_avengers.serving.store import JudgedRequest

SMALL = (
    "Meta-Llama-3_1-8B-Instruct", "mathstral-7B", "Phi-3-mini-4k-instruct", "Meta-Llama-3_1-8B", "Meta-Llama-3-8B",
    "gemma-7b", "Mistral-7B-v0.1", "Mistral-7B-v0.2-hf", "Mistral-7B-Instruct-v0.2", "Yi-6b-Chat", "Qwen1.5-7B-Chat",
    "Yi-6B", "Mistral-7B-Instruct-v0.1", "Llama-2-7b-hf",
)  # fmt: skip
START, STREAM, EVERY, EXPLORE = 500, 3000, 500, 0.1


class Known(Embeddings):
    """The vectors that stand beside the table."""

    def __init__(self, vectors: dict[str, np.ndarray]) -> None:
        self.vectors = vectors

    def embed_query(self, text: str) -> list[float]:
        # The probe and other texts that are no queries get a vector of their own.
        seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest())
        found = self.vectors.get(text)
        return (np.random.default_rng(seed).standard_normal(384) if found is None else found).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


def _learned(seed: int, table: ScoreTable, embeddings: Known) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(table))
    start, stream = order[:START], order[START : START + STREAM]
    test = table.select_rows(order[START + STREAM :])
    vectors = np.array(embeddings.embed_documents(test.queries), dtype=np.float32)

    def accuracy(router: ClusterRouter) -> float:
        chosen = router.choose(vectors)
        columns = [test.models.index(name) for name in router.models_]
        return 100 * float(np.mean(test.scores[np.arange(len(test)), np.array(columns)[chosen]]))

    first = ClusterRouter(random_state=seed).fit(table.select_rows(start), embeddings)
    router, judged = first, list[JudgedRequest]()
    learned, served, accepted = [accuracy(first)], [], 0
    for number, row in enumerate(stream.tolist()):
        query = table.queries[row]
        decision = router.route(query)
        ranking = [{"name": r.name, "score": r.score, "stderr": r.stderr} for r in decision.ranking]
        odds = chances(ranking, decision.chosen[0], EXPLORE)
        model = str(rng.choice(list(odds), p=np.array(list(odds.values()))))
        score = float(table.scores[row, table.models.index(model)])
        served.append(score)
        judged.append(JudgedRequest(str(row), query, model, max(odds[model], 1e-3), score, (row,)))
        if (number + 1) % EVERY == 0:
            router, lesson = learn(router, judged, seed=number)
            accepted += lesson.accepted
            if lesson.accepted:
                judged = []
            learned.append(accuracy(router))
    full = ClusterRouter(random_state=seed).fit(
        table.select_rows(np.concatenate([start, stream])), embeddings
    )
    single = 100 * float(np.nanmax(np.nanmean(test.scores, axis=0)))
    return {
        "best single": [single], "without learning": [accuracy(first)], "learned": learned,
        "fitted on full labels": [accuracy(full)], "served": [100 * float(np.mean(served))], "accepted": [accepted],
    }  # fmt: skip


def main(seeds: int = 3) -> None:
    table = ScoreTable.read(data("mmlu_pro", "rows.jsonl")).select_models(SMALL)
    vectors = np.load(data("mmlu_pro", "minilm.npy")).astype(np.float32)
    embeddings = Known(dict(zip(table.queries, vectors, strict=True)))
    runs = [_learned(seed, table, embeddings) for seed in range(seeds)]
    mean = {name: np.mean([run[name] for run in runs], axis=0).tolist() for name in runs[0]}
    print_table(
        f"MMLU-Pro, {len(SMALL)} models, {START} rows to begin with, {STREAM} queries with feedback, {seeds} seeds",
        ["", "accuracy, %"],
        [[name, " ".join(f"{value:.2f}" for value in values)] for name, values in mean.items()],
    )
    save_result("learning", {"mean": mean, "runs": runs, "start": START, "stream": STREAM, "explore": EXPLORE,
                             "load": os.getloadavg()[0]})  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
