"""Imports point one way, and importing the package is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "langchain_avengers"
BELOW = ("_arrays", "_compat", "_files", "_http", "_text", "errors", "pool", "providers", "weights")
ALLOWED = {
    "sandbox": set(),
    "routing": {"voting"},
    "voting": {"sandbox"},
    "pipeline": {"routing", "voting"},
    "calibration": {"pipeline", "routing", "sandbox", "voting"},
    "evaluation": {"pipeline", "routing", "voting"},
    "quickstart": {"evaluation", "calibration", "pipeline", "routing", "voting"},
    "serving": {"evaluation", "calibration", "pipeline", "routing", "voting"},
    "cli": {"serving", "quickstart", "evaluation", "calibration", "pipeline", "routing", "voting"},
}
FOREIGN = {
    "sandbox": {"langgraph", "langchain", "langchain_openai", "langchain_core", "numpy"},
    "routing": {"langgraph", "langchain", "langchain_openai"},
    "voting": {"langgraph", "langchain", "langchain_openai"},
}


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names.update(
                f"{node.module}.{alias.name}" if node.module == "langchain_avengers" else node.module
                for alias in node.names
            )
    return names


@pytest.mark.parametrize("part", ALLOWED)
def test_imports_point_one_way(part: str) -> None:
    files = sorted((PACKAGE / part).rglob("*.py"))
    assert files
    for path in files:
        for name in imports(path):
            top, *rest = name.split(".")
            assert top not in FOREIGN.get(part, ()), f"{path} imports {name}"
            if top == "langchain_avengers" and rest and (PACKAGE / rest[0]).is_dir():
                assert rest[0] == part or rest[0] in ALLOWED[part], f"{path} imports {name}"


def test_every_part_has_a_wall() -> None:
    parts = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert parts == set(ALLOWED)
    files = {path.stem for path in PACKAGE.glob("*.py")}
    assert files == {"__init__", *BELOW}


def test_importing_is_light() -> None:
    code = "import sys, langchain_avengers; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {
        "sklearn",
        "langgraph",
        "torch",
        "openai",
        "transformers",
        "numpy",
        "pandas",
        "langchain_core",
    }


def test_every_public_name_is_there() -> None:
    import langchain_avengers

    for name in langchain_avengers.__all__:
        assert getattr(langchain_avengers, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = langchain_avengers.Nothing
