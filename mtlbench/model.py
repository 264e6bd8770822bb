"""The paper's architecture: encoder → fine-tuning layer (linear, non-linearity) → one linear head per task."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from mtlbench import seeds
from mtlbench.encoder import Encoder, EncoderFiles
from mtlbench.errors import UsageError
from mtlbench.task import Task

INIT_SPREAD = 0.02
"""Standard deviation of new linear layers' weights, BERT's own."""

Texts = tuple[dict[str, torch.Tensor], ...]
"""Tokenised input: one dictionary for texts encoded together, two for pairs encoded apart."""


class MultiTaskModel(nn.Module):
    """An encoder with a head per task.

    Each new layer is initialised from a generator of its own, keyed by the seed and the layer's or task's name, so
    that it starts the same whatever other tasks are trained beside it.
    """

    def __init__(self, encoder: Encoder, files: EncoderFiles, tasks: Sequence[Task], seed: int) -> None:
        super().__init__()
        self.settings = encoder
        self.encoder = load_encoder(encoder, files, seed)
        width = int(self.encoder.config.hidden_size)
        features = 2 * width if encoder.pairs == "apart" else width
        self.fine_tuning = _linear(width, width, seed, "fine-tuning layer")
        self.heads = nn.ModuleList(_linear(features, task.outputs, seed, "head", task.key) for task in tasks)
        self._position = {task.key: index for index, task in enumerate(tasks)}  # a ModuleDict refuses some names
        if encoder.frozen:
            self.encoder.requires_grad_(False)

    def forward(self, task: str, texts: Texts) -> torch.Tensor:
        """Return a task's (B, outputs) raw outputs."""
        outputs: torch.Tensor = self.head(task)(self.features(texts))
        return outputs

    def head(self, task: str) -> nn.Module:
        """Return a task's own linear layer."""
        return self.heads[self._position[task]]

    def features(self, texts: Texts) -> torch.Tensor:
        """Return the (B, F) features that the heads read; F is twice the width for pairs encoded apart.

        A single text counts as its own partner when pairs are encoded apart, so that all heads have one size.
        """
        vectors = [torch.tanh(self.fine_tuning(self._pooled(text))) for text in texts]
        if self.settings.pairs == "apart":
            return torch.cat([vectors[0], vectors[-1]], dim=-1)
        return vectors[0]

    def _pooled(self, text: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.settings.frozen):
            states: torch.Tensor = self.encoder(**text).last_hidden_state
        if self.settings.pooling == "cls":
            return states[:, 0]
        mask = text["attention_mask"].unsqueeze(-1).to(states.dtype)
        return (states * mask).sum(dim=1) / mask.sum(dim=1)

    def train(self, mode: bool = True) -> MultiTaskModel:
        """Set training mode; a frozen encoder stays without dropout, since its features are fixed."""
        super().train(mode)
        if self.settings.frozen:
            self.encoder.eval()
        return self

    @property
    def shared(self) -> list[nn.Parameter]:
        """The trainable parameters that all tasks share, the last shared layer at the end."""
        trained = [parameter for parameter in self.encoder.parameters() if parameter.requires_grad]
        return [*trained, *self.last_shared_layer]

    @property
    def last_shared_layer(self) -> list[nn.Parameter]:
        """Weight and bias of the fine-tuning layer."""
        return list(self.fine_tuning.parameters())


def load_encoder(encoder: Encoder, files: EncoderFiles, seed: int) -> Any:
    """Load an encoder from its files.

    :raises UsageError: when the architecture is not BERT-like, ``layers`` is too large, or the files lack weights
        that the architecture has: they would be random.
    """
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # it reports layers left out as if they were lost
    logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(files.folder)
    if encoder.layers is not None:
        if encoder.layers > config.num_hidden_layers:
            raise UsageError(f"model {encoder.origin} has {config.num_hidden_layers} layers, not {encoder.layers}")
        config.num_hidden_layers = encoder.layers
    with torch.random.fork_rng(devices=[]):  # what is initialised here is replaced, or asked for by name
        torch.manual_seed(seeds.derive(seed, "encoder"))
        model = AutoModel.from_config(config) if encoder.init == "random" else _pretrained(AutoModel, files, config)
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # its weights would be shared parameters that no task reaches
    return model


def _pretrained(auto_model: Any, files: EncoderFiles, config: Any) -> Any:
    """Load weights, and refuse a checkpoint that lacks any: transformers would make them up."""
    model, loading = auto_model.from_pretrained(
        files.folder, config=config, dtype=torch.float32, output_loading_info=True
    )
    missing = [name for name in loading["missing_keys"] if not name.startswith("pooler.")]
    if missing or loading["mismatched_keys"]:
        raise UsageError(
            f"{files.folder.name} lacks {len(missing)} weights of a {type(model).__name__}, such as "
            f"{(missing or loading['mismatched_keys'])[0]}: it is another architecture's checkpoint"
        )
    return model


def state_fingerprint(parameters: Iterable[torch.Tensor]) -> str:
    """SHA-256 of the values of some tensors, in order."""
    digest = hashlib.sha256()
    for parameter in parameters:
        digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _linear(inputs: int, outputs: int, seed: int, *purpose: str) -> nn.Linear:
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)  # type: ignore[no-untyped-call]
    source = torch.Generator().manual_seed(seeds.derive(seed, *purpose))
    with torch.no_grad():
        layer.weight.normal_(0.0, INIT_SPREAD, generator=source)
        layer.bias.zero_()
    return layer
