"""Packed attention, dropout and whole encoders against padded ones of Hugging Face, and what may be installed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import FAMILIES, WIDTH, Encoded, Plain, sequences, shared_of
from torch import nn

from mtlbench.engine.packed.attention import packed_attention, takes_varying_lengths
from mtlbench.engine.packed.dropout import attention_masks, dropped
from mtlbench.engine.packed.layers import install, unsupported
from mtlbench.engine.packed.pack import Pack
from mtlbench.engine.packed.tape import Tape

LENGTHS = [[5, 1, 40, 7], [3], [12, 1, 2, 13, 30]]
SEEDS = (11, 12, 13)
CLOSE = {torch.float64: 1e-10, torch.float32: 1e-5}
families = pytest.mark.parametrize("family", FAMILIES)


def packed(order: list[int], seeds: bool = True) -> Pack:
    """Return a pack of some tasks, in some order."""
    return Pack.of(
        [sequences(LENGTHS[task], task) for task in order],
        "cpu",
        tuple(SEEDS[task] for task in order) if seeds else None,
    )


# Whole encoders


@families
@pytest.mark.parametrize("dtype", list(CLOSE))
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("installed", [False, True])
def test_states_are_those_of_padded_rows(family: str, dtype: torch.dtype, training: bool, installed: bool) -> None:
    """In evaluation dropout is off although the pack has seeds; in training, for want of anything to drop."""
    dropout = 0.0 if training else 0.4
    padded = Encoded(family, dropout=dropout, dtype=dtype).train(training)
    model = Encoded(family, dropout=dropout, dtype=dtype).train(training).pack_attention()
    if installed:
        install(model.encoder, model.tape)
    pack = packed([0, 1, 2])
    found = model.states(pack)
    for task, (first, last) in enumerate(pack.token_ranges):
        wanted = torch.cat(padded.padded_states(sequences(LENGTHS[task], task)))
        assert float((found[first:last] - wanted).detach().abs().max()) < CLOSE[dtype]


@families
def test_training_without_seeds_drops_nothing(family: str) -> None:
    model = Encoded(family, dropout=0.4).pack_attention()
    pack = packed([0, 1, 2], seeds=False)
    torch.testing.assert_close(model.train().states(pack), model.eval().states(pack), rtol=1e-12, atol=1e-12)


@families
def test_dropout_of_an_encoder_is_a_tasks_own(family: str) -> None:
    """The same states for a task alone, among others and in any order; torch's own generator is not touched."""
    model = Encoded(family, dropout=0.3).train().pack_attention()
    before = torch.get_rng_state()
    alone = {task: model.states(packed([task])).detach() for task in range(3)}
    for order in ([0, 1, 2], [2, 0, 1], [1, 2]):
        pack = packed(order)
        found = model.states(pack).detach()
        for task, (first, last) in zip(order, pack.token_ranges, strict=True):
            torch.testing.assert_close(found[first:last], alone[task], rtol=1e-11, atol=1e-11)
    assert torch.equal(torch.get_rng_state(), before)
    plain = model.eval().states(packed([0, 1, 2]))
    assert float((plain - torch.cat(list(alone.values()))).detach().abs().mean()) > 0.1  # something was dropped


# Attention


def tensors(pack: Pack, heads: int = 2, width: int = 3) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return [torch.randn(1, heads, len(pack.ids), width, dtype=torch.float64, generator=random) for _ in range(3)]


def attention(pack: Pack, given: list[torch.Tensor], **options: Any) -> torch.Tensor:
    module = nn.Module()
    module.dropout_site = 5  # type: ignore[assignment]
    return packed_attention(module, *given, None, pack=pack, **options)[0]  # type: ignore[arg-type]


def naive(given: list[torch.Tensor], first: int, last: int, scale: float, mask: torch.Tensor | float) -> torch.Tensor:
    """Return one sequence's (l, heads, width) attention by the formula."""
    query, key, value = (tensor[0, :, first:last] for tensor in given)
    scores = torch.einsum("hqw,hkw->hqk", query, key) * scale
    return torch.einsum("hqk,hkw->qhw", scores.softmax(-1) * mask, value)


@pytest.mark.parametrize("scaling", [None, 0.7])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_attention_stays_within_sequences(scaling: float | None, dropout: float) -> None:
    pack = packed([0, 1, 2])
    given = tensors(pack)
    found = attention(pack, given, scaling=scaling, dropout=dropout)[0]
    masks: dict[int, torch.Tensor | float] = dict.fromkeys(range(len(pack.lengths)), 1.0)
    if dropout:
        masks |= sequence_masks(pack, dropout, 5, given[0][0].transpose(0, 1))
    for sequence, (first, last) in enumerate(zip(pack.starts, pack.starts[1:], strict=False)):
        wanted = naive(given, int(first), int(last), scaling or 3**-0.5, masks[sequence])
        torch.testing.assert_close(found[first:last], wanted, rtol=1e-12, atol=1e-12)


def test_attention_drops_nothing_without_seeds() -> None:
    pack = packed([0, 1, 2], seeds=False)
    given = tensors(pack)
    torch.testing.assert_close(attention(pack, given, dropout=0.5), attention(pack, given), rtol=0, atol=0)


def test_attention_by_the_kernel_for_varying_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel needs a GPU: here a slow one with its interface stands in, and is given what it documents."""
    calls = []

    def kernel(query: Any, key: Any, value: Any, ends: Any, same: Any, most: int, too: int, *, scale: Any) -> Any:
        assert ends is same and ends.dtype == torch.int32 and most == too == int(ends.diff().max())
        calls.append(scale)
        pieces = [
            naive([row.transpose(0, 1)[None] for row in (query, key, value)], int(a), int(b), scale or 3**-0.5, 1.0)
            for a, b in pairwise(ends)
        ]
        return torch.cat(pieces)

    pack = packed([0, 1, 2], seeds=False)
    given = tensors(pack)
    wanted = [attention(pack, given, scaling=scaling) for scaling in (None, 0.7)]
    monkeypatch.setattr("mtlbench.engine.packed.attention.varlen_attn", kernel)
    assert not takes_varying_lengths(given[0][0])  # not on a CPU
    monkeypatch.setattr("mtlbench.engine.packed.attention.takes_varying_lengths", lambda rows: True)
    found = [attention(pack, given, scaling=scaling) for scaling in (None, 0.7)]
    assert calls == [None, 0.7]
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    attention(packed([0, 1, 2]), given, dropout=0.4)
    assert len(calls) == 2  # masks of our own need the other way


def sequence_masks(pack: Pack, p: float, site: int, like: torch.Tensor) -> dict[int, torch.Tensor | float]:
    """Return each sequence's (heads, l, l) mask."""
    found = {}
    for group, masks in zip(pack.groups, attention_masks(pack, pack.all_queries, p, site, like), strict=True):
        for place, sequence in enumerate(group.sequences):
            length = int(pack.lengths[sequence])
            found[int(sequence)] = masks[:, place, :length, :length]
    return found  # type: ignore[return-value]


def masks_by_task(order: list[int], p: float = 0.3, site: int = 5) -> dict[int, list[torch.Tensor | float]]:
    pack = packed(order)
    found = sequence_masks(pack, p, site, torch.empty(len(pack.ids), 2, 3))
    return {
        task: [found[sequence] for sequence in range(first, last)]
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


# Dropout


def test_dropout_keeps_and_scales() -> None:
    pack = Pack.of([sequences([200], 0), sequences([100, 100], 1)], "cpu", (1, 2))
    inputs = torch.full((1, 400, 100), 3.0, dtype=torch.float64)
    found = dropped(inputs, 0.2, pack, 4)
    assert found.unique().tolist() == pytest.approx([0.0, 3.0 / 0.8], rel=1e-5)
    for half in (found[0, :200], found[0, 200:]):
        assert float((half > 0).double().mean()) == pytest.approx(0.8, abs=0.01)
    assert not torch.equal(found[0, :200], found[0, 200:])  # another task
    assert not torch.equal(found, dropped(inputs, 0.2, pack, 5))  # another site
    other = Pack.of([sequences([200], 0), sequences([100, 100], 1)], "cpu", (1, 3))
    assert torch.equal(found[0, :200], dropped(inputs, 0.2, other, 4)[0, :200])
    assert not torch.equal(found[0, 200:], dropped(inputs, 0.2, other, 4)[0, 200:])
    assert torch.equal(found, dropped(inputs, 0.2, pack, 4))


@pytest.mark.parametrize("of", ["tokens", "sequences"])
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0]])
@pytest.mark.parametrize("dtype", list(CLOSE))
def test_dropout_of_a_task_is_its_own(of: str, order: list[int], dtype: torch.dtype) -> None:
    def masks(tasks: list[int]) -> dict[int, torch.Tensor]:
        pack = packed(tasks)
        ranges = pack.token_ranges if of == "tokens" else pack.sequence_ranges
        found = dropped(torch.ones(ranges[-1][1], 17, dtype=dtype), 0.3, pack, 4)
        return {task: found[first:last] for task, (first, last) in zip(tasks, ranges, strict=True)}

    together = masks(order)
    for task in order:
        assert torch.equal(together[task], masks([task])[task])


def test_dropout_gradient_and_inputs_that_are_not_contiguous() -> None:
    pack = Pack.of([sequences([3, 2])], "cpu", (1,))
    inputs = torch.randn(4, 5, 1, dtype=torch.float64).transpose(0, 2).requires_grad_()
    found = dropped(inputs, 0.5, pack, 0)
    (gradient,) = torch.autograd.grad(found.sum(), inputs)
    assert found.shape == inputs.shape
    torch.testing.assert_close(gradient * inputs, found)


def test_dropout_without_seeds_is_none() -> None:
    inputs = torch.randn(53, 4)
    assert dropped(inputs, 0.5, packed([0], seeds=False), 0) is inputs


def test_dropout_borrows_no_random_numbers() -> None:
    before = torch.get_rng_state()
    dropped(torch.ones(53, 4), 0.5, packed([0]), 0)
    masks_by_task([0, 1])
    assert torch.equal(torch.get_rng_state(), before)


# What can be installed


@families
def test_encoders_are_supported(family: str) -> None:
    assert unsupported(Encoded(family).encoder) is None


class Custom(nn.Module):
    """A module with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))


class Special(nn.Linear):
    """A linear layer that might do anything."""


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (nn.Conv1d(2, 3, 1), "inner.0 (Conv1d)"),
        (Custom(), "inner.0 (Custom)"),
        (Special(2, 2), "inner.0 (Special)"),
        (nn.Bilinear(2, 2, 2), "inner.0 (Bilinear)"),
        (nn.Embedding(4, 2, max_norm=1.0), "inner.0 (Embedding with max_norm or scale_grad_by_freq)"),
        (nn.Embedding(4, 2, scale_grad_by_freq=True), "inner.0 (Embedding with max_norm or scale_grad_by_freq)"),
        (nn.LayerNorm((4, 2)), "inner.0 (LayerNorm over more than one dimension)"),
        (nn.LayerNorm((4, 2), elementwise_affine=False), None),
        (nn.LayerNorm(4, bias=False), None),
        (nn.Linear(2, 2, bias=False), None),
        (nn.Sequential(nn.Linear(2, 2), nn.GELU(), nn.Dropout()), None),
    ],
)
def test_unsupported_layers_are_named(layer: nn.Module, told: str | None) -> None:
    model = nn.ModuleDict({"outer": nn.Linear(2, 2), "inner": nn.ModuleList([layer])})
    assert unsupported(model) == told


def test_a_model_that_is_itself_unsupported() -> None:
    assert unsupported(Custom()) == "the model (Custom)"


def test_installing_changes_neither_parameters_nor_results() -> None:
    native, model = Plain(), Plain()
    install(model, model.tape)
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in native.named_parameters()]
    pack = packed([0, 1, 2])
    assert torch.equal(model.features(pack), native.features(pack))
    with torch.no_grad():
        assert torch.equal(model.features(pack), native.features(pack))


def test_frozen_layers_stay_torchs_own() -> None:
    model = Plain()
    model.first.requires_grad_(False)
    model.words.requires_grad_(False)
    install(model, Tape())
    assert "forward" not in vars(model.first) and "forward" not in vars(model.words)
    assert "forward" in vars(model.norm) and "forward" in vars(model.positions)
    assert all(parameter.requires_grad for parameter in shared_of(model)[0])


def test_gradients_of_inputs_are_autograds() -> None:
    """Checked without a collector's help: it is given the norm's gradient of the inputs only."""
    from mtlbench.engine.packed.layout import Layout
    from mtlbench.engine.packed.rows import GradientRows

    pack = packed([0, 1, 2])
    inputs = torch.randn(len(pack.ids), WIDTH, dtype=torch.float64)
    slopes = torch.randn(len(pack.ids), WIDTH, dtype=torch.float64)
    found = []
    for installed in (False, True):
        model = Plain()
        if installed:
            install(model, model.tape)
            layout = Layout(*shared_of(model))
            collector = GradientRows(layout, torch.zeros(3, layout.size, dtype=torch.float64))
            model.tape.collector = collector.begin(pack)
        given = inputs.clone().requires_grad_()
        states = model.second(torch.tanh(model.first(model.norm(given))))
        found.append(torch.autograd.grad((states * slopes).sum(), given)[0].numpy())
    assert np.abs(found[0] - found[1]).max() < 1e-12
