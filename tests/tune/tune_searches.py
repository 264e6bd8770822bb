"""Spaces, searches and budgets for tests, and trials whose records are made by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.tune.sampler import Sampler
from mtlbench.tune.space import Space, read_space
from mtlbench.tune.trials import Budget, MethodSearch, Trial

REGISTRY = load_registry()
LR = "1e-5:1e-3:log"


def space(spec: str, parameter: str, text: str, tasks: int = 3) -> Space:
    """Return the search space that a text gives to a parameter of a method."""
    return read_space(text, REGISTRY.method(spec), parameter, tasks)


def search_of(spec: str) -> MethodSearch:
    """Return the search of a method over the learning rate and its declared spaces."""
    method = REGISTRY.method(spec)
    texts = {"base_lr": LR, **method.search}
    return MethodSearch(method, {name: read_space(text, method, name, 3) for name, text in texts.items()})


def budget_of(trials: int = 6, sampler: Sampler = "halton", seeds: int = 1, seed: int = 0) -> Budget:
    """Return a budget; by default 6 trials of ``halton`` with one seed."""
    return Budget(trials, tuple(range(1_000_000, 1_000_000 + seeds)), sampler, seed)


def record(scores: Mapping[str, float] | str) -> dict[str, Any]:
    """Return the part of a record that trials read.

    :param scores: task → score of a finished cell; or the type of error of a failed one.
    """
    if isinstance(scores, str):
        return {"status": "failed", "error": {"type": scores, "message": f"a {scores}"}}
    return {
        "status": "done",
        "error": None,
        "tasks": {task: {"metrics": ["first", "second"]} for task in scores},
        "scores": {task: {"second": 9.0, "first": score} for task, score in scores.items()},
    }


def score_of(trial: Trial) -> float:
    """Return a score that is best at a learning rate of 1e-4."""
    lr = trial.method.base_lr or 1e-4
    return 1.0 - abs(1.0 - lr / 1e-4) / 10.0


def play(
    search: MethodSearch, workload: Workload, budget: Budget, score: Callable[[Trial], Any] = score_of
) -> list[Trial]:
    """Record results of open trials, one after another, until no trial is open, and return the trials."""
    records: dict[str, dict[str, Any]] = {}
    while True:
        trials = search.trials(workload, budget, records)
        open_trials = [trial for trial in trials if trial.status == "open"]
        if not open_trials:
            return trials
        for cell in open_trials[0].cells:
            result = score(open_trials[0])
            records[cell.key] = record(result if isinstance(result, str) else {"a": result, "b": result})
