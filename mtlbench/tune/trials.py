"""The trials of one method: worked out anew from the records each time, which are all the state there is."""

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
"""Seeds of tuning cells begin here, far from those of reports, which are counted from 0."""
MAY_PASS = ("OutOfMemory", "MemoryError", "ProcessDied")
"""Errors that come from the machine: such a cell is trained again, and no verdict on the method."""


@dataclass(frozen=True)
class Budget:
    """What every method gets alike.

    :param trials: how often each method is tried, its defaults included.
    :param seeds: that every trial is trained with; its score is their mean.
    :param sampler: ``"halton"``: all trials on quasi-random points; ``"tpe"``: half of them.
    :param seed: of the sampler.
    """

    trials: int
    seeds: tuple[int, ...]
    sampler: Sampler
    seed: int

    @property
    def fixed(self) -> int:
        """The first trials, which depend on no result."""
        return self.trials if self.sampler == "halton" else (self.trials + 1) // 2


@dataclass(frozen=True)
class Trial:
    """One choice of parameters, and what came of it.

    :param status: ``"open"`` until all its cells have ended.
    :param scores: task → primary metric on the development rows, the mean over seeds.
    :param reason: why it failed.
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
        """The mean over the tasks of their primary metrics: the one number that trials are chosen by."""
        return float(np.mean(list(self.scores.values()))) if self.status == "done" else None


@dataclass(frozen=True)
class MethodSearch:
    """A method and what is tuned of it.

    :param method: as the user wrote it: the first trial.
    :param spaces: parameter → space; ``base_lr`` first.
    """

    method: Method
    spaces: Mapping[str, Space]

    def trials(self, workload: Workload, budget: Budget, records: Mapping[str, Record]) -> list[Trial]:
        """Return the trials that can be named so far, in order; those of TPE only when all before them have ended.

        :param records: by their cell's key.
        """
        found: list[Trial] = []
        for number in range(budget.trials):
            if number >= budget.fixed and any(trial.status == "open" for trial in found):
                break
            point = self._point(number, workload, budget, found)
            method = self.at(point) if number else self.method
            found.append(_tried(number, method, point, make_cells(workload, [method], budget.seeds), records))
        return found

    def at(self, point: Point) -> Method:
        """Return the method at a point of the cube that its spaces make up."""
        places = split(list(self.spaces.values()), point)
        values = {name: space.at(place) for (name, space), place in zip(self.spaces.items(), places, strict=True)}
        return type(self.method).make({**self.method.parameters, **values})

    def values(self, method: Method, workload: Workload) -> dict[str, Any]:
        """Return what is tuned of a trial's method; the learning rate is the recipe's where it has none of its own."""
        values = {name: getattr(method, name) for name in self.spaces}
        return {**values, "base_lr": method.base_lr or workload.recipe.lr}

    def edges(self, trial: Trial, workload: Workload) -> dict[str, Side]:
        """Return parameter → ``"low"`` or ``"high"``, for those that lie on an edge of their space."""
        values = self.values(trial.method, workload)
        found = {name: space.edge(values[name]) for name, space in self.spaces.items()}
        return {name: side for name, side in found.items() if side is not None}

    def _point(self, number: int, workload: Workload, budget: Budget, before: Sequence[Trial]) -> Point:
        spaces = list(self.spaces.values())
        if number == 0:
            values = self.values(self.method, workload)
            return tuple(place for name, space in self.spaces.items() for place in space.find(values[name]))
        if number < budget.fixed:
            return halton(number - 1, sum(space.size for space in spaces), budget.seed)
        told = [(trial.point, WORST if trial.score is None else trial.score) for trial in before]
        return tpe(spaces, told, seeds.derive(budget.seed, "tune", self.method.spec, number))


def best(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial with the highest score, the earliest of equal ones."""
    done = [trial for trial in trials if trial.score is not None]
    return max(done, key=lambda trial: trial.score or 0.0, default=None)


def ended(record: Record | None) -> bool:
    """Whether a cell need not be trained again: it is done, or failed for a reason of its own."""
    if record is None:
        return False
    return record["status"] == "done" or record["error"] is None or record["error"]["type"] not in MAY_PASS


def _tried(number: int, method: Method, point: Point, cells: Sequence[Cell], records: Mapping[str, Record]) -> Trial:
    kept = [records.get(cell.key) for cell in cells]
    found = [record for record in kept if record is not None and ended(record)]
    failed = [record["error"]["message"] for record in found if record["error"] is not None]
    if failed:
        return Trial(number, method, point, tuple(cells), "failed", reason=failed[0])
    if len(found) < len(cells):
        return Trial(number, method, point, tuple(cells), "open")
    scores = {
        name: float(np.mean([record["scores"][name][task["metrics"][0]] for record in found]))
        for name, task in found[0]["tasks"].items()
    }
    return Trial(number, method, point, tuple(cells), "done", scores)
