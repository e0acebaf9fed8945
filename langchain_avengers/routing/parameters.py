"""The parameters of a router, and what each may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

import numpy as np

from langchain_avengers.errors import RouterError
from langchain_avengers.routing.clusterers import CLUSTERERS
from langchain_avengers.routing.scoring import SCORINGS


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of `ClusterRouter`, which documents them."""

    n_clusters: int | Literal["auto"] = "auto"
    clusterer: str = "kmeans"
    scoring: str = "mean"
    prior_strength: float = 5.0
    top_k: int = 1
    beta: float = 6.0
    cost_weight: float = 0.0
    novelty_quantile: float | Literal["auto"] | None = "auto"
    n_clusterings: int | Literal["auto"] = "auto"
    linear_weight: float | Literal["auto"] = "auto"
    random_state: int = 0

    def check(self) -> None:
        """Check every parameter.

        Raises:
            RouterError: One is out of its range, or two do not go together.
        """
        for name, (holds, wanted) in CONSTRAINTS.items():
            value = getattr(self, name)
            if not holds(value):
                raise RouterError(f"{name} is {value!r}; give {wanted}")
        check_cost_weight(self.cost_weight, self.scoring)
        if self.scoring != "mean" and (self.clusterings > 1 or self.linear_share):
            raise RouterError(
                f"n_clusterings and linear_weight belong to scoring='mean', not to {self.scoring!r}"
            )

    @property
    def blended(self) -> bool:
        """Whether several resolutions are weighed by what the calibration rows show."""
        return self.n_clusters == "auto" and self.scoring == "mean"

    @property
    def clusterings(self) -> int:
        """Number of clusterings of each K, with `"auto"` resolved."""
        if self.n_clusterings != "auto":
            return self.n_clusterings
        return 3 if self.blended else 1

    @property
    def linear_share(self) -> float | None:
        """Share of the ridge regression; None when it is fitted with the weights of the resolutions."""
        if self.linear_weight != "auto":
            return float(self.linear_weight)
        return None if self.blended else 0.0


class Estimator:
    """A class whose constructor takes the parameters, kept as attributes: scikit-learn's convention.

    scikit-learn's own `BaseEstimator` would load scikit-learn whenever a saved router is read.
    """

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's parameters, as scikit-learn's estimators give them."""
        return {parameter.name: getattr(self, parameter.name) for parameter in fields(Parameters)}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; they take effect at the next `fit`.

        Raises:
            RouterError: A name is none of the constructor's.
        """
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise RouterError(f"unknown parameter {name!r}; {type(self).__name__} has {', '.join(known)}")
            setattr(self, name, value)
        return self

    def parameters(self) -> Parameters:
        """The parameters, checked.

        Raises:
            RouterError: One is out of its range, or two do not go together.
        """
        found = Parameters(**self.get_params())
        found.check()
        return found

    def __repr__(self) -> str:
        usual = Parameters()
        shown = ", ".join(f"{k}={v!r}" for k, v in self.get_params().items() if v != getattr(usual, k))
        return f"{type(self).__name__}({shown})"


def check_cost_weight(cost_weight: float, scoring: str) -> None:
    """Refuse a cost weight outside [0, 1], or one that the scoring rule cannot use."""
    if not _number(0, 1)(cost_weight):
        raise RouterError(
            f"cost_weight is {cost_weight!r}; give a number from 0 (score alone) to 1 (cost alone)"
        )
    if cost_weight and scoring == "rank":
        raise RouterError(
            "scoring='rank' knows no costs: leave cost_weight at 0, or use 'mean' or 'balanced'"
        )


Check = Callable[[Any], bool]


def _integer(least: int) -> Check:
    return lambda value: (
        isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= least
    )


def _number(least: float, most: float) -> Check:
    return lambda value: (
        isinstance(value, int | float | np.number)
        and not isinstance(value, bool)
        and least <= float(value) <= most
    )


def _one_of(*values: object) -> Check:
    return lambda value: any(value is one or (isinstance(value, str) and value == one) for one in values)


def _either(*checks: Check) -> Check:
    return lambda value: any(check(value) for check in checks)


CONSTRAINTS: dict[str, tuple[Check, str]] = {
    "n_clusters": (_either(_one_of("auto"), _integer(1)), "'auto' or a whole number from 1 on"),
    "clusterer": (_one_of(*CLUSTERERS), f"one of {', '.join(CLUSTERERS)}"),
    "scoring": (_one_of(*SCORINGS), f"one of {', '.join(SCORINGS)}"),
    "prior_strength": (_number(0, 1e12), "a number from 0 to 1e12"),
    "top_k": (_integer(1), "a whole number from 1 on"),
    "beta": (_number(0, 1e6), "a number from 0 to 1,000,000"),  # more overflows float32
    "novelty_quantile": (_either(_one_of(None, "auto"), _number(0, 1)), "0 to 1, 'auto' or None"),
    "n_clusterings": (_either(_one_of("auto"), _integer(1)), "'auto' or a whole number from 1 on"),
    "linear_weight": (
        _either(_one_of("auto"), _number(0, 0.999)),
        "'auto' or a share from 0 to below 1",
    ),
    "random_state": (_integer(0), "a whole number from 0 on"),
}
"""What each parameter may be: a check, and the same in words. `check_cost_weight` checks the one that is missing."""
