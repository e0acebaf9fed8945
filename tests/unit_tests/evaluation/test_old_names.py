"""Paths of 0.1 keep working for one release, with a warning."""

import importlib
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("front", "cost_front"),
        ("front", "FrontPoint"),
        ("front", "choose_cost_weight"),
        ("ablate", "ablate"),
        ("ablate", "Ablation"),
        ("bootstrap", "stratum_means"),
        ("estimate", "Estimate"),
    ],
)
def test_old_paths_work_and_warn(module, name):
    path = f"langchain_avengers.evaluation.{module}"
    sys.modules.pop(path, None)
    with pytest.warns(DeprecationWarning, match="is now langchain_avengers.evaluation"):
        assert getattr(importlib.import_module(path), name)
