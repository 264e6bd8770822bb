"""The trials of one method, derived from the records each time: a search keeps no other state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from mtlbench import seeds
from mtlbench.contract.method import Method
from mtlbench.grid.tuned_file import Side
from mtlbench.plan.cells import Cell, Workload, make_cells
from mtlbench.records.record import Record
from mtlbench.tune.sampler import WORST, Sampler, halton, tpe
from mtlbench.tune.space import Point, Space, split

FIRST_SEED = 1_000_000
"""First seed of tuning cells, far from the seeds of reported results, which start at 0."""
TRANSIENT = ("OutOfMemory", "MemoryError", "ProcessDied")
"""Types of errors caused by the machine: such a cell is trained again and does not count against the method."""


@dataclass(frozen=True)
class Budget:
    """The budget, which is the same for every method.

    :param trials: trials per method, including its defaults.
    :param seeds: training seeds of every trial, whose score is the mean over them.
    :param sampler: ``"halton"``: all trials at quasi-random points; ``"tpe"``: the first half of them.
    :param seed: of the sampler.
    """

    trials: int
    seeds: tuple[int, ...]
    sampler: Sampler
    seed: int

    @property
    def fixed(self) -> int:
        """Number of first trials whose points depend on no result."""
        return self.trials if self.sampler == "halton" else (self.trials + 1) // 2


@dataclass(frozen=True)
class Trial:
    """One choice of parameters and its result.

    :param number: from 0, which is the method as the user wrote it.
    :param method: with the trial's parameters.
    :param point: coordinates of the parameters in the search spaces.
    :param cells: one cell per seed.
    :param status: ``"open"`` until all cells have ended or one has failed.
    :param scores: task → primary metric on the development rows, mean over seeds.
    :param reason: why the trial failed, or empty.
    """

    number: int
    method: Method
    point: Point
    cells: tuple[Cell, ...]
    status: Literal["done", "failed", "open"]
    scores: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def score(self) -> float | None:
        """Mean over tasks of the primary metrics, by which trials are chosen; ``None`` unless done."""
        return float(np.mean(list(self.scores.values()))) if self.status == "done" else None


@dataclass(frozen=True)
class MethodSearch:
    """A method and its search spaces.

    :param method: as the user wrote it, which is the first trial.
    :param spaces: parameter → space, ``base_lr`` first.
    """

    method: Method
    spaces: Mapping[str, Space]

    def trials(self, workload: Workload, budget: Budget, records: Mapping[str, Record]) -> list[Trial]:
        """Return the trials determined so far, in order: a trial of TPE follows only when all before it have ended.

        :param records: key of a cell → its record.
        """
        trials: list[Trial] = []
        for number in range(budget.trials):
            if number >= budget.fixed and any(trial.status == "open" for trial in trials):
                break
            point = self._point(number, workload, budget, trials)
            method = self.at(point) if number else self.method
            trials.append(_trial(number, method, point, make_cells(workload, [method], budget.seeds), records))
        return trials

    def at(self, point: Point) -> Method:
        """Return the method with the parameters at a point.

        :param point: the coordinates of all spaces, in order.
        """
        points = split(list(self.spaces.values()), point)
        values = {name: space.at(own) for (name, space), own in zip(self.spaces.items(), points, strict=True)}
        return type(self.method).make({**self.method.parameters, **values})

    def values(self, method: Method, workload: Workload) -> dict[str, Any]:
        """Return tuned parameter → value in a trial's method; ``base_lr`` is the recipe's unless the method sets it."""
        values = {name: getattr(method, name) for name in self.spaces}
        return {**values, "base_lr": method.base_lr or workload.recipe.lr}

    def edges(self, trial: Trial, workload: Workload) -> dict[str, Side]:
        """Return parameter → edge, for the values of a trial that lie on an edge of their space."""
        values = self.values(trial.method, workload)
        sides = {name: space.edge(values[name]) for name, space in self.spaces.items()}
        return {name: side for name, side in sides.items() if side is not None}

    def _point(self, number: int, workload: Workload, budget: Budget, before: Sequence[Trial]) -> Point:
        spaces = list(self.spaces.values())
        if number == 0:
            values = self.values(self.method, workload)
            return tuple(place for name, space in self.spaces.items() for place in space.find(values[name]))
        if number < budget.fixed:
            return halton(number - 1, sum(space.size for space in spaces), budget.seed)
        scored = [(trial.point, WORST if trial.score is None else trial.score) for trial in before]
        return tpe(spaces, scored, seeds.derive(budget.seed, "tune", self.method.spec, number))


def best(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial with the highest score, the earliest of several; ``None`` if no trial is done."""
    done = [trial for trial in trials if trial.score is not None]
    return max(done, key=lambda trial: trial.score or 0.0, default=None)


def ended(record: Record | None) -> bool:
    """Return whether a cell needs no more training: it is done, or failed for a reason other than the machine."""
    if record is None:
        return False
    return record["status"] == "done" or record["error"] is None or record["error"]["type"] not in TRANSIENT


def _trial(number: int, method: Method, point: Point, cells: Sequence[Cell], records: Mapping[str, Record]) -> Trial:
    existing = [records.get(cell.key) for cell in cells]
    final = [record for record in existing if record is not None and ended(record)]
    failed = [record["error"]["message"] for record in final if record["error"] is not None]
    if failed:
        return Trial(number, method, point, tuple(cells), "failed", reason=failed[0])
    if len(final) < len(cells):
        return Trial(number, method, point, tuple(cells), "open")
    scores = {
        name: float(np.mean([record["scores"][name][task["metrics"][0]] for record in final]))
        for name, task in final[0]["tasks"].items()
    }
    return Trial(number, method, point, tuple(cells), "done", scores)
