"""Sums over the processes of distributed data-parallel training."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mtlbench.contract.observation import Vector
from mtlbench.errors import UsageError

DISAGREEMENT = 1e-3
"""Tolerated relative distance of this process's weights or update from the first one's; rounding is far smaller."""


@dataclass(frozen=True)
class Ranks:
    """The processes that one batch is spread over.

    :param count: their number.
    :param group: their process group; ``None`` when there is one process.
    :param module: the ``DistributedDataParallel`` module that averages gradients after this, if there is one.
    """

    count: int = 1
    group: Any = None
    module: torch.nn.parallel.DistributedDataParallel | None = None

    @classmethod
    def of(cls, shared: Collection[torch.Tensor], choice: Any = "auto") -> Ranks:
        """Return the processes of the training that some parameters belong to.

        :param shared: the shared parameters.
        :param choice: a process group, ``False`` for training without other processes, or ``"auto"``: the processes of
            the ``DistributedDataParallel`` module that holds the parameters.
        :raises UsageError: when there are several processes and it is not known whether they train together.
        """
        distributed = torch.distributed
        if choice is False or not distributed.is_available() or not distributed.is_initialized():
            return cls()
        if not isinstance(choice, str):
            return cls(distributed.get_world_size(choice), choice)
        if choice != "auto":
            raise UsageError(f"data_parallel must be 'auto', False or a process group, not '{choice}'")
        if distributed.get_world_size() == 1:
            return cls()
        ids = {id(parameter) for parameter in shared}
        for module in gc.get_objects():  # once: nothing leads from a parameter to the module that wraps it
            if type(module) is torch.nn.parallel.DistributedDataParallel and ids & set(map(id, module.parameters())):
                if module.static_graph:
                    raise UsageError(
                        "DistributedDataParallel with static_graph=True counts the backward passes of its first step, "
                        "but surgery runs one per loss: leave it out (find_unused_parameters=True is fine)"
                    )
                return cls(distributed.get_world_size(module.process_group), module.process_group, module)
        raise UsageError(
            f"there are {distributed.get_world_size()} processes, but no DistributedDataParallel module holds the "
            "shared parameters: wrap the model first, or pass data_parallel=False if each process trains a model of "
            "its own"
        )

    @property
    def synchronizes(self) -> bool:
        """Whether the data-parallel module expects this step's backward pass to average gradients."""
        return self.module is not None and bool(self.module.require_backward_grad_sync)

    def mean_(self, tensors: Iterable[torch.Tensor]) -> None:
        """Average tensors over the processes, in place.

        :param tensors: tensors of the same shapes in every process.
        """
        if self.count > 1:
            for tensor in tensors:
                whole = tensor.contiguous()  # gloo adds up memory, whatever the strides
                self._add(whole)
                if whole is not tensor:
                    tensor.copy_(whole)
                tensor.div_(self.count)

    def _add(self, tensor: torch.Tensor) -> None:
        """Sum a contiguous tensor over the processes, in place."""
        torch.distributed.all_reduce(tensor, group=self.group)

    def total(self, values: np.ndarray[Any, Any], like: torch.Tensor) -> Any:
        """Return sums of numbers over the processes.

        :param values: float64 numbers.
        :param like: a tensor of the device that the processes exchange.
        """
        if self.count == 1:
            return values
        tensor = torch.from_numpy(np.ascontiguousarray(values)).to(like.device)
        torch.distributed.all_reduce(tensor, group=self.group)
        return tensor.cpu().numpy()

    def same(self, what: str, flags: Sequence[float], like: torch.Tensor) -> None:
        """Refuse a step in which processes differ.

        :param what: what the flags stand for, for the message.
        :param flags: zeros and ones, as many in every process.
        :param like: a tensor of the device that the processes exchange.
        :raises UsageError: in all processes, when a flag differs between two.
        """
        counts = self.total(np.array(flags, dtype=np.float64), like)
        if ((counts > 0.0) & (counts < self.count)).any():
            raise UsageError(f"the processes differ in which {what} this step has: give every process all of them")

    def agreed(self, weights: Vector, like: torch.Tensor) -> Vector:
        """Return the first process's weights, so that rounding cannot make replicas drift apart.

        :param weights: this process's weights.
        :param like: a tensor of the device that the processes exchange.
        :raises UsageError: when this process's weights differ from them by more than rounding.
        """
        if self.count == 1:
            return weights
        first: Vector = self.agreed_update(torch.from_numpy(weights.copy()).to(like.device), "weights").cpu().numpy()
        return first

    def agreed_update(self, update: torch.Tensor, what: str = "updates") -> torch.Tensor:
        """Return the first process's update, as :meth:`agreed` does with weights.

        :param update: this process's numbers.
        :param what: what they are, for the message.
        :raises UsageError: when they differ from the first process's by more than rounding.
        """
        if self.count == 1:
            return update
        first = update.clone()
        torch.distributed.broadcast(first, group=self.group, group_src=0)
        distance, *sizes = (
            float(torch.linalg.vector_norm(v, dtype=torch.float64)) for v in (first - update, first, update)
        )
        if self.total(np.array([float(distance > DISAGREEMENT * max(sizes))]), update)[0] > 0.0:
            raise UsageError(
                f"the processes' methods give different {what} for the same gradients: create the method in every "
                "process with the same parameters, seed and state"
            )
        return first
