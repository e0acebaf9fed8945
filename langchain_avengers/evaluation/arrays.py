"""A score table as arrays: columns in a given order of models, tasks as codes, folds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from langchain_avengers.errors import RouterError

if TYPE_CHECKING:
    from langchain_avengers.routing.router import ClusterRouter
    from langchain_avengers.routing.table import ScoreTable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def arrays(router: ClusterRouter, table: ScoreTable) -> tuple[Floats, Floats | None, Ints]:
    """A table's scores, costs and task codes, columns in the router's order of models.

    Raises:
        RouterError: The table lacks one of the router's models.
    """
    return table_arrays(table, list(router.models_))


def table_arrays(table: ScoreTable, models: list[str]) -> tuple[Floats, Floats | None, Ints]:
    """A table's scores (n, M), costs (n, M) or None, and task codes (n,); columns as in `models`."""
    missing = [name for name in models if name not in table.models]
    if missing:
        raise RouterError(
            f"the table has no scores of {', '.join(missing)}: evaluate on rows with all of the router's "
            "models, or remove_model() first"
        )
    column = [table.models.index(name) for name in models]
    costs = None if table.costs is None else np.asarray(table.costs[:, column], float)
    names = task_names(table)
    codes = np.array(
        [names.index(task) for task in table.tasks] if table.tasks else [0] * len(table), np.int64
    )
    return np.asarray(table.scores[:, column], float), costs, codes


def task_names(table: ScoreTable) -> list[str]:
    """The table's tasks in alphabetical order; a table without tasks is one task, `"all"`."""
    return sorted(set(table.tasks)) if table.tasks else ["all"]
