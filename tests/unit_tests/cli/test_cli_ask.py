"""Bad usage of `avengers ask`; answers are in the integration tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit_tests.cli.conftest import Run

SUM = "What is 2 plus 5?"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "give the models by --pool FILE or by --model"),
        (["--model", "calc"], "--model is 'calc'"),
        (["--pool", "p", "--model", "a=b:c"], "give the models by --pool FILE or by --model"),
        (["--pool", "p", "--strategy", "guess"], "--strategy is 'guess'; give one of direct,"),
        (["--pool", "p", "--voter", "dice"], "--voter is 'dice'; give one of auto,"),
        (["--pool", "p", "--strategy", "escalate"], "needs --escalate-to"),
        (["--pool", "p", "--voter", "judge"], "needs --judge"),
        (["--pool", "p", "--n-samples", "0"], "--n-samples"),
    ],
)
def test_ask_bad_usage(run: Run, tmp_path: Path, args: list[str], says: str) -> None:
    outcome = run("ask", tmp_path, SUM, *args)
    assert outcome.code == 2
    assert outcome.err.startswith("avengers ask: ")
    assert says in outcome.err
    assert outcome.err.count("\n") == 1


def test_ask_names_a_wrong_pool_file(run: Run, router: Path, tmp_path: Path) -> None:
    outcome = run("ask", router, SUM, "--pool", tmp_path / "none.yaml")
    assert outcome.code == 1
    assert outcome.err == f"avengers: {tmp_path}/none.yaml: cannot be read: No such file or directory\n"
