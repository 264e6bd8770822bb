"""One measurement to make. The module imports no torch, so that invalid options fail at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mtlbench.recipe.suite import Recipe

WARM_UP = 2
"""First steps, which are not timed: they also allocate memory and the optimizer's state."""


@dataclass(frozen=True)
class BenchJob:
    """One contender to measure, as passed to its process.

    :param method: its spec; ``None`` for the plain sum.
    :param recipe: with the contender's engine.
    :param suite: name of the suite.
    :param data_dir: folder with the tasks' data files.
    :param plugin_files: Python files that define further methods or tasks.
    """

    method: str | None
    recipe: Recipe
    suite: str
    data_dir: Path | None = None
    plugin_files: tuple[str, ...] = ()
