"""How long cells take, for estimates: to cut studies into shards, and to say what is left.

The constants are processor times of single steps on one core of a server of 2024: a step costs something for each
method, whatever the number of cells, and something for each cell. Estimates were within a third of what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence

from mtlbench.map.cells import Column, Setting

STEP = 800.0
"""Microseconds of a step."""
METHOD = 170.0
"""Microseconds of a step for each method."""
CELL = 10.0
"""Microseconds of a step for each cell, with two tasks and batches of 32."""


def estimate(setting: Setting, columns: Sequence[Column], instances: int) -> float:
    """Return the estimated seconds of some instances with all columns, trained together on one core.

    :param setting: any of their settings: they are of one shape.
    :param columns: the columns.
    :param instances: settings × seeds.
    """
    methods = len({column.method for column in columns})
    cell = CELL * (0.5 + 0.25 * setting.tasks) * (0.8 + setting.batch / 160.0)
    return 1e-6 * setting.steps * (STEP + METHOD * methods + cell * len(columns) * instances)


def most_instances(setting: Setting, columns: Sequence[Column], seconds: float) -> int:
    """Return how many instances can be trained together in some time, at least 1.

    :param setting: any of their settings.
    :param columns: the columns.
    :param seconds: the time, as :func:`estimate` estimates it.
    """
    none, one = (estimate(setting, columns, instances) for instances in (0, 1))
    return max(1, int((seconds - none) / (one - none)))
