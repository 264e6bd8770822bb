"""Shards: the pieces of a study that are trained and stored as one, each in a process of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TypeVar

from mtlbench.map.cells import Column, Setting
from mtlbench.map.cost import estimate, most_instances
from mtlbench.map.design import Plan
from mtlbench.plan.cells import fingerprint
from mtlbench.plugins.fingerprint import source_fingerprint
from mtlbench.plugins.registry import Registry
from mtlbench.problems.regimes import Regimes

T = TypeVar("T")

PROTOCOL = 1
"""Raised when the training code changes what cells come out as: shards of another protocol are trained again."""
LONGEST = 30.0
"""Seconds that a shard takes at most, by estimate, unless one instance takes longer: what Ctrl-C can cost."""


@dataclass(frozen=True)
class Shard:
    """Settings × seeds × columns of one study.

    :param settings: of one shape, see :attr:`mtlbench.map.cells.Setting.shape`.
    :param seeds: the seeds.
    :param columns: the columns.
    """

    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]
    columns: tuple[Column, ...]

    @property
    def cells(self) -> int:
        """How many cells it has."""
        return len(self.settings) * len(self.seeds) * len(self.columns)

    @property
    def seconds(self) -> float:
        """Estimated seconds on one core."""
        return estimate(self.settings[0], self.columns, len(self.settings) * len(self.seeds))

    @property
    def title(self) -> str:
        """Settings and seeds, for display."""
        first = self.settings[0]
        shape = f"{first.optimizer}, {first.tasks} tasks, width {first.width}, {first.steps} steps"
        return f"{len(self.settings)} × {len(self.seeds)} instances ({shape}), seeds {_range(self.seeds)}"


def cell_keys(settings: Sequence[Setting], columns: Sequence[Column], registry: Registry) -> list[str]:
    """Return the hash of all that decides the scores of each setting, except the seed.

    :param settings: the settings.
    :param columns: what is trained there.
    :param registry: source of the methods, whose code counts.
    """
    code = {spec: source_fingerprint(type(registry.method(spec))) for spec in {column.method for column in columns}}
    code["problem"] = source_fingerprint(Regimes)
    common = {"protocol": PROTOCOL, "columns": [asdict(column) for column in columns], "code": code}
    return [fingerprint({**common, "setting": asdict(setting)}) for setting in settings]


def missing(plan: Plan, seeds: Sequence[int], done: Mapping[Setting, Set[int]]) -> list[Shard]:
    """Return what is left of a study, cut into shards.

    :param plan: the study.
    :param seeds: the seeds that every setting should have.
    :param done: setting → seeds that are trained.
    """
    groups: dict[tuple[object, tuple[int, ...]], list[Setting]] = {}
    for setting in plan.settings:
        left = tuple(seed for seed in seeds if seed not in done.get(setting, ()))
        if left:
            groups.setdefault((setting.shape, left), []).append(setting)
    shards = []
    for (_, left), settings in groups.items():
        columns = plan.columns(settings[0])
        most = most_instances(settings[0], columns, LONGEST)
        shards += [Shard(tuple(some), tuple(few), columns) for some, few in _pieces(settings, left, most)]
    return shards


def _pieces(
    settings: Sequence[Setting], seeds: Sequence[int], most: int
) -> list[tuple[Sequence[Setting], Sequence[int]]]:
    """Cut settings × seeds into rectangles of at most some instances, as few and as even as can be."""
    settings_each = min(len(settings), most)
    seeds_each = max(1, most // settings_each)
    return [(some, few) for some in _even(settings, settings_each) for few in _even(seeds, seeds_each)]


def _even(items: Sequence[T], most: int) -> list[Sequence[T]]:
    parts = math.ceil(len(items) / most)
    bounds = [round(part * len(items) / parts) for part in range(parts + 1)]
    return [items[start:end] for start, end in pairwise(bounds)]


def _range(seeds: Sequence[int]) -> str:
    if len(seeds) > 1 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(map(str, seeds))
