"""The contract of a multi-task optimization method: what it reads of a step, and the K weights that it returns."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, cast, get_args

import numpy as np
from pydantic import Field

from mtlbench import seeds
from mtlbench.contract.observation import Matrix, Observation, Vector
from mtlbench.contract.plugin import COMMON, Plugin
from mtlbench.errors import UsageError, said, shown

if TYPE_CHECKING:
    import torch

__all__ = ["Matrix", "Method", "Observation", "Vector", "Wrapper"]

Reads = Literal["losses", "gram", "cross_gram", "gradients"]
Parameters = Literal["shared", "last_shared_layer", "representation"]
Property = Literal["non-conflicting", "homogeneous", "linear under scaling", "loss-scale invariant", "stationary"]

Returns = Literal["weights", "update"]
Heads = Literal["plain", "weighted", "log"]
ReadsLosses = Literal["no", "any", "positive"]
DECLARED = {"reads": Reads, "returns": Returns, "heads": Heads, "gram_of": Parameters, "reads_losses": ReadsLosses}
"""What the engines read of a method's declarations, with the values that they know."""


@dataclass
class Method(Plugin):
    """Base of all methods. A subclass is a dataclass: its fields are its hyperparameters.

    Fields declared with ``field(init=False)`` are state; they are saved, restored and replayed for you.
    A method that draws random numbers draws them from ``self.generator``, never from a global generator.

    What a subclass declares (class attributes, or properties where a parameter decides) is checked by
    ``mtlbench check``; the defaults are those of a method that weights gradients by their inner products.
    """

    kind: ClassVar[str] = "method"
    source: ClassVar[str] = ""
    """The paper: authors, title, venue, year."""

    reads: ClassVar[Reads] = "gram"
    """The least that the method must be given. The engine does no more work than that."""
    returns: ClassVar[Returns] = "weights"
    """Whether the method gives K weights (:meth:`weights`) or, from the gradients, P numbers (:meth:`update`)."""
    reads_after: ClassVar[bool] = False
    """Whether the method must be told the losses of the same batches after the optimizer's step."""
    heads: ClassVar[Heads] = "plain"
    """What the task heads descend: their own task's loss, that loss times the task's weight, or its logarithm."""
    joint: ClassVar[bool] = True
    """Whether all tasks train one shared model. ``False``: one model per task (the single-task baseline)."""
    scale: ClassVar[Literal["sum", "mean", "own"]] = "own"
    """Native scale: for K gradients that are all g, and losses of 1, the first update is K g, g, or anything else."""
    properties: ClassVar[frozenset[Property]] = frozenset()
    """What is claimed of the update d for all gradients gᵢ (statements in :mod:`mtlbench.check.claims`)."""
    symmetry: ClassVar[Literal["exact", "in distribution", "main task", "in turns"]] = "exact"
    """Whether the order of the tasks matters: not at all; only through random draws; only for which one is the main
    task, parameter ``main``; or for all, because tasks take turns."""
    state: ClassVar[Literal["none", "K", "K × P"]] = "none"
    """How much the method remembers between steps."""
    search: ClassVar[Mapping[str, str]] = {}
    """Parameter → the values among which ``mtlbench tune`` searches: ``"0.1:0.9"``, ``"1e-3:0.1:log"``, ``"none/l2"``;
    ``:tasks`` for one number a task. No part of a cell's key: it changes no result."""

    base_lr: Annotated[
        float | None,
        Field(gt=0, description="learning rate of the model, in place of the recipe's"),
    ] = dataclasses.field(default=None, kw_only=True, metadata=COMMON)
    """Only ``mtlbench run`` heeds it; some methods have an ``lr`` of their own, of their task weights."""
    generator: np.random.Generator = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.reseed(0)

    @classmethod
    def make(cls, parameters: dict[str, Any]) -> Self:
        """Make one from parameters by name.

        :raises UsageError: as :meth:`Plugin.make`, and for a declaration that the engines do not know.
        """
        made = super().make(parameters)
        for name, kind in DECLARED.items():
            try:
                value = getattr(made, name)
            except Exception as error:  # a property may fail in any way at all
                raise UsageError(f"method {cls.name}: {name} raised {said(error)}") from error
            if value not in get_args(kind):
                raise UsageError(f"method {cls.name}: {name} is {shown(value)}; declare {' or '.join(get_args(kind))}")
        if made.returns == "update" and (made.reads != "gradients" or made.heads == "weighted"):
            wrong = 'heads = "weighted" needs weights' if made.reads == "gradients" else 'declare reads = "gradients"'
            raise UsageError(f"method {cls.name}: it returns an update, so {wrong}")
        return made

    def reseed(self, seed: int) -> None:
        """Give the method a private generator for this seed."""
        self.generator = seeds.generator(seed, "method", self.name)

    def torch_generator(self, device: torch.device) -> torch.Generator:
        """Return a torch generator for one step's draws, seeded by the next draw of :attr:`generator`."""
        import torch

        return torch.Generator(device).manual_seed(int(self.generator.integers(2**63)))

    @property
    def reads_losses(self) -> ReadsLosses:
        """Whether the values of the losses matter; ``"positive"`` where logarithms or ratios of them are taken.

        A negative loss is then an error, and a loss of exactly 0 is given as :data:`mtlbench.contract.observation.FLOOR`.
        """
        return "no"

    @property
    def gram_of(self) -> Parameters:
        """Over what the Gram matrix is taken: all shared parameters, the last shared layer, or the representation."""
        return "shared"

    @property
    def batches(self) -> int:
        """Independent batches of every task that one step needs."""
        return 3 if self.reads == "cross_gram" else 1

    @property
    def min_tasks(self) -> int:
        """The least K that the method is defined for."""
        return 1

    @property
    def clip_norm(self) -> float | None:
        """The norm that the engine clips the shared update to, if the method's paper clips it."""
        return None

    def weights(self, seen: Observation) -> Vector:
        """Return the (K,) weights w: the shared update is Σ wᵢ gᵢ.

        :raises SolverError: when the method's own optimality conditions are not met.
        """
        raise NotImplementedError

    def update(self, seen: Observation) -> torch.Tensor:
        """Return the (P,) shared update, for methods that declare ``returns = "update"``."""
        raise NotImplementedError

    def after_step(self, losses: Vector) -> None:
        """Hear the (K,) losses of the step's own batches after the optimizer moved; for ``reads_after = True``."""

    def residual(self, seen: Observation, weights: Vector) -> float | None:
        """Return by how much weights violate the method's own optimality conditions, relative to the terms in them.

        Computed from the observation and the weights alone, so it judges any solver. ``None``: a closed form, which
        has no conditions beside itself.
        """
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of everything that the next step depends on: numbers, arrays, tensors and plain containers."""
        state = {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self) if not f.init}
        state["generator"] = copy.deepcopy(self.generator.bit_generator.state)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that :meth:`state_dict` returned: the replay is exact."""
        for name, value in copy.deepcopy(state).items():
            if name == "generator":
                self.generator.bit_generator.state = value
            elif dataclasses.is_dataclass(getattr(self, name)):
                setattr(self, name, type(getattr(self, name))(**value))
            else:
                setattr(self, name, value)


def without_trainer(method: Method) -> Method:
    """Return a method that is used outside of ``mtlbench run``, where nobody heeds its learning rate.

    :raises UsageError: when it has one.
    """
    if method.base_lr is not None:
        raise UsageError(f"method {method.spec}: base_lr is for mtlbench run; here the learning rate is not a method's")
    return method


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else copy.deepcopy(value)  # type: ignore[arg-type]


@dataclass
class Wrapper(Method):
    """Base of modifiers of other methods: a wrapper ``log`` around ``cagrad`` is the method ``log-cagrad``.

    :meth:`around` mixes the wrapper into the inner method's class, so parameters, state and declarations are those of
    the inner method but for what the wrapper declares itself; its methods call ``super()`` for the inner one's.
    """

    example: ClassVar[str] = ""
    """Name of an inner method that the wrapper is commonly used with: shown and certified in its place."""
    parts: ClassVar[tuple[type[Method], ...]] = ()
    """The wrapper's class and the inner method's, in a class that :meth:`around` made."""

    @classmethod
    def accepts(cls, inner: type[Method]) -> str | None:
        """Return why an inner method cannot be wrapped, or ``None`` if it can."""
        return None

    @classmethod
    def around(cls, inner: type[Method]) -> type[Method]:
        """Return the class of this wrapper around a method.

        :raises UsageError: when both have a parameter or a state of the same name.
        """
        own = {field.name for field in dataclasses.fields(cls)} - {field.name for field in dataclasses.fields(Method)}
        both = own & {field.name for field in dataclasses.fields(inner)}
        if both:
            raise UsageError(f"method {cls.name}-{inner.name}: both parts have a field named {', '.join(sorted(both))}")
        members = {
            "name": f"{cls.name}-{inner.name}",
            "search": {**inner.search, **cls.search},
            "parts": (cls, inner),
            "source": f"{cls.source}; around {inner.name}: {inner.source}",
            "__doc__": f"{cls.__doc__}\n\nAround {inner.name}: {inner.__doc__}",
            "__module__": cls.__module__,
        }
        made = type(f"{cls.__name__}{inner.__name__}", (cls, inner), members)
        return cast(type[Method], dataclass(made))
