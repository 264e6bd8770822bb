"""The options of ``mtlbench run`` that choose where cells run, and the executor that they select."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mtlbench.errors import UsageError, unknown
from mtlbench.execute.executor import Executor
from mtlbench.execute.local import Local, Slot, device_slots
from mtlbench.host.provenance import usable_cores
from mtlbench.plan.cells import modules_of
from mtlbench.recipe.suite import Recipe

OPTIONS = {
    "devices": "local",
    "jobs_per_device": "local",
    "address": "ray",
    "slurm_partition": "slurm",
    "slurm_time": "slurm",
}
"""Options that belong to a single executor."""
EXECUTORS = ("local", "ray", "slurm")
"""Values of ``--executor``. A process started by torchrun uses a further one, ``torchrun``."""
SLURM_TIME = 60
"""Default time limit of a cell under SLURM, in minutes."""


@dataclass(frozen=True)
class Placement:
    """The options; ``None`` stands for an option that the user did not set.

    :param executor: one of :data:`EXECUTORS`, or ``torchrun``.
    :param jobs: maximum number of cells at a time; by default, as many as fit.
    :param devices: GPUs of this machine, such as ``cuda:0,cuda:1``.
    :param jobs_per_device: maximum number of cells at a time on each of these GPUs.
    :param address: address of a Ray cluster.
    :param slurm_partition: SLURM partition.
    :param slurm_time: time limit of a cell, in minutes, after which it is queued again.
    """

    executor: str = "local"
    jobs: int | None = None
    devices: str | None = None
    jobs_per_device: int | None = None
    address: str | None = None
    slurm_partition: str | None = None
    slurm_time: int | None = None

    def check(self, recipe: Recipe) -> None:
        """Check the options, without starting anything.

        :param recipe: the recipe of the cells.
        :raises UsageError: for an unknown executor, an option of a different one, or an invalid value.
        """
        if self.executor not in EXECUTORS and not (self.executor == "torchrun" and torchrun_place()):
            raise unknown("executor", self.executor, EXECUTORS)
        for option, executor in OPTIONS.items():
            if getattr(self, option) is not None and self.executor != executor:
                raise UsageError(f"--{option.replace('_', '-')} goes with --executor {executor}")
        for option in ("jobs", "jobs_per_device", "slurm_time"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise UsageError(f"{option.replace('_', '-')} must be at least 1")
        if self.jobs_per_device is not None and self.devices is None:
            raise UsageError("--jobs-per-device needs --devices, such as --devices cuda:0,cuda:1")
        if self.jobs is not None and self.devices is not None:
            raise UsageError("give either --jobs, or --devices with --jobs-per-device")
        if (self.devices is not None or self.executor != "local") and recipe.device not in ("cpu", "cuda"):
            raise UsageError(f"give --device cuda, not {recipe.device}: a cell gets one of several GPUs")
        if self.devices is not None and recipe.device != "cuda":
            raise UsageError("--devices needs --device cuda")
        if self.devices is not None and recipe.processes > 1:
            raise UsageError("--devices gives each cell one GPU: omit it with --processes-per-cell")
        for device in self._devices if self.devices is not None else [recipe.device]:
            check_device(device, here=self._here)

    def device_here(self, recipe: Recipe) -> str:
        """Return the device that cells use on this machine, or ``"cpu"`` if they run on others, which report their own.

        :param recipe: the recipe of the cells.
        """
        return recipe.device if self._here else "cpu"

    def room(self, recipe: Recipe) -> int | None:
        """Return the maximum number of cells at a time, or ``None`` if the cluster decides.

        :param recipe: the recipe of the cells.
        """
        if self.executor == "torchrun":
            return 1
        return len(self._slots(recipe)) if self.executor == "local" else self.jobs

    def note(self, recipe: Recipe) -> str:
        """Return a note for the user if ``jobs`` is more than fit on this machine, else an empty string.

        :param recipe: the recipe of the cells.
        """
        if self.executor != "local" or self.jobs is None or self.jobs <= _most(recipe):
            return ""
        threads = recipe.threads * recipe.processes
        return f"--jobs {self.jobs} lowered to {_most(recipe)}: {threads} threads a cell on {usable_cores()} cores"

    def start(self, recipe: Recipe) -> Executor:
        """Start the executor and return it.

        :param recipe: the recipe of the cells.
        :raises UsageError: if it cannot be started here.
        """
        # the libraries of clusters are extras and slow to import, so import them only when selected
        if self.executor == "ray":
            from mtlbench.execute.ray import Ray

            return Ray(recipe, jobs=self.jobs, address=self.address)
        if self.executor == "slurm":
            from mtlbench.execute.slurm import Slurm

            minutes = self.slurm_time or SLURM_TIME
            return Slurm(recipe, jobs=self.jobs, partition=self.slurm_partition, minutes=minutes)
        if self.executor == "torchrun":
            from mtlbench.execute.torchrun import Torchrun

            return Torchrun()
        return Local(self._slots(recipe), modules_of(recipe))

    @property
    def _here(self) -> bool:
        return self.executor in ("local", "torchrun")

    @property
    def _devices(self) -> list[str]:
        return [name.strip() for name in (self.devices or "").split(",")]

    def _slots(self, recipe: Recipe) -> list[Slot]:
        if self.devices is not None:
            return device_slots(self._devices, self.jobs_per_device or 1)
        return [None] * min(self.jobs or _most(recipe), _most(recipe))


def torchrun_place() -> tuple[int, int] | None:
    """Return the rank of this process and the number of processes, or ``None`` if torchrun did not start it."""
    if not {"TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE"} <= os.environ.keys():
        return None
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def _most(recipe: Recipe) -> int:
    """Return the number of cells that this machine has cores for."""
    return max(1, usable_cores() // (recipe.threads * recipe.processes))


def check_device(device: str, *, here: bool) -> None:
    """Check the name of a device.

    :param device: ``cpu``, ``cuda`` or ``cuda:N``.
    :param here: whether the device must exist on this machine.
    :raises UsageError: if the name is invalid, or the device does not exist.
    """
    kind, colon, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (colon and (kind == "cpu" or not (number.isascii() and number.isdigit()))):
        raise UsageError(f"device '{device}' is not known; give cpu, cuda or cuda:N")
    if kind == "cpu" or not here:
        return
    import torch

    if int(number or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {device} is not available here ({torch.cuda.device_count()} CUDA devices); give cpu")
