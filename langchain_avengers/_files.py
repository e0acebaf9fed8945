"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Write a binary file in one step: a reader finds the old file or the new one, whole.

    The bytes go to a temporary file in the same folder, reach the disk (fsync) and take the name when the block ends.
    When the block raises, the old file stays and the temporary one is deleted. The process's umask sets the
    permissions, as for any new file. Missing folders are made.

    Raises:
        OSError: The folder cannot be made or written.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    # mode 0o666: the kernel takes the umask off, which tempfile's 0o600 would not leave to it
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(target.parent)


def write_whole(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write bytes, or text as UTF-8, in one step; see `replacing`."""
    with replacing(path) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)


def sync_folder(folder: Path) -> None:
    """Let a rename in the folder reach the disk; does nothing on systems without it."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
