"""A store on a full disk, in a folder that cannot be written, damaged, or given another dataset."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from langchain_core.language_models import FakeListChatModel

from langchain_avengers import calibrate
from langchain_avengers.calibration.store import FILE, Store
from langchain_avengers.errors import CalibrationError

QUESTIONS = [{"query": f"q{i}", "answer": "x"} for i in range(200)]
SCRIPT = """
import json, sys
from langchain_core.language_models import FakeListChatModel
from langchain_avengers import calibrate
from langchain_avengers.errors import CalibrationError
try:
    table = calibrate({"m": FakeListChatModel(responses=["x" * 2000])}, json.load(sys.stdin), out=sys.argv[1])
except CalibrationError as error:
    sys.exit(str(error))
"""


def run(out: Path, first: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(out)], input=json.dumps(QUESTIONS), text=True, capture_output=True,
        preexec_fn=first, timeout=100,
    )  # fmt: skip


def test_on_a_full_disk_the_run_says_so_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    limited = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))  # noqa: E731
    full = run(tmp_path / "s", limited)
    assert full.returncode == 1
    assert full.stderr.splitlines()[-1].startswith(f"{tmp_path / 's' / FILE}: cannot be written: ")
    assert "Traceback" not in full.stderr
    stored = Store(tmp_path / "s").read("SELECT count(*) FROM samples WHERE answer IS NOT NULL")[0][0]
    assert 0 < stored < len(QUESTIONS)
    assert run(tmp_path / "s").returncode == 0
    with Store(tmp_path / "s") as store:
        (status,) = store.status()
        assert (status.graded, status.attempts["answered"]) == (len(QUESTIONS), len(QUESTIONS))


def test_a_damaged_store_is_one_line(tmp_path: Path) -> None:
    model = {"m": FakeListChatModel(responses=["x"])}
    calibrate(model, QUESTIONS, out=tmp_path)
    path = tmp_path / FILE
    whole = path.read_bytes()
    for damaged in (
        whole[: len(whole) // 2],
        whole[:4096] + b"\xa5" * (len(whole) - 4096),
        b"",
        b"SQLite format 3\0",
    ):
        path.write_bytes(damaged)
        for side in ("-wal", "-shm"):
            path.with_name(FILE + side).unlink(missing_ok=True)
        if not damaged:  # as if it were new
            assert len(calibrate(model, QUESTIONS, out=tmp_path)) == len(QUESTIONS)
            continue
        with pytest.raises(CalibrationError, match=r"calibration\.sqlite: ") as told:
            calibrate(model, QUESTIONS, out=tmp_path)
        assert "\n" not in str(told.value)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CalibrationError, match="is a file; name a folder"):
        Store(tmp_path / "file")
    with pytest.raises(CalibrationError, match="cannot be written: Not a directory"):
        Store(tmp_path / "file" / "below")
    with pytest.raises(CalibrationError, match=r"/proc/avengers: cannot be written: "):
        Store("/proc/avengers")


def test_a_changed_label_needs_a_regrading_and_a_question_twice_is_two(tmp_path: Path) -> None:
    model = {"m": FakeListChatModel(responses=["x"])}
    assert len(calibrate(model, [QUESTIONS[0], QUESTIONS[0]], out=tmp_path)) == 2
    assert len(calibrate(model, QUESTIONS[1::-1], out=tmp_path)) == 2  # another order, and one question more
    changed = [{**QUESTIONS[0], "answer": "y"}, QUESTIONS[1]]
    with pytest.raises(CalibrationError, match="question 1 differs from the one graded before"):
        calibrate(model, changed, out=tmp_path)
    assert calibrate(model, changed, out=tmp_path, regrade=True).scores.tolist() == [[0.0], [1.0]]
    with Store(tmp_path) as store:
        assert store.status()[0].attempts == {"answered": 3}
