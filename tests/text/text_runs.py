"""Training of a method in the tests' own process."""

from __future__ import annotations

from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.training.train import Outcome, train


def run(workload: Workload, method: str, seed: int = 0) -> Outcome:
    """Train a method on a workload and return the outcome."""
    outcome = Outcome()
    train(workload, load_registry().method(method), seed, outcome, lambda done, total: None)
    return outcome
