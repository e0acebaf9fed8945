"""Old name of `pareto`; goes with the next release."""

import warnings

from langchain_avengers.evaluation.arrays import arrays, table_arrays, task_names
from langchain_avengers.evaluation.pareto import ModelPoint, choose_cost_weight
from langchain_avengers.evaluation.pareto import ParetoFront as Front
from langchain_avengers.evaluation.pareto import ParetoPoint as FrontPoint
from langchain_avengers.evaluation.pareto import sweep_costs as cost_front
from langchain_avengers.routing.tuning import COST_WEIGHTS, stratified_folds

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
