"""The result of a map: its studies, with the gains of every method over every comparator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from mtlbench.errors import unknown
from mtlbench.map import gains as statistics
from mtlbench.map.cells import Setting, StepRule
from mtlbench.map.comparators import Comparator, standard
from mtlbench.map.endpoints import ENDPOINTS, Endpoint
from mtlbench.map.gains import Gain
from mtlbench.map.scores import Scores
from mtlbench.map.selection import Search


@dataclass(frozen=True)
class Study:
    """One study: cells over some knobs, all else equal.

    :param name: such as ``"loss-noise"``.
    :param title: for a heading.
    :param knobs: the fields of a setting that differ between its cells, the horizontal one of its figure first.
    :param cells: the scores of each setting, in the order of the plan.
    """

    name: str
    title: str
    knobs: tuple[str, ...]
    cells: Sequence[Scores]

    @property
    def settings(self) -> list[Setting]:
        """The settings of its cells."""
        return [cell.setting for cell in self.cells]

    def cell(self, setting: Setting) -> Scores:
        """Return the scores of a setting.

        :raises KeyError: when the study has no such setting.
        """
        return next(cell for cell in self.cells if cell.setting == setting)

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Specs of the methods that were trained in every cell, the sum and its step rules included."""
        return tuple(spec for spec in self.cells[0].methods if all(spec in cell.methods for cell in self.cells))

    @cached_property
    def rules(self) -> tuple[StepRule, ...]:
        """Step rules with a pool of fixed weights in every cell."""
        return tuple(rule for rule in self.cells[0].pools if all(rule in cell.pools for cell in self.cells))

    @property
    def has_single_tasks(self) -> bool:
        """Whether single tasks were trained in every cell."""
        return all(cell.single_task is not None for cell in self.cells)

    @property
    def comparators(self) -> list[Comparator]:
        """The comparators that are possible, the equal sum first."""
        return list(standard(self.methods, self.rules, single_task=self.has_single_tasks))

    @property
    def endpoints(self) -> list[Endpoint]:
        """The endpoints that are possible: Δm needs single tasks."""
        return [endpoint for endpoint in ENDPOINTS if endpoint != "delta-m" or self.has_single_tasks]


@dataclass(frozen=True)
class MapResult:
    """All studies of a map.

    :param studies: name → study.
    :param preset: ``"quick"`` or ``"full"``.
    :param headers: name → the header of the study's file: versions, machine, seeds, seconds.
    """

    studies: Mapping[str, Study]
    preset: str = ""
    headers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def study(self, name: str) -> Study:
        """Return a study.

        :raises UsageError: for an unknown name.
        """
        if name not in self.studies:
            raise unknown("study", name, self.studies)
        return self.studies[name]

    def only(self, names: Sequence[str]) -> MapResult:
        """Return the result with some of its studies alone.

        :param names: their names; those that are not there are left out.
        """
        return replace(self, studies={name: self.studies[name] for name in names if name in self.studies})

    def gains(
        self,
        study: str,
        comparator: str = "sum",
        endpoint: Endpoint = "mean-log",
        candidates: Sequence[str] | None = None,
    ) -> list[Gain]:
        """Compare methods with a comparator in every cell of a study. All that is returned is one family of tests.

        :param study: name of the study.
        :param comparator: its spec, such as ``"sum"`` or ``"fixed[trials=8]"``.
        :param endpoint: a name in :data:`mtlbench.map.endpoints.ENDPOINTS`.
        :param candidates: specs of methods or comparators; ``None``: all methods of the study.
        :returns: one gain for each cell and candidate, cell by cell.
        :raises UsageError: for an unknown name, or for a side that was not trained.
        """
        chosen = self.study(study)
        specs = chosen.methods if candidates is None else candidates
        return statistics.gains(
            chosen.cells, [Comparator.read(spec) for spec in specs], Comparator.read(comparator), endpoint
        )

    def budget_curve(
        self,
        study: str,
        setting: Setting,
        rule: StepRule = "plain",
        search: Search = "coordinate",
        endpoint: Endpoint = "mean-log",
    ) -> list[Gain]:
        """Return the gain of tuned fixed weights over the equal sum, by their trials: ``Gain.trials``, from 1 up.

        :param study: name of the study.
        :param setting: one of its cells.
        :param rule: step rule of the fixed weights.
        :param search: how the trials are spent.
        :param endpoint: a name in :data:`mtlbench.map.endpoints.ENDPOINTS`.
        :raises UsageError: for an unknown name, or when no fixed weights were trained there.
        """
        cell = self.study(study).cell(setting)
        if rule not in cell.pools:
            raise unknown("step rule with fixed weights", rule, cell.pools)
        most = cell.pools[rule].budget(len(cell.pools[rule].all), search)
        sides = [Comparator("fixed", trials=trials, search=search, rule=rule) for trials in range(1, most + 1)]
        return statistics.gains([cell], sides, Comparator("method", "sum"), endpoint)
