"""Hostile answers, in every way a jail is built here and by every user, under a hard cap on processes."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from langchain_avengers.sandbox.isolation import isolation
from tests.integration_tests.sandbox.hostile import FORGED, HOSTILE, PROBES

pytestmark = [
    pytest.mark.skipif(isolation() != "namespaces", reason="this kernel allows no namespaces here"),
    pytest.mark.timeout(600),
]

ROOT = Path(__file__).parents[3]
NOBODY = 65534
ASSERTS = "assert abs(double(2) - 4) < 1e-6 and isinstance(double(2), int) and double(3) == 6"
CASES = """
import unittest
class T(unittest.TestCase):
    def test(self):
        self.assertEqual(double(2), 4)
        self.assertEqual(double(3), 6)
if __name__ == "__main__":
    unittest.main()
"""
RUN = """
import json, sys, time
from langchain_avengers.errors import SandboxError
from langchain_avengers.sandbox.sandbox import Sandbox
with Sandbox(timeout=1).open(sys.argv[1]) as session:
    for name, program, tests in json.load(sys.stdin):
        outcome = session.test(program, tests)
        print(json.dumps([name, outcome.passed, outcome.detail]), flush=True)
"""


def _users() -> list[str]:
    return ["root", "nobody"] if os.geteuid() == 0 else ["oneself"]


@pytest.fixture(scope="module")
def capped() -> Iterator[Callable[[], None]]:
    """What a child process runs first: at most 300 processes for it and all it starts, whatever happens."""
    folder = next(
        (f for f in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup") if os.path.exists(f"{f}/cgroup.procs")), ""
    )
    group = Path(folder) / f"avengers-{uuid.uuid4().hex[:8]}"
    try:
        group.mkdir()
        (group / "pids.max").write_text("300")
    except OSError:
        if os.getuid() == 0:
            pytest.skip("no hard cap on processes can be set here: root, and no cgroup to write")
        yield lambda: resource.setrlimit(resource.RLIMIT_NPROC, (2000, 2000))
        return
    try:
        yield lambda: (group / "cgroup.procs").write_text(str(os.getpid())) and None
        assert (group / "cgroup.procs").read_text() == "", "processes were left behind"
    finally:
        group.rmdir()


def _interpreter(user: str) -> str:
    """A Python that this user may run."""
    if user != "nobody":
        return sys.executable
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        done = subprocess.run(
            [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], user=NOBODY, group=NOBODY,
            extra_groups=[], cwd="/", capture_output=True,
        ) if os.path.exists(python) and _reachable(python) else None  # fmt: skip
        if done is not None and done.returncode == 0:
            return python
    pytest.skip("no Python 3.11 here that another user may run")


def _reachable(path: str) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in Path(os.path.realpath(path)).parents)


@pytest.fixture(scope="module")
def package() -> Iterator[Path]:
    """A copy of the package that every user may read; not in pytest's folder, which pytest closes to others."""
    import pyseccomp

    folder = Path(tempfile.mkdtemp(prefix="avengers-package-"))
    shutil.copytree(ROOT / "langchain_avengers", folder / "langchain_avengers")
    shutil.copy(pyseccomp.__file__, folder)
    for part in (folder, *folder.rglob("*")):
        part.chmod(0o755 if part.is_dir() else 0o644)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(
    scope="module", params=[(user, way) for user in _users() for way in ("bubblewrap", "own")], ids="-".join
)
def outcomes(
    request: pytest.FixtureRequest, capped: Callable[[], None], package: Path
) -> dict[str, tuple[bool, str]]:
    """How every hostile program ended, run in one session by one process."""
    user, way = request.param
    if way == "bubblewrap" and not shutil.which("bwrap"):
        pytest.skip("bubblewrap is not installed")
    jobs = [(f"hostile {name}", program, "") for name, program in HOSTILE.items()]
    for kind, tests in (("asserts", ASSERTS), ("cases", CASES)):
        jobs += [(f"{kind} {name}", program, _with_runner(tests)) for name, program in FORGED.items()]
    jobs += [(f"probe {name}", _probe(statement), "") for name, statement in PROBES.items()]
    jobs += [("honest", "double = lambda x: 2 * x", ASSERTS)]
    python, path, before = _interpreter(user), str(ROOT), list[str]()
    if user == "nobody":  # it may not read where the package is
        path, before = str(package), ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    done = subprocess.run(
        [*before, python, "-c", RUN, way], input=json.dumps(jobs), text=True, capture_output=True, timeout=500, cwd="/",
        preexec_fn=capped, env={"PYTHONPATH": path, "PATH": os.environ["PATH"], "SECRET_WORD": "open-sesame"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ended = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: (passed, detail) for name, passed, detail in ended}


def _with_runner(tests: str) -> str:
    from langchain_avengers.calibration.code import program
    from langchain_avengers.calibration.questions import question_from

    checks: Any = program(question_from({"query": "q", "tests": tests}), "")[1]
    return str(checks)


def _probe(statement: str) -> str:
    indented = statement.replace("\n", "\n    ")
    return f"try:\n    {indented}\nexcept OSError:\n    pass\nelse:\n    raise SystemExit('got through')"


def test_every_hostile_answer_fails_and_says_why(outcomes: dict[str, tuple[bool, str]]) -> None:
    ended = {name: outcome for name, outcome in outcomes.items() if name.startswith("hostile ")}
    assert len(ended) == len(HOSTILE) > 40
    assert [name for name, (passed, detail) in ended.items() if passed or not detail] == []


@pytest.mark.parametrize("tests", ["asserts", "cases"])
def test_no_forger_passes(outcomes: dict[str, tuple[bool, str]], tests: str) -> None:
    ended = {name: outcome for name, outcome in outcomes.items() if name.startswith(f"{tests} ")}
    assert len(ended) == len(FORGED) > 50
    assert [name for name, (passed, detail) in ended.items() if passed or "found" in detail] == []


def test_every_probe_is_refused(outcomes: dict[str, tuple[bool, str]]) -> None:
    ended = {name: outcome for name, outcome in outcomes.items() if name.startswith("probe ")}
    assert len(ended) == len(PROBES) > 50
    assert {name: detail for name, (passed, detail) in ended.items() if not passed} == {}


def test_the_sandbox_still_serves_the_honest(outcomes: dict[str, tuple[bool, str]]) -> None:
    assert outcomes["honest"] == (True, "")
