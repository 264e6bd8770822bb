"""LoRA by peft in packed encoders: gradients of what is trained, and adapters that are not packed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import peft
import pytest
import torch
from packs import CLOSE, LENGTHS, SEEDS
from step_batches import close
from tiny_models import (
    FAMILIES,
    WAYS,
    Encoded,
    Truth,
    autocast,
    grads,
    halves,
    make_encoder,
    make_engine,
    sequences,
    shared_of,
    truth,
)

from mtlbench import get_method
from mtlbench.engine.packed.layers import Recomputation, unsupported
from mtlbench.engine.packed.pack import Pack
from mtlbench.engine.step import Forward

# peft asks transformers by a name that is about to go
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

BATCHES = [sequences(lengths, task) for task, lengths in enumerate(LENGTHS)]
QUERY_VALUE = {"distilbert": ["q_lin", "v_lin"], "modernbert": ["Wqkv"]}
families = pytest.mark.parametrize("family", FAMILIES)
places = pytest.mark.parametrize("place", ["query and value", "all linear layers"])


def config_of(family: str, place: str = "query and value", **changes: Any) -> peft.LoraConfig:
    targets = QUERY_VALUE.get(family, ["query", "value"]) if place == "query and value" else "all-linear"
    return peft.LoraConfig(**{"r": 3, "lora_alpha": 7, "target_modules": targets} | changes)


def all_by_peft(encoder: Any) -> None:
    """Leave what peft chose: A and B."""


def only(part: str) -> Callable[[Any], None]:
    def freeze(encoder: Any) -> None:
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_("lora_" in name and part in name)

    return freeze


def norms_too(encoder: Any) -> None:
    for module in encoder.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.requires_grad_(True)


def everything(encoder: Any) -> None:
    """Train the base too, tables included."""
    encoder.requires_grad_(True)


SUBSETS: dict[str, Callable[[Any], None]] = {
    "A and B": all_by_peft,
    "A": only("lora_A"),
    "B": only("lora_B"),
    "of one layer": only("1."),
    "norms too": norms_too,
    "everything": everything,
}


def model_of(
    family: str,
    config: peft.LoraConfig,
    subset: str = "A and B",
    *,
    dropout: float = 0.0,
    injected: bool = False,
    **options: Any,
) -> Encoded:
    """Return an encoder with adapters; B, which begins at 0, is random too.

    :param injected: put the layers into the encoder, which peft then does not wrap.
    """

    def make() -> Any:
        encoder = make_encoder(family, dropout)
        wrapped = peft.inject_adapter_in_model(config, encoder) if injected else peft.get_peft_model(encoder, config)
        SUBSETS[subset](wrapped)
        return wrapped

    return Encoded(family, make=make, **options)


@cache
def padded(family: str, place: str, subset: str) -> Truth:
    return truth(model_of(family, config_of(family, place), subset), BATCHES, padded=True)


def forward(model: Encoded, seeds: bool = False) -> Callable[..., list[Forward]]:
    def run(number: int, tasks: Sequence[int] = range(3), recompute: bool = False) -> list[Forward]:
        drawn = tuple(SEEDS[task] for task in tasks) if seeds else None
        return model.forwards(Pack.of([BATCHES[task] for task in tasks], "cpu", drawn), tasks)

    return run


def check(model: Encoded, true: Truth, way: str, tolerance: float, *, seeds: bool = False) -> None:
    """Take a step, and compare losses, inner products and the update."""
    step = make_engine(model, way).step(get_method("pcgrad"), forward(model, seeds), measure=True)
    assert step.weights is not None
    assert close(step.losses, true.losses, tolerance)
    assert close(step.gram, true.gram, tolerance)
    assert close(grads(shared_of(model)[0]), torch.from_numpy(step.weights) @ true.rows, tolerance)


@families
@places
@pytest.mark.parametrize(("way", "first"), [("buffer", True), ("lean", False), ("two passes", True)])
def test_task_gradients_are_those_of_the_padded_model(family: str, place: str, way: str, first: bool) -> None:
    model = model_of(family, config_of(family, place), first=first).pack_attention()
    trained = [name for name, parameter in model.encoder.named_parameters() if parameter.requires_grad]
    assert trained and all("lora_" in name for name in trained)
    check(model, padded(family, place, "A and B"), way, 1e-10)
    assert all(parameter.grad is None for parameter in model.encoder.parameters() if not parameter.requires_grad)


@families
@pytest.mark.parametrize("subset", list(SUBSETS))
def test_any_subset_may_be_trained(family: str, subset: str) -> None:
    true = padded(family, "all linear layers", subset)
    for way, first in (("buffer", True), ("lean", False)):
        config = config_of(family, "all linear layers")
        check(model_of(family, config, subset, first=first).pack_attention(), true, way, 1e-10)


@families
def test_single_precision_is_close(family: str) -> None:
    model = model_of(family, config_of(family), dtype=torch.float32, first=True).pack_attention()
    check(model, padded(family, "query and value", "A and B"), "buffer", CLOSE[torch.float32])


@families
def test_recomputed_activations_give_them_too(family: str) -> None:
    model = model_of(family, config_of(family), first=True).pack_attention()
    Recomputation(model.encoder, model.tape).switch(True)
    check(model, padded(family, "query and value", "A and B"), "buffer", 1e-10)


@pytest.mark.parametrize(
    "changes",
    [
        {"use_rslora": True},
        {"bias": "all"},
        {"bias": "lora_only"},
        {"lora_bias": True},
        {"modules_to_save": ["LayerNorm"]},
        {"rank_pattern": {"value": 2}, "alpha_pattern": {"query": 1}},
        {"task_type": "FEATURE_EXTRACTION"},
        {"layers_to_transform": [1]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_options_of_lora(changes: dict[str, Any]) -> None:
    config = config_of("bert", **changes)
    assert unsupported(model_of("bert", config).encoder) is None
    true = truth(model_of("bert", config), BATCHES, padded=True)
    for way in WAYS:
        check(model_of("bert", config, first=True).pack_attention(), true, way, 1e-10)


@families
@places
def test_dropout_is_a_tasks_own(family: str, place: str) -> None:
    """That of the encoder and that of LoRA's inputs: the same masks for a task alone, by torch's own layers."""
    config = config_of(family, place, lora_dropout=0.4)
    true = truth(model_of(family, config, dropout=0.2).train().pack_attention(), BATCHES, SEEDS)
    still = truth(model_of(family, config, dropout=0.2).eval().pack_attention(), BATCHES, SEEDS)
    assert not close(true.rows, still.rows, 0.01)
    before = torch.get_rng_state()
    for way in ("buffer", "two passes"):
        model = model_of(family, config, dropout=0.2).train().pack_attention()
        check(model, true, way, 1e-10, seeds=True)
    assert torch.equal(torch.get_rng_state(), before)


@families
@pytest.mark.parametrize("way", ["buffer", "lean"])
def test_half_precision_is_close(family: str, way: str) -> None:
    model = model_of(family, config_of(family), dtype=torch.float32, first=True).pack_attention()
    step = make_engine(model, way).step(get_method("pcgrad"), autocast(forward(model)), measure=True)
    true = padded(family, "query and value", "A and B")
    assert step.weights is not None
    assert close(step.gram, true.gram, 0.05)
    assert close(grads(shared_of(model)[0]).double(), torch.from_numpy(step.weights) @ true.rows, 0.05)


def test_batches_in_parts_give_the_whole_batchs_gradients() -> None:
    batches = [sequences(lengths) for lengths in ([5, 12], [30, 1, 2, 9], [7, 40])]
    true = truth(model_of("bert", config_of("bert")), batches, padded=True)
    model = model_of("bert", config_of("bert"), first=True).pack_attention()

    def run(number: int, part: int = 0) -> list[Forward]:
        return model.forwards(Pack.of([halves(batch, part) for batch in batches], "cpu"), range(3))

    step = make_engine(model, parts=2).step(get_method("pcgrad"), run, measure=True)
    assert step.weights is not None
    assert close(step.losses, true.losses, 1e-12) and close(step.gram, true.gram, 1e-10)
    assert close(grads(shared_of(model)[0]), torch.from_numpy(step.weights) @ true.rows, 1e-10)


def test_layers_may_be_injected_and_have_any_name() -> None:
    config = config_of("roberta", "all linear layers")
    for name in ("default", "key", "query"):
        model = model_of("roberta", config, injected=True, first=True)
        if name != "default":
            plain = make_encoder("roberta")
            model.encoder = peft.inject_adapter_in_model(config, plain.double(), adapter_name=name)
            weights = list(model_of("roberta", config, injected=True).encoder.parameters())
            for parameter, value in zip(model.encoder.parameters(), weights, strict=True):
                parameter.data.copy_(value)
        check(model.pack_attention(), padded("roberta", "all linear layers", "A and B"), "buffer", 1e-10)


# What is not packed


def wrapped(**changes: Any) -> Any:
    return peft.get_peft_model(make_encoder("bert"), config_of("bert", **changes))


def two() -> Any:
    model = wrapped()
    model.add_adapter("other", config_of("bert"))
    return model


def merged() -> Any:
    model = wrapped()
    model.merge_adapter()
    return model


def off() -> Any:
    model = wrapped()
    model.base_model.disable_adapter_layers()
    return model


def prompts() -> Any:
    config = peft.PromptTuningConfig(num_virtual_tokens=3, task_type="FEATURE_EXTRACTION", num_attention_heads=2)
    return peft.get_peft_model(make_encoder("bert"), config)


LAYER = r"base_model\.model\.encoder\.layer\.0\.attention\.self\."
REFUSED: list[tuple[Callable[[], Any], str]] = [
    (two, LAYER + r"query \(2 adapters, default, other: delete all but one\)"),
    (merged, LAYER + r"query \(an adapter that is merged into its layer, where it is not trained: unmerge it\)"),
    (off, LAYER + r"query \(an adapter that is switched off: make it active\)"),
    (lambda: wrapped(use_dora=True), LAYER + r"query \(LoRA as DoraLinearVariant\)"),
    (lambda: wrapped(target_modules=["word_embeddings"]), r".*word_embeddings \(lora\.Embedding of peft\)"),
    (
        lambda: wrapped(modules_to_save=["output"]),
        r".*layer\.0\.attention\.output \(a copy of BertSelfOutput by peft\)",
    ),
    (
        lambda: wrapped(trainable_token_indices=[1, 2]),
        r".*token_adapter \(trainable_tokens\.TrainableTokensLayer of peft\)",
    ),
    (
        lambda: peft.get_peft_model(
            make_encoder("bert"), peft.IA3Config(target_modules=["key"], feedforward_modules=[])
        ),
        LAYER + r"key \(ia3\.Linear of peft\)",
    ),
    (prompts, r"the model \(PROMPT_TUNING of peft, which puts tokens before the texts\)"),
]


@pytest.mark.parametrize(("make", "told"), REFUSED)
def test_what_is_not_packed_is_told_in_one_line(make: Callable[[], Any], told: str) -> None:
    reason = unsupported(make())
    assert reason is not None and re.fullmatch(told, reason), reason


def test_one_adapter_again_is_packed() -> None:
    model = two()
    model.delete_adapter("other")
    model.set_adapter("default")
    assert unsupported(model) is None
    model.merge_adapter()
    model.unmerge_adapter()
    assert unsupported(model) is None


def test_a_model_that_was_merged_for_good_is_an_ordinary_one() -> None:
    assert unsupported(wrapped().merge_and_unload()) is None
