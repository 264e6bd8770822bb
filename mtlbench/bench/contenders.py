"""What is timed: whole optimizer steps, of a plain padded sum and of methods on this package's engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from mtlbench.contract.method import Method
from mtlbench.contract.task import Task
from mtlbench.engine.packed.pack import Sequences
from mtlbench.plan.suite import Recipe
from mtlbench.text.batches import TaskData
from mtlbench.text.encoder import Encoder, EncoderFiles
from mtlbench.text.model import MultiTaskModel, load_encoder
from mtlbench.training.engines import Inputs, make_engine


class Contender(Protocol):
    """One of those that are compared."""

    def step(self, step: int) -> None:
        """Take a whole optimizer step on the batches of that number: forward, backward, surgery, AdamW."""


def make_optimizer(parameters: Sequence[nn.Parameter], recipe: Recipe) -> torch.optim.AdamW:
    """Return the optimizer that all contenders use."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return torch.optim.AdamW(trained, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)


class Ours:
    """A method on the engine that the recipe names.

    :param model: may serve several contenders, but for the loop engine, which needs one of its own.
    """

    def __init__(
        self,
        model: MultiTaskModel,
        optimizer: torch.optim.Optimizer,
        data: Sequence[TaskData],
        method: Method,
        recipe: Recipe,
        seed: int = 0,
    ) -> None:
        self.method, self.optimizer = method, optimizer
        self.method.reseed(seed)
        self.inputs = Inputs(model, data, seed, recipe.device)
        self.engine = make_engine(model, self.inputs, recipe)

    def step(self, step: int) -> None:
        self.engine.step(self.method, step, measure=False)
        self.optimizer.step()
        if self.method.reads_after:
            self.method.after_step(self.inputs.losses_after(step))


class PaddedModel(nn.Module):
    """The same architecture as people train it: Hugging Face's encoder as it comes, padded task by task."""

    def __init__(self, encoder: Encoder, files: EncoderFiles, tasks: Sequence[Task], seed: int = 0) -> None:
        super().__init__()
        self.settings = encoder
        self.encoder = load_encoder(encoder, files, seed)
        width = int(self.encoder.config.hidden_size)
        self.fine_tuning = nn.Linear(width, width)
        sides = 2 if encoder.pairs == "apart" else 1
        self.heads = nn.ModuleList(nn.Linear(sides * width, task.outputs) for task in tasks)
        if encoder.frozen:
            self.encoder.requires_grad_(False)

    def train(self, mode: bool = True) -> PaddedModel:
        """Set training mode; a frozen encoder stays without dropout."""
        super().train(mode)
        if self.settings.frozen:
            self.encoder.eval()
        return self

    @property
    def shared(self) -> list[nn.Parameter]:
        """The trained parameters that all tasks share."""
        every = [*self.encoder.parameters(), *self.fine_tuning.parameters()]
        return [parameter for parameter in every if parameter.requires_grad]

    def features(self, batch: Sequences) -> torch.Tensor:
        """Return the (B, F) features of one task's batch, padded to its longest sequence."""
        device, sizes = self.fine_tuning.weight.device, batch.lengths.tolist()
        ids, kinds, mask = (
            pad_sequence(list(torch.split(flat, sizes)), batch_first=True).to(device)
            for flat in (torch.from_numpy(batch.ids), torch.from_numpy(batch.kinds), torch.ones(len(batch.ids)).long())
        )
        given = {"input_ids": ids, "attention_mask": mask}
        if getattr(self.encoder.config, "type_vocab_size", 0) > 1:
            given["token_type_ids"] = kinds
        with torch.set_grad_enabled(not self.settings.frozen):
            states = self.encoder(**given).last_hidden_state
        pooled = states[:, 0]
        if self.settings.pooling == "mean":
            pooled = (states * mask.unsqueeze(2)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        vectors: torch.Tensor = torch.tanh(self.fine_tuning(pooled))
        if self.settings.pairs == "apart":  # a single text is its own partner
            return torch.cat([vectors[: batch.rows], vectors[-batch.rows :]], dim=-1)
        return vectors


class Padded:
    """The plain sum of losses without this package: padded batches, and a backward per task into ``.grad``."""

    def __init__(self, model: PaddedModel, optimizer: torch.optim.Optimizer, data: Sequence[TaskData]) -> None:
        self.model, self.optimizer, self.data = model, optimizer, data

    def step(self, step: int) -> None:
        self.optimizer.zero_grad()
        for task in range(len(self.data)):
            self.loss(task, step)[0].backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def loss(self, task: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a task's loss on its batch of a step, and the features that its head read."""
        batch, targets = self.data[task].batch(step)
        features = self.model.features(batch)
        return self.data[task].task.loss(self.model.heads[task](features), targets), features
