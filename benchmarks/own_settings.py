"""Models and batches of benchmarks/own_loop.py: loops as users write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.workloads import CORPORA, MAX_LENGTH, minilm

ROWS = 8
"""Rows of a task's batch of texts."""
VOCABULARY = 30_522
CHANNELS = (32, 64, 128)

Losses = list[torch.Tensor]


@dataclass
class Setting:
    """A model, and the K losses of a step.

    :param shared: the module that all tasks share.
    :param heads: one module for each task.
    :param forward: runs one step's forward: the K losses, and the tensors between shared module and heads.
    :param joint: whether the losses share one forward.
    :param blocks: the last block of the shared module, for its Gram matrix.
    """

    shared: nn.Module
    heads: nn.ModuleList
    forward: Callable[[int], tuple[Losses, list[torch.Tensor]]]
    joint: bool
    last: nn.Module | None = None
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        trained = [p for module in (self.shared, self.heads) for p in module.parameters() if p.requires_grad]
        fused = not any(parameter.dtype == torch.float64 for parameter in trained)
        self.optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=fused)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The shared parameters that are trained."""
        return [parameter for parameter in self.shared.parameters() if parameter.requires_grad]


def texts(model: str, *, padded: bool = True, how: str = "separate", lora: bool = False) -> Setting:
    """Return three tasks on a BERT: SST-5's, Quora's and STS's lengths, heads on [CLS] or on the mean of all words.

    :param model: ``"minilm"`` or ``"bert-base"``, with random weights, which change no time.
    :param padded: batches as a Hugging Face tokenizer pads them; if not, all texts have one length, and heads read the
        mean over words, so that no row of the model is without a gradient.
    :param how: ``"separate"`` batches, one ``"concatenated"`` batch whose rows belong to one task each, or one
        ``"shared"`` batch for all tasks.
    :param lora: train rank-8 adapters of queries and values instead of the model.
    """
    from transformers import AutoConfig, AutoModel, BertConfig

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(minilm()[1].folder) if model == "minilm" else BertConfig()
    encoder = AutoModel.from_config(config, attn_implementation="sdpa").train()
    if lora:
        from peft import LoraConfig, get_peft_model

        encoder = get_peft_model(encoder, LoraConfig(r=8, target_modules=["query", "value"], lora_dropout=0.1))
    heads = nn.ModuleList(nn.Linear(config.hidden_size, outputs) for outputs, _, _ in CORPORA.values())

    def read(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return states[:, 0] if padded else states.mean(1)

    def forward(step: int) -> tuple[Losses, list[torch.Tensor]]:
        batches = [_batch(task, step, padded) for task in range(len(heads))]
        targets = [_targets(task, step, outputs) for task, (outputs, _, _) in enumerate(CORPORA.values())]
        if how == "separate":
            features = [read(*batch) for batch in batches]
        elif how == "shared":
            features = [read(*batches[1])] * len(heads)
        else:
            features = list(torch.split(read(*_joined(batches)), ROWS))
        pairs = zip(heads, features, targets, strict=True)
        losses = [_loss(head(vectors), target) for head, vectors, target in pairs]
        return losses, features if how != "shared" else features[:1]

    return Setting(encoder, heads, forward, how != "separate")


def images(tasks: int) -> Setting:
    """Return a residual CNN with group norm on one batch of 32 images, and a linear head a task.

    :param tasks: K.
    """
    torch.manual_seed(0)
    trunk = nn.Sequential(
        nn.Conv2d(3, CHANNELS[0], 3, padding=1),
        *(Residual(before, after) for before, after in zip((32, *CHANNELS), (*CHANNELS, 128), strict=True)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ).train()
    heads = nn.ModuleList(nn.Linear(CHANNELS[-1], 1) for _ in range(tasks))

    def forward(step: int) -> tuple[Losses, list[torch.Tensor]]:
        generator = torch.Generator().manual_seed(step)
        features = trunk(torch.randn(32, 3, 32, 32, generator=generator))
        labels = torch.randint(0, 2, (32, tasks), generator=generator).float()
        return [
            functional.binary_cross_entropy_with_logits(head(features)[:, 0], labels[:, task])
            for task, head in enumerate(heads)
        ], [features]

    return Setting(trunk, heads, forward, True, last=trunk[4])


class Residual(nn.Module):
    """Two convolutions with group norm, and a way around them.

    :param before: channels of the input.
    :param after: channels of the output; the image is halved where they differ.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        stride = 1 if before == after else 2
        self.first, self.second = (
            nn.Conv2d(before, after, 3, stride, padding=1),
            nn.Conv2d(after, after, 3, padding=1),
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8, after) for _ in range(2))
        self.around = nn.Identity() if before == after else nn.Conv2d(before, after, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.norms[0](self.first(x)))
        return functional.relu(self.norms[1](self.second(y)) + self.around(x))


def _batch(task: int, step: int, padded: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a task's texts; padded ones have lengths of its corpus, the others 32 words."""
    _, mean, deviation = list(CORPORA.values())[task]
    random = np.random.default_rng([task, step])
    drawn = random.lognormal(mean, deviation, ROWS).round()
    lengths = np.clip(drawn, 4, MAX_LENGTH).astype(int) if padded else np.full(ROWS, 32)
    mask = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None]).long()
    return torch.from_numpy(random.integers(1000, VOCABULARY, mask.shape)) * mask, mask


def _joined(batches: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(ids.shape[1] for ids, _ in batches)
    ids, mask = (
        torch.cat([functional.pad(batch[part], (0, width - batch[part].shape[1])) for batch in batches])
        for part in (0, 1)
    )
    return ids, mask


def _targets(task: int, step: int, outputs: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1000 * task + step)
    return (
        torch.randint(0, outputs, (ROWS,), generator=generator)
        if outputs > 1
        else torch.randn(ROWS, generator=generator)
    )


def _loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    if outputs.shape[1] > 1:
        return functional.cross_entropy(outputs, targets)
    return functional.mse_loss(outputs[:, 0], targets)
