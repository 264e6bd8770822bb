"""What surgery leaves behind: no random numbers consumed, the same bits again, and no memory beyond K rows."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from shared_models import build
from torch import nn

import mtlbench


def random_states() -> tuple[Any, ...]:
    return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()


@pytest.mark.parametrize("skip", [False, True], ids=["", "skipping"])
@pytest.mark.parametrize("method", ["pcgrad", "random", "rlw", "graddrop", "mgda", "gradvac"])
def test_no_global_random_number_is_consumed(method: str, skip: bool) -> None:
    model = build("bert")
    losses = model.losses("shared")
    before = random_states()
    with mtlbench.Surgery(model.trunk, method, skip_zero_rows=skip) as surgery:
        assert random_states() == before
        losses = model.losses("shared")
        surgery.loss(losses).backward()
    assert random_states() == before


@pytest.mark.parametrize("skip", [False, True], ids=["", "skipping"])
@pytest.mark.parametrize("method", ["pcgrad", "rlw", "graddrop", "gradnorm"])
@pytest.mark.parametrize("name", ["bert", "batch_norm", "lstm", "tied_layers", "sparse_table"])
def test_the_same_bits_again(name: str, method: str, skip: bool) -> None:
    def train() -> list[torch.Tensor]:
        model = build(name, torch.float32)
        parameters = [p for p in model.trunk.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(parameters, lr=0.1)
        with mtlbench.Surgery(model.trunk, method, skip_zero_rows=skip, last_shared_layer=parameters[:1]) as surgery:
            for mode in ("separate", "concatenated"):
                optimizer.zero_grad()
                surgery.loss(model.losses(mode)).backward()
                optimizer.step()
        return [*parameters, *(p.grad for p in parameters if p.grad is not None)]

    assert all(one.to_dense().equal(other.to_dense()) for one, other in zip(train(), train(), strict=True))


# Memory

WIDE = 256
"""Width of the layers; a batch of 4 rows is small beside them."""


def deep() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(WIDE, WIDE) for _ in range(8))), torch.randn(4, WIDE)


def peak(run: Callable[[], Any]) -> int:
    """Return the largest number of bytes of tensors at a time while a function runs, above those before."""
    gc.collect()
    gc.disable()  # or models of earlier tests would be freed meanwhile, which counts below zero
    try:
        with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            run()
    finally:
        gc.enable()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(int(total) for total in np.cumsum([0, *sizes]))


def losses_of(trunk: nn.Module, inputs: torch.Tensor, tasks: int) -> list[torch.Tensor]:
    features = trunk(inputs)
    return [features[:, task].square().mean() for task in range(tasks)]


def table_and_layers() -> tuple[nn.Module, torch.Tensor]:
    """Half of the parameters are a table that is the output layer too, so that every row of it counts."""
    torch.manual_seed(0)
    table = nn.Embedding(4 * WIDE, WIDE)

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.layers = table, nn.Sequential(*(nn.Linear(WIDE, WIDE) for _ in range(4)))

        def forward(self, numbers: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(self.layers(self.table(numbers)), self.table.weight)

    return Tied(), torch.arange(4)


@pytest.mark.parametrize("make", [deep, table_and_layers])
@pytest.mark.parametrize("skip", [False, True], ids=["", "skipping"])
def test_peak_memory_is_k_rows_above_a_plain_step(make: Any, skip: bool) -> None:
    """K rows of P numbers are kept, and the update is one of them; a pass of one loss has P more at most."""
    (trunk, inputs), tasks = make(), 5
    size = 4 * sum(parameter.numel() for parameter in trunk.parameters())
    plain = peak(lambda: torch.stack(losses_of(trunk, inputs, tasks)).sum().backward())
    assert 0.95 * size <= plain <= 2.1 * size  # torch holds the parts of a tied weight's gradient for a moment
    trunk.zero_grad()
    with mtlbench.Surgery(trunk, "mgda", skip_zero_rows=skip) as surgery:
        first = peak(lambda: surgery.loss(losses_of(trunk, inputs, tasks)).backward())
        trunk.zero_grad()
        later = peak(lambda: surgery.loss(losses_of(trunk, inputs, tasks)).backward())
    assert first <= tasks * size + plain + 0.15 * size
    assert later <= plain + 0.15 * size  # the rows are there already


@pytest.mark.parametrize("method", ["fixed[w=1:2:1:1]", "imtl-l", "gradnorm"])
def test_peak_memory_of_weighted_losses_is_that_of_a_plain_step(method: str) -> None:
    trunk, inputs = deep()
    size = 4 * sum(parameter.numel() for parameter in trunk.parameters())
    plain = peak(lambda: torch.stack(losses_of(trunk, inputs, 4)).sum().backward())
    trunk.zero_grad()
    surgery = mtlbench.Surgery(trunk, method, last_shared_layer=trunk[-1])
    actual = peak(lambda: surgery.loss(losses_of(trunk, inputs, 4)).backward())
    layers = 8 if method == "gradnorm" else 0  # its Gram matrix is of one layer in eight: gradients, and their rows
    assert actual <= plain + 0.15 * size + layers * size / 8


def test_nothing_but_the_rows_stays() -> None:
    trunk, inputs = deep()
    surgery = mtlbench.Surgery(trunk, "mgda")

    def kept() -> int:
        gc.collect()
        storages = {
            t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
            for t in gc.get_objects()
            if type(t) in (torch.Tensor, nn.Parameter) and t.layout == torch.strided
        }
        return sum(storages.values())

    before = kept()
    size = 4 * sum(parameter.numel() for parameter in trunk.parameters())
    for _ in range(2):
        trunk.zero_grad()
        surgery.loss(losses_of(trunk, inputs, 3)).backward()
        trunk.zero_grad()
        assert kept() - before == pytest.approx(3 * size, rel=1e-3)
    surgery.close()
    assert kept() - before == pytest.approx(0, abs=1000)
