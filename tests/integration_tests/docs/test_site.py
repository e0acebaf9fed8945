"""The site names what the package has, and builds without a warning."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import langchain_avengers

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def texts() -> list[str]:
    """Every text in the package's code; what an f-string fills in stands as …."""
    found = []
    for path in (ROOT / "langchain_avengers").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            found.append(
                "".join(
                    part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "…"
                    for part in parts
                )
            )
    return found


def test_the_reference_has_every_public_name() -> None:
    listed = {line.rsplit(".", 1)[1] for line in re.findall(r"^::: (\S+)$", read("api.md"), re.MULTILINE)}
    assert listed == {*langchain_avengers.__all__, "errors"}


def test_troubleshooting_quotes_messages_that_the_package_has() -> None:
    quoted = re.findall(r"^\| (`+) ?(.+?) ?\1 \|", read("troubleshooting.md"), re.MULTILINE)
    assert len(quoted) >= 25
    said = texts()
    for _, message in quoted:
        parts = [part.strip() for part in message.split("…")]
        assert any(all(part in text for part in parts) for text in said), message


def test_llms_txt_lists_every_page() -> None:
    listed = set(re.findall(r"\]\((\w+\.md)\)", read("llms.txt")))
    pages = {path.name for path in DOCS.glob("*.md")}
    assert listed == pages
    assert pages == set(re.findall(r": (\w+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocstrings")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        fetched = re.findall(
            r'<(?:script|img|link[^>]*stylesheet"|iframe)[^>]*(?:src|href)="(https?:[^"]*)', page.read_text()
        )
        assert not fetched, page
