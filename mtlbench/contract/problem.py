"""Base class of problems: K tasks on data of any kind, and a torch model with K outputs that shares parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mtlbench.contract.examples import Data
from mtlbench.contract.plugin import Plugin, parameter_fields
from mtlbench.contract.spec import as_spec
from mtlbench.contract.task import DEFAULT_METRICS, Kind

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Target:
    """One task of a problem: what its output predicts, and how it is scored.

    >>> from mtlbench import Target
    >>> Target("digit", "classification", outputs=10).metrics
    ('accuracy', 'macro_f1')

    :param name: the task's name in records, tables and seeds.
    :param prediction: the kind of label.
    :param outputs: C, the number of classes or labels; for real numbers, how many a row has.
    :param metrics: names of metrics, the primary one first; empty for the defaults of the kind.
    """

    name: str
    prediction: Kind
    outputs: int = 1
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.metrics:
            defaults = ("r2",) if self.prediction == "regression" else DEFAULT_METRICS.get(self.prediction, ())
            object.__setattr__(self, "metrics", defaults)

    @property
    def key(self) -> str:
        """The name, as of every task."""
        return self.name

    @property
    def spec(self) -> str:
        """The name, as of every task."""
        return self.name

    @property
    def counted_spec(self) -> str:
        """The name, as of every task."""
        return self.name


@dataclass
class Problem(Plugin):
    """Base of all problems. A subclass is a dataclass whose fields are its parameters.

    An author writes :meth:`targets`, :meth:`load` and :meth:`model`; everything else has a default.

    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> import torch
    >>> from mtlbench import Data, Examples, Problem, Target
    >>> class Net(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.trunk, self.sum, self.sign = torch.nn.Linear(2, 8), torch.nn.Linear(8, 1), torch.nn.Linear(8, 2)
    ...     def forward(self, x):
    ...         features = self.trunk(x).relu()
    ...         return {"sum": self.sum(features), "sign": self.sign(features)}
    >>> @dataclass
    ... class Plane(Problem):
    ...     "Points of a plane."
    ...     name = "plane"
    ...     rows: int = 100
    ...     def targets(self):
    ...         return [Target("sum", "regression"), Target("sign", "classification", outputs=2)]
    ...     def load(self, data_dir):
    ...         x = np.random.default_rng(0).normal(size=(self.rows, 2)).astype(np.float32)
    ...         examples = Examples(x, {"sum": x.sum(axis=1), "sign": (x[:, 0] > 0).astype(int)})
    ...         return Data(train=examples, dev=examples)
    ...     def model(self, targets):
    ...         return Net()
    >>> problem = Plane(rows=50)
    >>> problem.spec, len(problem.load(None).train)
    ('plane[rows=50]', 50)
    """

    kind: ClassVar[str] = "problem"
    source: ClassVar[str] = ""
    """The paper or the publisher of the data."""
    separate: ClassVar[bool] = False
    """Whether every task has a batch of its own, drawn from the rows that have its label; else all tasks share one
    batch and one forward pass."""
    standardise: ClassVar[bool] = True
    """Whether the loss sees real labels standardised by the training rows; else it sees them as they are."""
    recipe: ClassVar[Mapping[str, Any]] = {}
    """How to train the problem where no suite says so: fields of a suite file, such as ``{"steps": 500, "lr": 1e-3}``.
    It counts in keys as the recipe that a cell has, not as code, unless other code of the file reads it."""

    reading: ClassVar[tuple[str, ...]] = ()
    """Parameters that only say where the rows are, how to read them and which to take. A cell's key holds the rows'
    content and the tasks in their place: a moved file leaves finished cells done."""

    @property
    def counted_parameters(self) -> dict[str, Any]:
        """The parameters that count in a cell's key: all but those of :attr:`reading`."""
        return {name: value for name, value in self.parameters.items() if name not in self.reading}

    @property
    def counted_spec(self) -> str:
        """The spec without the parameters of :attr:`reading`."""
        fields = parameter_fields(type(self))
        return as_spec(self.name, self.written(field for field in fields if field.name not in self.reading))

    def targets(self) -> Sequence[Target]:
        """Return all tasks of the problem; a suite may choose some of them."""
        raise NotImplementedError

    def load(self, data_dir: Path | None) -> Data:
        """Return the rows, always the same ones: what depends on chance has a fixed seed here.

        :param data_dir: the folder from ``--data-dir``, for problems that read files.
        :raises UsageError: when the data is missing or unusable; the message names file, line and value.
        """
        raise NotImplementedError

    def model(self, targets: Sequence[Target]) -> torch.nn.Module:
        """Return a new model. The generators of torch, NumPy and Python are seeded before the call.

        :param targets: the chosen tasks, in order.
        """
        raise NotImplementedError

    def shared(self, model: torch.nn.Module) -> torch.nn.Module | Iterable[torch.Tensor] | None:
        """Return the shared parameters, or the module that holds them; by default those that two losses reach.

        :param model: the model.
        """
        return None

    def last_shared_layer(self, model: torch.nn.Module) -> torch.nn.Module | Iterable[torch.Tensor] | None:
        """Return the last layer that all tasks share, for methods that balance its gradients, such as GradNorm.

        :param model: the model.
        """
        return None

    def representation(self, model: torch.nn.Module) -> torch.nn.Module | None:
        """Return the module whose output all heads read, for methods that read its gradients, such as MGDA-UB.

        :param model: the model.
        """
        return None

    def outputs(self, model: torch.nn.Module, inputs: Any, tasks: Sequence[str]) -> Mapping[str, torch.Tensor]:
        """Return the outputs of one forward pass: task → (B, C) logits, or (B, C) real numbers.

        :param model: the model, in training or in evaluation mode.
        :param inputs: of B rows, on the model's device.
        :param tasks: the tasks to return; others are ignored.
        """
        outputs: Mapping[str, torch.Tensor] = model(inputs)
        return outputs

    def loss(self, target: Target, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return a task's mean loss over the labelled rows of a batch, a scalar.

        By default cross entropy for classes, binary cross entropy for labels, and the squared error of real numbers,
        which are standardised by the training rows unless :attr:`standardise` is false.

        :param target: the task.
        :param outputs: (B, C) outputs of the rows that have a label.
        :param labels: their labels: (B,) classes, or (B, C) numbers.
        """
        from torch.nn import functional

        if target.prediction == "classification":
            return functional.cross_entropy(outputs, labels)
        if target.prediction == "multilabel":
            return functional.binary_cross_entropy_with_logits(outputs, labels)
        return functional.mse_loss(outputs, labels)
