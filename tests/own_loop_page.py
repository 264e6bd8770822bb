"""The page docs/own_loop.md as code, and a loop by hand to compare it with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

import mtlbench

PAGE = Path(__file__).resolve().parent.parent / "docs" / "own_loop.md"
TASKS = ["mood", "same", "like"]
ROWS, BATCH, LR = 32, 4, 0.02

Batch = dict[str, torch.Tensor]


def blocks() -> dict[str, list[str]]:
    """The page's Python blocks by section."""
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {
        section.splitlines()[0]: re.findall(r"^```python\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
        for section in sections
    }


def encoder() -> Any:
    """A BERT of two narrow layers with random weights, always the same, and without dropout."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        use_cache=False,
    )
    return BertModel(config, add_pooling_layer=False)


def rows(dtype: torch.dtype = torch.float32) -> list[Batch]:
    """Padded texts with a label for each task."""
    random = torch.Generator().manual_seed(1)
    result = []
    for _ in range(ROWS):
        mask = torch.ones(8, dtype=torch.int64)
        mask[int(torch.randint(4, 9, (), generator=random)) :] = 0
        result.append(
            {
                "input_ids": torch.randint(1, 32, (8,), generator=random) * mask,
                "attention_mask": mask,
                "mood": torch.randint(3, (), generator=random),
                "same": torch.randint(2, (), generator=random),
                "like": torch.rand((), generator=random, dtype=dtype),
            }
        )
    return result


def make_model(dtype: torch.dtype = torch.float32, namespace: dict[str, Any] | None = None) -> Any:
    """The page's model, always with the same weights."""
    namespace = {} if namespace is None else namespace
    exec(compile(blocks()["The plain loop"][0], str(PAGE), "exec"), namespace)
    shared = encoder()
    torch.manual_seed(2)
    return namespace["Model"](shared).to(dtype)


def run_block(
    section: str, block: int = 0, *, dtype: torch.dtype = torch.float32, change: Mapping[str, str] = {}, **names: Any
) -> dict[str, Any]:
    """Run a section's block from a new model, and return its namespace.

    :param change: parts of the block, and what is put in their place.
    :param names: further names that the block reads.
    """
    code = blocks()[section][block]
    for old, new in change.items():
        assert old in code
        code = code.replace(old, new)
    namespace: dict[str, Any] = {}
    model = make_model(dtype, namespace)
    dataset = rows(dtype)
    namespace |= {
        "encoder": model.encoder,
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=LR),
        "dataset": dataset,
        "loader": DataLoader(dataset, batch_size=BATCH),
        **names,
    }
    torch.manual_seed(2)  # as in make_model
    exec(compile(code, str(PAGE), "exec"), namespace)
    return namespace


def batches(size: int = BATCH, dtype: torch.dtype = torch.float32) -> list[Batch]:
    return list(DataLoader(rows(dtype), batch_size=size))


def by_hand(
    steps: Iterable[Batch],
    method: str = "pcgrad",
    *,
    model: Any = None,
    dtype: torch.dtype = torch.float32,
    clip: float | None = None,
    autocast: torch.dtype | None = None,
    lr: float = LR,
) -> Mapping[str, torch.Tensor]:
    """Train by plain gradient descent without Surgery, and return the parameters by name."""
    model = make_model(dtype) if model is None else model
    rule = mtlbench.get_method(method)
    shared = [p for p in model.encoder.parameters() if p.requires_grad]
    for batch in steps:
        with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
            losses = model(**batch)
        gradients = []
        for task in TASKS:
            heads = list(model.heads[task].parameters())
            found = torch.autograd.grad(losses[task], [*shared, *heads], retain_graph=True)
            gradients.append(found[: len(shared)])
            for parameter, gradient in zip(heads, found[len(shared) :], strict=True):
                parameter.grad = gradient
        matrix = torch.stack([torch.cat([g.flatten() for g in row]) for row in gradients]).double()
        values = [float(losses[task].detach()) for task in TASKS]
        if rule.returns == "update" or rule.reads == "gradients":
            update = torch.as_tensor(mtlbench.aggregate(rule, matrix.numpy(), losses=values))
        else:
            weights = torch.as_tensor(mtlbench.weights(rule, (matrix @ matrix.T).numpy(), losses=values))
            update = weights @ matrix
            if rule.heads == "weighted":
                for task, weight in zip(TASKS, weights.tolist(), strict=True):
                    for parameter in model.heads[task].parameters():
                        parameter.grad = parameter.grad * weight
        for parameter, piece in zip(shared, update.split([p.numel() for p in shared]), strict=True):
            parameter.grad = piece.view_as(parameter).to(parameter.dtype)
        trained = [p for p in model.parameters() if p.grad is not None]
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(trained, clip)
        with torch.no_grad():
            for parameter in trained:
                parameter -= lr * parameter.grad
    return dict(model.named_parameters())


def distance(one: Any, other: Any) -> float:
    """The largest difference of two models' parameters, relative to the largest change since the start."""
    first, second = (dict(m.named_parameters()) if isinstance(m, torch.nn.Module) else m for m in (one, other))
    assert first.keys() == second.keys()
    start = dict(make_model().named_parameters())
    size = max(float((second[name] - start[name]).detach().abs().max()) for name in second if name in start)
    assert size > 1e-3  # something was trained
    return max(float((first[name] - second[name]).detach().abs().max()) for name in first) / size
