"""A table and a router whose figures can be worked out by hand."""

import pytest

from langchain_avengers import ScoreTable
from tests.fakes import ScriptedRouter


@pytest.fixture
def table():
    """Six rows, two tasks. Task a (2 rows): x right on both. Task b (4 rows): y right on three, x on one."""
    return ScoreTable(
        [f"q{i}" for i in range(6)],
        ["x", "y"],
        [[1, 0], [1, 1], [0, 1], [1, 0], [0, 1], [0, 1]],
        tasks=["a", "a", "b", "b", "b", "b"],
        costs=[[0.04, 0.01]] * 6,
    )


@pytest.fixture
def router():
    """Chooses x in task a and y in task b, but for one mistake at row 3; cheap: y everywhere."""
    return ScriptedRouter(["x", "y"], [0, 0, 1, 1, 1, 1], [0.7, 0.6], [0, 0, 1, 1, 1, 1], cheap=[1] * 6)
