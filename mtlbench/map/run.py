"""A map between its plan and its folder: what is trained, what is missing, and where new shards go."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from mtlbench.host.provenance import environment
from mtlbench.map.cells import Setting, Trained
from mtlbench.map.design import Plan
from mtlbench.map.header import Header
from mtlbench.map.shards import Shard, cell_keys, missing
from mtlbench.map.store import MapStore
from mtlbench.map.stored import StoredStudy
from mtlbench.plugins.fingerprint import source_fingerprint
from mtlbench.plugins.registry import Registry


class Run:
    """Some studies of one preset and what is on disk of them.

    :param store: the folder.
    :param plans: the studies.
    :param registry: source of the methods.
    """

    def __init__(self, store: MapStore, plans: Sequence[Plan], registry: Registry) -> None:
        self.store, self.plans, self.notes = store, plans, list[str]()
        self._registry = registry
        self._plans = {plan.name: plan for plan in plans}
        self._keys = {plan.name: self._keys_of(plan) for plan in plans}
        self._unreadable = set[str]()
        self._stored = {plan.name: self._read(plan) for plan in plans}

    def missing(self, seeds: Sequence[int]) -> dict[str, list[Shard]]:
        """Return name of each study → the shards that are left.

        :param seeds: the seeds that every setting should have.
        """
        return {name: missing(plan, seeds, self._stored[name].done()) for name, plan in self._plans.items()}

    def add(self, study: str, trained: Trained, started: str) -> None:
        """Add a shard, and write its study. A damaged header is set aside before the first shard replaces it.

        :param study: name of the study.
        :param trained: the shard's scores.
        :param started: time of the start, UTC.
        :raises UsageError: when it cannot be written.
        """
        if study in self._unreadable:
            self.store.set_aside(study)
            self._unreadable.remove(study)
        self._stored[study].add(trained, self._keys[study], started, self._environment)
        self.store.save(self._stored[study])

    @cached_property
    def _environment(self) -> dict[str, Any]:
        return environment(further=("pyarrow",))

    def _keys_of(self, plan: Plan) -> dict[Setting, str]:
        """Return setting → its key, in the order of the plan."""
        keys: dict[Setting, str] = {}
        for columns in {plan.columns(setting) for setting in plan.settings}:
            settings = [setting for setting in plan.settings if plan.columns(setting) == columns]
            keys |= zip(settings, cell_keys(settings, columns, self._registry), strict=True)
        return {setting: keys[setting] for setting in plan.settings}

    def _read(self, plan: Plan) -> StoredStudy:
        """Return what is on disk of a study and still holds; notes say what does not."""
        stored = self.store.read(plan.name)
        if isinstance(stored, str):
            self.notes.append(f"damaged, trained again: {stored}")
            self._unreadable.add(plan.name)
        if not isinstance(stored, StoredStudy):
            return StoredStudy(self._header(plan))
        self.notes += [f"damaged, trained again: {line}" for line in stored.damaged]
        dropped = stored.keep(self._keys[plan.name])
        if dropped:
            self.notes.append(f"{plan.name}: {dropped} shards of another plan or other code are trained again")
        return stored

    def _header(self, plan: Plan) -> Header:
        specs = sorted({column.method for setting in plan.settings for column in plan.columns(setting)})
        methods = {spec: self._registry.method(spec) for spec in specs}
        entries = {
            spec: {
                "name": method.name,
                "parameters": method.parameters,
                "source_sha256": source_fingerprint(type(method)),
            }
            for spec, method in methods.items()
        }
        return Header(self.store.preset, plan.name, plan.title, plan.knobs, (), entries, (), ())
