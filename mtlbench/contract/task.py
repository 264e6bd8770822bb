"""The contract of a task: rows of one or two texts with a label, a head's size, a loss, metrics, and trivial floors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mtlbench import seeds
from mtlbench.contract.plugin import Plugin, parameter_fields
from mtlbench.contract.spec import as_spec
from mtlbench.errors import UsageError

if TYPE_CHECKING:
    import torch

Kind = Literal["classification", "regression", "multilabel"]
DEFAULT_METRICS: dict[Kind, tuple[str, ...]] = {
    "classification": ("accuracy", "macro_f1"),
    "regression": ("pearson", "spearman"),
    "multilabel": ("micro_f1", "macro_f1", "exact_match"),
}
"""The metrics of each kind of task that names none, the primary one first; see :mod:`mtlbench.text.metrics`."""


@dataclass(frozen=True)
class Rows:
    """One split of a task.

    :param texts: one or two texts a row.
    :param labels: (N,) class numbers 0 … C − 1 (int64), (N,) real scores (float64), or, where a row may have several
        labels, (N, C) of 0 and 1 (int64).
    :param skipped: how many rows of the source had missing fields and were left out.
    """

    texts: Sequence[tuple[str, ...]]
    labels: NDArray[Any]
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    def sample(self, limit: int | None, *purpose: str) -> Rows:
        """Return ``limit`` rows in their order, the same ones for one purpose; all of them if there are no more."""
        if limit is None or limit >= len(self):
            return self
        return self.picked(np.sort(seeds.generator("sample", *purpose).permutation(len(self))[:limit]))

    def picked(self, chosen: NDArray[Any]) -> Rows:
        """Return some rows.

        :param chosen: their numbers, or (N,) of whether each is one of them.
        """
        numbers = np.arange(len(self))[chosen]
        return Rows([self.texts[number] for number in numbers], self.labels[numbers], self.skipped)


@dataclass(frozen=True)
class Splits:
    """The training and development rows of a task, and where they came from, in words.

    :param test: rows carved off the training rows, scored once at the end; see :mod:`mtlbench.text.splits`.
    """

    train: Rows
    dev: Rows
    source: str
    test: Rows | None = None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of every text and label of all splits, in order."""
        digest = hashlib.sha256()
        for rows in (self.train, self.dev, *([] if self.test is None else [self.test])):
            for texts in rows.texts:
                digest.update("\x1f".join(texts).encode("utf-8", "surrogatepass") + b"\x1e")
            digest.update(np.ascontiguousarray(rows.labels).tobytes() + b"\x1d")
        return digest.hexdigest()


@dataclass
class Task(Plugin):
    """Base of all tasks. A subclass is a dataclass: its fields are its parameters."""

    kind: ClassVar[str] = "task"
    source: ClassVar[str] = ""
    """The paper or the maker of the data."""
    reading: ClassVar[tuple[str, ...]] = ()
    """Parameters that only say where rows are and how they are read. They are left out of a cell's key, where the rows
    count by their content: one file is one task, whatever its path, its columns' names and its format."""

    @property
    def corpus(self) -> str:
        """The corpus the texts come from; the report warns when an encoder was tuned on it."""
        return ""

    @property
    def key(self) -> str:
        """The task's name in records, tables and seeds. Unique within a suite."""
        return self.name

    @property
    def identity(self) -> dict[str, Any]:
        """What decides results beside the rows: name and parameters; and, in place of the parameters of
        :attr:`reading`, what comes of them: the kind, the head's size and the metrics."""
        counted = {name: value for name, value in self.parameters.items() if name not in self.reading}
        read = {"prediction": self.prediction, "outputs": self.outputs, "metrics": self.metrics}
        return {"name": self.name, "parameters": counted, **(read if self.reading else {})}

    @property
    def counted_spec(self) -> str:
        """The spec without the parameters of :attr:`reading`."""
        fields = parameter_fields(type(self))
        return as_spec(self.name, self.written(field for field in fields if field.name not in self.reading))

    @property
    def prediction(self) -> Kind:
        """Whether the label is a class, a real number, or any number of C labels."""
        raise NotImplementedError

    @property
    def outputs(self) -> int:
        """The size of the head: the number of classes or of labels, or 1 for a real number."""
        raise NotImplementedError

    def load(self, data_dir: Path | None) -> Splits:
        """Return the task's rows.

        :param data_dir: the folder given with ``--data-dir``, for tasks that read files.
        :raises UsageError: when the data is missing or unusable; the message names file, line and value.
        """
        raise NotImplementedError

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics of :mod:`mtlbench.text.metrics` that the task is scored by, the primary one first."""
        return DEFAULT_METRICS[self.prediction]

    def targets(self, splits: Splits, labels: NDArray[Any]) -> NDArray[Any]:
        """Return what the loss is computed against: classes and labels as they are, scores standardised.

        Scores are standardised by the training split's mean and standard deviation, so that the loss of a
        constant prediction is 1 whatever the label's unit.
        Pearson and Spearman do not change under it.
        """
        if self.prediction == "classification":
            return labels.astype(np.int64)
        if self.prediction == "multilabel":
            return labels.astype(np.float32)
        spread = float(splits.train.labels.std())
        if spread == 0.0:
            raise UsageError(f"task {self.key}: all training labels are equal; there is nothing to learn")
        return ((labels - splits.train.labels.mean()) / spread).astype(np.float32)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch, a scalar: cross entropy of classes, squared error of real numbers, and of
        labels the binary cross entropy, averaged over rows and labels.

        :param outputs: (B, :attr:`outputs`) the head's raw outputs.
        :param targets: (B,) or (B, C) from :meth:`targets`.
        """
        from torch.nn import functional

        if self.prediction == "classification":
            return functional.cross_entropy(outputs, targets)
        if self.prediction == "multilabel":
            return functional.binary_cross_entropy_with_logits(outputs, targets)
        return functional.mse_loss(outputs.squeeze(-1), targets)
