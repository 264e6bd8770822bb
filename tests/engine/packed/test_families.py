"""Task gradients of packed families: those of autograd through Hugging Face's own model, on padded texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import pytest
import torch
from packs import CLOSE, LENGTHS
from step_batches import close
from tiny_models import (
    Encoded,
    Truth,
    autocast,
    grads,
    halves,
    make_encoder,
    make_engine,
    modernbert_config,
    sequences,
    shared_of,
    truth,
)

from mtlbench import get_method
from mtlbench.engine.packed.layers import Recomputation
from mtlbench.engine.packed.pack import Pack
from mtlbench.engine.step import Forward

BATCHES = [sequences(lengths, task) for task, lengths in enumerate(LENGTHS)]
"""Three tasks with texts of 1 to 40 tokens."""


def modernbert(*layers: str, **changes: Any) -> Callable[[], Any]:
    """Return a maker of ModernBERTs with layers of some kinds."""

    def make() -> Any:
        from transformers import ModernBertModel

        kinds = [f"{layer}_attention" for layer in layers]
        return ModernBertModel(modernbert_config(layer_types=kinds, num_hidden_layers=len(kinds), **changes))

    return make


GLOBAL, LOCAL = "full", "sliding"
ENCODERS: dict[str, Callable[[], Any]] = {
    "bert": partial(make_encoder, "bert"),
    "roberta": partial(make_encoder, "roberta"),
    "distilbert": partial(make_encoder, "distilbert"),
    "electra": partial(make_encoder, "electra"),
    "xlm-roberta": partial(make_encoder, "xlm-roberta"),
    "modernbert": modernbert(GLOBAL, LOCAL, LOCAL, GLOBAL),
    "modernbert, local last": modernbert(GLOBAL, LOCAL),
    "modernbert, one global layer": modernbert(GLOBAL),
    "modernbert, one local layer": modernbert(LOCAL),
    "modernbert, each token and its neighbours": modernbert(LOCAL, GLOBAL, LOCAL, local_attention=2),
    "modernbert, window over some texts": modernbert(LOCAL, LOCAL, local_attention=40),
    "modernbert, window over all texts": modernbert(LOCAL, LOCAL, local_attention=200),
    "modernbert, biases": modernbert(LOCAL, GLOBAL, attention_bias=True, mlp_bias=True, norm_bias=True),
    "modernbert, other settings": modernbert(LOCAL, GLOBAL, hidden_activation="silu", norm_eps=1e-3),
}
encoders = pytest.mark.parametrize("name", list(ENCODERS))


def model_of(name: str, **options: Any) -> Encoded:
    return Encoded(name.partition(",")[0], make=ENCODERS[name], **options)


@cache
def padded(name: str) -> Truth:
    return truth(model_of(name), BATCHES, padded=True)


def forward(model: Encoded) -> Callable[..., list[Forward]]:
    def run(number: int, tasks: Sequence[int] = range(3), recompute: bool = False) -> list[Forward]:
        return model.forwards(Pack.of([BATCHES[task] for task in tasks], "cpu"), tasks)

    return run


def check(name: str, way: str, *, dtype: torch.dtype, first: bool, recomputed: bool = False) -> None:
    """Take a step, and compare losses, inner products, the update and the heads' gradients."""
    model = model_of(name, dtype=dtype, first=first).pack_attention()
    engine, true = make_engine(model, way), padded(name)
    if recomputed:
        Recomputation(model.encoder, model.tape).switch(True)
    step = engine.step(get_method("pcgrad"), forward(model), measure=True)
    assert step.weights is not None
    assert close(step.losses, true.losses, CLOSE[dtype])
    assert close(step.gram, true.gram, CLOSE[dtype])
    reference = torch.from_numpy(step.weights) @ true.rows
    assert close(grads(shared_of(model)[0]), reference, CLOSE[dtype])
    if way == "buffer":
        model = model_of(name, dtype=dtype, first=first).pack_attention()
        engine = make_engine(model)
        engine.step(get_method("graddrop"), forward(model))
        for actual, row in zip(engine._buffers["step"].buffer, true.rows, strict=True):
            assert close(actual, row, CLOSE[dtype])
    for task, head in enumerate(model.heads):
        assert close(grads(list(head.parameters())), true.heads[task], CLOSE[dtype])


@encoders
@pytest.mark.parametrize(("way", "first"), [("buffer", False), ("buffer", True), ("lean", True), ("two passes", False)])
def test_task_gradients_are_those_of_the_padded_model(name: str, way: str, first: bool) -> None:
    check(name, way, dtype=torch.float64, first=first)


@encoders
def test_single_precision_is_close(name: str) -> None:
    check(name, "buffer", dtype=torch.float32, first=True)
    check(name, "lean", dtype=torch.float32, first=False)


@pytest.mark.parametrize("name", ["xlm-roberta", "modernbert", "modernbert, local last"])
@pytest.mark.parametrize("first", [False, True], ids=["whole last layer", "first tokens"])
def test_recomputed_activations_give_them_too(name: str, first: bool) -> None:
    check(name, "buffer", dtype=torch.float64, first=first, recomputed=True)


@pytest.mark.parametrize("name", ["xlm-roberta", "modernbert"])
@pytest.mark.parametrize("way", ["buffer", "lean"])
def test_half_precision_is_close(name: str, way: str) -> None:
    model = model_of(name, dtype=torch.float32, first=True).pack_attention()
    step = make_engine(model, way).step(get_method("pcgrad"), autocast(forward(model)), measure=True)
    assert step.weights is not None
    assert close(step.gram, padded(name).gram, 0.05)
    assert close(grads(shared_of(model)[0]).double(), torch.from_numpy(step.weights) @ padded(name).rows, 0.03)


@pytest.mark.parametrize("name", ["xlm-roberta", "modernbert"])
def test_batches_in_parts_give_the_whole_batchs_gradients(name: str) -> None:
    batches = [sequences(lengths) for lengths in ([5, 12], [30, 1, 2, 9], [7, 40])]
    true = truth(model_of(name), batches, padded=True)
    model = model_of(name, first=True).pack_attention()

    def run(number: int, part: int = 0) -> list[Forward]:
        return model.forwards(Pack.of([halves(batch, part) for batch in batches], "cpu"), range(3))

    step = make_engine(model, parts=2).step(get_method("pcgrad"), run, measure=True)
    assert step.weights is not None
    assert close(step.losses, true.losses, 1e-12) and close(step.gram, true.gram, 1e-10)
    assert close(grads(shared_of(model)[0]), torch.from_numpy(step.weights) @ true.rows, 1e-10)
