"""A process of its own that compares mathematical expressions with math-verify, one JSON line `[a, b]` in,
`true` or `false` out.

A process, because math-verify bounds its time by signals, which only a main thread may take, and because a
hostile power tower is stopped for certain only by a kill and a memory limit. The libraries are loaded once: the
comparing is done by a fork, which is named in the line `ready PID` and may be killed; another takes its place at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_SECONDS = 2  # math-verify's own limit per parse and per comparison
_CPU_SECONDS = 10  # for one comparison, should nobody be left who kills the process
_MEMORY = 4 * 2**30


def main() -> None:
    """Serve comparisons until the input ends."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    except (ImportError, ValueError, OSError):  # not on every platform; the caller's time limit still holds
        pass
    from math_verify import LatexExtractionConfig, parse, verify

    @lru_cache(maxsize=4096)
    def read(text: str) -> Any:
        # only LaTeX: math-verify's other reader goes through sympy.parse_expr, which evaluates Python
        return parse(f"${text}$", extraction_config=[LatexExtractionConfig()], parsing_timeout=_SECONDS)

    def equal(a: str, b: str) -> bool:
        first, second = read(a), read(b)
        return bool(first and second) and (
            verify(first, second, timeout_seconds=_SECONDS) or verify(second, first, timeout_seconds=_SECONDS)
        )

    equal("\\frac{\\sqrt{4}x}{3}", "2x/3")  # the first comparison builds tables, which every fork then has
    if not hasattr(os, "fork"):
        _serve(equal)
        return
    while True:
        child = os.fork()
        if child == 0:
            _serve(equal)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):  # the input ended
            return


def _serve(equal: Callable[[str, str], bool]) -> None:
    print("ready", os.getpid(), flush=True)
    for line in sys.stdin:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_PROF, _CPU_SECONDS)
        try:
            result = equal(*json.loads(line))
        except Exception:  # whatever sympy raises on model text: not shown to be equal
            result = False
        print(json.dumps(bool(result)), flush=True)


if __name__ == "__main__":
    main()
