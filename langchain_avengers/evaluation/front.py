"""Old name of `pareto`; goes with the next release."""

import warnings

from langchain_avengers.evaluation.arrays import arrays, stratified_folds, table_arrays, task_names
from langchain_avengers.evaluation.pareto import COST_WEIGHTS, ModelPoint, choose_cost_weight
from langchain_avengers.evaluation.pareto import ParetoFront as Front
from langchain_avengers.evaluation.pareto import ParetoPoint as FrontPoint
from langchain_avengers.evaluation.pareto import sweep_costs as cost_front

__all__ = [
    "COST_WEIGHTS",
    "Front",
    "FrontPoint",
    "ModelPoint",
    "arrays",
    "choose_cost_weight",
    "cost_front",
    "stratified_folds",
    "table_arrays",
    "task_names",
]

warnings.warn(
    "langchain_avengers.evaluation.front is now langchain_avengers.evaluation.pareto",
    DeprecationWarning,
    stacklevel=2,
)
