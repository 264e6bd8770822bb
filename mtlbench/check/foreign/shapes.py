"""The shapes of foreign code, and one call for all of them: task gradients → update."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from mtlbench.check.foreign.load import Foreign
from mtlbench.check.foreign.seeding import seeded
from mtlbench.errors import UsageError, said

Takes = Literal["losses", "list", "matrix", "gramian"]
Gives = Literal["update", "weights"]
BACKWARD = ("pc_backward", "backward")
"""Names of the method of an optimizer wrapper that takes the list of losses, the clearest first."""
SUPPORTED = (
    "supported: a wrapper of a torch optimizer with zero_grad, step and pc_backward(losses) or backward(losses); a "
    "function or callable of K gradients, as a list or a K x P tensor, that returns P numbers or K weights; "
    "a TorchJD aggregator or weighting"
)
WORDS: dict[Takes, str] = {
    "losses": "a list of K losses, through a wrapped torch.optim.SGD",
    "list": "a list of K gradients",
    "matrix": "a K × P tensor of gradients",
    "gramian": "the K × K inner products of the gradients",
}
TASKS = (3, 4, 5, 6, 7, 8, 2, 1)
"""Numbers of tasks with which the code is tried, the usual ones first."""
SIZE = 11
"""P of these calls: more than any K, so that K weights and P numbers can be told apart."""


@dataclass(frozen=True)
class Shape:
    """How foreign code is called.

    :param takes: its input.
    :param gives: its output, the update or weights of the gradients.
    :param backward: for optimizer wrappers, the name of the method that takes the losses.
    """

    takes: Takes
    gives: Gives
    backward: str = ""

    def __str__(self) -> str:
        """The shape in words."""
        result = (
            "the gradients of the parameters" if self.takes == "losses" else {"update": "P numbers"}.get(self.gives)
        )
        name = f"{self.backward} takes " if self.backward else "takes "
        return f"{name}{WORDS[self.takes]}, gives {result or 'K weights'}"


class Call:
    """One object of the foreign code, called with task gradients.

    :param target: the object; for an optimizer wrapper, a function from a torch optimizer to the wrapper.
    :param shape: its shape.
    """

    def __init__(self, target: Any, shape: Shape) -> None:
        self.target, self.shape = target, shape
        self.given: Any = None
        """What the code was given in the last call: a list or a tensor."""
        self._parameter: torch.nn.Parameter | None = None
        self._wrapper: Any = None

    def __call__(self, rows: torch.Tensor, losses: torch.Tensor) -> torch.Tensor:
        """Return the (P,) update.

        :param rows: (K, P) task gradients. The code sees this memory, not a copy.
        :param losses: (K,) losses, seen by optimizer wrappers only.
        :raises ValueError: when the output is not what the shape says.
        :raises RuntimeError: when the code exits the program.
        """
        try:
            return self._through_losses(rows, losses) if self.shape.takes == "losses" else self._direct(rows)
        except SystemExit as error:
            raise RuntimeError(f"exits the program: {error!r}") from error

    def _direct(self, rows: torch.Tensor) -> torch.Tensor:
        if self.shape.takes == "list":
            self.given = list(rows.unbind(0))
        else:
            self.given = rows if self.shape.takes == "matrix" else rows @ rows.T
        output = as_tensor(self.target(self.given))
        expected = (len(rows),) if self.shape.gives == "weights" else (rows.shape[1],)
        if tuple(output.shape) != expected:
            raise ValueError(
                f"returned shape {tuple(output.shape)} for {len(rows)} gradients of {rows.shape[1]} numbers"
            )
        if self.shape.gives == "update":
            return output
        update = output.to(rows.dtype) @ rows
        return update.to(output.dtype) if output.is_floating_point() else update

    def _through_losses(self, rows: torch.Tensor, losses: torch.Tensor) -> torch.Tensor:
        """Call an optimizer wrapper with linear losses ⟨gᵢ, p⟩ + lᵢ at p = 0, whose gradients are exactly the rows."""
        if self._parameter is None or self._parameter.shape != rows.shape[1:] or self._parameter.dtype != rows.dtype:
            self._parameter = torch.nn.Parameter(torch.zeros_like(rows[0]))
            self._wrapper = self.target(torch.optim.SGD([self._parameter], lr=0.1))
        self.given = [
            (row * self._parameter).sum() + loss.to(rows.dtype) for row, loss in zip(rows, losses, strict=True)
        ]
        self._wrapper.zero_grad()
        getattr(self._wrapper, self.shape.backward)(self.given)
        if self._parameter.grad is None:
            raise ValueError(f"{self.shape.backward} leaves the .grad of a parameter that every loss reaches at None")
        return self._parameter.grad.detach().clone()


def as_tensor(output: Any) -> torch.Tensor:
    """Return what foreign code returned as a tensor without a graph.

    :param output: a tensor, a numpy array or a list of numbers.
    :raises ValueError: for anything else.
    """
    if isinstance(output, torch.Tensor):
        return output.detach()
    try:
        return torch.as_tensor(np.asarray(output, dtype=np.float64) if isinstance(output, list | tuple) else output)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"returned {type(output).__name__}, which is no tensor") from None


def recognise(foreign: Foreign) -> tuple[Shape, Callable[[], Call]]:
    """Recognise the shape of foreign code.

    :param foreign: the loaded code.
    :returns: the shape, and a function that creates a new object to call.
    :raises UsageError: when no shape fits, when the constructor raises, or when a first call raises.
    """
    for name in BACKWARD:
        if inspect.isclass(foreign.target) and _is_wrapper(foreign.target, name):
            shape = Shape("losses", "update", name)
            errors = [_error_of(Call(foreign.create, shape), tasks) for tasks in TASKS]
            if isinstance(errors[0], UsageError):  # of the constructor, with its own words
                raise errors[0]
            if errors[0] is not None and all(errors):
                raise UsageError(f"{foreign.spec}: {name} raised {said(errors[0])}")
            return shape, _maker(foreign, shape)
    return _callable(foreign, foreign.create())


def _is_wrapper(cls: type, name: str) -> bool:
    return all(callable(getattr(cls, method, None)) for method in (name, "step", "zero_grad"))


def _callable(foreign: Foreign, target: Any) -> tuple[Shape, Callable[[], Call]]:
    if not callable(target):
        raise UsageError(f"{foreign.spec} ({type(target).__name__}) has no shape that can be checked; {SUPPORTED}")
    errors: list[Exception] = []
    for tasks in TASKS:
        for takes in _inputs(target):
            gives: tuple[Gives, ...] = ("weights",) if takes == "gramian" else ("update", "weights")
            for shape in (Shape(takes, one) for one in gives):
                error = _error_of(Call(foreign.create(), shape), tasks)
                if error is None:
                    return shape, _maker(foreign, shape)
                errors.append(error)
    # An error of the code itself says more than that the output has another shape.
    error = next((one for one in errors if not str(one).startswith("returned")), errors[0])
    raise UsageError(f"{foreign.spec}: called with {TASKS[0]} gradients: {said(error)}; {SUPPORTED}")


def _maker(foreign: Foreign, shape: Shape) -> Callable[[], Call]:
    """Return a function that creates a new object to call. A wrapper is created around the optimizer of its call."""
    return lambda: Call(foreign.create if shape.takes == "losses" else foreign.create(), shape)


def _inputs(target: Any) -> tuple[Takes, ...]:
    """Return the inputs to try. A list comes first: code for lists may go wrong in silence on a tensor, as
    ``random.shuffle`` does, but code for tensors fails on a list."""
    names = {cls.__name__ for cls in type(target).__mro__ if cls.__module__.split(".")[0] == "torchjd"}
    if "Weighting" in names and "_MatrixWeighting" not in names:
        return ("gramian",)
    return ("matrix",) if names & {"Aggregator", "_MatrixWeighting"} else ("list", "matrix")


def _error_of(call: Call, tasks: int) -> Exception | None:
    """Return the error of a call with normal gradients, or ``None``."""
    rows = torch.tensor(np.random.default_rng(11).normal(size=(tasks, SIZE)))
    try:
        with seeded(0):
            call(rows, torch.ones(tasks, dtype=torch.float64))
    except Exception as error:  # foreign code may raise anything
        return error
    return None


def task_numbers(make: Callable[[], Call]) -> tuple[int, int]:
    """Return the smallest and the largest number of tasks that the code accepts, around the first one that it accepts.

    :param make: creates a new object to call.
    """
    fits = [tasks for tasks in TASKS if _error_of(make(), tasks) is None]
    fewest = most = fits[0]
    while fewest - 1 in fits:
        fewest -= 1
    while most + 1 in fits:
        most += 1
    return fewest, most
