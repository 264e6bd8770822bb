"""Whole encoders, and the layers that the packed engine can install."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from packs import CLOSE, LENGTHS, packed
from tiny_models import FAMILIES, WIDTH, Encoded, Plain, sequences, shared_of
from torch import nn

from mtlbench.engine.packed.layers import install, unsupported
from mtlbench.engine.packed.tape import Tape

families = pytest.mark.parametrize("family", FAMILIES)


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
    actual = model.states(pack)
    for task, (first, last) in enumerate(pack.token_ranges):
        reference = torch.cat(padded.padded_states(sequences(LENGTHS[task], task)))
        assert float((actual[first:last] - reference).detach().abs().max()) < CLOSE[dtype]


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
        actual = model.states(pack).detach()
        for task, (first, last) in zip(order, pack.token_ranges, strict=True):
            torch.testing.assert_close(actual[first:last], alone[task], rtol=1e-11, atol=1e-11)
    assert torch.equal(torch.get_rng_state(), before)
    plain = model.eval().states(packed([0, 1, 2]))
    assert float((plain - torch.cat(list(alone.values()))).detach().abs().mean()) > 0.1  # something was dropped


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
    actual = []
    for installed in (False, True):
        model = Plain()
        if installed:
            install(model, model.tape)
            layout = Layout(*shared_of(model))
            collector = GradientRows(layout, torch.zeros(3, layout.size, dtype=torch.float64))
            model.tape.collector = collector.begin(pack)
        given = inputs.clone().requires_grad_()
        states = model.second(torch.tanh(model.first(model.norm(given))))
        actual.append(torch.autograd.grad((states * slopes).sum(), given)[0].numpy())
    assert np.abs(actual[0] - actual[1]).max() < 1e-12
