"""Code as others write it: right and wrong PCGrads in every shape that is checked, each with one fault."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

NUMBER = 3
Gradients = list[torch.Tensor]


def project(gradient: torch.Tensor, others: Sequence[torch.Tensor]) -> torch.Tensor:
    for other in others:
        inner = gradient @ other
        if inner < 0:
            gradient = gradient - inner / (other @ other) * other
    return gradient


def shuffled(gradients: Gradients, own: int) -> Gradients:
    others = [gradients[j] for j in range(len(gradients)) if j != own]
    random.shuffle(others)
    return others


def pcgrad(gradients: Gradients) -> torch.Tensor:
    """Right."""
    return torch.stack([project(one, shuffled(gradients, i)) for i, one in enumerate(gradients)]).sum(dim=0)


def mean_pcgrad(gradients: Gradients) -> torch.Tensor:
    """Right, in another convention."""
    return pcgrad(gradients) / len(gradients)


def pcgrad_of_tensor(gradients: torch.Tensor) -> torch.Tensor:
    """Right, for a K × P tensor."""
    assert gradients.ndim == 2
    return pcgrad(list(gradients))


def pcgrad_weights(gradients: Gradients) -> torch.Tensor:
    """Right, as weights."""
    rows = torch.stack(gradients)
    return (
        torch.linalg.lstsq(rows.T, pcgrad(gradients)).solution if len(rows) <= rows.shape[1] else torch.ones(len(rows))
    )


def summed(gradients: Gradients) -> torch.Tensor:
    return torch.stack(gradients).sum(dim=0)


def fixed_order(gradients: Gradients) -> torch.Tensor:
    return torch.stack([project(one, gradients) for one in gradients]).sum(dim=0)


def norm_not_squared(gradients: Gradients) -> torch.Tensor:
    total = torch.zeros_like(gradients[0])
    for i, one in enumerate(gradients):
        for other in shuffled(gradients, i):
            if one @ other < 0:
                one = one - (one @ other) / other.norm() * other
        total = total + one
    return total


def own_norm(gradients: Gradients) -> torch.Tensor:
    total = torch.zeros_like(gradients[0])
    for i, one in enumerate(gradients):
        square = one @ one
        for other in shuffled(gradients, i):
            if one @ other < 0:
                one = one - (one @ other) / square * other
        total = total + one
    return total


def each(
    gradients: Gradients, remove: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Apply ``remove(current, other, original)`` to every task and every other task, and sum up."""
    total = torch.zeros_like(gradients[0])
    for i, one in enumerate(gradients):
        current = one
        for other in shuffled(gradients, i):
            current = remove(current, other, one)
        total = total + current
    return total


def cosine_norm(gradients: Gradients) -> torch.Tensor:
    def remove(current: torch.Tensor, other: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
        inner = current @ other
        return current - inner / (original.norm() * other.norm()) * other if inner < 0 else current

    return each(gradients, remove)


def undivided(gradients: Gradients) -> torch.Tensor:
    return each(gradients, lambda one, other, _: one - (one @ other) * other if one @ other < 0 else one)


def simultaneous(gradients: Gradients) -> torch.Tensor:
    return each(
        gradients,
        lambda one, other, original: (
            one - (original @ other) / (other @ other) * other if original @ other < 0 else one
        ),
    )


def always(gradients: Gradients) -> torch.Tensor:
    return each(gradients, lambda one, other, _: one - (one @ other) / (other @ other) * other)


def adds(gradients: Gradients) -> torch.Tensor:
    return each(
        gradients, lambda one, other, _: one + (one @ other) / (other @ other) * other if one @ other < 0 else one
    )


def once(gradients: Gradients) -> torch.Tensor:
    total = torch.zeros_like(gradients[0])
    for i, one in enumerate(gradients):
        conflicts = [other for other in shuffled(gradients, i) if one @ other < 0]
        total = total + project(one, conflicts[:1])
    return total


def onto_projected(gradients: Gradients) -> torch.Tensor:
    projected = [one.clone() for one in gradients]
    for i in range(len(projected)):
        projected[i] = project(projected[i], shuffled(projected, i))
    return torch.stack(projected).sum(dim=0)


def running_sums(gradients: Gradients) -> torch.Tensor:
    return pcgrad(list(torch.stack(gradients).cumsum(dim=0)))


def running_sums_without_squares(gradients: Gradients) -> torch.Tensor:
    """Two faults."""
    return norm_not_squared(list(torch.stack(gradients).cumsum(dim=0)))


def in_place(gradients: Gradients) -> torch.Tensor:
    for i, one in enumerate(gradients):
        one.copy_(project(one.clone(), shuffled(gradients, i)))
    return torch.stack(gradients).sum(dim=0)


def shuffles_the_list(gradients: Gradients) -> torch.Tensor:
    random.shuffle(gradients)
    return torch.stack(gradients).sum(dim=0)


def cosine(gradients: Gradients) -> torch.Tensor:
    """NaN where a gradient is zero."""
    return torch.stack([one / one.norm() for one in gradients]).sum(dim=0)


def single_precision(gradients: Gradients) -> torch.Tensor:
    return pcgrad([one.float() for one in gradients])


def single_precision_inside(gradients: Gradients) -> torch.Tensor:
    return pcgrad([one.float() for one in gradients]).to(gradients[0].dtype)


def weights_in_single_precision(gradients: Gradients) -> torch.Tensor:
    return torch.full((len(gradients),), 1.0 / 3.0, dtype=torch.float32)


def as_python_numbers(gradients: Gradients) -> list[float]:
    return summed(gradients).tolist()


def numpy_generator(gradients: Gradients) -> torch.Tensor:
    weights = torch.tensor(np.random.dirichlet(np.ones(len(gradients))), dtype=gradients[0].dtype)
    return weights @ torch.stack(gradients)


def unseeded(gradients: Gradients) -> torch.Tensor:
    weights = torch.tensor(np.random.default_rng().dirichlet(np.ones(len(gradients))), dtype=gradients[0].dtype)
    return weights @ torch.stack(gradients)


def ascends(gradients: Gradients) -> torch.Tensor:
    return -torch.stack(gradients).sum(dim=0)


def on_the_cpu(gradients: Gradients) -> torch.Tensor:
    return torch.zeros(len(gradients[0]), dtype=gradients[0].dtype)


def raises(gradients: Gradients) -> torch.Tensor:
    raise RuntimeError("no such\nluck")


def nothing(gradients: Gradients) -> None: ...


def as_numpy(gradients: Gradients) -> Any:
    return np.sum([one.numpy() for one in gradients], axis=0)


def prints_and_warns(gradients: Gradients) -> torch.Tensor:
    print("computing")
    warnings.warn("slow", stacklevel=1)
    return summed(gradients)


def exits(gradients: Gradients) -> torch.Tensor:
    raise SystemExit(3)


def scalar(gradients: Gradients) -> torch.Tensor:
    return gradients[0].sum()


class Momentum:
    """Keeps state."""

    def __init__(self, beta: float = 0.5, scale: str = "none") -> None:
        self.beta, self.scale, self.last = beta, scale, None

    def __call__(self, gradients: Gradients) -> torch.Tensor:
        update = pcgrad(gradients)
        if self.last is not None and self.last.shape == update.shape:
            update = self.beta * self.last + (1.0 - self.beta) * update
        self.last = update
        return update


class FourOnly:
    """Accepts four tasks."""

    def __call__(self, gradients: torch.Tensor) -> torch.Tensor:
        return torch.ones(4, dtype=gradients.dtype) @ gradients


class NotCallable:
    def step(self) -> None: ...


class Broken:
    def __init__(self) -> None:
        raise OSError("no licence")


momentum = Momentum(beta=0.25)


class Wrapper:
    """A right PCGrad around a torch optimizer: heads get their own gradients, unreached parameters none."""

    surgery: Callable[[Gradients], torch.Tensor] = staticmethod(pcgrad)

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    @property
    def parameters(self) -> list[torch.Tensor]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def zero_grad(self) -> None:
        self.optimizer.zero_grad()

    def step(self) -> None:
        self.optimizer.step()

    def rows(self, losses: Sequence[torch.Tensor]) -> list[list[torch.Tensor | None]]:
        return [
            list(torch.autograd.grad(loss, self.parameters, retain_graph=True, allow_unused=True)) for loss in losses
        ]

    def pc_backward(self, losses: Sequence[torch.Tensor]) -> None:
        rows = self.rows(losses)
        reached = [sum(row[n] is not None for row in rows) for n in range(len(self.parameters))]
        shared = [n for n, count in enumerate(reached) if count == len(losses)]
        self.fill(shared, rows)
        for n, count in enumerate(reached):
            if count > 0 and n not in shared:
                self.parameters[n].grad = self.head([row[n] for row in rows if row[n] is not None])

    def head(self, gradients: list[Any]) -> torch.Tensor:
        return sum(gradients)  # type: ignore[return-value]

    def fill(self, chosen: list[int], rows: list[list[Any]]) -> None:
        parameters = [self.parameters[n] for n in chosen]
        flat = [
            torch.cat(
                [
                    (torch.zeros_like(p) if row[n] is None else row[n]).flatten()
                    for n, p in zip(chosen, parameters, strict=True)
                ]
            )
            for row in rows
        ]
        pieces = type(self).surgery(flat).split([p.numel() for p in parameters])
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.grad = piece.view_as(parameter).clone()


class Backward(Wrapper):
    """Right, under the other name."""

    def backward(self, losses: Sequence[torch.Tensor]) -> None:
        Wrapper.pc_backward(self, losses)

    pc_backward = None  # type: ignore[assignment]


class ProjectsHeads(Wrapper):
    """All parameters in one vector, as in much published code."""

    def pc_backward(self, losses: Sequence[torch.Tensor]) -> None:
        self.fill(list(range(len(self.parameters))), self.rows(losses))


class ProjectsHeadsInFixedOrder(ProjectsHeads):
    surgery = staticmethod(fixed_order)


class SumsFirst(Wrapper):
    """One backward of the summed losses."""

    def pc_backward(self, losses: Sequence[torch.Tensor]) -> None:
        torch.stack(list(losses)).sum().backward()


class MeanOfHeads(Wrapper):
    """Another convention for the heads."""

    def head(self, gradients: list[Any]) -> torch.Tensor:
        return sum(gradients) / NUMBER  # type: ignore[return-value]


class ForgetsHeads(Wrapper):
    def pc_backward(self, losses: Sequence[torch.Tensor]) -> None:
        super().pc_backward(losses)
        for parameter in self.parameters[5:]:
            parameter.grad = None


class MixesHeads(Wrapper):
    def pc_backward(self, losses: Sequence[torch.Tensor]) -> None:
        super().pc_backward(losses)
        heads = self.parameters[5:]
        if heads:
            heads[0].grad = heads[0].grad + heads[2].grad


class PerTensor(Wrapper):
    """Surgery on each tensor by itself."""

    def fill(self, chosen: list[int], rows: list[list[Any]]) -> None:
        for n in chosen:
            super().fill([n], rows)


class FillsZeros(Wrapper):
    def pc_backward(self, losses: Sequence[torch.Tensor]) -> None:
        super().pc_backward(losses)
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)


class StepsTwice(Wrapper):
    def pc_backward(self, losses: Sequence[torch.Tensor]) -> None:
        super().pc_backward(losses)
        self.optimizer.step()


class KeepsGradients(Wrapper):
    def pc_backward(self, losses: Sequence[torch.Tensor]) -> None:
        self.optimizer.zero_grad()
        super().pc_backward(losses)

    def zero_grad(self) -> None: ...


class FreesTheGraph(Wrapper):
    """Fails on losses that share a trunk."""

    def rows(self, losses: Sequence[torch.Tensor]) -> list[list[torch.Tensor | None]]:
        return [list(torch.autograd.grad(loss, self.parameters, allow_unused=True)) for loss in losses]


class DoesNotStep(Wrapper):
    def step(self) -> None: ...


class RaisingWrapper(Wrapper):
    def pc_backward(self, losses: Sequence[torch.Tensor]) -> None:
        raise KeyError("shared")


class ForgetfulWrapper(Wrapper):
    def pc_backward(self, losses: Sequence[torch.Tensor]) -> None: ...


class Reduced(Wrapper):
    """A parameter of the constructor, after the optimizer; and one that has no default."""

    def __init__(self, optimizer: torch.optim.Optimizer, reduction: str) -> None:
        super().__init__(optimizer)
        self.reduction = reduction

    def pc_backward(self, losses: Sequence[torch.Tensor]) -> None:
        super().pc_backward(losses)
        for parameter in self.parameters:
            if self.reduction == "mean" and parameter.grad is not None:
                parameter.grad /= len(losses)
