"""The contract of a multi-task optimization method: K losses and a K × K matrix in, K weights out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mtlbench import seeds
from mtlbench.errors import UsageError
from mtlbench.plugin import Plugin

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

Reads = Literal["losses", "gram"]
SharedParameters = Literal["shared", "last_shared_layer"]


@dataclass(frozen=True)
class Observation:
    """What one optimizer step shows a method. All float64.

    :param losses: (K,) the losses Lᵢ of this step, each the mean over its task's batch, in nats or squared
        standard deviations.
    :param gram: (K, K) inner products ⟨gᵢ, gⱼ⟩ of the task gradients over the parameters that the method asks
        for (:attr:`Method.gram_of`); ``None`` for methods that read losses only.
    """

    losses: Vector
    gram: Matrix | None = None

    @property
    def tasks(self) -> int:
        """K, the number of tasks."""
        return len(self.losses)


@dataclass
class Method(Plugin):
    """Base of all methods. A subclass is a dataclass: its fields are its hyperparameters.

    Fields declared with ``field(init=False)`` are state; they are saved, restored and replayed for you.
    A method that draws random numbers draws them from ``self.generator``, never from a global generator.
    """

    kind: ClassVar[str] = "method"
    reads: ClassVar[Reads] = "gram"
    """The least that the method must be given. The engine does no more work than that."""
    heads: ClassVar[Literal["plain", "weighted"]] = "plain"
    """What the task heads descend: their own task's gradient, or that gradient times the task's weight."""
    joint: ClassVar[bool] = True
    """Whether all tasks train one shared model. ``False``: one model per task (the single-task baseline)."""
    source: ClassVar[str] = ""
    """The paper: authors, title, venue, year."""

    generator: np.random.Generator = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.reseed(0)

    def reseed(self, seed: int) -> None:
        """Give the method a private generator for this seed."""
        self.generator = seeds.generator(seed, "method", self.name)

    @property
    def gram_of(self) -> SharedParameters:
        """The parameters over which the Gram matrix is taken: all shared ones, or the last shared layer."""
        return "shared"

    def weights(self, seen: Observation) -> Vector:
        """Return the (K,) weights w: the shared update is Σ wᵢ gᵢ.

        :param seen: this step's losses and Gram matrix.
        :raises SolverError: when the method's own optimality conditions are not met.
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on, as plain data."""
        state = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if not f.init}
        state["generator"] = self.generator.bit_generator.state
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that :meth:`state_dict` returned: the replay is exact."""
        for name, value in state.items():
            if name == "generator":
                self.generator.bit_generator.state = value
            else:
                setattr(self, name, value)


def gram_of(seen: Observation) -> Matrix:
    """Return the Gram matrix of an observation that must have one.

    :raises UsageError: when the caller gave losses alone.
    """
    if seen.gram is None:
        raise UsageError("this method reads the Gram matrix of the task gradients; give gram")
    return seen.gram
