"""Everything that one step of surgery reads, and everything that it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from mtlbench.contract.method import Method
from mtlbench.contract.observation import FLOOR, Matrix, Vector
from mtlbench.engine.step import NotFinite
from mtlbench.surgery.delivery import Parcel
from mtlbench.surgery.graph import Graph
from mtlbench.surgery.heads import HeadGradients, norms_of
from mtlbench.surgery.losses import TaskLosses
from mtlbench.surgery.ranks import Ranks


@dataclass(frozen=True)
class StepInput:
    """The validated input of one step.

    :param losses: the losses of the tasks that are present.
    :param graph: what their graphs have in common.
    :param shared: the shared parameters that require a gradient, by name.
    :param representation: tensors that all losses are computed from; empty where none were given.
    :param last: parameters of the last shared layer; empty where it was not given.
    :param further: the losses of further independent batches.
    :param scale: the gradient scaler's factor, as a scalar tensor; ``None`` without a scaler.
    :param ranks: the processes that the batch is spread over.
    """

    losses: TaskLosses
    graph: Graph
    shared: dict[str, torch.Tensor]
    representation: Sequence[torch.Tensor]
    last: Sequence[torch.Tensor]
    further: Sequence[TaskLosses]
    scale: torch.Tensor | None
    ranks: Ranks

    @property
    def parameters(self) -> list[torch.Tensor]:
        """The shared parameters that require a gradient."""
        return list(self.shared.values())

    @property
    def loss_factors(self) -> list[torch.Tensor | None]:
        """The gradient that each loss's backward pass starts from."""
        return [self.factor(loss) for loss in self.losses.tensors]

    def factor(self, loss: torch.Tensor) -> torch.Tensor | None:
        """Return the gradient that a loss's backward pass starts from; ``None`` stands for 1.

        :param loss: a loss of this or of a further batch.
        """
        return None if self.scale is None else self.scale.to(loss.device, loss.dtype)

    def host(self, *tensors: torch.Tensor) -> Vector:
        """Return the losses, averaged over the processes, and further scalars of this process, in one transfer.

        :param tensors: scalar tensors.
        :raises NotFinite: when one of them is not finite in another process and there is no scaler; in that process,
            :meth:`check` raises, and none is left waiting for it.
        """
        first = self.losses.tensors[0]
        scalars = [tensor.detach() for tensor in (*self.losses.tensors, *tensors)]
        if len({(scalar.dtype, scalar.device) for scalar in scalars}) > 1:
            scalars = [scalar.to(first.device, torch.float64) for scalar in scalars]
        numbers: Vector = torch.stack(scalars).double().cpu().numpy()
        count = len(self.losses.tensors)
        finite = bool(np.isfinite(numbers[count:]).all())
        totals = self.ranks.total(np.append(numbers[:count], float(not finite)), first)
        if finite and totals[-1] > 0.0 and self.scale is None:
            raise NotFinite(None, "gradient", float("nan"), "some parameter in another process")
        return np.concatenate([totals[:-1] / self.ranks.count, numbers[count:]])

    def check(self, losses: Vector, norms: Vector | None = None, tasks: Sequence[int] = ()) -> None:
        """Refuse losses or heads' gradients that are not finite, unless a gradient scaler will skip the step.

        :param losses: (K,) losses.
        :param norms: norms of gradients of heads.
        :param tasks: the number of the task of each of these.
        :raises NotFinite: when one is not finite and there is no scaler.
        """
        if self.scale is not None:
            return
        for task, value in enumerate(losses):
            if not np.isfinite(value):
                raise self.not_finite(task, "loss", float(value))
        for task, norm in zip(tasks, [] if norms is None else norms, strict=True):
            if not np.isfinite(norm):
                raise self.not_finite(task, "gradient", float(norm), "its head")

    def all_finite(
        self, leaves: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor], heads: HeadGradients
    ) -> bool:
        """Return whether an update is finite in all processes; if not, a gradient scaler will skip the step.

        :param leaves: shared parameters.
        :param gradients: a gradient for each.
        :param heads: the gradients of the others.
        :raises NotFinite: when one is not finite and there is no scaler.
        """
        norms = self.host(*norms_of(gradients), *heads.norms())[len(self.losses.tensors) :]
        if self.scale is not None:
            return not self.anywhere(not np.isfinite(norms).all())
        self.check(np.zeros(0), norms[len(gradients) :], heads.tasks)
        names = {id(leaf): name for name, leaf in self.shared.items()}
        for leaf, norm in zip(leaves, norms, strict=False):
            if not np.isfinite(norm):
                raise NotFinite(None, "gradient", float(norm), names[id(leaf)])
        return True

    def anywhere(self, flag: bool) -> bool:
        """Return whether a flag is set in some process.

        :param flag: this process's.
        """
        return bool(self.ranks.total(np.array([float(flag)]), self.losses.tensors[0])[0] > 0.0)

    def not_finite(self, task: int, what: str, value: float, parameter: str | None = None) -> NotFinite:
        """Return the error about a number that is not finite.

        :param task: the task's position among those present.
        :param what: ``"loss"`` or ``"gradient"``.
        :param value: the number.
        :param parameter: the first parameter concerned, if known.
        """
        position = self.losses.positions[task]
        name = None if self.losses.names is None else self.losses.names[position]
        return NotFinite(position, what, value, parameter, name)

    def value(self, weights: Vector, losses: Vector) -> torch.Tensor:
        """Return Σ wᵢ Lᵢ as a scalar tensor of the losses' type and device.

        :param weights: (K,) weights.
        :param losses: (K,) losses.
        """
        dtype = torch.float32
        for loss in self.losses.tensors:
            dtype = torch.promote_types(dtype, loss.dtype)
        return torch.full((), float(weights @ losses), dtype=dtype, device=self.losses.tensors[0].device)


@dataclass(frozen=True)
class StepOutput:
    """The result of one step.

    :param value: the value of the loss that is returned to the user.
    :param parcel: the gradients that its backward pass delivers.
    :param losses: (K,) losses.
    :param weights: (K,) weights; ``None`` for a method that returns an update, or where no method was asked.
    :param gram: (K, K) inner products that the method read, if any.
    :param skipped: whether the gradient scaler will skip this step, because something is not finite.
    :param factor: factor of the shared update, from clipping or from matching the sum's norm.
    :param floored: positions, among the present tasks, of losses of exactly 0 that counted as
        :data:`mtlbench.contract.observation.FLOOR`.
    """

    value: torch.Tensor
    parcel: Parcel
    losses: Vector
    weights: Vector | None = None
    gram: Matrix | None = field(default=None)
    skipped: bool = False
    factor: float = 1.0
    floored: tuple[int, ...] = ()


def head_factors(method: Method, weights: Vector, losses: Vector) -> Vector:
    """Return the factor of each task's own gradient in its head's update.

    :param method: declares the heads' objective.
    :param weights: (K,) weights.
    :param losses: (K,) losses.
    """
    if method.heads == "weighted":
        return weights
    if method.heads == "log":
        return 1.0 / np.where(losses == 0.0, FLOOR, losses)
    return np.ones_like(losses)
