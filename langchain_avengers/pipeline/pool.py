"""The old address of `langchain_avengers.pool`; it goes in the next release."""

from __future__ import annotations

import warnings
from typing import Any

from langchain_avengers import pool


def __getattr__(name: str) -> Any:
    if not hasattr(pool, name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        "langchain_avengers.pipeline.pool is now langchain_avengers.pool", DeprecationWarning, stacklevel=2
    )
    return getattr(pool, name)
