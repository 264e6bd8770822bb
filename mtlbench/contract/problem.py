"""Base class of problems: K tasks on data of any kind, and a torch model with K outputs that shares parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mtlbench.contract.plugin import Plugin, parameter_fields
from mtlbench.contract.spec import as_spec
from mtlbench.contract.task import DEFAULT_METRICS, Kind
from mtlbench.errors import UsageError

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


@dataclass(frozen=True)
class Examples:
    """Rows of a problem: inputs, and for each task the labels of the rows.

    >>> import numpy as np
    >>> from mtlbench import Examples
    >>> examples = Examples(np.zeros((3, 2), np.float32), {"odd": np.array([1, -1, 0])})
    >>> len(examples), examples.take(np.array([0, 2])).shape
    (3, torch.Size([2, 2]))

    :param inputs: an array or tensor of N rows, a mapping of such, or any object with ``inputs[row numbers]``, such as
        one that reads images from files; an array of row numbers goes in, a tensor or a mapping of tensors comes out.
    :param labels: task → (N,) class numbers 0 … C − 1, (N,) or (N, C) real numbers, or (N, C) zeros and ones. A row
        without a label has −1 for a class, and NaN in place of numbers or of zeros and ones.
    """

    inputs: Any
    labels: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.labels.values())))

    def take(self, rows: NDArray[np.int64]) -> Any:
        """Return the inputs of some rows, as a tensor or a mapping of tensors.

        :param rows: row numbers.
        """
        import torch

        def taken(part: Any) -> Any:
            if isinstance(part, Mapping):
                return {name: taken(value) for name, value in part.items()}
            if isinstance(part, torch.Tensor):
                return part[torch.from_numpy(rows)]
            chosen = part[rows]
            return torch.from_numpy(chosen) if isinstance(chosen, np.ndarray) else chosen

        return taken(self.inputs)


@dataclass(frozen=True)
class Data:
    """The rows of a problem by split.

    >>> import numpy as np
    >>> from mtlbench import Data, Examples
    >>> rows = Examples(np.zeros((3, 2), np.float32), {"odd": np.array([1, 0, 0])})
    >>> list(Data(train=rows, dev=rows).splits)
    ['train', 'dev']

    :param train: training rows.
    :param dev: development rows, which are scored.
    :param test: rows that are scored once, after the last step.
    :param source: where the rows came from, in words.
    """

    train: Examples
    dev: Examples
    test: Examples | None = None
    source: str = ""

    @property
    def splits(self) -> dict[str, Examples]:
        """The splits that there are, by name."""
        splits = {"train": self.train, "dev": self.dev, "test": self.test}
        return {name: examples for name, examples in splits.items() if examples is not None}

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of all inputs and labels; inputs that are read on demand have a ``fingerprint`` of their own."""
        digest = hashlib.sha256()
        for name, examples in self.splits.items():
            digest.update(name.encode())
            for part in (examples.inputs, examples.labels):
                _hash(digest, part)
        return digest.hexdigest()


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
        which are standardised by the training rows.

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


def as_array(tensor: torch.Tensor) -> NDArray[Any]:
    """Return a tensor's numbers as an array; those of bfloat16, which NumPy does not have, as whole numbers.

    :param tensor: a dense tensor, on any device, with or without a gradient.
    """
    import torch

    tensor = tensor.detach().cpu()
    array: NDArray[Any] = (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


def _hash(digest: Any, part: Any) -> None:
    """Add arrays, tensors, mappings of them, or an object's own fingerprint to a digest."""
    import torch

    if isinstance(part, Mapping):
        for name, value in sorted(part.items()):
            digest.update(f"\x1e{name}\x1f".encode())
            _hash(digest, value)
        return
    if hasattr(part, "fingerprint"):
        digest.update(str(part.fingerprint).encode())
        return
    if isinstance(part, torch.Tensor):
        part = as_array(part)
    if not isinstance(part, np.ndarray):
        raise UsageError(
            f"inputs of type {type(part).__name__} have no fingerprint: give arrays, or an object with a `fingerprint` "
            "text that changes with the data"
        )
    digest.update(f"{part.dtype.str}{part.shape}".encode())
    digest.update(np.ascontiguousarray(part).tobytes())
