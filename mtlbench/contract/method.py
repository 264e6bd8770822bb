"""Base classes of multi-task optimization methods: declarations, hyperparameters, state, and the weights of a step."""

from __future__ import annotations

import dataclasses
import functools
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args

import numpy as np
from pydantic import Field

from mtlbench import seeds
from mtlbench.contract.method_state import IDENTITY, Sizes, checked_state, portable
from mtlbench.contract.numbers import as_numbers
from mtlbench.contract.observation import Observation, Vector
from mtlbench.contract.plugin import COMMON, Plugin
from mtlbench.errors import UsageError, said, shown

if TYPE_CHECKING:
    import torch

Reads = Literal["losses", "gram", "cross_gram", "gradients"]
Parameters = Literal["shared", "last_shared_layer", "representation"]
Property = Literal["non-conflicting", "homogeneous", "linear under scaling", "loss-scale invariant", "stationary"]

Returns = Literal["weights", "update"]
Heads = Literal["plain", "weighted", "log"]
ReadsLosses = Literal["no", "any", "positive"]
DECLARED = {"reads": Reads, "returns": Returns, "heads": Heads, "gram_of": Parameters, "reads_losses": ReadsLosses}
"""Declarations that the engines read, and the values that they support."""

MOST_SEED_BITS = 4096
"""Python writes integers of about three times as many bits at most, and the seed is hashed as text."""


@dataclass
class Method(Plugin):
    """Base of all methods. A subclass is a dataclass whose fields are its hyperparameters.

    Fields declared with ``field(init=False)`` are state, which checkpoints save and restore. Draw random numbers from
    ``self.generator``, never from a global generator.

    ``mtlbench check`` tests the declarations (class attributes, or properties where they depend on a parameter). The
    defaults suit a method that weights gradients by their inner products.

    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from mtlbench import Method, weights
    >>> @dataclass
    ... class EqualLengths(Method):
    ...     "Scales every gradient to length 1."
    ...     name = "equal-lengths"
    ...     def weights(self, observation):
    ...         return 1.0 / np.sqrt(np.diagonal(observation.gram))
    >>> weights(EqualLengths(), gram=[[4.0, 0.0], [0.0, 16.0]]).tolist()
    [0.5, 0.25]
    """

    kind: ClassVar[str] = "method"
    source: ClassVar[str] = ""
    """The paper: authors, title, venue, year."""

    reads: ClassVar[Reads] = "gram"
    """The least input that the method needs. The engine computes no more."""
    returns: ClassVar[Returns] = "weights"
    """Whether the method returns K weights (:meth:`weights`) or, from the gradients, P numbers (:meth:`update`)."""
    reads_after: ClassVar[bool] = False
    """Whether the method needs the losses of the same batches after the optimizer's step (:meth:`after_step`)."""
    heads: ClassVar[Heads] = "plain"
    """Objective of a task head: its own task's loss, that loss times the task's weight, or its logarithm."""
    joint: ClassVar[bool] = True
    """Whether all tasks train one shared model. ``False``: one model per task (the single-task baseline)."""
    scale: ClassVar[Literal["sum", "mean", "own"]] = "own"
    """Native scale: the first update for K equal gradients g and losses of 1 is K g, g, or something else."""
    properties: ClassVar[frozenset[Property]] = frozenset()
    """Claims about the update d that hold for all gradients gᵢ; :mod:`mtlbench.check.claims` states and tests them."""
    symmetry: ClassVar[Literal["exact", "in distribution", "main task", "in turns"]] = "exact"
    """Whether the order of the tasks matters: not at all; only through random draws; only in that parameter ``main``
    names the main task; or for all, because tasks take turns."""
    state: ClassVar[Literal["none", "K", "K × P"]] = "none"
    """The size of the state kept between steps. One that is not "none" ties a method object to K tasks."""
    state_sizes = Sizes()
    """The sizes of the present state; set with a method's first weights or update, and saved with its state."""
    search: ClassVar[Mapping[str, str]] = {}
    """Search space of ``mtlbench tune`` by parameter: ``"0.1:0.9"``, ``"1e-3:0.1:log"``, ``"none/l2"``; append
    ``:tasks`` for one number per task. Not part of a cell's key, since it changes no result."""

    base_lr: Annotated[
        float | None,
        Field(gt=0, description="learning rate of the model, in place of the recipe's"),
    ] = dataclasses.field(default=None, kw_only=True, metadata=COMMON)
    """Used by ``mtlbench run`` only. Not the ``lr`` of some methods, which is the rate of their task weights."""
    generator: np.random.Generator = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.reseed(0)

    def __init_subclass__(cls, **options: Any) -> None:
        """Have :meth:`after_step` receive float64 arrays, whatever kind of numbers a user's own loop passes."""
        super().__init_subclass__(**options)
        if "after_step" in vars(cls):
            cls.after_step = _taking_numbers(cls.after_step)  # type: ignore[method-assign, assignment]

    @classmethod
    def make(cls, parameters: dict[str, Any]) -> Self:
        """Create a method from parameters by name.

        :param parameters: values of parameters, as text or as Python values.
        :raises UsageError: as :meth:`Plugin.make`, and for a declaration that the engines do not support.
        """
        method = super().make(parameters)
        for name, literal in DECLARED.items():
            try:
                value = getattr(method, name)
            except Exception as error:  # a property may raise anything
                raise UsageError(f"method {cls.name}: {name} raised {said(error)}") from error
            choices = get_args(literal)
            if value not in choices:
                raise UsageError(f"method {cls.name}: {name} is {shown(value)}; declare {' or '.join(choices)}")
        if method.returns == "update" and (method.reads != "gradients" or method.heads == "weighted"):
            fix = 'heads = "weighted" needs weights' if method.reads == "gradients" else 'declare reads = "gradients"'
            raise UsageError(f"method {cls.name}: it returns an update, so {fix}")
        return method

    def reseed(self, seed: int) -> None:
        """Replace the private generator.

        :param seed: the seed of the run, a whole number; methods of different names draw different numbers from it.
        :raises UsageError: when the seed is not a whole number, or has more than :data:`MOST_SEED_BITS`.
        """
        if not isinstance(seed, numbers.Integral) or isinstance(seed, bool):  # NumPy's integers are Integral
            raise UsageError(f"method {self.name}: the seed must be a whole number, not {shown(seed)}")
        if int(seed).bit_length() > MOST_SEED_BITS:
            raise UsageError(f"method {self.name}: the seed has more than {MOST_SEED_BITS} bits; give a smaller one")
        self.generator = seeds.generator(int(seed), "method", self.name)

    def torch_generator(self, device: torch.device) -> torch.Generator:
        """Return a torch generator for one step's draws, seeded by the next draw of :attr:`generator`.

        :param device: the device on which the numbers are drawn.
        """
        import torch

        return torch.Generator(device).manual_seed(int(self.generator.integers(2**63)))

    @property
    def reads_losses(self) -> ReadsLosses:
        """Whether the method reads the losses; ``"positive"`` if it takes logarithms or ratios of them.

        If so, a negative loss is an error, and :data:`mtlbench.contract.observation.FLOOR` replaces a loss of 0.
        """
        return "no"

    @property
    def gram_of(self) -> Parameters:
        """The domain of the Gram matrix: all shared parameters, the last shared layer, or the representation."""
        return "shared"

    @property
    def batches(self) -> int:
        """The number of independent batches of every task that one step needs."""
        return 3 if self.reads == "cross_gram" else 1

    @property
    def min_tasks(self) -> int:
        """The smallest K for which the method is defined."""
        return 1

    @property
    def clip_norm(self) -> float | None:
        """The norm to which the engine clips the shared update, if the method's paper clips it."""
        return None

    def weights(self, observation: Observation) -> Vector:
        """Return the (K,) weights w of the shared update Σ wᵢ gᵢ.

        :param observation: the input of one step.
        :raises SolverError: when the method's own optimality conditions are not met.
        """
        raise NotImplementedError

    def update(self, observation: Observation) -> torch.Tensor:
        """Return the (P,) shared update. For methods that declare ``returns = "update"``.

        :param observation: the input of one step, with the gradients.
        """
        raise NotImplementedError

    def after_step(self, losses: Vector) -> None:
        """Receive the losses of the step's own batches after the optimizer's step. For ``reads_after = True``.

        :param losses: (K,) mean losses of the tasks.
        """

    def residual(self, observation: Observation, weights: Vector) -> float | None:
        """Return how far weights violate the method's own optimality conditions, relative to the terms in them.

        Compute it from the observation and the weights alone, so that it judges any solver.

        :param observation: the input of one step.
        :param weights: (K,) weights for this observation.
        :returns: ``None`` for a closed form, which has no conditions to check.
        """
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of all that the next step depends on: tensors, numbers, texts and plain containers.

        ``torch.load(file, weights_only=True)`` reads what ``torch.save`` makes of it.
        """
        names = [field.name for field in dataclasses.fields(self) if not field.init and field.name != "generator"]
        state = {name: portable(getattr(self, name)) for name in names}
        state["generator"] = portable(self.generator.bit_generator.state)
        state[IDENTITY] = {"method": self.name, **dataclasses.asdict(self.state_sizes)}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state, so that the next steps replay exactly. After an error, the method is as before.

        :param state: a return value of :meth:`state_dict`.
        :raises UsageError: when it is not one, or is of another method or another number of tasks.
        """
        values, self.state_sizes = checked_state(self, self.state_sizes, state)
        self.generator.bit_generator.state = values.pop("generator")
        for name, value in values.items():
            setattr(self, name, value)


def without_trainer(method: Method) -> Method:
    """Return a method for use outside ``mtlbench run``, after checking that it sets no learning rate of the model.

    :raises UsageError: when ``base_lr`` is set.
    """
    if method.base_lr is not None:
        raise UsageError(f"method {method.spec}: base_lr is for mtlbench run; nothing else uses it, so leave it out")
    return method


def _taking_numbers(after_step: Callable[[Any, Vector], None]) -> Callable[[Any, Vector], None]:
    @functools.wraps(after_step)
    def converted(self: Method, losses: Vector) -> None:
        after_step(self, as_numbers(losses, f"method {self.name}: losses after the step"))

    return converted
