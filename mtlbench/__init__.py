"""A benchmark of multi-task optimization methods.

A plugin imports all that it needs from here; methods also import from :mod:`mtlbench.solvers`. The public names load on
first use, so that ``import mtlbench`` and the command line stay fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtlbench.contract.examples import Data, Examples
    from mtlbench.contract.method import Method
    from mtlbench.contract.observation import Matrix, Observation, Vector
    from mtlbench.contract.problem import Problem, Target
    from mtlbench.contract.task import Rows, Splits, Task
    from mtlbench.contract.wrapper import Wrapper
    from mtlbench.engine.library import aggregate, get_method, weights
    from mtlbench.errors import CellError, SolverError, UsageError
    from mtlbench.problem.metrics import metric
    from mtlbench.surgery.backward import TaskGradients, backward
    from mtlbench.surgery.surgery import Surgery
    from mtlbench.watch.watch import Watch

__all__ = [
    "CellError",
    "Data",
    "Examples",
    "Matrix",
    "Method",
    "Observation",
    "Problem",
    "Rows",
    "SolverError",
    "Splits",
    "Surgery",
    "Target",
    "Task",
    "TaskGradients",
    "UsageError",
    "Vector",
    "Watch",
    "Wrapper",
    "aggregate",
    "backward",
    "get_method",
    "metric",
    "weights",
]

_HOMES = {
    "CellError": "errors",
    "Data": "contract.examples",
    "Examples": "contract.examples",
    "Matrix": "contract.observation",
    "Method": "contract.method",
    "Observation": "contract.observation",
    "Problem": "contract.problem",
    "Rows": "contract.task",
    "SolverError": "errors",
    "Splits": "contract.task",
    "Surgery": "surgery.surgery",
    "Target": "contract.problem",
    "Task": "contract.task",
    "TaskGradients": "surgery.backward",
    "UsageError": "errors",
    "Vector": "contract.observation",
    "Watch": "watch.watch",
    "Wrapper": "contract.wrapper",
    "aggregate": "engine.library",
    "backward": "surgery.backward",
    "get_method": "engine.library",
    "metric": "problem.metrics",
    "weights": "engine.library",
}
"""Public name → the module that defines it."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mtlbench")
    if name not in _HOMES:
        raise AttributeError(f"module 'mtlbench' has no attribute '{name}'")
    return getattr(importlib.import_module(f"mtlbench.{_HOMES[name]}"), name)
