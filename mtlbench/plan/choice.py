"""The methods of a grid, from the text of ``--methods``."""

from __future__ import annotations

from rich.markup import escape

from mtlbench.contract.method import Method
from mtlbench.contract.spec import split_specs
from mtlbench.errors import UsageError
from mtlbench.host.terminal import console
from mtlbench.plan.cells import Workload
from mtlbench.plan.conditions import check_methods
from mtlbench.plugins.registry import Registry

ALL = "all"
"""Stands for every method of the catalogue that applies to a workload."""


def choose_methods(specs: str, registry: Registry) -> list[Method]:
    """Return the methods that a comma-separated list of specs names, each once, without those of ``all``.

    :raises UsageError: if the list is empty, or for an unknown name, parameter or value.
    """
    named = split_specs(specs)
    if not named:
        raise UsageError("give at least one method, such as --methods sum,pcgrad")
    return _distinct([method for spec in named if spec != ALL for method in registry.expand_methods(spec)])


def with_all(methods: list[Method], specs: str, registry: Registry, workload: Workload) -> list[Method]:
    """Return the chosen methods and, where ``all`` is one of the specs, every method that applies.

    The console says which ones do not apply, and why.

    :param methods: from :func:`choose_methods`.
    :param specs: the text that it has read.
    """
    if ALL not in split_specs(specs):
        return methods
    return _distinct([*applicable(registry, workload), *methods])


def applicable(registry: Registry, workload: Workload) -> list[Method]:
    """Return every method of the catalogue that applies to a workload, ``stl`` and ``sum`` first.

    The console says which ones do not apply, and why.
    """
    methods = list[Method]()
    for name in sorted(registry.catalogue(), key=lambda name: (name != "stl", name != "sum", name)):
        try:
            method = registry.method(name)
            check_methods([method], len(workload.tasks))
            workload.problem.accept(workload.recipe, method)
        except UsageError as error:
            console.print(f"[yellow]--methods all leaves out {name}: {escape(str(error))}[/]")
        else:
            methods.append(method)
    return methods


def _distinct(methods: list[Method]) -> list[Method]:
    return list({method.spec: method for method in methods}.values())
