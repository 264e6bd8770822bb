"""A user's own training: a tiny BERT with dropout, three heads, losses of unlike scale, two of them opposed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

TASKS = ["mood", "same", "like"]


class Model(torch.nn.Module):
    """A BERT of two narrow layers, and two linear heads: the first and the third task share one."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        sizes: dict[str, Any] = {
            "vocab_size": 40,
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "max_position_embeddings": 12,
            "hidden_dropout_prob": dropout,
            "attention_probs_dropout_prob": dropout,
        }
        self.encoder = BertModel(BertConfig(**sizes), add_pooling_layer=False)
        self.heads = torch.nn.ModuleList(torch.nn.Linear(16, 1) for _ in range(2))

    def losses(self, ids: torch.Tensor) -> list[torch.Tensor]:
        """Return three losses from one graph: the third wants the opposite of the first, the second is far larger."""
        features = self.encoder(input_ids=ids).last_hidden_state[:, 0]
        target = 4.0 * torch.sin(ids[:, :1].float())
        outputs = [head(features) for head in self.heads]
        return [
            (outputs[0] - target).square().mean(),
            400.0 * (outputs[1] - target.roll(1, 0)).square().mean(),
            (outputs[0] + target).square().mean(),
        ]


def batches(count: int, seed: int = 0) -> Iterator[torch.Tensor]:
    """Yield batches of token numbers, from a generator of their own."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        yield torch.randint(2, 40, (6, 8), generator=generator)


def train(
    steps: int, call: Callable[[Model], Callable[[list[Any]], None]] | None = None, seed: int = 0
) -> tuple[Model, list[float]]:
    """Train, with a call before every backward.

    :param call: makes the call for a model, such as a watch.
    :returns: the model, and the losses of all steps.
    """
    torch.manual_seed(seed)
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    watch, values = call(model) if call else None, []
    for ids in batches(steps):
        losses = model.losses(ids)
        if watch:
            watch(losses)
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
        values += [float(loss.detach()) for loss in losses]
    return model, values


def digest(model: torch.nn.Module) -> str:
    """Return a hash of all parameters, to the bit."""
    content = b"".join(parameter.detach().numpy().tobytes() for parameter in model.parameters())
    return hashlib.sha256(content).hexdigest()
