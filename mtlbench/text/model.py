"""The paper's architecture: encoder → fine-tuning layer (linear, non-linearity) → one linear head per task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from mtlbench import seeds
from mtlbench.contract.task import Task
from mtlbench.engine.packed.attention import NAME as ATTENTION
from mtlbench.engine.packed.attention import register as register_attention
from mtlbench.engine.packed.first import FirstTokens
from mtlbench.engine.packed.layers import install_dropout, unsupported
from mtlbench.engine.packed.pack import Pack
from mtlbench.engine.packed.tape import Tape
from mtlbench.text.encoder import Encoder, EncoderFiles
from mtlbench.text.model_config import UNLIMITED, first_position
from mtlbench.text.pretrained import load_encoder

INIT_SPREAD = 0.02
"""Standard deviation of new linear layers' weights, as in BERT."""

FAMILIES = ("bert", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta")
"""Encoder families that read packs."""


class MultiTaskModel(nn.Module):
    """An encoder with a head per task.

    Each new layer has its own random generator, seeded by the cell's seed and the layer's or task's name, so its
    initial weights do not depend on the other tasks.

    Encoders of :data:`FAMILIES` read packs directly. Others read the pack's sequences padded, with dropout masks from
    torch's own generator; :attr:`unpacked` gives the reason.

    :param encoder: which encoder, and how it turns texts into vectors.
    :param files: the encoder's files.
    :param tasks: the tasks; one head each, in order.
    :param seed: the cell's seed.
    :raises UsageError: as :func:`load_encoder`.
    """

    def __init__(self, encoder: Encoder, files: EncoderFiles, tasks: Sequence[Task], seed: int) -> None:
        super().__init__()
        encoder = self.settings = encoder.settled(files)
        self.encoder = load_encoder(encoder, files, seed)
        width = int(self.encoder.config.hidden_size)
        features = 2 * width if encoder.pairs == "apart" else width
        self.fine_tuning = _linear(width, width, seed, "fine-tuning layer")
        self.heads = nn.ModuleList(_linear(features, task.outputs, seed, "head", task.key) for task in tasks)
        if encoder.frozen:
            self.encoder.requires_grad_(False)
        self.tape = Tape()
        self.unpacked = _unpacked(self.encoder)
        if self.unpacked is None:
            register_attention()
            self.encoder.set_attn_implementation(ATTENTION)
            install_dropout(self.encoder, self.tape)
            if encoder.pooling == "cls":
                FirstTokens(self.encoder, self.tape)

    def forward(self, pack: Pack) -> list[torch.Tensor]:
        """Return each task's (B, outputs) raw outputs.

        :param pack: batches of all of the model's tasks, in order.
        """
        return [head(features) for head, features in zip(self.heads, self.features(pack), strict=True)]

    def features(self, pack: Pack) -> list[torch.Tensor]:
        """Return the (B, F) input of each task's head.

        F is the encoder's width, or twice the width where pairs are encoded apart; there a single text is paired with
        itself, so that all heads have the same size.
        """
        self.tape.pack = pack
        vectors = torch.tanh(self.fine_tuning(self.pooled(pack)))
        by_task = [vectors[first:last] for first, last in pack.sequence_ranges]
        if self.settings.pairs == "apart":
            return [
                torch.cat([sides[:rows], sides[-rows:]], dim=-1) for sides, rows in zip(by_task, pack.rows, strict=True)
            ]
        return by_task

    def pooled(self, pack: Pack) -> torch.Tensor:
        """Return the (S, width) vectors of a pack's sequences.

        Each is the state of the first or the last token, or the mean of the tokens' states. Where the encoder is frozen
        and the pack holds its vectors, they are returned as they are.
        """
        if pack.vectors is not None:
            return pack.vectors
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.settings.frozen):
            if self.unpacked is None:
                states = self._packed(pack)
                if self.settings.pooling == "cls":
                    return states
            else:
                states = self.padded(pack)
                if self.settings.pooling == "cls":
                    return states.index_select(0, pack.first_tokens)
            if self.settings.pooling == "last":
                return states.index_select(0, pack.last_tokens)
            sums = states.new_zeros(len(pack.lengths), states.shape[1]).index_add(0, pack.sequence_of_token, states)
            return sums / torch.from_numpy(pack.lengths).to(states).unsqueeze(1)

    def _packed(self, pack: Pack) -> torch.Tensor:
        """Return the (T, width) states of a pack's tokens; with ``pooling=cls``, the (S, width) of first tokens."""
        self.tape.pack = pack
        config = self.encoder.config
        positions = pack.positions + first_position(config.model_type, config.pad_token_id)
        inputs = {"input_ids": pack.ids, "position_ids": positions}
        if (kinds := getattr(config, "type_vocab_size", 0)) > 0:
            inputs["token_type_ids"] = pack.kinds if kinds > 1 else torch.zeros_like(pack.kinds)
        batched = {name: tensor.unsqueeze(0) for name, tensor in inputs.items()}
        states: torch.Tensor = self.encoder(**batched, pack=pack).last_hidden_state[0]
        return states

    def padded(self, pack: Pack) -> torch.Tensor:
        """Return the (T, width) states of a pack's tokens, computed on rows that are padded behind their texts.

        In a causal model no token sees the padding behind it, so that positions need no shift and a padding token no
        vector of its own. Dropout masks come from torch's global generator, whose state is restored afterwards.
        """
        longest = int(pack.lengths.max())
        mask = torch.arange(longest) < torch.from_numpy(pack.lengths).unsqueeze(1)
        mask = mask.to(pack.ids.device)
        ids = torch.full(mask.shape, padding_token(self.encoder.config), device=mask.device).masked_scatter_(
            mask, pack.ids
        )
        inputs = {"input_ids": ids, "attention_mask": mask.long()}
        if getattr(self.encoder.config, "type_vocab_size", 0) > 1:
            inputs["token_type_ids"] = torch.zeros_like(ids).masked_scatter_(mask, pack.kinds)
        devices = [] if mask.device.type == "cpu" else [mask.device]
        with torch.random.fork_rng(devices=devices, enabled=pack.seeds is not None):
            if pack.seeds is not None:
                (seed,) = pack.seeds  # the global generator has one seed, so padded packs hold one task
                torch.manual_seed(seed)
            states: torch.Tensor = self.encoder(**inputs).last_hidden_state
        return states[mask]

    def train(self, mode: bool = True) -> MultiTaskModel:
        """Set training mode. A frozen encoder stays in evaluation mode, without dropout: its vectors are fixed."""
        super().train(mode)
        if self.settings.frozen:
            self.encoder.eval()
        return self

    @property
    def shared(self) -> list[nn.Parameter]:
        """The trainable parameters that all tasks share, embedding tables last."""
        tables = {id(table) for table in self.tables}
        trained = [parameter for parameter in self.encoder.parameters() if parameter.requires_grad]
        return [*(p for p in trained if id(p) not in tables), *self.last_shared_layer, *self.tables]

    @property
    def tables(self) -> list[nn.Parameter]:
        """The trainable embedding tables, each once."""
        ids = {id(layer.weight) for layer in self.encoder.modules() if isinstance(layer, nn.Embedding)}
        return [table for table in self.encoder.parameters() if id(table) in ids and table.requires_grad]

    @property
    def last_shared_layer(self) -> list[nn.Parameter]:
        """Weight and bias of the fine-tuning layer."""
        return list(self.fine_tuning.parameters())


def _unpacked(encoder: nn.Module) -> str | None:
    """Return the reason why an encoder cannot read packs, or ``None`` if it can."""
    family = str(encoder.config.model_type)  # type: ignore[union-attr]
    if family not in FAMILIES:
        return f"encoder family {family} is not among {', '.join(FAMILIES)}"
    if not getattr(encoder, "_supports_attention_backend", False):  # as of ModernBERT in transformers 5.0
        return f"this version of transformers has no choice of attention for encoder family {family}"
    layer = unsupported(encoder)
    return None if layer is None else f"layer {layer} is not supported"


def padding_token(config: Any) -> int:
    """Return the token that fills up rows: the model's own padding token if it has a vector, else token 0.

    GPT-2 and Llama have none. Which token it is changes no result: the attention mask hides it.

    :param config: the configuration of a model of transformers.
    """
    token = getattr(config, "pad_token_id", None)
    return token if token is not None and 0 <= token < getattr(config, "vocab_size", UNLIMITED) else 0


def _linear(inputs: int, outputs: int, seed: int, *purpose: str) -> nn.Linear:
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)  # type: ignore[no-untyped-call]
    generator = torch.Generator().manual_seed(seeds.derive(seed, *purpose))
    with torch.no_grad():
        layer.weight.normal_(0.0, INIT_SPREAD, generator=generator)
        layer.bias.zero_()
    return layer
