"""How a calibration run behaves."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Self

from langchain_avengers.errors import CalibrationError


@dataclass(frozen=True, slots=True)
class CalibrationOptions:
    """How a run behaves.

    Attributes:
        samples: Answers of each model to each question.
        max_cost: US dollars the whole store may come to; at the bound the run stops cleanly.
        limit: Only the first so many questions.
        timeout: Seconds one request may take; None for each model's own.
        max_attempts: Requests for one answer before its sample is marked failed. Those that met a rate limit
            do not count.
        give_up_after: Seconds a model may go on failing before it is given up for this run. A model that only asks
            for fewer requests is waited for five times as long.
        passes: Times the run comes back to samples that failed and may yet succeed.
        retry_failed: Ask again what the provider refused for good in an earlier run.
    """

    samples: int = 1
    max_cost: float | None = None
    limit: int | None = None
    timeout: float | None = None
    max_attempts: int = 6
    give_up_after: float = 60.0
    passes: int = 2
    retry_failed: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("samples", "max_attempts", "passes"):
            if getattr(self, name) < 1:
                raise CalibrationError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("max_cost", "limit", "timeout", "give_up_after"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise CalibrationError(f"{name} must be positive, not {value}")

    @classmethod
    def of(cls, **given: Any) -> Self:
        """Options by name; `patience` of version 0.1.0 is `give_up_after`.

        Raises:
            CalibrationError: There is no such option, or it is out of range.
        """
        if "patience" in given:
            warnings.warn("patience is now give_up_after", DeprecationWarning, stacklevel=4)
            given.setdefault("give_up_after", given.pop("patience"))
        try:
            return cls(**given)
        except TypeError as error:
            raise CalibrationError(f"calibrate: {error}") from None
