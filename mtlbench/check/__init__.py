"""The certificate: checks that any method must pass, on matrices built to make it fail; and those of problems."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mtlbench.contract.method import without_trainer
from mtlbench.contract.plugin import Plugin
from mtlbench.contract.spec import parse_spec
from mtlbench.errors import UsageError, closest, unknown
from mtlbench.host.processes import without_script
from mtlbench.plugins.registry import Registry, load_registry

if TYPE_CHECKING:
    from mtlbench.check.certificate import Certificate


@dataclass(frozen=True)
class Subjects:
    """What ``mtlbench check`` is to check.

    :param methods: specs of methods.
    :param problems: specs of problems.
    :param plugin_files: files that define them.
    """

    methods: list[str]
    problems: list[str]
    plugin_files: tuple[str, ...]


def find_subjects(names: Sequence[str], *, every: bool, plugin_files: tuple[str, ...]) -> Subjects:
    """Tell methods from problems.

    :param names: names or specs of methods and problems, and Python files that define some.
    :param every: whether to add all methods.
    :param plugin_files: files that define further methods and problems.
    :raises UsageError: for an unknown name, a file without methods and problems, or when there is nothing to check.
    """
    files = tuple(name for name in names if name.endswith(".py"))
    plugins = (*plugin_files, *(file for file in files if file not in plugin_files))
    registry = load_registry(plugins)
    methods, problems = _defined_in(files, registry.methods, registry), _defined_in(files, registry.problems, registry)
    defining = {registry.origins[cls] for cls in (*registry.methods.values(), *registry.problems.values())}
    for file in files:
        if file not in defining:
            raise UsageError(f"{file} defines no method and no problem")
    for spec in (name for name in names if name not in files):
        name = parse_spec(spec)[0]
        is_problem = name in registry.problems and name not in registry.methods
        if not is_problem and name not in registry.methods and closest(name, registry.problems):
            raise unknown("method or problem", name, registry.problems, registry.methods)
        (problems if is_problem else methods).append(spec)
    if every:
        methods += registry.catalogue()
    if not methods and not problems:
        raise UsageError("nothing to check: give names of methods or problems, a Python file, or --all")
    return Subjects(list(dict.fromkeys(methods)), list(dict.fromkeys(problems)), plugins)


def check_methods(
    names: Sequence[str], *, every: bool, plugin_files: tuple[str, ...], matrices: int, jobs: int
) -> list[Certificate]:
    """Check methods.

    :param names: names or specs of methods, and Python files whose methods are checked.
    :param every: whether to check all other methods, too.
    :param plugin_files: files that define further methods.
    :param matrices: the number of matrices per family and check.
    :param jobs: the number of processes.
    :raises UsageError: for an unknown name, a file without methods, or an empty list of methods.
    """
    subjects = find_subjects(names, every=every, plugin_files=plugin_files)
    specs, plugins = subjects.methods, subjects.plugin_files
    if subjects.problems:
        raise UsageError(f"{subjects.problems[0]} is a problem, not a method")
    registry = load_registry(plugins)
    for spec in specs:
        without_trainer(registry.method(spec))  # an unknown name is an error before the first check
    check = partial(_certify, plugins=plugins, matrices=matrices)
    if jobs == 1 or len(specs) == 1:
        return [check(spec) for spec in specs]
    with without_script(), multiprocessing.get_context("spawn").Pool(min(jobs, len(specs))) as pool:
        return pool.map(check, specs, chunksize=1)


def _defined_in(files: Sequence[str], classes: Mapping[str, type[Plugin]], registry: Registry) -> list[str]:
    return [name for name, cls in classes.items() if registry.origins[cls] in files]


def _certify(spec: str, *, plugins: tuple[str, ...], matrices: int) -> Certificate:
    import torch

    from mtlbench.check.certificate import certify

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return certify(spec, load_registry(plugins), matrices)
    finally:
        torch.set_num_threads(threads)
