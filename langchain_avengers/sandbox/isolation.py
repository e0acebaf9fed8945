"""What keeps a program apart from this machine: which ways there are here, and the command that starts a jail.

`"namespaces"` is full isolation: no other process, no network, and of the files only the interpreter's standard
library and the system's libraries, read-only, beside an empty scratch folder in memory. bubblewrap builds it when it
is installed, the package's own `inside/namespaces.py` otherwise. `"uid"` is a lower level that has to be asked for by
name: as root without the right to make namespaces (some containers), a program runs as a user of its own among the
machine's files, and reads what everyone may read.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Literal

from langchain_avengers.errors import SandboxError

Level = Literal["namespaces", "uid"]

SCRATCH = "/scratch"
_PACKAGE = Path(__file__).parents[1]
_INSIDE = "langchain_avengers/sandbox/inside"
_CODE = "/code"
_PYTHON = "/python"

ADVICE = (
    "code cannot be run safely here: it needs Linux with libseccomp, and unprivileged user namespaces or root with the "
    "right to make namespaces; use such a system, or a virtual machine"
)


@functools.cache
def isolation() -> Level | None:
    """The highest level that this system allows, found by trying, once. None: no code can be run."""
    if ways("namespaces"):
        return "namespaces"
    return "uid" if ways("uid") else None


def require(level: Level) -> str:
    """The way to build a jail of at least this level.

    Raises:
        SandboxError: This system does not allow it, or `level` is none.
    """
    if level not in ("namespaces", "uid"):
        raise SandboxError(f'level={level!r}: takes "namespaces" or "uid"')
    found = ways("namespaces") or (ways("uid") if level == "uid" else ())
    if found:
        return found[0]
    if level == "namespaces" and ways("uid"):
        raise SandboxError(
            f"{ADVICE}. As root there is a lower level, which must be asked for by its name: "
            '"uid" (--code-isolation uid). Programs then run as another user, without a network, '
            "but can read every file that everyone may read"
        )
    raise SandboxError(ADVICE)


@functools.cache
def ways(level: str) -> tuple[str, ...]:
    """The ways in which this system can build a jail of a level: of `"bubblewrap"`, `"own"`, and `"uid"`."""
    from langchain_avengers.sandbox.jail import works

    if not sys.platform.startswith("linux"):
        return ()
    if level == "uid":
        return ("uid",) if os.geteuid() == 0 and works("uid") else ()
    for way in ("bubblewrap", "own"):
        if (way != "bubblewrap" or shutil.which("bwrap")) and works(way):
            return (way,)
    return ()


def command(way: str, *, disk: int, folder: str) -> list[str]:
    """The command whose process becomes the keeper of a jail.

    Args:
        way: See `ways`.
        disk: Bytes of the scratch folder.
        folder: An empty folder: where `"own"` builds the jail's root, and the scratch folder of `"uid"`.
    """
    if way == "uid":
        return [sys.executable, *_start(str(_PACKAGE.parent))]
    inner = [f"{_PYTHON}/bin/python", *_start(_CODE)]
    if way == "bubblewrap":
        return [str(shutil.which("bwrap")), *_bubblewrap(disk), "--", *inner]
    job = {"root": folder, "scratch": SCRATCH, "disk": disk, "tree": _tree(), "run": inner}
    script = _PACKAGE.parent / _INSIDE / "namespaces.py"
    return [sys.executable, "-I", "-S", "-B", str(script), json.dumps(job)]


def environment(way: str) -> dict[str, str]:
    """What a jail's first process finds in its environment: where its libraries are, nothing else."""
    return {} if way == "uid" else {"LD_LIBRARY_PATH": f"{_PYTHON}/lib"}


def _start(path: str) -> list[str]:
    module = _INSIDE.replace("/", ".")
    code = f"import sys; sys.path.insert(0, {path!r}); from {module} import keeper; keeper.main()"
    return ["-I", "-S", "-B", "-X", "utf8", "-c", code]


def _bubblewrap(disk: int) -> list[str]:
    options = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    options += ["--as-pid-1", "--new-session", "--clearenv"]
    for name, value in environment("bubblewrap").items():
        options += ["--setenv", name, value]
    if (
        os.geteuid() == 0
    ):  # no user namespace is needed; the keeper gives its rights up when it has changed its user
        options += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        options += ["--unshare-user"]
    made = {"/"}
    for kind, source, target in _tree():
        for parent in map(str, reversed(Path(target).parents)):
            if parent not in made:  # one that bubblewrap makes on its way would be closed to other users
                options += ["--dir", parent]
        made |= {target, *map(str, Path(target).parents)}
        options += {
            "bind": ["--ro-bind", source, target],
            "device": ["--dev-bind", source, target],
            "link": ["--symlink", source, target],
            "empty": ["--size", "4096", "--tmpfs", target, "--remount-ro", target],
        }[kind]
    options += ["--perms", "1777", "--size", str(disk), "--tmpfs", SCRATCH, "--symlink", SCRATCH, "/tmp"]
    return [*options, "--remount-ro", "/", "--chdir", SCRATCH]


@functools.cache
def _tree() -> tuple[tuple[str, str, str], ...]:
    """The files of a jail, as (kind, source, target): "bind" (read-only), "device", "link", or "empty" to hide one."""
    tree: list[tuple[str, str, str]] = []
    for path in ("/usr/lib", "/usr/lib64", "/usr/lib32", "/lib", "/lib64", "/lib32", "/usr/share/zoneinfo"):
        if os.path.islink(path):
            tree.append(("link", os.readlink(path), path))
        elif os.path.isdir(path):
            tree.append(("bind", path, path))
    stdlib = Path(os.path.realpath(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix})))
    base = stdlib.parents[1]  # PREFIX/lib/python3.x
    inner = Path(_PYTHON) / stdlib.relative_to(base)
    if base == Path("/usr"):
        tree.append(("bind", str(stdlib), str(inner)))
    else:
        tree.append(("bind", str(stdlib.parent), str(inner.parent)))
    tree.append(("bind", os.path.realpath(sys.executable), f"{_PYTHON}/bin/python"))
    # Packages that are installed beside the standard library are nobody's business in there.
    installed = [(stdlib / "site-packages", inner / "site-packages")]
    installed += [(path, path) for path in Path("/usr/lib").glob("python3*/*-packages")]
    tree += [("empty", "", str(target)) for source, target in installed if source.is_dir()]
    tree.append(("bind", str(_PACKAGE.parent / _INSIDE), f"{_CODE}/{_INSIDE}"))
    if os.path.exists("/etc/ld.so.cache"):
        tree.append(("bind", "/etc/ld.so.cache", "/etc/ld.so.cache"))
    return (
        *tree,
        *(("device", f"/dev/{name}", f"/dev/{name}") for name in ("null", "zero", "urandom", "random")),
    )
