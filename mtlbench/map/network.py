"""S × Q small networks as tensors: outputs, losses, gradients written by hand, and one optimizer for all.

Letters of shapes: S instances, B rows of a batch, D inputs with the bias, h shared units, K tasks, Q columns. Columns
are the last axis, so that every operation runs along them, and one matrix product serves all columns of an instance.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mtlbench.map.cells import Optimizer
from mtlbench.map.family import Instances
from mtlbench.training.optimizer import schedule

MOMENTUM = 0.9


class Networks:
    """The networks of S instances × Q columns, which differ in their learning rates.

    Adam's steps and those of SGD are proportional to the learning rate. So the optimizer trains the weights divided by
    the columns' learning rates, with a learning rate of 1: one call of torch's fused AdamW serves all columns.

    :param instances: give the first weights.
    :param rates: (Q,) highest learning rates.
    """

    def __init__(self, instances: Instances, rates: Sequence[float]) -> None:
        setting, columns = instances.setting, len(rates)
        self.rates = torch.tensor(rates, dtype=torch.float64).to(instances.dtype)
        first = torch.cat([instances.inner.flatten(1), instances.outer.flatten(1)], dim=1)
        self._sizes = instances.inner.shape[1:], instances.outer.shape[1:]
        self.values = first[:, :, None].repeat(1, 1, columns)
        """(S, D h + K h, Q) weights."""
        self._scaled = self.values / self.rates
        self._scaled.grad = torch.zeros_like(self._scaled)
        self._optimizer = make_optimizer(setting.optimizer, self._scaled)
        factor = schedule("linear", setting.steps)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, factor)
        self.inner, self.outer = self.parts(self.values)
        """(S, D, h, Q) and (S, K, h, Q) views of the weights."""
        self.inner_gradient, self.outer_gradient = self.parts(self._scaled.grad)
        """Views of the gradients, to be written before :meth:`step`."""

    def parts(self, flat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return views of a tensor of the weights' shape: of the shared layer, and of the heads.

        :param flat: (S, D h + K h, Q) numbers.
        """
        inner, outer = self._sizes
        count, columns, end = len(flat), flat.shape[2], inner.numel()
        return flat[:, :end].view(count, *inner, columns), flat[:, end:].view(count, *outer, columns)

    def step(self) -> None:
        """Take one optimizer step with the gradients written before."""
        self._optimizer.step()
        self._schedule.step()
        torch.mul(self._scaled, self.rates, out=self.values)


def make_optimizer(name: Optimizer, weights: torch.Tensor) -> torch.optim.Optimizer:
    """Return the optimizer of a setting, with a learning rate of 1 and no weight decay.

    :param name: as in :attr:`Setting.optimizer`.
    :param weights: what it trains.
    """
    if name == "adam":
        return torch.optim.AdamW([weights], lr=1.0, weight_decay=0.0, fused=True)
    return torch.optim.SGD([weights], lr=1.0, momentum=MOMENTUM if name == "momentum" else 0.0, fused=True)


def forward(inputs: torch.Tensor, inner: torch.Tensor, outer: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the shared units' values and the outputs of all networks.

    :param inputs: (S, B, D) inputs.
    :param inner: (S, D, h, Q) weights of the shared layer.
    :param outer: (S, K, h, Q) weights of the heads.
    :returns: (S, B, h, Q) and (S, B, K, Q).
    """
    units = torch.bmm(inputs, inner.flatten(2)).tanh_().view(*inputs.shape[:2], *inner.shape[2:])
    return units, (units[:, :, None] * outer[:, None]).sum(3)


def errors(outputs: torch.Tensor, labels: torch.Tensor, factors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the losses, s_k · ½ · mean (ŷ − y)², and their gradients by the outputs.

    :param outputs: (S, B, K, Q) outputs.
    :param labels: (S, B, K) labels.
    :param factors: (S, K) the s_k, in the outputs' precision.
    :returns: (S, K, Q) losses and (S, B, K, Q) gradients.
    """
    differences = outputs - labels[..., None]
    losses = differences.square().mean(1).mul_(0.5 * factors[..., None])
    return losses, differences.mul_((factors / outputs.shape[1])[:, None, :, None])


def head_gradients(output_gradients: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
    """Return the (S, K, h, Q) gradients of each task's loss by its head's weights.

    :param output_gradients: (S, B, K, Q) gradients by the outputs.
    :param units: (S, B, h, Q) values of the shared units.
    """
    return (output_gradients[:, :, :, None] * units[:, :, None]).sum(1)


def sum_gradients(
    inputs: torch.Tensor, output_gradients: torch.Tensor, units: torch.Tensor, outer: torch.Tensor
) -> torch.Tensor:
    """Return the (S, D, h, Q) gradients of the sum of all losses by the shared layer's weights.

    :param inputs: (S, B, D) inputs.
    :param output_gradients: (S, B, K, Q) gradients by the outputs, times the losses' weights.
    :param units: (S, B, h, Q) values of the shared units.
    :param outer: (S, K, h, Q) weights of the heads.
    """
    first, *rest = range(outer.shape[1])
    by_units = output_gradients[:, :, first, None] * outer[:, None, first]
    for task in rest:
        by_units.addcmul_(output_gradients[:, :, task, None], outer[:, None, task])
    by_units.mul_(_slopes(units))
    return _by_weights(inputs, by_units)


def task_gradients(
    inputs: torch.Tensor, output_gradients: torch.Tensor, units: torch.Tensor, outer: torch.Tensor
) -> torch.Tensor:
    """Return the (S, D, K, h, Q) gradients of each task's loss by the shared layer's weights.

    :param inputs: as for :func:`sum_gradients`, and so are the others.
    """
    by_units = (output_gradients[:, :, :, None] * outer[:, None]).mul_(_slopes(units)[:, :, None])
    return _by_weights(inputs, by_units)


def _by_weights(inputs: torch.Tensor, by_units: torch.Tensor) -> torch.Tensor:
    """Return (S, D, …) gradients by weights, given the (S, B, …) gradients by what the weights are multiplied to."""
    gradients = torch.bmm(inputs.transpose(1, 2), by_units.flatten(2))
    return gradients.view(*gradients.shape[:2], *by_units.shape[2:])


def _slopes(units: torch.Tensor) -> torch.Tensor:
    """Return the derivatives of tanh where its values are given."""
    return torch.addcmul(torch.ones((), dtype=units.dtype), units, units, value=-1.0)


def inner_products(first: torch.Tensor, second: torch.Tensor | None = None) -> torch.Tensor:
    """Return the (S, Q, K, K) inner products of task gradients, in float64.

    :param first: (S, D, K, h, Q) gradients.
    :param second: those of another batch; ``None`` for the Gram matrix of the first.
    """
    left = first.double()
    right = left if second is None else second.double()
    size, tasks = (first.shape[0], first.shape[-1]), first.shape[2]
    products = torch.empty(*size, tasks, tasks, dtype=torch.float64)
    for i in range(tasks):
        for j in range(tasks):
            if second is None and j < i:
                products[:, :, i, j] = products[:, :, j, i]
            else:
                products[:, :, i, j] = (left[:, :, i] * right[:, :, j]).sum((1, 2))
    return products
