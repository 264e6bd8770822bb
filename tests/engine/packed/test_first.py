"""The last layer for first tokens alone: states and gradients are those of the whole layer."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from tiny_models import FAMILIES, WAYS, Encoded, Truth, grads, make_engine, sequences, shared_of, truth

from mtlbench import get_method
from mtlbench.engine.packed.layers import Recomputation
from mtlbench.engine.packed.pack import Pack
from mtlbench.engine.step import Forward

LENGTHS = [[5, 1, 40, 7], [3], [12, 1, 2, 13, 30]]
SEEDS = (11, 12, 13)
families = pytest.mark.parametrize("family", FAMILIES)


def packed(order: list[int], seeds: bool = True) -> Pack:
    drawn = tuple(SEEDS[task] for task in order) if seeds else None
    return Pack.of([sequences(LENGTHS[task], task) for task in order], "cpu", drawn)


def model_of(family: str, **options: Any) -> Encoded:
    return Encoded(family, first=True, **options).pack_attention()


@cache
def whole(family: str) -> Truth:
    """Return what autograd says of the encoder with its whole last layer."""
    given = [sequences(lengths, task) for task, lengths in enumerate(LENGTHS)]
    return truth(Encoded(family).pack_attention(), given)


@families
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_states_are_those_of_padded_rows(family: str, dtype: torch.dtype) -> None:
    padded, model = Encoded(family, dtype=dtype), model_of(family, dtype=dtype)
    pack = packed([0, 1, 2])
    actual = model.states(pack)
    reference = [row[0] for task in range(3) for row in padded.padded_states(sequences(LENGTHS[task], task))]
    assert actual.shape == (len(pack.lengths), 16)
    assert (
        float((actual - torch.stack(reference)).detach().abs().max())
        < {torch.float64: 1e-10, torch.float32: 1e-5}[dtype]
    )


@families
@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("recomputed", [False, True])
def test_gradients_are_those_of_the_whole_layer(family: str, way: str, recomputed: bool) -> None:
    model, true = model_of(family), whole(family)
    engine = make_engine(model, way)
    if recomputed:
        Recomputation(model.encoder, model.tape).switch(True)

    def forward(number: int, tasks: Any = range(3), recompute: bool = False) -> list[Forward]:
        return model.forwards(packed(list(tasks), seeds=False), tasks)

    step = engine.step(get_method("pcgrad"), forward, measure=True)
    assert step.gram is not None and step.weights is not None
    scale = true.gram.diagonal().max()
    assert abs(step.gram - true.gram).max() < 1e-10 * scale
    reference = torch.from_numpy(step.weights) @ true.rows
    assert float((grads(shared_of(model)[0]) - reference).norm()) < 1e-10 * float(reference.norm())


@families
def test_masks_are_a_tasks_own(family: str) -> None:
    model = model_of(family, dropout=0.3).train()
    alone = {task: model.states(packed([task])).detach() for task in range(3)}
    for order in ([0, 1, 2], [2, 0, 1], [1, 2]):
        pack = packed(order)
        actual = model.states(pack).detach()
        for task, (first, last) in zip(order, pack.sequence_ranges, strict=True):
            torch.testing.assert_close(actual[first:last], alone[task], rtol=1e-11, atol=1e-11)
    plain = model.eval().states(packed([0, 1, 2]))
    assert float((plain - torch.cat(list(alone.values()))).detach().abs().mean()) > 0.1  # something was dropped


@families
def test_nothing_is_kept_after_a_forward(family: str) -> None:
    model = model_of(family)
    model.states(packed([0, 1]))
    (first,) = {module.first_tokens for module in model.encoder.modules() if hasattr(module, "first_tokens")}
    assert model.tape.states is None and not first._outputs  # type: ignore[union-attr]
