"""mtlbench: the benchmark of multi-task optimization methods.

The public names load on first use, so that ``import mtlbench`` and the command line stay fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtlbench.contract.method import Method, Observation, Wrapper
    from mtlbench.contract.observation import Matrix, Vector
    from mtlbench.contract.task import Rows, Splits, Task
    from mtlbench.engine.autograd import TaskGradients, backward
    from mtlbench.engine.library import aggregate, get_method, weights
    from mtlbench.errors import CellError, SolverError, UsageError

__all__ = [
    "CellError",
    "Matrix",
    "Method",
    "Observation",
    "Rows",
    "SolverError",
    "Splits",
    "Task",
    "TaskGradients",
    "UsageError",
    "Vector",
    "Wrapper",
    "aggregate",
    "backward",
    "get_method",
    "weights",
]

_HOME = {
    "CellError": "errors",
    "SolverError": "errors",
    "UsageError": "errors",
    "Matrix": "contract.observation",
    "Method": "contract.method",
    "Observation": "contract.method",
    "Rows": "contract.task",
    "Splits": "contract.task",
    "Task": "contract.task",
    "Vector": "contract.observation",
    "Wrapper": "contract.method",
    "aggregate": "engine.library",
    "TaskGradients": "engine.autograd",
    "backward": "engine.autograd",
    "get_method": "engine.library",
    "weights": "engine.library",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mtlbench")
    if name not in _HOME:
        raise AttributeError(f"module 'mtlbench' has no attribute '{name}'")
    return getattr(importlib.import_module(f"mtlbench.{_HOME[name]}"), name)
