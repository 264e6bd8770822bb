"""Tiny models with random weights, and their task gradients by autograd, task by task, with torch's own layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from mtlbench.contract.observation import Matrix, Vector
from mtlbench.engine.packed.attention import NAME, register
from mtlbench.engine.packed.first import FirstTokens
from mtlbench.engine.packed.layers import install, install_dropout
from mtlbench.engine.packed.layout import Layout
from mtlbench.engine.packed.pack import Pack, Sequences
from mtlbench.engine.packed.packed_engine import PackedEngine
from mtlbench.engine.packed.strategy import Strategy
from mtlbench.engine.packed.tape import Tape
from mtlbench.engine.processes import ALONE, Processes
from mtlbench.engine.step import Forward

FAMILIES = ("bert", "roberta", "distilbert", "electra", "xlm-roberta", "modernbert")
WORDS, WIDTH, LONGEST = 60, 16, 40


def make_encoder(family: str, dropout: float = 0.0) -> Any:
    """Return an encoder of two layers whose parameters are all random: new biases would be 0, and hide mistakes."""
    import transformers as t

    sizes: dict[str, Any] = {"vocab_size": WORDS, "max_position_embeddings": LONGEST + 2}
    usual = sizes | {
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }
    if family == "bert":
        return t.BertModel(t.BertConfig(**usual), add_pooling_layer=False)
    if family == "roberta":
        return t.RobertaModel(t.RobertaConfig(**usual, pad_token_id=1, type_vocab_size=2), add_pooling_layer=False)
    if family == "xlm-roberta":
        return t.XLMRobertaModel(t.XLMRobertaConfig(**usual, pad_token_id=1), add_pooling_layer=False)
    if family == "modernbert":
        return t.ModernBertModel(modernbert_config(dropout))
    if family == "electra":
        return t.ElectraModel(t.ElectraConfig(**usual, embedding_size=8))
    shape = {"dim": WIDTH, "n_heads": 2, "hidden_dim": 24, "n_layers": 2}
    return t.DistilBertModel(t.DistilBertConfig(**sizes, **shape, dropout=dropout, attention_dropout=dropout))


def modernbert_config(dropout: float = 0.0, **changes: Any) -> Any:
    """Return the configuration of a global and a local layer, whose window is shorter than most texts."""
    from transformers import ModernBertConfig

    sizes = {
        "vocab_size": WORDS,
        "max_position_embeddings": LONGEST,
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "local_attention": 8,
    }
    drops = dict.fromkeys(("attention_dropout", "embedding_dropout", "mlp_dropout"), dropout)
    marks = {"pad_token_id": 0, "bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}
    return ModernBertConfig(**sizes | drops | marks | changes)


def sequences(lengths: Sequence[int], seed: int = 0) -> Sequences:
    """Return random sequences without padding; the second half of each is a second text."""
    random = np.random.default_rng([seed, *lengths])
    kinds = np.concatenate([np.arange(length) >= (length + 1) // 2 for length in lengths]).astype(np.int64)
    return Sequences(random.integers(2, WORDS, sum(lengths)), kinds, np.array(lengths))


class Encoded(nn.Module):
    """An encoder of Hugging Face, a shared linear layer on first tokens, and a head per task.

    :param first: whether the last layer is to compute the states of first tokens alone.
    :param make: makes the encoder; by default it is the family's usual one.
    """

    def __init__(
        self,
        family: str,
        tasks: int = 3,
        dropout: float = 0.0,
        dtype: torch.dtype = torch.float64,
        first: bool = False,
        make: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__()
        self.family, self.tape, self.first = family, Tape(), first
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.encoder = make_encoder(family, dropout) if make is None else make()
            self.last = nn.Linear(WIDTH, WIDTH)
            self.heads = nn.ModuleList(nn.Linear(WIDTH, 1 + task % 3) for task in range(tasks))
            with torch.no_grad():
                for parameter in self.parameters():
                    parameter.add_(0.2 * torch.randn_like(parameter))
        self.to(dtype)

    def pack_attention(self) -> Encoded:
        """Let the encoder take packs, with torch's own layers; only now has dropout the pack's masks."""
        register()
        self.encoder.set_attn_implementation(NAME)
        install_dropout(self.encoder, self.tape)
        if self.first:
            FirstTokens(self.encoder, self.tape)
        return self

    @property
    def two_kinds(self) -> bool:
        """Whether the encoder tells a first text from a second."""
        return getattr(self.encoder.config, "type_vocab_size", 0) > 1

    def states(self, pack: Pack) -> torch.Tensor:
        """Return the (T, width) states of a pack's tokens, or (S, width) of first ones."""
        self.tape.pack = pack
        first = 2 if "roberta" in self.family else 0
        kinds = {"token_type_ids": pack.kinds[None]} if self.two_kinds else {}
        actual = self.encoder(input_ids=pack.ids[None], position_ids=pack.positions[None] + first, pack=pack, **kinds)
        return actual.last_hidden_state[0]

    def padded_states(self, batch: Sequences) -> list[torch.Tensor]:
        """Return the states of each sequence's tokens as Hugging Face computes them, padded together."""
        longest, lengths = int(batch.lengths.max()), torch.from_numpy(batch.lengths)
        mask = torch.arange(longest) < lengths[:, None]
        padding = self.encoder.config.pad_token_id
        ids = torch.full(mask.shape, padding).masked_scatter_(mask, torch.from_numpy(batch.ids))
        kinds = torch.zeros_like(ids).masked_scatter_(mask, torch.from_numpy(batch.kinds))
        given = {"token_type_ids": kinds} if self.two_kinds else {}
        actual = self.encoder(input_ids=ids, attention_mask=mask.long(), **given).last_hidden_state
        return [row[:length] for row, length in zip(actual, batch.lengths, strict=True)]

    def forwards(self, pack: Pack, tasks: Sequence[int]) -> list[Forward]:
        states = self.states(pack)
        features = torch.tanh(self.last(states if self.first else states.index_select(0, pack.first_tokens)))
        return task_losses(self.heads, features, pack, tasks)

    def padded_forward(self, batch: Sequences, task: int) -> Forward:
        """Run a task on states that Hugging Face computes, padded."""
        features = torch.tanh(self.last(torch.stack([states[0] for states in self.padded_states(batch)])))
        (graph,) = task_losses(self.heads, features, Pack.of([batch], "cpu"), [task])
        return graph

    @property
    def shared_modules(self) -> list[nn.Module]:
        return [self.encoder, self.last]


class Plain(nn.Module):
    """Shared layers without attention: quick, and easy to change. A sequence's features are its tokens' mean."""

    def __init__(self, tasks: int = 3, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.tape = Tape()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.words = nn.Embedding(WORDS, WIDTH, padding_idx=3)
            self.positions = nn.Embedding(LONGEST, WIDTH)
            self.norm = nn.LayerNorm(WIDTH)
            self.first, self.second = nn.Linear(WIDTH, 24), nn.Linear(24, WIDTH, bias=False)
            self.last = nn.Linear(WIDTH, WIDTH)
            self.heads = nn.ModuleList(nn.Linear(WIDTH, 1 + task % 3) for task in range(tasks))
            with torch.no_grad():
                for parameter in self.parameters():
                    parameter.add_(0.2 * torch.randn_like(parameter))
        self.to(dtype)
        self.between: Callable[[torch.Tensor, Pack], torch.Tensor] = lambda states, _: states

    def features(self, pack: Pack) -> torch.Tensor:
        self.tape.pack = pack
        states = self.norm(self.words(pack.ids) + self.positions(pack.positions))
        states = self.between(states + self.second(torch.tanh(self.first(states))), pack)
        sums = states.new_zeros(len(pack.lengths), WIDTH).index_add(0, pack.sequence_of_token, states)
        return torch.tanh(self.last(sums / torch.from_numpy(pack.lengths)[:, None].to(sums)))

    def forwards(self, pack: Pack, tasks: Sequence[int]) -> list[Forward]:
        return task_losses(self.heads, self.features(pack), pack, tasks)

    @property
    def shared_modules(self) -> list[nn.Module]:
        return [self.words, self.positions, self.norm, self.first, self.second, self.last]


Model = Encoded | Plain


def task_losses(heads: nn.ModuleList, features: torch.Tensor, pack: Pack, tasks: Sequence[int]) -> list[Forward]:
    """Return the tasks' squared errors, of very different size, to targets that the token numbers decide."""
    actual = []
    for task, (first, last) in zip(tasks, pack.sequence_ranges, strict=True):
        part = features[first:last]
        reference = torch.sin(pack.ids[pack.first_tokens[first:last]].to(part) * (task + 1))[:, None]
        actual.append(Forward(3.0**task * ((heads[task](part) - reference) ** 2).mean(), [part]))
    return actual


def autocast(run: Callable[..., list[Forward]], dtype: torch.dtype = torch.bfloat16) -> Callable[..., list[Forward]]:
    """Let forwards compute in half precision."""

    def halved(*arguments: Any, **keywords: Any) -> list[Forward]:
        with torch.autocast("cpu", dtype):
            return run(*arguments, **keywords)

    return halved


def halves(batch: Sequences, part: int) -> Sequences:
    """Return one of two parts of a batch with an even number of sequences."""
    size = len(batch.lengths) // 2
    rows = slice(part * size, (part + 1) * size)
    begin, end = np.concatenate([[0], np.cumsum(batch.lengths)])[[rows.start, rows.stop]]
    return Sequences(batch.ids[begin:end], batch.kinds[begin:end], batch.lengths[rows])


def shared_of(model: Model) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the trained shared parameters, each once, tables last; and the tables."""
    modules = nn.ModuleList(model.shared_modules)
    tables = {id(layer.weight) for layer in modules.modules() if isinstance(layer, nn.Embedding)}
    trained = [parameter for parameter in modules.parameters() if parameter.requires_grad]
    chosen = [parameter for parameter in trained if id(parameter) in tables]
    return [*(parameter for parameter in trained if id(parameter) not in tables), *chosen], chosen


WAYS = {
    "buffer": Strategy(lean=False),
    "lean": Strategy(lean=True),
    "two passes": Strategy(lean=True, keeps=False, portion=20),  # two or three of the tests' tasks at a time
}


def make_engine(
    model: Model, way: str = "buffer", *, match_sum: bool = False, parts: int = 1, processes: Processes = ALONE
) -> PackedEngine:
    """Install a model, and return an engine for it."""
    install(nn.ModuleList(model.shared_modules), model.tape)
    last = [parameter for parameter in model.last.parameters() if parameter.requires_grad]
    heads = [list(head.parameters()) for head in model.heads]
    layout = Layout(*shared_of(model), model.named_parameters())
    options: dict[str, Any] = {"match_sum": match_sum, "parts": parts, "processes": processes}
    return PackedEngine(layout, last, model.tape, heads, strategy=WAYS[way], **options)


@dataclass(frozen=True)
class Truth:
    """What autograd says of one batch: losses, (K, P) gradients, those of the heads, and three Gram matrices."""

    losses: Vector
    rows: torch.Tensor
    heads: list[torch.Tensor]
    gram: Matrix
    gram_of_last: Matrix
    gram_of_representation: Matrix


def truth(
    model: Model, batches: Sequence[Sequences], seeds: Sequence[int] | None = None, *, padded: bool = False
) -> Truth:
    """Return every task's gradients, in double precision, from a forward of its own through layers not installed.

    :param padded: let an encoder pad its texts and do its own attention.
    """
    shared, last = shared_of(model)[0], {id(parameter) for parameter in model.last.parameters()}
    in_last = torch.cat([torch.full((parameter.numel(),), id(parameter) in last) for parameter in shared])
    losses, rows, heads, squares = [], [], [], []
    for task, batch in enumerate(batches):
        if padded:
            assert isinstance(model, Encoded)
            graph = model.padded_forward(batch, task)
        else:
            (graph,) = model.forwards(Pack.of([batch], "cpu", None if seeds is None else (seeds[task],)), [task])
        own = list(model.heads[task].parameters())
        reference = [*shared, *own, *graph.representation]
        actual = torch.autograd.grad(graph.loss, reference, allow_unused=True, materialize_grads=True)
        losses.append(float(graph.loss.detach()))
        rows.append(flat(actual[: len(shared)]).double())
        heads.append(flat(actual[len(shared) : len(shared) + len(own)]))
        squares.append(float((actual[-1].double() ** 2).sum()))
    matrix = torch.stack(rows)
    part = matrix[:, in_last]
    return Truth(
        np.array(losses),
        matrix,
        heads,
        (matrix @ matrix.T).numpy(),
        (part @ part.T).numpy(),
        np.diag(squares),
    )


def flat(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def grads(parameters: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return what stands in ``.grad``, one after another."""
    actual = [parameter.grad for parameter in parameters]
    assert all(gradient is not None for gradient in actual)
    return flat(actual)  # type: ignore[arg-type]
