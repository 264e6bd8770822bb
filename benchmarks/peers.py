"""PCGrad as others compute it, on the padded model of a plain sum: as most published code does, and by TorchJD."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torchjd.aggregation import PCGrad
from torchjd.autojac import backward, jac_to_grad, mtl_backward

from mtlbench.bench.contenders import Padded, PaddedModel
from mtlbench.text.batches import TaskData


class OneBackward(Padded):
    """The plain sum with K graphs kept and one backward of Σ Lₖ: the same work in more memory."""

    def step(self, step: int) -> None:
        self.optimizer.zero_grad()
        torch.stack([self.loss(task, step)[0] for task in range(len(self.data))]).sum().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


class Published(Padded):
    """The way of most published code: K graphs kept, a backward a task, gradients flattened, vectors projected.

    Without the masks of parameters that a task does not reach, which the published code also builds and copies.
    """

    generator = np.random.default_rng(0)

    def step(self, step: int) -> None:
        losses = [self.loss(task, step)[0] for task in range(len(self.data))]
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        vectors = []
        for loss in losses:
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
            pieces = [torch.zeros_like(one) if one.grad is None else one.grad.clone() for one in parameters]
            vectors.append(torch.cat([piece.flatten() for piece in pieces]))
        projected = [vector.clone() for vector in vectors]
        for mine in projected:
            for other in self.generator.permutation(len(vectors)):
                theirs = vectors[other]
                inner = torch.dot(mine, theirs)
                if inner < 0:
                    mine -= inner * theirs / theirs.norm() ** 2
        total = torch.stack(projected).sum(dim=0)
        start = 0
        for parameter in parameters:
            parameter.grad = total[start : start + parameter.numel()].view_as(parameter).clone()
            start += parameter.numel()
        self.optimizer.step()


class TorchJD(Padded):
    """TorchJD: the Jacobian of the K losses into ``.jac``, then PCGrad of it into ``.grad``.

    :param call: ``"mtl_backward"`` from the features of each task, or ``"backward"`` from the losses.
    :param chunk: how many losses are differentiated at a time.
    """

    def __init__(
        self, model: PaddedModel, optimizer: torch.optim.Optimizer, data: Sequence[TaskData], call: str, chunk: int
    ) -> None:
        super().__init__(model, optimizer, data)
        self.call, self.chunk, self.aggregator = call, chunk, PCGrad()
        self.shared = model.shared

    def step(self, step: int) -> None:
        self.optimizer.zero_grad()
        pairs = [self.loss(task, step) for task in range(len(self.data))]
        losses, heads = [loss for loss, _ in pairs], [list(head.parameters()) for head in self.model.heads]
        if self.call == "mtl_backward":
            features = [feature for _, feature in pairs]
            mtl_backward(
                losses, features, tasks_params=heads, shared_params=self.shared, parallel_chunk_size=self.chunk
            )
        else:
            gradients = torch.autograd.grad(
                torch.stack(losses).sum(), [p for head in heads for p in head], retain_graph=True
            )
            for parameter, gradient in zip([p for head in heads for p in head], gradients, strict=True):
                parameter.grad = gradient
            backward(losses, inputs=self.shared, parallel_chunk_size=self.chunk)
        jac_to_grad(self.shared, self.aggregator, optimize_gramian_computation=True)
        self.optimizer.step()


def variants(tasks: int) -> list[dict[str, Any]]:
    """Return the ways to call TorchJD among which the fastest is taken."""
    return [{"call": call, "chunk": chunk} for call in ("mtl_backward", "backward") for chunk in (1, 2, tasks)]
