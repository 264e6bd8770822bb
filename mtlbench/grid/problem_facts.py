"""What is known of a problem before it is trained: tasks, rows, parts of the model, recipe, methods that cannot run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mtlbench.contract.problem import Problem, Target
from mtlbench.errors import UsageError
from mtlbench.plan.cells import Workload
from mtlbench.plan.conditions import check_methods
from mtlbench.plugins.registry import Registry
from mtlbench.problem.default_suite import has_packaged_suite, suite_of
from mtlbench.problem.loaded import LoadedProblem
from mtlbench.problem.targets import chosen_targets

HOOKS = ("shared", "last_shared_layer", "representation")
"""Hooks by which an author may name parts of the model."""


@dataclass(frozen=True)
class ProblemFacts:
    """Facts about a problem.

    :param separate: whether every task has batches of its own.
    :param named: hook → whether the author has written it; see :data:`HOOKS`.
    :param recipe: the suite's name, and the recipe's fields that differ from their defaults.
    :param packaged: whether the suite is a packaged one.
    :param targets: the tasks.
    :param rows: split → rows.
    :param data: where the rows come from.
    :param shared: the number of trained shared parameters.
    :param heads: task → the number of parameters that its loss alone reaches.
    :param runs: the number of methods that can run.
    :param refused: method → why it cannot run.
    :param missing: why something of this is unknown, such as a data file that is not there.
    """

    separate: bool
    named: Mapping[str, bool]
    recipe: Mapping[str, Any] = field(default_factory=dict)
    packaged: bool = False
    targets: tuple[Target, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    data: str = ""
    shared: int | None = None
    heads: Mapping[str, int] = field(default_factory=dict)
    runs: int = 0
    refused: Mapping[str, str] = field(default_factory=dict)
    missing: str | None = None

    def as_data(self) -> dict[str, Any]:
        """Return the facts as plain data."""
        return asdict(self)


def problem_facts(text: str, registry: Registry, data_dir: Path | None = None) -> ProblemFacts:
    """Find out what can be said of a problem without training it. Its rows are loaded, and its model is tried.

    :param text: the problem's name or spec.
    :param registry: source of the problem and of all methods.
    :param data_dir: folder of data files.
    :raises UsageError: for an unknown name, or a parameter that is wrong.
    """
    cls = registry.problems.get(text)
    try:
        problem = registry.problem(text)
    except UsageError as error:
        if cls is None:
            raise
        return ProblemFacts(cls.separate, _named(cls), missing=str(error))  # a parameter is required
    facts: dict[str, Any] = {"separate": problem.separate, "named": _named(type(problem))}
    try:
        suite = suite_of(problem)
        chosen = suite.recipe({}).model_dump(mode="json", exclude_defaults=True, exclude={"problem"})
        facts |= {"recipe": {"suite": suite.name, **chosen}, "packaged": has_packaged_suite(problem)}
        facts["targets"] = chosen_targets(problem)
        workload = Workload.load(suite.name, suite.recipe({"tasks": ()}), registry, data_dir=data_dir)
        facts |= _loaded(workload, registry)
    except UsageError as error:
        facts["missing"] = str(error)
    return ProblemFacts(**facts)


def _named(cls: type[Problem]) -> dict[str, bool]:
    return {hook: getattr(cls, hook) is not getattr(Problem, hook) for hook in HOOKS}


def _loaded(workload: Workload, registry: Registry) -> dict[str, Any]:
    loaded = workload.problem
    assert isinstance(loaded, LoadedProblem)
    loaded.check(workload.recipe)
    structure = loaded.structure
    refused = {}
    names = registry.catalogue()
    for name in names:
        try:
            method = registry.method(name)
            check_methods([method], len(loaded.tasks))
            loaded.accept(workload.recipe, method)
        except UsageError as error:
            refused[name] = str(error)
    heads = {target.name: structure.size(names) for target, names in zip(loaded.tasks, structure.heads, strict=True)}
    return {
        "rows": {name: len(split) for name, split in loaded.splits.items()},
        "data": next(iter(loaded.describe().values()))["source"],
        "shared": structure.trainable,
        "heads": heads,
        "runs": len(names) - len(refused),
        "refused": refused,
    }
