"""A pool file in one step: models, prices, `n`, rates; the price of cached tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages.ai import UsageMetadata

from langchain_avengers import ChatAvengers, create_avengers_graph
from langchain_avengers.errors import PoolError
from langchain_avengers.pipeline.usage import account
from langchain_avengers.pool import Pool
from tests.fakes import FakeRouter

FILE = """
models:
  sums:
    base_url: http://127.0.0.1:1/v1
    price: {input: 1.0, output: 2.0, cached_input: 0.25}
    capabilities: [no-n]
    requests_per_minute: 600
  places:
    base_url: http://127.0.0.1:1/v1
    capabilities: [n]
  strong:
    model: strong-7b
    base_url: http://127.0.0.1:1/v1
    price: {input: 10.0, output: 20.0}
"""


@pytest.fixture
def file(tmp_path: Path) -> Pool:
    (tmp_path / "pool.yaml").write_text(FILE)
    return Pool.read(tmp_path / "pool.yaml")


def test_a_pool_file_is_a_pool(file: Pool) -> None:
    model = ChatAvengers(router=FakeRouter(), models=file, strategy="escalate", escalate_to="strong")
    assert list(model.models) == ["sums", "places"]
    assert model.prices == {"sums": (1.0, 2.0, 0.25), "strong-7b": (10.0, 20.0)}
    pooled = model._pipeline.models
    assert (pooled["sums"].takes_n, pooled["places"].takes_n) == (False, True)
    first: Any = pooled["sums"].model
    assert first.rate_limiter.requests_per_second == 10
    assert model._pipeline.escalate_to is not None
    assert model._pipeline.escalate_to.name == "strong-7b"


def test_what_the_caller_sets_wins(file: Pool) -> None:
    model = ChatAvengers(
        router=FakeRouter(), models=file, prices={"sums": (5.0, 5.0)}, sample_in_one_request={"sums": True}
    )
    assert model.prices == {"sums": (5.0, 5.0)}
    assert model._pipeline.models["sums"].takes_n


def test_a_graph_takes_a_pool_file_too(file: Pool) -> None:
    assert create_avengers_graph(FakeRouter(), file).get_graph()
    with pytest.raises(PoolError, match="the router's other has no model"):
        create_avengers_graph(FakeRouter("sums", "other"), file)


def test_cached_tokens_have_their_own_price() -> None:
    usage = UsageMetadata(
        input_tokens=1000, output_tokens=100, total_tokens=1100, input_token_details={"cache_read": 800}
    )
    call: Any = {"model": "m", "role": "sample", "asked": 1, "drawn": 1, "usage": usage, "error": None}
    assert account([call], prices={"m": (1.0, 2.0)})["cost"] == pytest.approx(1200e-6)
    told = account([call, call], prices={"m": (1.0, 2.0, 0.1)})
    assert told["cost"] == pytest.approx(2 * (200 * 1.0 + 800 * 0.1 + 100 * 2.0) / 1e6)
    assert told["usage"]["input_token_details"]["cache_read"] == 1600
