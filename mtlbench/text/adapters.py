"""Low-rank adapters (LoRA) in an encoder: its own weights stay, and two small matrices beside a layer are trained.

Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022. The layers are PEFT's; which layers have
adapters, and their initial values, are decided here, so that neither depends on PEFT's version.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from typing import Any

import torch
from torch import nn

from mtlbench import seeds
from mtlbench.errors import UsageError
from mtlbench.text.encoder import ALL, Encoder

NEEDED = "adapter=lora needs PEFT: pip install 'mtlbench[adapters]'"
NAME = "default"
"""PEFT's name of the only adapter of a layer."""


def check_installed() -> None:
    """Check that PEFT is installed, without importing it.

    :raises UsageError: when it is not.
    """
    if importlib.util.find_spec("peft") is None:
        raise UsageError(NEEDED)


def add_adapters(model: Any, encoder: Encoder, seed: int) -> None:
    """Put adapters beside a model's linear layers, and stop the training of all its own weights.

    A layer's output becomes W x + alpha / rank · B A x, with A of shape (rank, inputs) and B of shape (outputs, rank).
    B starts at zero, so that the model starts as it was; A starts uniform in ± 1 / √inputs, from a random generator of
    its own, seeded by the cell's seed and the layer's name.

    :param model: a model of transformers, which is changed in place.
    :param encoder: the settings of the adapters.
    :param seed: the cell's seed.
    :raises UsageError: when PEFT is missing, a target names no linear layer, or the rank exceeds the model's width.
    """
    check_installed()
    layers = _targets(model, encoder)
    from peft import LoraConfig, inject_adapter_in_model

    settings: dict[str, Any] = {"r": encoder.rank, "lora_alpha": encoder.alpha, "lora_dropout": encoder.dropout}
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():  # PEFT draws initial values, replaced below
        warnings.simplefilter("ignore")  # of GPT-2, it says that the weights of its layers are transposed
        inject_adapter_in_model(LoraConfig(target_modules=layers, **settings), model)
    for name in layers:
        layer = model.get_submodule(name)
        first, second = layer.lora_A[NAME].weight, layer.lora_B[NAME].weight
        generator = torch.Generator().manual_seed(seeds.derive(seed, "adapter", name))
        bound = 1.0 / math.sqrt(first.shape[1])
        with torch.no_grad():
            first.uniform_(-bound, bound, generator=generator)
            second.zero_()


def _targets(model: Any, encoder: Encoder) -> list[str]:
    """Return the names of the layers that get adapters, in the model's order."""
    from transformers.pytorch_utils import Conv1D  # GPT-2's linear layer, whose weight is transposed

    width = model.config.hidden_size
    if encoder.rank > width:
        raise UsageError(f"rank={encoder.rank} exceeds {width}, the width of {encoder.origin}: give a smaller rank")
    linear = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear | Conv1D)]
    chosen = set(linear) if encoder.targets == ALL else set()
    for target in encoder.targets if encoder.targets != ALL else ():
        named = {name for name in linear if f".{name}".endswith(f".{target}")}
        if not named:
            ends = sorted({name.rpartition(".")[2] for name in linear})
            raise UsageError(
                f"model {encoder.origin} has no linear layer whose name ends in '{target}': give targets among "
                f"{'/'.join(ends)}, or all"
            )
        chosen |= named
    return [name for name in linear if name in chosen]
