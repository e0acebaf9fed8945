"""What every part shares: array arithmetic, files written whole, text shown safely."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from langchain_avengers._arrays import known_mean, ratio, unit_rows
from langchain_avengers._files import replacing, write_whole
from langchain_avengers._text import escape_controls, shorten, well_formed


def test_means_leave_out_what_was_not_measured() -> None:
    values = np.array([[1.0, np.nan, np.nan], [0.5, 0.25, np.nan]], dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(known_mean(values, axis=0), [0.75, 0.25, np.nan])
        np.testing.assert_array_equal(known_mean(values, axis=1), [1.0, 0.375])
        assert known_mean(values) == pytest.approx(1.75 / 3)
        assert np.isnan(known_mean([]))
        np.testing.assert_array_equal(ratio(np.array([3.0, 1.0]), np.array([2.0, 0.0])), [1.5, np.nan])


def test_unit_rows_keep_a_row_of_zeros() -> None:
    units = unit_rows([[3, 4], [0, 0]])
    assert units.dtype == np.float32
    np.testing.assert_allclose(units, [[0.6, 0.8], [0, 0]])


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    write_whole(target, "älter")

    def fail() -> None:
        with replacing(target) as file:
            file.write(b"half")
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        fail()
    assert target.read_text(encoding="utf-8") == "älter"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_files_follow_the_umask_and_leave_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            # the umask belongs to the whole process: another thread's file would get the permissions of the moment
            patch.setattr(os, "umask", lambda mask: pytest.fail("os.umask was called"))
            write_whole(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_control_characters_are_shown_and_have_no_effect() -> None:
    assert escape_controls("plain, ünïcode, 👩‍💻") == "plain, ünïcode, 👩‍💻"
    assert escape_controls("a\x1b[31mred\x07\x9b\u202e\ud83d") == r"a\x1b[31mred\x07\x9b\u202e\ud83d"
    assert escape_controls("two\nlines\x00", keep="\n") == "two\nlines\\x00"


def test_a_line_is_cut_to_its_length() -> None:
    assert shorten(" two\n  words ") == "two words"
    assert shorten("two words", 9) == "two words"
    assert shorten("two words", 5) == "two…"
    assert shorten("\x1b[2J" * 3, 8) == r"\x1b[2J…"


def test_half_a_character_is_replaced() -> None:
    assert well_formed("ünï 👩‍💻") == "ünï 👩‍💻"
    assert well_formed("a\ud83d b") == "a\ufffd b"
    assert well_formed("\ud83d\udc69") == "👩"
