"""Text of unknown origin, made fit to be shown on a terminal, in a log or in a table."""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"  # within words of some scripts and within emoji


def escape_controls(text: str, *, keep: str = "") -> str:
    r"""Show control characters as escapes, such as `\x1b` and `\u202e`, so that they have no effect.

    Escaped are control characters (terminal sequences among them), invisible formatting such as a change of the
    writing direction, line separators and lone surrogates.

    Args:
        text: Any string.
        keep: Characters that stay as they are, such as `"\n\t"`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character in keep
        or character in _JOINERS
        or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )


def well_formed(text: str) -> str:
    """The text with what is no character replaced: half of a surrogate pair, such as "\\ud83d", becomes "\\ufffd".

    Two halves that make one character together become that character. UTF-8, and so embedders, files and requests,
    have no place for a half.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def shorten(text: str, length: int | None = None) -> str:
    """The text on one line, without control characters, cut to `length` characters with "…" as the last."""
    line = escape_controls(" ".join(text.split()))
    return line if length is None or len(line) <= length else line[: length - 1].rstrip() + "…"
