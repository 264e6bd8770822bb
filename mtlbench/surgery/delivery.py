"""A scalar loss that carries ready gradients: its backward pass hands them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mtlbench.engine.norm import factor_for
from mtlbench.errors import UsageError


class Parcel:
    """Gradients, each for one leaf, that one call of ``backward`` delivers.

    :param leaves: the tensors that get gradients.
    :param gradients: a gradient for each, of its type.
    :param owned: how many of them, from the first, lie in memory of their own, which may be overwritten; torch may give
        several parameters the same gradient tensor.
    :param scale: factor that is already in the gradients, as a scalar tensor; ``None`` for 1.
    :param unscaled: whether the backward pass must not be scaled, because the losses' own passes were not.
    """

    def __init__(
        self,
        leaves: Sequence[torch.Tensor],
        gradients: Sequence[torch.Tensor],
        *,
        owned: int = 0,
        scale: torch.Tensor | None = None,
        unscaled: bool = False,
    ) -> None:
        self.leaves, self.owned, self.scale, self.unscaled = list(leaves), owned, scale, unscaled
        self._gradients: list[torch.Tensor] | None = list(gradients)

    def open(self, output: torch.Tensor) -> list[torch.Tensor]:
        """Return the gradients, times the gradient of the output.

        :param output: the scalar gradient of the loss.
        :raises UsageError: at the second call, or for a scaled loss where that would come too late.
        """
        if self._gradients is None:
            raise UsageError("this loss was backpropagated already: call Surgery.loss() again at every step")
        if self.unscaled and float(output) >= 2.0:
            raise UsageError(
                f"the loss is scaled by {float(output):g} after the task gradients were computed in float16, too late "
                "to save small ones: pass scaler= to Surgery"
            )
        gradients, self._gradients = self._gradients, None
        factor = output if self.scale is None else output / self.scale.to(output.device)
        if factor.device.type == "cpu" and float(factor) == 1.0:  # a read on another device would wait for it
            return gradients
        factors = {gradient.device: factor.to(gradient.device) for gradient in gradients}
        for gradient in gradients[: self.owned]:
            gradient.mul_(factors[gradient.device])
        others = [gradient * factors[gradient.device] for gradient in gradients[self.owned :]]
        return [*gradients[: self.owned], *others]


class _Deliver(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, parcel: Parcel, anchor: torch.Tensor, *leaves: torch.Tensor) -> Any:
        ctx.parcel = parcel
        return value.clone()

    @staticmethod
    def backward(ctx: Any, output: torch.Tensor) -> Any:
        if torch.is_grad_enabled():
            raise UsageError("create_graph=True: a method's update has no graph, so it cannot be differentiated again")
        return None, None, None, *ctx.parcel.open(output)


def deliver(value: torch.Tensor, parcel: Parcel) -> torch.Tensor:
    """Return a loss whose ``backward`` adds a parcel's gradients to ``.grad``, through every hook that torch has there.

    :param value: the loss's value.
    :param parcel: the gradients.
    :returns: a scalar tensor that requires a gradient.
    """
    anchor = torch.zeros((), requires_grad=True)  # a parcel without leaves still needs a graph
    with torch.enable_grad():
        loss: torch.Tensor = _Deliver.apply(value, parcel, anchor, *parcel.leaves)  # type: ignore[no-untyped-call]
    return loss


def rescale(gradients: list[torch.Tensor], unit: float, *, target: float | None, clip: float | None) -> float:
    """Rescale or clip the shared update in place, as :func:`mtlbench.engine.norm.rescale` does with a flat one.

    :param gradients: the update, one tensor for each parameter, in memory of its own.
    :param unit: factor that is in the gradients.
    :param target: the norm to rescale to; ``None`` to leave it.
    :param clip: the largest norm allowed, where there is no target; ``None`` for no limit.
    :returns: the factor by which the update was multiplied.
    """
    if (target is None and clip is None) or not gradients:
        return 1.0
    factor = factor_for(norm_of(gradients) / unit, target=target, clip=clip)
    if factor != 1.0:
        for gradient in gradients:
            gradient.mul_(factor)
    return factor


def norm_of(gradients: Sequence[torch.Tensor]) -> float:
    """Return the norm of all numbers of some tensors, in double precision.

    :param gradients: dense or sparse tensors, at least one.
    """
    first = gradients[0].device
    dense = [gradient.coalesce().values() if gradient.is_sparse else gradient for gradient in gradients]
    norms = [torch.linalg.vector_norm(gradient, dtype=torch.float64).to(first) for gradient in dense]
    return float(torch.stack(norms).norm())
