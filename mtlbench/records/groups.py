"""Groups of records whose cells may be compared. This module knows the form of records, and no statistics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Record = Mapping[str, Any]
"""A :class:`mtlbench.records.record.Record`, or a view of one, as readers see it."""
Start = Mapping[str | None, tuple[str | None, ...]]
"""Pairing hashes: task → hashes of its head, batches and dropout masks; ``None`` → hash of the shared part."""


@dataclass(frozen=True)
class Floor:
    """A score that a trivial predictor reaches, such as the majority class."""

    name: str
    value: float


@dataclass(frozen=True)
class ScoredTask:
    """A task, as records describe it."""

    name: str
    metrics: tuple[str, ...]
    """Metrics, the primary one first; higher is better for all."""
    floors: dict[str, tuple[Floor, ...]]
    """Metric → floors."""
    tuned_corpus: str | None = None
    """The task's corpus, if the encoder was tuned on it before."""

    @property
    def primary(self) -> str:
        """The primary metric."""
        return self.metrics[0]

    def floor(self, metric: str) -> Floor | None:
        """Return the highest floor of a metric, which a score has to beat."""
        return max(self.floors.get(metric, ()), key=lambda floor: floor.value, default=None)


@dataclass(frozen=True)
class Cells:
    """The newest record of every cell of one group."""

    group: str
    records: tuple[Record, ...]
    superseded: int
    """Number of older records of the same cells, which are left out."""

    @property
    def suite(self) -> str:
        """Name of the suite."""
        return str(self.records[0]["suite"])

    @property
    def recipe(self) -> dict[str, Any]:
        """Recipe of all cells."""
        return dict(self.records[0]["recipe"])

    @property
    def split(self) -> str:
        """Split of the scores: ``dev`` or ``test``."""
        return str(self.records[0].get("split", "dev"))

    @property
    def encoder(self) -> Mapping[str, Any]:
        """Encoder of all cells, or their problem's model; empty where records lack it."""
        return self.records[0].get("encoder") or {}

    @property
    def problem(self) -> str | None:
        """Spec of the problem of all cells; ``None`` for tasks on texts and for a watched run."""
        spec: str | None = self.recipe.get("problem")
        return spec

    @property
    def watched(self) -> Mapping[str, Any] | None:
        """What a watched run measured, if the group is one: a run of a user's own, which is compared with nothing."""
        return self.records[0].get("watched")

    @cached_property
    def done(self) -> dict[tuple[str, int], Record]:
        """The finished cells by method and seed."""
        return {(spec(r), int(r["seed"])): r for r in self.records if r["status"] == "done"}

    @cached_property
    def failed(self) -> dict[tuple[str, int], Record]:
        """The failed cells by method and seed."""
        return {(spec(r), int(r["seed"])): r for r in self.records if r["status"] == "failed"}

    @cached_property
    def unfinished(self) -> dict[tuple[str, int], Record]:
        """Unfinished cells by method and seed; they come from checkpoints, not from record files."""
        return {(spec(r), int(r["seed"])): r for r in self.records if r["status"] in ("running", "stopped")}

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Methods with a record: the single-task baseline first, then by name."""
        single = self.single_task
        return tuple(sorted({spec(r) for r in self.records}, key=lambda m: (m not in single, m)))

    @cached_property
    def single_task(self) -> frozenset[str]:
        """Methods that train one model per task."""
        return frozenset(spec(r) for r in self.records if not r["method"]["joint"])

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Seeds with a record, in order."""
        return tuple(sorted({int(r["seed"]) for r in self.records}))

    @cached_property
    def tasks(self) -> tuple[ScoredTask, ...]:
        """The tasks in the order of the recipe."""
        described: dict[str, Mapping[str, Any]] = {}
        for record in self.records:
            described = {**record.get("tasks", {}), **described}
        order = list(self.recipe["tasks"])
        names = sorted(described, key=lambda name: order.index(described[name]["spec"]))
        tuned_on = self.encoder.get("tuned_on") or ()
        return tuple(_task(name, described[name], tuned_on) for name in names)

    def find(self, name: str) -> str | None:
        """Return the spec of the method with a full spec, or with a bare name that only one method has.

        :param name: spec or bare name.
        :returns: ``None`` where no method, or more than one, has the name.
        """
        if name in self.methods:
            return name
        specs = {spec(r) for r in self.records if r["method"]["name"] == name}
        return specs.pop() if len(specs) == 1 else None

    @cached_property
    def done_of(self) -> dict[str, dict[int, Record]]:
        """Method → seed → record of the finished cells, seeds in order."""
        cells: dict[str, dict[int, Record]] = {}
        for (method, seed), record in sorted(self.done.items()):
            cells.setdefault(method, {})[seed] = record
        return cells

    def common(self, method: str, other: str) -> list[int]:
        """Return the seeds that both methods have finished, in order."""
        return sorted(self.done_of.get(method, {}).keys() & self.done_of.get(other, {}).keys())

    def series(self, method: str, task: str, metric: str) -> Mapping[int, float]:
        """Return a method's finite scores by seed, in order."""
        return self._series.get((method, task, metric), {})

    @cached_property
    def _series(self) -> dict[tuple[str, str, str], dict[int, float]]:
        """The finite scores of every method on every metric of every task, by seed."""
        series: dict[tuple[str, str, str], dict[int, float]] = {}
        for method, cells in self.done_of.items():
            for seed, record in cells.items():
                for task, scores in record["scores"].items():
                    for metric, value in scores.items():
                        if value is not None and math.isfinite(value):
                            series.setdefault((method, task, metric), {})[seed] = float(value)
        return series

    def paired(self, method: str, baseline: str, seeds: Iterable[int]) -> bool:
        """Whether the hashes prove that both methods had the same start, batches and dropout masks in every seed."""
        starts = self._starts
        return all(_same(starts[method, seed], starts[baseline, seed]) for seed in seeds)

    @cached_property
    def _starts(self) -> dict[tuple[str, int], Start]:
        """Pairing hashes of every finished cell."""
        return {cell: _start(record) for cell, record in self.done.items()}


def spec(record: Record) -> str:
    """Return the method's spec: its name with parameters, as the user wrote it."""
    return str(record["method"]["spec"])


def collect(records: Sequence[Record]) -> list[Cells]:
    """Split records into groups, oldest first; keep the newest record of each (group, method, seed)."""
    groups: dict[str, dict[tuple[str, int], Record]] = {}
    counts: dict[str, int] = {}
    for record in sorted(records, key=lambda r: (r["started"], r["key"])):  # later records overwrite earlier ones
        groups.setdefault(record["group"], {})[spec(record), record["seed"]] = record
        counts[record["group"]] = counts.get(record["group"], 0) + 1
    return [
        Cells(group=group, records=tuple(cells.values()), superseded=counts[group] - len(cells))
        for group, cells in groups.items()
    ]


def _task(name: str, described: Mapping[str, Any], tuned_on: Iterable[str]) -> ScoredTask:
    """Return a task, from its description in a record."""
    floors = {
        metric: tuple(Floor(floor["name"], float(floor["value"])) for floor in values if floor["value"] is not None)
        for metric, values in described.get("floors", {}).items()
    }
    corpus = described.get("corpus")
    return ScoredTask(name, tuple(described["metrics"]), floors, corpus if corpus and corpus in tuned_on else None)


def _start(record: Record) -> Start:
    """Return the pairing hashes of the shared part and of every scored task."""
    pairing = record.get("pairing") or {}
    parts = [pairing.get(part) or {} for part in ("heads", "schedule", "dropout")]
    return {None: (pairing.get("shared"),), **{t: tuple(part.get(t) for part in parts) for t in record["scores"]}}


def _same(a: Start, b: Start) -> bool:
    """Whether two cells of one seed have equal hashes for the parts that both have. A missing hash proves nothing."""
    return all(a[part] == b[part] and None not in a[part] for part in a.keys() & b.keys())
