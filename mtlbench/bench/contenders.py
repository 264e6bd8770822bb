"""The contenders on texts: a plain padded sum, and methods on this package's engines.

A step is a whole optimizer step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, cast

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from mtlbench.contract.method import Method
from mtlbench.contract.task import Task
from mtlbench.engine.packed.pack import Sequences
from mtlbench.plan.cells import Workload
from mtlbench.recipe.suite import Recipe
from mtlbench.text.batches import TaskData
from mtlbench.text.encoder import Encoder, EncoderFiles
from mtlbench.text.engines import make_engine
from mtlbench.text.inputs import Inputs
from mtlbench.text.model import MultiTaskModel
from mtlbench.text.pretrained import load_encoder
from mtlbench.text.problem import TextProblem
from mtlbench.text.tokens import Tokenizer

ROWS = 4096
"""Training rows per task to draw batches from: tokenizing more takes time and changes nothing."""


class Contender(Protocol):
    """What ``mtlbench bench`` times."""

    def step(self, step: int) -> None:
        """Take a whole optimizer step: forward, backward, surgery, AdamW.

        :param step: number of the step, which selects the batches.
        """


def make_optimizer(parameters: Sequence[nn.Parameter], recipe: Recipe) -> torch.optim.AdamW:
    """Return the optimizer that all contenders use: fused AdamW with the recipe's settings."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return torch.optim.AdamW(trained, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)


class Ours:
    """A method on the engine that the recipe names.

    :param model: can be shared by several contenders, except by one on the loop engine, which needs its own.
    :param optimizer: of the model's parameters.
    :param data: the tasks' batches.
    :param recipe: names engine and device.
    :param seed: of the method's random numbers and of dropout.
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
    """The same architecture without this package: Hugging Face's encoder, unmodified, with padding task by task.

    :param encoder: settings of the encoder.
    :param files: its weights and configuration.
    :param tasks: one head is made for each.
    :param seed: of weights that are drawn at random.
    """

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
        """Set training mode; a frozen encoder stays in evaluation mode, without dropout."""
        super().train(mode)
        if self.settings.frozen:
            self.encoder.eval()
        return self

    @property
    def shared(self) -> list[nn.Parameter]:
        """The trained parameters that all tasks share."""
        parameters = [*self.encoder.parameters(), *self.fine_tuning.parameters()]
        return [parameter for parameter in parameters if parameter.requires_grad]

    def features(self, batch: Sequences) -> torch.Tensor:
        """Return the features of one task's batch, padded to its longest sequence.

        :param batch: B sequences, or 2 B where the texts of a pair are encoded apart.
        :returns: shape (B, F).
        """
        device, sizes = self.fine_tuning.weight.device, batch.lengths.tolist()
        ids, kinds, mask = (
            pad_sequence(list(torch.split(flat, sizes)), batch_first=True).to(device)
            for flat in (torch.from_numpy(batch.ids), torch.from_numpy(batch.kinds), torch.ones(len(batch.ids)).long())
        )
        inputs = {"input_ids": ids, "attention_mask": mask}
        if getattr(self.encoder.config, "type_vocab_size", 0) > 1:
            inputs["token_type_ids"] = kinds
        with torch.set_grad_enabled(not self.settings.frozen):
            states = self.encoder(**inputs).last_hidden_state
        pooled = states[:, 0]
        if self.settings.pooling == "last":
            pooled = states[torch.arange(len(states), device=device), mask.sum(dim=1) - 1]
        elif self.settings.pooling == "mean":
            pooled = (states * mask.unsqueeze(2)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        vectors: torch.Tensor = torch.tanh(self.fine_tuning(pooled))
        if self.settings.pairs == "apart":  # a single text is its own partner
            return torch.cat([vectors[: batch.rows], vectors[-batch.rows :]], dim=-1)
        return vectors


class Padded:
    """The plain sum of losses without this package: padded batches, and one backward per task into ``.grad``.

    :param model: the padded model.
    :param optimizer: of its parameters.
    :param data: the tasks' batches.
    """

    def __init__(self, model: PaddedModel, optimizer: torch.optim.Optimizer, data: Sequence[TaskData]) -> None:
        self.model, self.optimizer, self.data = model, optimizer, data

    def step(self, step: int) -> None:
        self.optimizer.zero_grad()
        for task in range(len(self.data)):
            self.loss(task, step)[0].backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def loss(self, task: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a task's loss on its batch of a step, and the features that its head receives.

        :param task: index of the task.
        :param step: number of the step.
        :returns: loss, a scalar; and features of shape (B, F).
        """
        batch, targets = self.data[task].batch(step)
        features = self.model.features(batch)
        return self.data[task].task.loss(self.model.heads[task](features), targets), features


def text_contender(workload: Workload, method: Method | None, steps: int, seed: int) -> Contender:
    """Return a contender on texts.

    :param workload: the tasks and the recipe.
    :param method: the method; ``None`` for the plain padded sum.
    :param steps: the number of steps.
    :param seed: of weights, batches and the method's random numbers.
    """
    recipe, problem = workload.recipe, cast(TextProblem, workload.problem)
    encoder, files = problem.encoder, problem.files
    data = _prepare_data(problem, recipe, steps, 1 if method is None else method.batches, seed)
    if method is None:
        padded = PaddedModel(encoder, files, problem.tasks, seed).to(recipe.device).train()
        return Padded(padded, make_optimizer(list(padded.parameters()), recipe), data)
    model = MultiTaskModel(encoder, files, problem.tasks, seed).to(recipe.device).train()
    if encoder.frozen:
        for task_data in data:
            task_data.freeze(model.pooled)
    optimizer = make_optimizer([*model.shared, *model.heads.parameters()], recipe)
    return Ours(model, optimizer, data, method, recipe, seed)


def _prepare_data(problem: TextProblem, recipe: Recipe, steps: int, batches: int, seed: int) -> list[TaskData]:
    """Return each task's batches, the same for every contender, drawn from a sample of the rows."""
    tokenizer = Tokenizer(problem.encoder, problem.files, recipe.max_length)
    return [
        TaskData.prepare(
            task,
            replace(splits, train=splits.train.sample(ROWS, "bench"), dev=splits.dev.sample(1, "bench")),
            tokenizer,
            seed=seed,
            sizes=np.full(steps, recipe.batch_size),
            batches=batches,
            device=recipe.device,
        )
        for task, splits in zip(problem.tasks, problem.splits, strict=True)
    ]
