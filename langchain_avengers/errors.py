"""The package's errors.

Every one is an `AvengersError` and also the built-in kind that fits. It says in one line what is wrong, where, and what
to do, and the command line prints it as that one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self


class AvengersError(Exception):
    """Base of every error this package raises on purpose."""


class TableError(AvengersError, ValueError):
    """A score table, or a file read as one, is not what it should be. Names the file, line and field."""


class RouterError(AvengersError, ValueError):
    """A router was given parameters, vectors or names it cannot work with."""


class ArtifactError(AvengersError, ValueError):
    """A saved router is damaged, foreign, too new, or belongs to another embedder."""


class WeightsNotFoundError(AvengersError, FileNotFoundError):
    """Model weights are at none of the places looked at: explicit path, installed package, hub."""


class PoolError(AvengersError, ValueError):
    """The models given do not fit the router, or a pool file is wrong."""


class SamplingError(AvengersError, ExceptionGroup[Exception], RuntimeError):
    """No model of the pool gave an answer, or one broke off in the middle of it. The message lists every cause.

    Attributes:
        exceptions: What the models raised, one for each kind of cause, without secrets in their texts. As this is
            an exception group, `except* openai.RateLimitError` finds one among them.
        account: What the calls that failed have cost, as in `response_metadata["avengers"]["account"]`, if known.
    """

    account: dict[str, Any] | None = None

    def __new__(cls, message: str, exceptions: Sequence[Exception] = ()) -> Self:
        """Group the exceptions; without any, the message stands for one."""
        return ExceptionGroup.__new__(cls, message, list(exceptions) or [RuntimeError(message)])

    def __init__(self, message: str, exceptions: Sequence[Exception] = ()) -> None:
        """Take no more than the message and the exceptions."""

    def __str__(self) -> str:
        return self.message

    def derive(self, excs: Sequence[Exception]) -> SamplingError:  # type: ignore[override]  # a group of Exceptions
        """A part of the group, for `except*`."""
        part = SamplingError(self.message, excs)
        part.account = self.account
        return part


class CalibrationError(AvengersError, ValueError):
    """A dataset, grader or store of a calibration run is not what it should be."""


class SandboxError(CalibrationError):
    """Code cannot be run safely on this system, or the sandbox itself has failed."""
