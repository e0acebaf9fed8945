"""Old name of `studies`; goes with the next release."""

import warnings

from langchain_avengers.evaluation.studies import *  # noqa: F403

warnings.warn(
    "langchain_avengers.evaluation.ablate is now langchain_avengers.evaluation.studies",
    DeprecationWarning,
    stacklevel=2,
)
