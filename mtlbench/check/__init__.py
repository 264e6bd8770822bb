"""The certificate: checks that any method must pass, on matrices built to make it fail."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from mtlbench.contract.method import without_trainer
from mtlbench.errors import UsageError
from mtlbench.plugins.registry import Registry, load_registry

if TYPE_CHECKING:
    from mtlbench.check.certificate import Certificate


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
    files = tuple(name for name in names if name.endswith(".py"))
    plugins = (*plugin_files, *(file for file in files if file not in plugin_files))
    registry = load_registry(plugins)
    specs = [name for name in names if name not in files] + _defined_in(files, registry)
    if every:
        specs += registry.catalogue()
    specs = list(dict.fromkeys(specs))
    if not specs:
        raise UsageError("nothing to check: give method names, a Python file, or --all")
    for spec in specs:
        without_trainer(registry.method(spec))  # an unknown name is an error before the first check
    check = partial(_certify, plugins=plugins, matrices=matrices)
    if jobs == 1 or len(specs) == 1:
        return [check(spec) for spec in specs]
    with multiprocessing.get_context("spawn").Pool(min(jobs, len(specs)), maxtasksperchild=None) as pool:
        return pool.map(check, specs, chunksize=1)


def _defined_in(files: Sequence[str], registry: Registry) -> list[str]:
    names = [name for name, cls in registry.methods.items() if registry.origins[cls] in files]
    for file in files:
        if not any(registry.origins[registry.methods[name]] == file for name in names):
            raise UsageError(f"{file} defines no method")
    return names


def _certify(spec: str, *, plugins: tuple[str, ...], matrices: int) -> Certificate:
    import torch

    from mtlbench.check.certificate import certify

    torch.set_num_threads(1)
    return certify(spec, load_registry(plugins), matrices)
