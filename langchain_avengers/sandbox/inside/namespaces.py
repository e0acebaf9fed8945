"""Build a jail as bubblewrap does, where bubblewrap is not installed, and become its first process.

A script of its own, run outside the jail: it leaves the caller's namespaces, builds a root that holds the files it is
told and nothing else, and starts the command that it is told in there. Needs root, or unprivileged user namespaces.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_NO_NEW_PRIVS = 38
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}.get(os.uname().machine, -1)

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Build the jail and become the keeper's parent: it ends when the keeper does."""
    job: dict[str, Any] = json.loads(sys.argv[1])
    leave()
    keeper = os.fork()  # a process namespace holds the children of who made it
    if keeper == 0:
        os.setsid()
        build(job)
        _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        os.execve(job["run"][0], job["run"], {"LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", "")})
    os.close(0)
    os.waitpid(keeper, 0)


def leave() -> None:
    """Leave the caller's namespaces; who is not root needs a user namespace for the right to."""
    flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", flags if uid == 0 else flags | CLONE_NEWUSER)
    if uid != 0:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def build(job: dict[str, Any]) -> None:
    """Make a root of these files, read-only but for the scratch folder, and go there."""
    root = job["root"]
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m")
    for kind, source, target in job["tree"]:
        _place(kind, source, root + target)
    os.makedirs(root + job["scratch"])
    limits = f"mode=1777,size={job['disk']},nr_inodes=8192"
    _mount("tmpfs", root + job["scratch"], "tmpfs", MS_NOSUID | MS_NODEV, limits)
    os.symlink(job["scratch"], root + "/tmp")
    _mount(None, root, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.chdir(root)
    _call("syscall", PIVOT_ROOT, b".", b".")
    _call("umount2", b".", MNT_DETACH)  # the old root
    os.chdir(job["scratch"])


def _place(kind: str, source: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if kind == "link":
        os.symlink(source, target)
        return
    if kind == "empty":
        _mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV | MS_RDONLY, "mode=755,size=4k")
        return
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        open(target, "w").close()
    # Folders that are mounted inside it do not come along.
    _mount(source, target, None, MS_BIND)
    if kind == "bind":
        _mount(None, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind, data)]
    _call("mount", *texts[:3], ctypes.c_ulong(flags), texts[3])


def _call(name: str, *arguments: Any) -> None:
    if getattr(libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


if __name__ == "__main__":
    main()
