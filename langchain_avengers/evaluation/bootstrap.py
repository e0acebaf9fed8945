"""Old name of `stats`; goes with the next release."""

import warnings

from langchain_avengers.evaluation.stats import *  # noqa: F403

warnings.warn(
    "langchain_avengers.evaluation.bootstrap is now langchain_avengers.evaluation.stats",
    DeprecationWarning,
    stacklevel=2,
)
