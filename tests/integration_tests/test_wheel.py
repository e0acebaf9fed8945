"""The package as people get it: the wheel's contents, its metadata, and what works without any extra."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXTRAS = ["sentence_transformers", "torch", "matplotlib", "jinja2", "pyarrow", "pandas", "math_verify"]
EXTRAS += ["langchain", "ray", "datasets", "starlette", "uvicorn", "prometheus_client", "opentelemetry"]

WITHOUT_EXTRAS = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name in {extras!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NotInstalled())
import langchain_avengers as package
assert package.__file__.startswith({folder!r}), package.__file__
for name in package.__all__:
    if name != "AvengersMiddleware":
        getattr(package, name)
from tests_embedder import Embedder
rows = [{{"query": f"What is {{i}} plus 3?", "scores": {{"a": 1, "b": 0}}}} for i in range(12)]
router = package.ClusterRouter().fit(package.ScoreTable.from_rows(rows), Embedder())
assert router.route("What is 7 plus 3?").chosen == ("a",)
from langchain_avengers.cli import main
sys.argv = ["avengers", *sys.argv[1:]]
main()
"""

EMBEDDER = """
from langchain_core.embeddings import DeterministicFakeEmbedding
def Embedder():
    return DeterministicFakeEmbedding(size=8)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for needed in ("build", "hatchling"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=out)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (folder / "tests_embedder.py").write_text(EMBEDDER, encoding="utf-8")
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line of the unpacked wheel, with no extra's package to be found."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS.format(extras=EXTRAS, folder=str(folder)), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.split("/")[0] for name in names}
    assert folders == {"langchain_avengers", next(name for name in folders if name.endswith(".dist-info"))}
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "langchain_avengers").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if name.startswith("langchain_avengers/")} == package
    assert {"langchain_avengers/py.typed", "langchain_avengers/evaluation/templates/report.html"} <= package


def test_the_metadata_is_what_an_index_wants(wheel: Path) -> None:
    pytest.importorskip("twine")
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", str(wheel)], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    archive = zipfile.ZipFile(wheel)
    metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    fields = message_from_bytes(archive.read(metadata))
    assert fields["License-Expression"] == "MIT"
    assert {"local", "agents", "math", "plots", "parquet", "serve", "docs"} <= set(
        fields.get_all("Provides-Extra", [])
    )
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {fields['Version']}\n" in citation


def test_without_extras_a_router_is_fitted_and_asked(installed: Path) -> None:
    done = run(installed, "--version")
    assert done.returncode == 0, done.stderr


def test_a_command_that_needs_an_extra_names_it(installed: Path) -> None:
    done = run(installed, "serve", "router", "--pool", "pool.yaml")
    assert done.returncode != 0
    assert "pip install 'langchain-avengers[serve]'" in " ".join(done.stderr.split())
