"""One measurement: which contender, on what. No torch here: errors in options come at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mtlbench.plan.suite import Recipe

WARM_UP = 2
"""Steps that are not timed: the first ones also pay for memory and the optimizer's state."""


@dataclass(frozen=True)
class Measurement:
    """One contender to measure.

    :param method: its spec; ``None`` for the plain padded sum.
    :param recipe: its engine is the contender's.
    """

    method: str | None
    recipe: Recipe
    suite: str
    data_dir: Path | None = None
    plugin_files: tuple[str, ...] = ()
