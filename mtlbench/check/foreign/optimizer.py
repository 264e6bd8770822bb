"""Run a foreign optimizer wrapper on a network with a trunk and K heads, and look at every gradient that it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mtlbench.check.foreign.borrowed import Examined
from mtlbench.check.foreign.conduct import CLOSE
from mtlbench.check.foreign.seeding import seeded
from mtlbench.check.result import Result, not_claimed, observed
from mtlbench.check.robust import EQUAL

NETWORKS = 5
"""Networks and batches that are tried, with seeds of their own."""
ORDERS = 60
"""Seeds with which random code is called for the updates that it could have given."""
LR = 0.1


class TrunkAndHeads(torch.nn.Module):
    """A trunk of two layers, K linear heads, and a parameter that no loss reaches, in double precision.

    The targets of every other task are the negative ones of the task before, so that the gradients conflict.

    :param tasks: K.
    :param seed: the seed of parameters, inputs and targets.
    """

    def __init__(self, tasks: int, seed: int) -> None:
        super().__init__()
        with seeded(seed):
            self.trunk = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 4)).double()
            self.heads = torch.nn.ModuleList(torch.nn.Linear(4, 1).double() for _ in range(tasks))
            self.unreached = torch.nn.Parameter(torch.randn(3, dtype=torch.float64))
            self.inputs = torch.randn(8, 5, dtype=torch.float64)
            self.targets = torch.randn(tasks, 8, 1, dtype=torch.float64)

    def losses(self) -> list[torch.Tensor]:
        """Return K squared losses from one forward pass of the trunk."""
        features = self.trunk(self.inputs)
        return [
            ((head(features) - 2.0 * target) ** 2).mean() for head, target in zip(self.heads, self.targets, strict=True)
        ]


@dataclass(frozen=True)
class Step:
    """What one call of the wrapper left behind, and what plain backpropagation gives.

    :param network: the network, with the gradients that the wrapper left.
    :param wrapper: the wrapper.
    :param seed: the seed of the call.
    :param losses: (K,) losses.
    :param shared: (K, P) gradients of the trunk.
    :param heads: K vectors, each head's gradient of its own loss.
    :param moved: whether the call changed parameters.
    """

    network: TrunkAndHeads
    wrapper: Any
    seed: int
    losses: Any
    shared: Any
    heads: list[Any]
    moved: bool

    @property
    def actual(self) -> Any:
        """The (P,) gradient that the wrapper left at the trunk."""
        return _flat([parameter.grad for parameter in self.network.trunk.parameters()])


def checks(examined: Examined) -> list[Result]:
    """Check heads, shared parameters, unreached parameters and the calls of a training loop.

    :param examined: the foreign code.
    """
    if examined.shape.takes != "losses":
        return [not_claimed("heads", "is given gradients; the caller keeps heads apart")]
    try:
        steps = [_step(examined, seed) for seed in range(NETWORKS)]
    except Exception as error:  # foreign code may raise anything
        fault = f"raises on a network with a trunk and heads: {type(error).__name__}: {error}"
        return [Result("heads", False, fault)]
    return [_heads(steps), _shared(examined, steps), _unreached(steps), _loop(steps)]


def _step(examined: Examined, seed: int) -> Step:
    network, call = TrunkAndHeads(examined.usual_tasks, seed), examined.make()
    losses, trunk = network.losses(), list(network.trunk.parameters())
    shared = np.array([_flat(torch.autograd.grad(loss, trunk, retain_graph=True)) for loss in losses])
    heads = [
        _flat(torch.autograd.grad(loss, list(head.parameters()), retain_graph=True))
        for loss, head in zip(losses, network.heads, strict=True)
    ]
    values = np.array([float(loss.detach()) for loss in losses])
    before = [parameter.detach().clone() for parameter in network.parameters()]
    wrapper = call.target(torch.optim.SGD(network.parameters(), lr=LR))
    wrapper.zero_grad()
    with seeded(seed):
        getattr(wrapper, examined.shape.backward)(losses)
    moved = any(not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))
    return Step(network, wrapper, seed, values, shared, heads, moved)


def _flat(gradients: Sequence[torch.Tensor | None]) -> Any:
    return np.concatenate([np.zeros(0) if one is None else one.detach().flatten().numpy() for one in gradients])


def _heads(steps: list[Step]) -> Result:
    """Compare the gradient of each head with that of its own loss."""
    factors = []
    for step in steps:
        for task, (head, plain) in enumerate(zip(step.network.heads, step.heads, strict=True)):
            actual = _flat([parameter.grad for parameter in head.parameters()])
            if actual.shape != plain.shape:
                return Result("heads", False, f"head {task} gets no gradient: it would not be trained")
            factors.append(float(actual @ plain) / float(plain @ plain))
            if not np.linalg.norm(actual - factors[-1] * plain) <= EQUAL * np.linalg.norm(plain):
                return Result("heads", False, f"head {task} gets gradients of other tasks' losses mixed into its own")
    smallest, largest, tasks = min(factors), max(factors), len(steps[0].heads)
    if largest - smallest > EQUAL:
        return Result(
            "heads",
            False,
            f"projected heads: heads were combined together with the shared parameters; their gradients are "
            f"{smallest:.2f} to {largest:.2f} times those of their own losses",
        )
    if abs(largest - 1.0) <= EQUAL:
        return Result("heads", True, "every head gets the gradient of its own loss", None, len(factors))
    if abs(largest * tasks - 1.0) <= EQUAL:
        return observed("heads", "another convention, no fault: heads get 1/K of their own gradients, as of a mean")
    return observed("heads", f"every head gets {largest:.3g} times the gradient of its own loss")


def _shared(examined: Examined, steps: list[Step]) -> Result:
    """Compare the shared gradient with what the same code gives for the shared gradients alone, as one vector."""
    if any(parameter.grad is None for step in steps for parameter in step.network.trunk.parameters()):
        return Result("shared update", False, "some shared parameters get no gradient: they would not be trained")
    alone = max(_distance(examined, step, step.shared, step.actual) for step in steps)
    if alone <= EQUAL:
        return Result(
            "shared update", True, "computed from the gradients of the shared parameters, as one vector", alone
        )
    if max(_distance(examined, step, _with_heads(step), step.actual) for step in steps) <= EQUAL:
        detail = (
            "norms and inner products include the heads' gradients: the surgery was computed on shared and task "
            f"parameters together, which changes the shared update by {alone:.2f}, relatively"
        )
        return _wrong(detail, alone)
    if max(_by_tensor(examined, step) for step in steps) <= EQUAL:
        detail = "works on each parameter tensor by itself, where the gradient of all shared parameters is one vector"
        return observed("shared update", detail, alone) if examined.claimed is None else _wrong(detail, alone)
    if alone <= CLOSE:
        return observed("shared update", "close to that of the shared gradients alone", alone)
    detail = f"differs by {alone:.2f}, relatively, from what the same code gives for the shared gradients alone"
    return _wrong(detail, alone)


def _wrong(detail: str, difference: float) -> Result:
    return Result("shared update", False, detail, difference)


def _with_heads(step: Step) -> Any:
    """Return (K, P + all heads' sizes) gradients: each task's row is zero at the heads of the others."""
    sizes = [len(head) for head in step.heads]
    blocks = np.zeros((len(sizes), sum(sizes)))
    for task, head in enumerate(step.heads):
        start = sum(sizes[:task])
        blocks[task, start : start + sizes[task]] = head
    return np.hstack([step.shared, blocks])


def _by_tensor(examined: Examined, step: Step) -> float:
    """Return the largest distance of a tensor's gradient from what the code gives for that tensor alone."""
    cuts = np.cumsum([parameter.numel() for parameter in step.network.trunk.parameters()])[:-1]
    pairs = zip(np.split(step.shared, cuts, axis=1), np.split(step.actual, cuts), strict=True)
    return max(_distance(examined, step, rows, actual) for rows, actual in pairs)


def _distance(examined: Examined, step: Step, rows: Any, actual: Any) -> float:
    """Return the relative distance of a gradient from what the code gives for rows, for the nearest of its draws."""
    seeds, unit = (
        [step.seed, *(range(ORDERS) if examined.generators else ())],
        float(np.linalg.norm(rows, axis=1).sum()),
    )
    best = float("inf")
    for seed in seeds:
        update = examined.update(rows, seed, losses=step.losses)[: len(actual)]
        best = min(best, float(np.linalg.norm(update - actual)) / (unit or 1.0))
        if best <= EQUAL:
            break
    return best


def _unreached(steps: list[Step]) -> Result:
    """Look at the gradient of the parameter that no loss reaches; plain backpropagation leaves it at None."""
    gradients = [step.network.unreached.grad for step in steps]
    if all(gradient is None for gradient in gradients):
        return Result("unreached", True, "a parameter that no loss reaches keeps the gradient None")
    if all(gradient is None or not gradient.any() for gradient in gradients):
        return observed(
            "unreached",
            "a parameter that no loss reaches gets zeros instead of None: weight decay and momentum then move it, "
            "which plain backpropagation would not",
        )
    return Result("unreached", False, "a parameter that no loss reaches gets a gradient")


def _loop(steps: list[Step]) -> Result:
    """Check that the backward call moves nothing, step() applies the gradients, and zero_grad() clears them."""
    step = steps[0]
    parameters = list(step.network.parameters())
    if any(one.moved for one in steps):
        return Result(
            "training loop", False, "the backward call itself changes parameters; step() would move them again"
        )
    expected = [one.detach() - LR * (0.0 if one.grad is None else one.grad.clone()) for one in parameters]
    step.wrapper.step()
    pairs = zip(expected, parameters, strict=True)
    if not all(torch.allclose(one, parameter, rtol=EQUAL, atol=1e-12) for one, parameter in pairs):
        return Result("training loop", False, "step() does not apply the gradients that the backward call left")
    step.wrapper.zero_grad()
    if any(one.grad is not None and bool(one.grad.any()) for one in parameters):
        return Result("training loop", False, "zero_grad() leaves gradients, which the next step adds up")
    return Result("training loop", True, "step() applies the gradients, zero_grad() clears them")
