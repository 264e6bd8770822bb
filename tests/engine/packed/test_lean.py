"""Inner products without a buffer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from step_batches import batches, close, forward, truths
from tiny_models import (
    Plain,
    flat,
    make_engine,
    sequences,
)
from torch import nn

from mtlbench import get_method
from mtlbench.engine.packed.layout import Layout
from mtlbench.engine.packed.lean import InputProducts, Lean, blocks_of, by_rows
from mtlbench.engine.packed.pack import Pack
from mtlbench.engine.packed.rows import GradientRows


@pytest.mark.parametrize("numbers", [1, 100])
def test_tables_in_blocks_have_the_same_inner_products(monkeypatch: pytest.MonkeyPatch, numbers: int) -> None:
    monkeypatch.setattr("mtlbench.engine.packed.lean.TABLE_BLOCK", numbers)
    model = Plain()
    step = make_engine(model, "lean").step(get_method("pcgrad"), forward(model))
    assert close(step.gram, truths("plain", 0.0, 0).gram, 1e-10)


@pytest.mark.parametrize("lengths", [[9], [1, 6, 2], [4, 5]])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("block", [1, 5, 256])
def test_products_by_rows_are_those_of_the_gradients(
    monkeypatch: pytest.MonkeyPatch, lengths: list[int], with_bias: bool, block: int
) -> None:
    monkeypatch.setattr("mtlbench.engine.packed.lean.BLOCK", block)
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(9, 5, dtype=torch.float64, generator=random)
    gradient = torch.randn(9, 4, dtype=torch.float64, generator=random)
    pack, rows = Pack.of([sequences([length], 0) for length in lengths], "cpu"), []
    for first, last in pack.token_ranges:
        weight = gradient[first:last].T @ inputs[first:last]
        rows.append(flat([weight, gradient[first:last].sum(dim=0)] if with_bias else [weight]))
    reference = torch.stack(rows) @ torch.stack(rows).T

    blocks = blocks_of(pack, 9)
    input_products = InputProducts(inputs, blocks, plus=float(with_bias)).products
    actual = by_rows(input_products, gradient, blocks, pack)
    torch.testing.assert_close(actual, reference, rtol=1e-12, atol=1e-12)


def test_products_of_inputs_are_shared_by_layers_that_read_the_same_memory_alone() -> None:
    inputs, blocks = torch.ones(4, 3), blocks_of(Pack.of([sequences([4], 0)], "cpu"), 4)
    products = InputProducts(inputs, blocks, plus=1.0)
    assert products.are_of(inputs.detach().reshape(4, 3), 1.0)
    for other, plus in ((inputs, 0.0), (inputs.clone(), 1.0), (inputs[:2], 1.0), (inputs.T, 1.0)):
        assert not products.are_of(other, plus)


@pytest.mark.parametrize("shape", [(3, 2), (90, 80)], ids=["materialised", "by rows"])
@pytest.mark.parametrize("bias", [False, True])
def test_both_ways_to_inner_products_agree(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], bias: bool) -> None:
    calls = []

    def spy(*given: Any, **options: Any) -> torch.Tensor:
        calls.append(1)
        return by_rows(*given, **options)

    monkeypatch.setattr("mtlbench.engine.packed.lean.by_rows", spy)
    layer, pack = nn.Linear(*shape, bias=bias).double(), Pack.of(batches(0), "cpu")
    inputs = torch.randn(len(pack.ids), shape[0], dtype=torch.float64)
    gradient = torch.randn(len(pack.ids), shape[1], dtype=torch.float64)
    layout = Layout(list(layer.parameters()), [])
    rows = GradientRows(layout, torch.zeros(3, layout.size, dtype=torch.float64)).begin(pack)
    lean = Lean(layout, pack, subset=[layer.weight])
    rows.linear(layer, inputs, gradient)
    lean.linear(layer, inputs, gradient)
    assert close(lean.gram(), rows.gram(), 1e-12)
    assert close(lean.gram_of_subset(), rows.gram([layer.weight]), 1e-12)
    assert bool(calls) == (shape == (90, 80))
