"""Dropout masks that belong to a task."""

from __future__ import annotations

import pytest
import torch
from packs import CLOSE, LENGTHS, packed, sequence_masks
from tiny_models import sequences

from mtlbench.engine.packed.dropout import dropped
from mtlbench.engine.packed.pack import Pack


def masks_by_task(order: list[int], p: float = 0.3, site: int = 5) -> dict[int, list[torch.Tensor | float]]:
    pack = packed(order)
    actual = sequence_masks(pack, p, site, torch.empty(len(pack.ids), 2, 3))
    return {
        task: [actual[sequence] for sequence in range(first, last)]
        for task, (first, last) in zip(order, pack.sequence_ranges, strict=True)
    }


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0], [2, 0]])
def test_attention_masks_of_a_task_are_its_own(order: list[int]) -> None:
    together = masks_by_task(order)
    for task in order:
        for one, other in zip(together[task], masks_by_task([task])[task], strict=True):
            assert torch.equal(one, other)  # type: ignore[arg-type]


def test_attention_masks_differ_between_sites_and_seeds() -> None:
    one = masks_by_task([0])[0][2]
    assert not torch.equal(one, masks_by_task([0], site=6)[0][2])  # type: ignore[arg-type]
    pack = Pack.of([sequences(LENGTHS[0], 0)], "cpu", (99,))
    assert not torch.equal(one, sequence_masks(pack, 0.3, 5, torch.empty(53, 2, 3))[2])  # type: ignore[arg-type]


def test_attention_masks_keep_and_scale() -> None:
    pack = Pack.of([sequences([100], 0)], "cpu", (1,))
    mask = torch.as_tensor(sequence_masks(pack, 0.3, 5, torch.empty(100, 4, 3, dtype=torch.float64))[0])
    assert mask.unique().tolist() == pytest.approx([0.0, 1 / 0.7], rel=1e-5)  # p is rounded to 16 bits
    assert float((mask > 0).double().mean()) == pytest.approx(0.7, abs=0.01)


def test_dropout_keeps_and_scales() -> None:
    pack = Pack.of([sequences([200], 0), sequences([100, 100], 1)], "cpu", (1, 2))
    inputs = torch.full((1, 400, 100), 3.0, dtype=torch.float64)
    actual = dropped(inputs, 0.2, pack, 4)
    assert actual.unique().tolist() == pytest.approx([0.0, 3.0 / 0.8], rel=1e-5)
    for half in (actual[0, :200], actual[0, 200:]):
        assert float((half > 0).double().mean()) == pytest.approx(0.8, abs=0.01)
    assert not torch.equal(actual[0, :200], actual[0, 200:])  # another task
    assert not torch.equal(actual, dropped(inputs, 0.2, pack, 5))  # another site
    other = Pack.of([sequences([200], 0), sequences([100, 100], 1)], "cpu", (1, 3))
    assert torch.equal(actual[0, :200], dropped(inputs, 0.2, other, 4)[0, :200])
    assert not torch.equal(actual[0, 200:], dropped(inputs, 0.2, other, 4)[0, 200:])
    assert torch.equal(actual, dropped(inputs, 0.2, pack, 4))


@pytest.mark.parametrize("of", ["tokens", "sequences"])
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0]])
@pytest.mark.parametrize("dtype", list(CLOSE))
def test_dropout_of_a_task_is_its_own(of: str, order: list[int], dtype: torch.dtype) -> None:
    def masks(tasks: list[int]) -> dict[int, torch.Tensor]:
        pack = packed(tasks)
        ranges = pack.token_ranges if of == "tokens" else pack.sequence_ranges
        actual = dropped(torch.ones(ranges[-1][1], 17, dtype=dtype), 0.3, pack, 4)
        return {task: actual[first:last] for task, (first, last) in zip(tasks, ranges, strict=True)}

    together = masks(order)
    for task in order:
        assert torch.equal(together[task], masks([task])[task])


def test_dropout_gradient_and_inputs_that_are_not_contiguous() -> None:
    pack = Pack.of([sequences([3, 2])], "cpu", (1,))
    inputs = torch.randn(4, 5, 1, dtype=torch.float64).transpose(0, 2).requires_grad_()
    actual = dropped(inputs, 0.5, pack, 0)
    (gradient,) = torch.autograd.grad(actual.sum(), inputs)
    assert actual.shape == inputs.shape
    torch.testing.assert_close(gradient * inputs, actual)


def test_dropout_without_seeds_is_none() -> None:
    inputs = torch.randn(53, 4)
    assert dropped(inputs, 0.5, packed([0], seeds=False), 0) is inputs


def test_dropout_borrows_no_random_numbers() -> None:
    before = torch.get_rng_state()
    dropped(torch.ones(53, 4), 0.5, packed([0]), 0)
    masks_by_task([0, 1])
    assert torch.equal(torch.get_rng_state(), before)
