"""The JavaScript client of OpenAI. `AVENGERS_NODE` names a folder where `npm install openai` was run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration_tests.serving.conftest import Serve

FOLDER = os.environ.get("AVENGERS_NODE")


@pytest.mark.skipif(
    not (FOLDER and shutil.which("node")), reason="needs node, and AVENGERS_NODE: a folder with npm's openai"
)
def test_the_javascript_client(serve: Serve) -> None:
    script = Path(__file__).with_name("client.mjs")
    done = subprocess.run(
        ["node", str(script), serve().url], cwd=FOLDER, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "all good\n", done.stderr
