"""Training of a method in the tests' own process."""

from __future__ import annotations

from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.training.result import CellResult
from mtlbench.training.train import train


def run(workload: Workload, method: str, seed: int = 0) -> CellResult:
    """Train a method on a workload and return the result."""
    return train(workload, load_registry().method(method), seed)
