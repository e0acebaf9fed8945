"""The page of strategies is drawn from the graphs as they are."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from langchain_avengers import create_avengers_graph
from langchain_avengers.pipeline.settings import STRATEGIES
from tests.fakes import FakeRouter, says

DOCS = Path(__file__).parents[3] / "docs"
PAGE = DOCS / "strategies.md"


def test_the_page_is_current() -> None:
    strategies_page = runpy.run_path(str(DOCS / "draw_strategies.py"))["strategies_page"]
    assert PAGE.read_text() == strategies_page(), (
        "write it anew: python docs/draw_strategies.py > docs/strategies.md"
    )
    for strategy in STRATEGIES:
        assert f"## `{strategy}`" in PAGE.read_text()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_is_an_edge_of_the_one_graph(strategy: str) -> None:
    models = {"sums": says("a"), "places": says("b")}
    router = FakeRouter()
    router.policy_ = object()
    graph = create_avengers_graph(
        router, models, strategy=strategy, escalate_to="places", min_samples=2
    ).get_graph()
    assert list(graph.nodes) == ["__start__", "embed", "route", "sample", "vote", "__end__"]
    edges = {(edge.source, edge.target): edge for edge in graph.edges}
    assert set(edges) == {
        ("__start__", "embed"),
        ("embed", "route"),
        ("route", "sample"),
        ("sample", "vote"),
        ("vote", "sample"),
        ("vote", "__end__"),
    }
    for ends in (("route", "sample"), ("vote", "sample"), ("vote", "__end__")):
        assert edges[ends].conditional
        assert edges[ends].data
    assert "<br>" not in graph.draw_mermaid()
    assert all(";" not in str(edge.data) for edge in graph.edges)
