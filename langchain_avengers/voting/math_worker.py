"""A process of its own that compares mathematical expressions with math-verify, one JSON line `[a, b]` in,
`true` or `false` out.

A process, because math-verify bounds its time by signals, which only a main thread may take, and because a
hostile power tower is stopped for certain only by a kill and a memory limit.
"""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from typing import Any

_SECONDS = 1  # math-verify's own limit per parse and per comparison
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

    print("ready", flush=True)
    for line in sys.stdin:
        try:
            first, second = (read(text) for text in json.loads(line))
            equal = bool(first and second) and (
                verify(first, second, timeout_seconds=_SECONDS)
                or verify(second, first, timeout_seconds=_SECONDS)
            )
        except Exception:  # whatever sympy raises on model text: not shown to be equal
            equal = False
        print(json.dumps(bool(equal)), flush=True)


if __name__ == "__main__":
    main()
