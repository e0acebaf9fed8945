"""The package's errors.

Every one is an `AvengersError` and also the built-in kind that fits. It says in one line what is wrong, where, and what
to do, and the command line prints it as that one line.
"""

from __future__ import annotations

from typing import Any


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


class SamplingError(AvengersError, RuntimeError):
    """No model of the pool gave an answer. The message lists every cause.

    Attributes:
        account: What the calls that failed have cost, as in `response_metadata["avengers"]["account"]`, if known.
    """

    account: dict[str, Any] | None = None


class CalibrationError(AvengersError, ValueError):
    """A dataset, grader or store of a calibration run is not what it should be."""


class SandboxError(CalibrationError):
    """Code cannot be run safely on this system, or the sandbox itself has failed."""
