"""Task gradients of a text model by the engines, and by autograd through transformers' own model, text by text.

The reference knows neither PEFT, packs nor padding: an adapter is added to the weight of its layer, and every text runs
alone. All is in double precision, without dropout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import linear

from mtlbench.contract.method import Method
from mtlbench.engine.loop import LoopEngine, TaskLoss
from mtlbench.engine.packed.layers import install
from mtlbench.engine.packed.layout import Layout
from mtlbench.engine.packed.pack import Pack, Sequences
from mtlbench.engine.packed.packed_engine import PackedEngine
from mtlbench.engine.packed.strategy import Strategy
from mtlbench.engine.step import Forward, Step
from mtlbench.text.encoder import Encoder
from mtlbench.text.model import MultiTaskModel

TASKS, OUTPUTS, ROWS = 2, 3, 4


class Head:
    """What a model reads of a task."""

    outputs = OUTPUTS

    def __init__(self, key: str) -> None:
        self.key = key


def make_model(spec: str) -> MultiTaskModel:
    """Return a model in double precision whose adapters are not at their start, where they do nothing."""
    encoder = Encoder.parse(spec)
    tasks: Any = [Head(str(number)) for number in range(TASKS)]
    model = MultiTaskModel(encoder, encoder.locate(), tasks, seed=0).double().eval()
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.3, generator=random)
    return model


def texts(task: int) -> list[list[int]]:
    """Return the batch of a task: token numbers of texts of different lengths."""
    random = np.random.default_rng(task)
    return [random.integers(5, 19, size=random.integers(3, 12)).tolist() for _ in range(ROWS)]


def packed(batches: Sequence[Sequence[Sequence[int]]]) -> Pack:
    """Return a pack of some batches."""

    def sequences(batch: Sequence[Sequence[int]]) -> Sequences:
        ids = np.concatenate([np.asarray(text, dtype=np.int64) for text in batch])
        return Sequences(ids, np.zeros_like(ids), np.array([len(text) for text in batch]))

    return Pack.of([sequences(batch) for batch in batches], "cpu")


def loss_of(task: int, outputs: torch.Tensor) -> torch.Tensor:
    return ((outputs - torch.linspace(-1.0, 1.0, OUTPUTS, dtype=outputs.dtype) * (task + 1)) ** 2).mean()


def step(model: MultiTaskModel, method: Method, engine: str) -> Step:
    """Take a step of an engine, which fills ``.grad``."""

    def forward(tasks: Sequence[int]) -> list[Forward]:
        features = model.features(packed([texts(task) for task in tasks]))
        losses = [loss_of(task, model.heads[task](vectors)) for task, vectors in zip(tasks, features, strict=True)]
        return [Forward(loss, [vectors]) for loss, vectors in zip(losses, features, strict=True)]

    heads = [list(head.parameters()) for head in model.heads]
    if engine == "loop":
        loop = LoopEngine(model.shared, model.last_shared_layer)
        losses = [TaskLoss(lambda number, task=task: forward([task])[0], heads[task]) for task in range(TASKS)]  # type: ignore[misc]
        return loop.step(method, losses, measure=True)
    install(nn.ModuleList([model.encoder, model.fine_tuning]), model.tape)
    layout = Layout(model.shared, model.tables, model.named_parameters())
    arguments: Any = (layout, model.last_shared_layer, model.tape, heads)
    joint = PackedEngine(*arguments, strategy=Strategy(lean=engine == "lean"))
    return joint.step(method, lambda number, **_: forward(range(TASKS)), measure=True)


def true_gradients(model: MultiTaskModel, pooling: str) -> torch.Tensor:
    """Return the (K, P) task gradients of the shared parameters, in their order."""
    from transformers import AutoModel

    plain = AutoModel.from_pretrained(model.settings.origin, dtype=torch.float64).eval()
    rows = []
    for task in range(TASKS):
        weights = merged(model, plain)
        vectors = []
        for text in texts(task):
            states = functional_call(plain, weights, (), {"input_ids": torch.tensor([text])}).last_hidden_state[0]
            vectors.append({"cls": states[0], "last": states[-1], "mean": states.mean(0)}[pooling])
        features = torch.tanh(linear(torch.stack(vectors), model.fine_tuning.weight, model.fine_tuning.bias))
        loss = loss_of(task, linear(features, model.heads[task].weight, model.heads[task].bias))
        gradients = torch.autograd.grad(loss, model.shared, allow_unused=True, materialize_grads=True)
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    return torch.stack(rows)


def merged(model: MultiTaskModel, plain: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights of the encoder by their names without adapters, with the adapters added to them."""
    encoder, weights = model.settings, dict[str, torch.Tensor](plain.named_parameters())
    ours = {name.replace(".base_layer", ""): parameter for name, parameter in model.encoder.named_parameters()}
    for name in [name for name in ours if name in weights]:
        weights[name] = ours[name]
        if (first := ours.get(name.replace("weight", "lora_A.default.weight"))) is not None and first is not ours[name]:
            second = ours[name.replace("weight", "lora_B.default.weight")]
            product = encoder.alpha / encoder.rank * (second @ first)
            weights[name] = weights[name] + (product.T if plain.config.model_type == "gpt2" else product)
    return weights
