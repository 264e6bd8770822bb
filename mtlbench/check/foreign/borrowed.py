"""Foreign code as one of our methods, so that the certificate's checks apply to it unchanged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mtlbench.check.foreign.load import Foreign, load
from mtlbench.check.foreign.seeding import seeded
from mtlbench.check.foreign.shapes import SIZE, Call, Shape, recognise, task_numbers
from mtlbench.check.robust import global_states
from mtlbench.check.subject import Subject
from mtlbench.contract.method import Method, ReadsLosses
from mtlbench.contract.observation import Observation

UNSEEDED = "one that no seed reaches"
"""Stands among the names of generators where equal seeds give different updates."""


class Borrowed(Method):
    """Foreign code behind the interface of a method.

    Foreign code draws from the global generators. They are seeded from the method's own generator for each call and
    restored afterwards, so that its draws can be repeated.

    :param call: a new object of the foreign code.
    :param examined: what is known of the code, for the declarations.
    """

    name = "foreign"
    reads = "gradients"
    returns = "update"

    def __init__(self, call: Call, examined: Examined) -> None:
        super().__init__()
        self.call, self.examined = call, examined
        self.main = int(getattr(examined.claimed, "main", 0))  # the task that keeps its place in the check of order
        claimed = examined.claimed
        self.symmetry = "in distribution" if examined.generators else "exact"  # type: ignore[misc]
        if claimed is not None:
            self.properties, self.scale = claimed.properties, claimed.scale  # type: ignore[misc]
            if claimed.symmetry in ("main task", "in turns"):
                self.symmetry = claimed.symmetry  # type: ignore[misc]

    @property
    def min_tasks(self) -> int:
        return self.examined.fewest_tasks

    @property
    def reads_losses(self) -> ReadsLosses:
        return "any" if self.examined.shape.takes == "losses" else "no"

    def update(self, observation: Observation) -> torch.Tensor:
        rows = observation.gradients
        losses = observation.losses if self.reads_losses == "any" else np.ones(len(rows))
        with seeded(int(self.generator.integers(2**31))):
            return self.call(rows, torch.tensor(losses)).to(torch.float64)


@dataclass(frozen=True)
class Examined:
    """Foreign code under examination.

    :param foreign: the loaded code.
    :param shape: its shape.
    :param make: creates a new object to call.
    :param fewest_tasks: the smallest number of tasks that it accepts.
    :param most_tasks: the largest number of tasks that it is tried with.
    :param generators: the libraries whose global generators it draws from.
    :param claimed: our method that it claims to be, if any.
    """

    foreign: Foreign
    shape: Shape
    make: Callable[[], Call]
    fewest_tasks: int
    most_tasks: int
    generators: tuple[str, ...]
    claimed: Method | None

    @property
    def usual_tasks(self) -> int:
        """The accepted number of tasks that is nearest to three."""
        return min(max(3, self.fewest_tasks), self.most_tasks)

    @property
    def subject(self) -> Subject:
        """The code as the certificate's checks take it."""

        def make(seed: int) -> Method:
            method = Borrowed(self.make(), self)
            method.reseed(seed)
            return method

        return Subject(self.foreign.spec, make, self.most_tasks, self.fewest_tasks)

    @property
    def ours(self) -> Subject | None:
        """The claimed method as the certificate's checks take it, if there is one."""
        claimed = self.claimed
        if claimed is None:
            return None

        def make(seed: int) -> Method:
            method = type(claimed).make(claimed.parameters)
            method.reseed(seed)
            return method

        return Subject(claimed.spec, make, self.most_tasks, self.fewest_tasks)

    def update(self, rows: Any, seed: int = 0, call: Call | None = None, losses: Any = None) -> Any:
        """Return the (P,) update of one call as an array, with the global generators seeded.

        :param rows: (K, P) task gradients.
        :param seed: the seed.
        :param call: the object to call; default: a new one.
        :param losses: (K,) losses; default: ones.
        """
        values = torch.ones(len(rows), dtype=torch.float64) if losses is None else torch.tensor(losses)
        with seeded(seed):
            return (call or self.make())(torch.tensor(rows), values).numpy()


def examine(spec: str, claimed: Method | None) -> Examined:
    """Load foreign code and find out how to call it.

    :param spec: how the user named it.
    :param claimed: our method that it claims to be, if any.
    :raises UsageError: as :func:`mtlbench.check.foreign.load.load` and
        :func:`mtlbench.check.foreign.shapes.recognise`.
    """
    foreign = load(spec)
    shape, make = recognise(foreign)
    fewest, most = task_numbers(make)
    return Examined(foreign, shape, make, fewest, most, _generators(make, most), claimed)


def _generators(make: Callable[[], Call], tasks: int) -> tuple[str, ...]:
    """Return which global generators change in calls on normal gradients, and whether another one is drawn from."""
    used = set()
    for seed in range(5):
        rows, updates = np.random.default_rng(seed).normal(size=(tasks, SIZE)), []
        for _ in range(2):
            call = make()
            with seeded(seed):
                before = global_states()
                updates.append(call(torch.tensor(rows), torch.ones(tasks, dtype=torch.float64)).numpy())
                after = global_states()
            used |= {name for name in before if before[name] != after[name]}
        if changed(updates[0], updates[1], rows):
            used.add(UNSEEDED)
    return tuple(name for name in ("torch", "numpy", "random", UNSEEDED) if name in used)


def changed(first: Any, second: Any, rows: Any) -> bool:
    """Return whether two updates differ by more than rounding; equal calls of a linear solver may differ by that.

    :param first: (P,) update.
    :param second: (P,) update.
    :param rows: (K, P) gradients, whose lengths are the measure.
    """
    if np.array_equal(first, second, equal_nan=True):
        return False
    return not float(np.linalg.norm(first - second)) <= 1e-9 * float(np.linalg.norm(rows, axis=1).sum())
