"""The Ray pipeline on a local Ray with two workers gives the local runner's table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from langchain_avengers._arrays import unit_rows
from langchain_avengers.calibration.questions import question_from
from langchain_avengers.calibration.ray_pipeline import answer_rows, embed_dataset, grade_dataset, table_of
from langchain_avengers.calibration.runner import acalibrate
from langchain_avengers.calibration.store import Store
from tests.openai_server import OpenAIServer

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROWS = [
    {"query": f"What is {i} + {i % 5}?", "answer": i + i % 5 + (i % 3 == 0), "task": f"t{i % 2}"}
    for i in range(40)
]


def fake_embeddings() -> Embeddings:
    return DeterministicFakeEmbedding(size=8)


@pytest.fixture(scope="module")
def local_ray() -> Iterator[Any]:
    import ray.data

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield ray.data
    ray.shutdown()


async def test_grading_gives_the_same_table(tmp_path: Path, local_ray: Any) -> None:
    with OpenAIServer() as server:
        models = {name: server.chat_model(name) for name in ("a", "b")}
        local = await acalibrate(models, ROWS, "number", out=tmp_path, samples=2)
    questions = {i: question_from(row) for i, row in enumerate(ROWS, 1)}
    rows = answer_rows(questions, list(Store(tmp_path).samples()))
    graded = grade_dataset(
        local_ray.from_items(rows, override_num_blocks=4), "number", workers=2, batch_size=16
    )
    table = table_of(graded)
    assert table.queries == local.queries
    assert table.models == local.models
    assert table.tasks == local.tasks
    assert np.array_equal(table.scores, local.scores)
    assert 0 < table.scores.mean() < 1
    assert table.answers is not None
    assert local.answers is not None
    assert table.answers.tolist() == local.answers.tolist()


def test_embedding_gives_the_same_vectors(local_ray: Any) -> None:
    texts = [row["query"] for row in ROWS]
    data = local_ray.from_items([{"query": text} for text in texts], override_num_blocks=4)
    rows = embed_dataset(data, fake_embeddings, workers=2, batch_size=7).take_all()
    by_text = {row["query"]: row["vector"] for row in rows}
    alone = unit_rows(fake_embeddings().embed_documents(texts))
    assert np.array_equal(np.array([by_text[text] for text in texts]), alone)
