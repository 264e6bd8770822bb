"""Where cells run: the options of ``mtlbench run`` about it, checked, and the executor that they ask for."""

from __future__ import annotations

from dataclasses import dataclass

from mtlbench.errors import UsageError, unknown
from mtlbench.execute.executor import Executor
from mtlbench.execute.local import Local, Slot, device_slots
from mtlbench.provenance import usable_cores
from mtlbench.suite import Recipe

OPTIONS = {
    "devices": ("local",),
    "jobs_per_device": ("local",),
}
"""The options that not every executor has, with those that do."""
EXECUTORS = ("local",)


@dataclass(frozen=True)
class Placement:
    """The options; ``None`` where one was not given.

    :param jobs: cells at a time; by default as many as there is room for.
    :param devices: GPUs of this machine, such as ``cuda:0,cuda:1``.
    :param jobs_per_device: cells at a time on each of them.
    """

    executor: str = "local"
    jobs: int | None = None
    devices: str | None = None
    jobs_per_device: int | None = None

    def check(self, recipe: Recipe) -> None:
        """Look at the options, without starting anything.

        :raises UsageError: for an unknown executor, an option of another one, or a value that makes no sense.
        """
        if self.executor not in EXECUTORS:
            raise unknown("executor", self.executor, EXECUTORS)
        for option, executors in OPTIONS.items():
            if getattr(self, option) is not None and self.executor not in executors:
                raise UsageError(f"--{option.replace('_', '-')} goes with --executor {' or '.join(executors)}")
        if self.jobs is not None and self.jobs < 1:
            raise UsageError("jobs must be at least 1")
        if self.jobs_per_device is not None and self.jobs_per_device < 1:
            raise UsageError("jobs-per-device must be at least 1")
        if self.devices is None:
            if self.jobs_per_device is not None:
                raise UsageError("--jobs-per-device needs --devices, such as --devices cuda:0,cuda:1")
        elif self.jobs is not None:
            raise UsageError("give either --jobs, or --devices with --jobs-per-device")
        elif recipe.device != "cuda":
            raise UsageError(
                f"--devices needs --device cuda: which GPU a cell gets is not the recipe's ({recipe.device})"
            )

    def room(self, recipe: Recipe) -> int | None:
        """Return how many cells run at a time; ``None`` where that is for a cluster to say."""
        return len(self._slots(recipe)) if self.executor == "local" else self.jobs

    def note(self, recipe: Recipe) -> str:
        """Return a sentence where fewer cells run at a time than were asked for."""
        if self.executor != "local" or self.jobs is None or self.jobs <= _most(recipe):
            return ""
        return (
            f"--jobs {self.jobs} lowered to {_most(recipe)}: {recipe.threads} threads a cell on {usable_cores()} cores"
        )

    def start(self, recipe: Recipe) -> Executor:
        """Start the executor.

        :raises UsageError: when it cannot be started here.
        """
        return Local(self._slots(recipe))

    def _slots(self, recipe: Recipe) -> list[Slot]:
        if self.devices is not None:
            return device_slots([name.strip() for name in self.devices.split(",")], self.jobs_per_device or 1)
        return [None] * min(self.jobs or _most(recipe), _most(recipe))


def _most(recipe: Recipe) -> int:
    """Return how many cells this machine has cores for."""
    return max(1, usable_cores() // recipe.threads)
