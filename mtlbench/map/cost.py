"""How long cells take, measured once and used for estimates: to cut studies into shards, and to say what is left."""

from __future__ import annotations

from collections.abc import Sequence

from mtlbench.map.cells import Column, Setting

MICROSECONDS = 26.0
"""A step of one cell with two tasks on one core."""


def seconds_per_instance(setting: Setting, columns: Sequence[Column]) -> float:
    """Return the estimated seconds of all columns of one setting and one seed, on one core.

    :param setting: the setting.
    :param columns: the columns.
    """
    return 1e-6 * MICROSECONDS * setting.steps * len(columns)
