"""Tiny trunks of every kind of module that people share between tasks, each with inputs for it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional

TASKS, ROWS, LENGTH, WIDTH, WORDS = 3, 4, 8, 12, 20
"""Tasks, rows of each, tokens of a row, features of a token, and tokens of the vocabulary."""
Mode = str
MODES: tuple[Mode, ...] = ("separate", "shared", "concatenated")
"""A forward for each task; one batch that all heads read; one batch in which every loss reads its own rows."""


class Apply(nn.Module):
    """A module from parts and a function of them and the inputs."""

    def __init__(self, function: Callable[..., torch.Tensor], **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.function(self, *inputs)


@dataclass
class Model:
    """A trunk, a head for each task, and one batch.

    :param trunk: the shared module; it returns features of shape (rows, width).
    :param heads: one linear layer a task.
    :param inputs: tensors of TASKS · ROWS rows.
    """

    trunk: nn.Module
    heads: nn.ModuleList
    inputs: list[torch.Tensor]

    def losses(self, mode: Mode) -> list[torch.Tensor]:
        """Return TASKS losses of very different size."""
        ranges = [slice(task * ROWS, (task + 1) * ROWS) for task in range(TASKS)]
        if mode == "separate":
            features = [self.trunk(*(tensor[rows] for tensor in self.inputs)) for rows in ranges]
        else:
            together = self.trunk(*self.inputs)
            features = [together[rows] if mode == "concatenated" else together for rows in ranges]
        return [
            (head(feature)[:, 0] - 1.0).square().mean() * 3.0**task
            for task, (head, feature) in enumerate(zip(self.heads, features, strict=True))
        ]

    def copy(self) -> Model:
        return copy.deepcopy(self)


def _texts() -> list[torch.Tensor]:
    """Token ids and a mask; rows have different lengths, and 0 stands for padding."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(2, LENGTH + 1, (TASKS * ROWS,), generator=generator)
    mask = (torch.arange(LENGTH) < lengths[:, None]).long()
    return [torch.randint(1, WORDS, mask.shape, generator=generator) * mask, mask]


def _vectors(*shape: int) -> list[torch.Tensor]:
    return [torch.randn(TASKS * ROWS, *shape, generator=torch.Generator().manual_seed(1))]


def _first(module: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    output: torch.Tensor = module.encoder(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
    return output


SIZES: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 2 * WIDTH,
    "max_position_embeddings": 2 * LENGTH,
    "pad_token_id": 0,
}


def bert() -> tuple[nn.Module, list[torch.Tensor]]:
    """The architecture of MiniLM too. No loss reads its pooler."""
    from transformers import BertConfig, BertModel

    config = BertConfig(**SIZES, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    return Apply(_first, encoder=BertModel(config)), _texts()


def gpt2() -> tuple[nn.Module, list[torch.Tensor]]:
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(
        vocab_size=WORDS,
        n_embd=WIDTH,
        n_layer=2,
        n_head=2,
        n_positions=LENGTH,
        resid_pdrop=0,
        embd_pdrop=0,
        attn_pdrop=0,
    )

    def last(module: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = module.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return hidden[torch.arange(len(ids)), mask.sum(1) - 1]

    return Apply(last, encoder=GPT2Model(config)), _texts()


def modernbert() -> tuple[nn.Module, list[torch.Tensor]]:
    from transformers import ModernBertConfig, ModernBertModel

    config = ModernBertConfig(**SIZES, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)
    return Apply(_first, encoder=ModernBertModel(config)), _texts()


def deberta() -> tuple[nn.Module, list[torch.Tensor]]:
    """DeBERTa v3: relative positions with shared projections."""
    from transformers import DebertaV2Config, DebertaV2Model

    config = DebertaV2Config(
        **SIZES,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        relative_attention=True,
        position_buckets=4,
        pos_att_type=["p2c", "c2p"],
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        position_biased_input=False,
    )
    return Apply(_first, encoder=DebertaV2Model(config)), _texts()


def lora() -> tuple[nn.Module, list[torch.Tensor]]:
    """The base model is frozen; the adapters' second matrices start at random, so that all gradients are nonzero."""
    from peft import LoraConfig, get_peft_model

    module, inputs = bert()
    adapters = LoraConfig(r=2, target_modules=["query", "value"], lora_dropout=0.0, init_lora_weights=False)
    with warnings.catch_warnings():  # peft asks transformers by a name that is about to go
        warnings.simplefilter("ignore", FutureWarning)
        return Apply(_first, encoder=get_peft_model(module.encoder, adapters)), inputs


def batch_norm() -> tuple[nn.Module, list[torch.Tensor]]:
    layers = [nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, WIDTH, 3), nn.BatchNorm2d(WIDTH)]
    return nn.Sequential(*layers, nn.Flatten(2), Apply(lambda _, x: x.mean(2))), _vectors(2, 6, 6)


def group_norm() -> tuple[nn.Module, list[torch.Tensor]]:
    layers = [nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, WIDTH, 3)]
    return nn.Sequential(*layers, nn.Flatten(2), Apply(lambda _, x: x.mean(2))), _vectors(2, 6, 6)


def channels_last() -> tuple[nn.Module, list[torch.Tensor]]:
    module, inputs = group_norm()
    return module.to(memory_format=torch.channels_last), [inputs[0].to(memory_format=torch.channels_last)]


def conv1d() -> tuple[nn.Module, list[torch.Tensor]]:
    return nn.Sequential(nn.Conv1d(3, 5, 3), nn.Tanh(), nn.Conv1d(5, WIDTH, 3), nn.Flatten(), nn.Tanh()), _vectors(3, 5)


def lstm() -> tuple[nn.Module, list[torch.Tensor]]:
    return Apply(lambda m, x: m.net(x)[0][:, -1], net=nn.LSTM(5, WIDTH, 2, batch_first=True)), _vectors(LENGTH, 5)


def gru() -> tuple[nn.Module, list[torch.Tensor]]:
    net = nn.GRU(5, WIDTH // 2, batch_first=True, bidirectional=True)
    return Apply(lambda m, x: m.net(x)[0][:, -1], net=net), _vectors(LENGTH, 5)


def attention() -> tuple[nn.Module, list[torch.Tensor]]:
    net = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
    return Apply(lambda m, x: m.net(x, x, x)[0].mean(1), net=net), _vectors(LENGTH, WIDTH)


def weight_norm() -> tuple[nn.Module, list[torch.Tensor]]:
    first, second = (torch.nn.utils.parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH)) for _ in range(2))
    return nn.Sequential(first, nn.Tanh(), second, Apply(lambda _, x: x.mean(1))), _vectors(LENGTH, WIDTH)


def tied_layers() -> tuple[nn.Module, list[torch.Tensor]]:
    """The output layer has the embedding's weight."""
    table, output = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WORDS)
    output.weight = table.weight
    return Apply(lambda m, ids, _: m.output(m.table(ids).tanh()).tanh().mean(1), table=table, output=output), _texts()


def tied_by_function() -> tuple[nn.Module, list[torch.Tensor]]:
    table = nn.Embedding(WORDS, WIDTH)

    def forward(module: Any, ids: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return functional.linear(module.table(ids).tanh(), module.table.weight).tanh().mean(1)

    return Apply(forward, table=table), _texts()


def used_twice() -> tuple[nn.Module, list[torch.Tensor]]:
    return Apply(lambda m, x: m.net(m.net(x).tanh()).mean(1), net=nn.Linear(WIDTH, WIDTH)), _vectors(LENGTH, WIDTH)


def bare() -> tuple[nn.Module, list[torch.Tensor]]:
    """Parameters without a layer, one of them a scalar."""
    scale, matrix = nn.Parameter(torch.tensor(1.5)), nn.Parameter(torch.randn(WIDTH, WIDTH))
    return Apply(lambda m, x: (x @ m.matrix * m.scale).tanh(), scale=scale, matrix=matrix), _vectors(WIDTH)


def transposed() -> tuple[nn.Module, list[torch.Tensor]]:
    matrix = nn.Parameter(torch.randn(WIDTH, 5).T)
    return Apply(lambda m, x: (x @ m.matrix).tanh(), matrix=matrix), _vectors(5)


def summed() -> tuple[nn.Module, list[torch.Tensor]]:
    """Torch returns one gradient tensor for two parameters, and one number that stands for all of a third."""
    parts = {name: nn.Parameter(torch.randn(WIDTH)) for name in ("one", "two", "third")}
    return Apply(lambda m, x: (x + (m.one + m.two) + m.third.sum()).tanh(), **parts), _vectors(WIDTH)


def bag() -> tuple[nn.Module, list[torch.Tensor]]:
    return Apply(lambda m, ids, _: m.table(ids).tanh(), table=nn.EmbeddingBag(WORDS, WIDTH)), _texts()


def sparse_bag() -> tuple[nn.Module, list[torch.Tensor]]:
    table = nn.EmbeddingBag(WORDS, WIDTH, sparse=True, mode="sum")
    return Apply(lambda m, ids, _: m.table(ids).tanh(), table=table), _texts()


def _table(**options: Any) -> tuple[nn.Module, list[torch.Tensor]]:
    table, layer = nn.Embedding(WORDS, WIDTH, **options), nn.Linear(WIDTH, WIDTH)
    return Apply(lambda m, ids, _: m.layer(m.table(ids)).tanh().sum(1), table=table, layer=layer), _texts()


def rms_norm() -> tuple[nn.Module, list[torch.Tensor]]:
    layers = [nn.RMSNorm(WIDTH), nn.Linear(WIDTH, WIDTH, bias=False), nn.Tanh()]
    return nn.Sequential(*layers, Apply(lambda _, x: x.mean(1))), _vectors(LENGTH, WIDTH)


def vector_inputs() -> tuple[nn.Module, list[torch.Tensor]]:
    """A linear layer that gets one row at a time."""
    return Apply(lambda m, x: torch.stack([m.net(row).tanh() for row in x]), net=nn.Linear(WIDTH, WIDTH)), _vectors(
        WIDTH
    )


def zero_rows() -> tuple[nn.Module, list[torch.Tensor]]:
    """Rows of zeros among inputs of four dimensions."""
    inputs = _vectors(2, LENGTH, WIDTH)
    inputs[0][:, :, ::2] = 0.0
    net = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
    return Apply(lambda m, x: m.net(x)[:, :, :3].tanh().mean((1, 2)), net=net), inputs


MODELS: dict[str, Callable[[], tuple[nn.Module, list[torch.Tensor]]]] = {
    function.__name__: function
    for function in (
        *(bert, gpt2, modernbert, deberta, lora, batch_norm, group_norm, channels_last, conv1d, lstm, gru, attention),
        *(weight_norm, tied_layers, tied_by_function, used_twice, bare, transposed, summed, bag, sparse_bag, rms_norm),
        *(vector_inputs, zero_rows),
    )
} | {
    "padding_idx": lambda: _table(padding_idx=0),
    "sparse_table": lambda: _table(sparse=True),
    "max_norm": lambda: _table(max_norm=0.5),
    "frequencies": lambda: _table(scale_grad_by_freq=True),
}
"""Trunk and inputs by name."""


@cache
def _built(name: str) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        trunk, inputs = MODELS[name]()
        width = trunk(*inputs).shape[1]
        return Model(trunk.train(), nn.ModuleList(nn.Linear(width, 1) for _ in range(TASKS)), inputs)


def build(name: str, dtype: torch.dtype = torch.float64) -> Model:
    """Return a new model of a kind, always with the same numbers."""
    model = _built(name).copy()
    model.trunk.to(dtype)
    model.heads.to(dtype)
    model.inputs = [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in model.inputs]
    return model
