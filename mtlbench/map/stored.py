"""A study in memory, as it is on disk: a header, and a table for each shard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from mtlbench.map.cells import Setting, Trained
from mtlbench.map.header import Header, ShardEntry
from mtlbench.map.table import as_table, as_trained, digest

if TYPE_CHECKING:
    import pyarrow

T = TypeVar("T")


@dataclass
class StoredStudy:
    """A study.

    :param header: without :attr:`Header.file` until it is saved.
    :param tables: the table of each shard, in the order of :attr:`Header.shards`.
    :param damaged: what was wrong on disk, one line for each fault; the shards concerned are not in the header.
    """

    header: Header
    tables: list[pyarrow.Table] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def done(self) -> dict[Setting, set[int]]:
        """Return setting → the seeds that are trained."""
        done: dict[Setting, set[int]] = {}
        for entry in self.header.shards:
            for setting in entry.settings:
                done.setdefault(setting, set()).update(entry.seeds)
        return done

    def trained(self) -> Iterator[Trained]:
        """Yield the shards' scores."""
        for entry, table in zip(self.header.shards, self.tables, strict=True):
            yield as_trained(self.header.shard(entry), table, entry.seconds)

    def keep(self, keys: Mapping[Setting, str]) -> int:
        """Drop the shards whose settings are not in the plan any more, or were trained by other code.

        :param keys: setting → its key, in the order of the plan.
        :returns: how many were dropped.
        """
        kept = [
            number
            for number, entry in enumerate(self.header.shards)
            if all(keys.get(setting) == key for setting, key in zip(entry.settings, entry.keys, strict=True))
        ]
        dropped = len(self.tables) - len(kept)
        self._select(kept)
        return dropped

    def add(self, trained: Trained, keys: Mapping[Setting, str], started: str, environment: Mapping[str, Any]) -> None:
        """Add a shard.

        :param trained: its scores.
        :param keys: as for :meth:`keep`.
        :param started: time of the start, UTC.
        :param environment: as :func:`mtlbench.host.provenance.environment` returns it.
        """
        columns, number = _with(self.header.columns, tuple(trained.columns))
        environments, place = _with(self.header.environments, dict(environment))
        entry = ShardEntry(
            settings=tuple(trained.settings),
            seeds=tuple(trained.seeds),
            columns=number,
            keys=tuple(keys[setting] for setting in trained.settings),
            sha256=digest(trained),
            seconds={part: float(seconds) for part, seconds in trained.seconds.items()},
            started=started,
            environment=place,
        )
        shards = (*self.header.shards, entry)
        self.header = replace(self.header, columns=columns, environments=environments, shards=shards)
        self.tables.append(as_table(self.header.shard(entry), trained))
        order = {setting: number for number, setting in enumerate(keys)}
        self._select(sorted(range(len(shards)), key=lambda n: (order[shards[n].settings[0]], shards[n].seeds)))

    def _select(self, numbers: Sequence[int]) -> None:
        self.header = replace(self.header, shards=tuple(self.header.shards[number] for number in numbers))
        self.tables = [self.tables[number] for number in numbers]


def _with(known: tuple[T, ...], value: T) -> tuple[tuple[T, ...], int]:
    """Return known values with one that may be new, and its position."""
    known = known if value in known else (*known, value)
    return known, known.index(value)
