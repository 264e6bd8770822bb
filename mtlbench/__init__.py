"""A benchmark of multi-task optimization methods.

A plugin imports all that it needs from here; methods also import from :mod:`mtlbench.solvers`. The public names load on
first use, so that ``import mtlbench`` and the command line stay fast.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtlbench.api.checking import check
    from mtlbench.api.reading import diagnose, export, merge, report, status
    from mtlbench.api.results import Results, load_results
    from mtlbench.api.training import bench, run, tune
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
    "Results",
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
    "bench",
    "check",
    "diagnose",
    "export",
    "get_method",
    "load_results",
    "merge",
    "metric",
    "report",
    "run",
    "status",
    "tune",
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
    "Results": "api.results",
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
    "bench": "api.training",
    "check": "api.checking",
    "diagnose": "api.reading",
    "export": "api.reading",
    "get_method": "engine.library",
    "load_results": "api.results",
    "merge": "api.reading",
    "metric": "problem.metrics",
    "report": "api.reading",
    "run": "api.training",
    "status": "api.reading",
    "tune": "api.training",
    "weights": "engine.library",
}
"""Public name → the module that defines it."""
_VERBS = ("bench", "check", "diagnose", "report", "tune")
"""Public functions whose name is also that of a room, a package of their own: the package is what is called."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mtlbench")
    if name not in _HOMES:
        raise AttributeError(f"module 'mtlbench' has no attribute '{name}'")
    if name in _VERBS:
        return importlib.import_module(f"mtlbench.{name}")
    return _function(name)


def _function(name: str) -> Any:
    return getattr(importlib.import_module(f"mtlbench.{_HOMES[name]}"), name)


class _Verb(ModuleType):
    """A room that is called as the verb of its name: ``mtlbench.report("results")``."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the public function of the room's name."""
        return self.__wrapped__(*arguments, **options)

    @property
    def __wrapped__(self) -> Any:
        """The function, for its signature."""
        return _function(self.__name__.rpartition(".")[2])


class _Face(ModuleType):
    """This package: makes the rooms of :data:`_VERBS` callable when the import system puts them here."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _VERBS and type(value) is ModuleType:
            value.__class__ = _Verb
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face
