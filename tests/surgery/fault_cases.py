"""What the tests of wrong calls have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from library_cases import Toy
from torch import nn

from mtlbench import CellError, SolverError, UsageError
from mtlbench.engine.step import NotFinite

OURS = (UsageError, NotFinite, CellError, SolverError)
NAMES = ["a", "b", "c"]
Call = Callable[[Toy], Any]


def message(call: Callable[[], Any]) -> str:
    with pytest.raises(OURS) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


def gradients(toy: nn.Module) -> list[torch.Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in toy.parameters()]


def same(actual: list[torch.Tensor | None], reference: list[torch.Tensor | None]) -> None:
    assert [gradient is None for gradient in actual] == [gradient is None for gradient in reference]
    for one, other in zip(actual, reference, strict=True):
        assert one is None or other is None or torch.equal(one, other)


def but(toy: Toy, change: Callable[[torch.Tensor], Any]) -> list[Any]:
    """Return the losses, the second one changed."""
    losses = toy.losses()
    return [losses[0], change(losses[1]), losses[2]]


def freed(toy: Toy) -> list[torch.Tensor]:
    losses = toy.losses()
    torch.autograd.grad(losses[1], toy.shared)
    return losses


def infinite_slope(parameter: torch.Tensor) -> torch.Tensor:
    """A term of value 0 whose gradient is NaN."""
    return (parameter * 0.0).abs().sum().sqrt()
