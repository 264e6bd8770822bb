"""Base class of tasks: rows of one or two texts with a label, the size of the head, a loss, and metrics."""

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
"""Default metrics by kind of task, the primary one first; see :mod:`mtlbench.problem.metrics`."""


@dataclass(frozen=True)
class Rows:
    """One split of a task.

    >>> import numpy as np
    >>> from mtlbench import Rows
    >>> rows = Rows([("a good film",), ("a dull one",)], np.array([1, 0]))
    >>> len(rows)
    2
    >>> rows.picked(rows.labels == 0).texts
    [('a dull one',)]

    :param texts: N tuples of one or two texts.
    :param labels: (N,) class numbers 0 … C − 1 (int64), (N,) real scores (float64), or, where a row may have several
        labels, (N, C) zeros and ones (int64).
    :param skipped: the number of rows of the source that were left out because fields were missing.
    """

    texts: Sequence[tuple[str, ...]]
    labels: NDArray[Any]
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    def sample(self, limit: int | None, *purpose: str) -> Rows:
        """Return a random sample of the rows in their order, always the same for one purpose.

        :param limit: the size of the sample; ``None`` for all rows.
        :param purpose: words that seed the draw.
        """
        if limit is None or limit >= len(self):
            return self
        return self.picked(np.sort(seeds.generator("sample", *purpose).permutation(len(self))[:limit]))

    def picked(self, chosen: NDArray[Any]) -> Rows:
        """Return the chosen rows.

        :param chosen: row numbers, or an (N,) mask.
        """
        numbers = np.arange(len(self))[chosen]
        return Rows([self.texts[number] for number in numbers], self.labels[numbers], self.skipped)


@dataclass(frozen=True)
class Splits:
    """The rows of a task by split, and their source.

    >>> import numpy as np
    >>> from mtlbench import Rows, Splits
    >>> train = Rows([("good",), ("bad",), ("dull",)], np.array([1, 0, 0]))
    >>> dev = Rows([("fine",)], np.array([1]))
    >>> splits = Splits(train, dev, "made up")
    >>> len(splits.train), len(splits.dev), splits.test
    (3, 1, None)

    :param train: training rows.
    :param dev: development rows.
    :param source: where the rows came from, in words.
    :param test: rows carved off the training rows, scored once at the end; see :mod:`mtlbench.text.splits`.
    """

    train: Rows
    dev: Rows
    source: str
    test: Rows | None = None

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of every text and label of all splits, in order."""
        digest = hashlib.sha256()
        for rows in (self.train, self.dev, *([] if self.test is None else [self.test])):
            for texts in rows.texts:
                digest.update("\x1f".join(texts).encode("utf-8", "surrogatepass") + b"\x1e")
            digest.update(np.ascontiguousarray(rows.labels).tobytes() + b"\x1d")
        return digest.hexdigest()


@dataclass
class Task(Plugin):
    """Base of all tasks. A subclass is a dataclass whose fields are its parameters.

    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from mtlbench import Rows, Splits, Task
    >>> @dataclass
    ... class Parity(Task):
    ...     "Whether a number is odd."
    ...     name = "parity"
    ...     prediction = "classification"
    ...     outputs = 2
    ...     numbers: int = 10
    ...     def load(self, data_dir):
    ...         rows = Rows([(str(n),) for n in range(self.numbers)], np.arange(self.numbers) % 2)
    ...         return Splits(rows, rows, "counted")
    >>> task = Parity(numbers=4)
    >>> task.load(None).train.labels.tolist()
    [0, 1, 0, 1]
    >>> task.spec, task.metrics
    ('parity[numbers=4]', ('accuracy', 'macro_f1'))
    """

    kind: ClassVar[str] = "task"
    source: ClassVar[str] = ""
    """The paper or the publisher of the data."""
    reading: ClassVar[tuple[str, ...]] = ()
    """Parameters that only say where the rows are and how to read them. A cell's key holds the rows' content in their
    place: the same rows are the same task, whatever the file's path, column names and format."""

    @property
    def corpus(self) -> str:
        """The corpus of the texts; the report warns when an encoder was tuned on it."""
        return ""

    @property
    def key(self) -> str:
        """The task's name in records, tables and seeds, unique within a suite."""
        return self.name

    @property
    def identity(self) -> dict[str, Any]:
        """The part of a cell's key that, besides the rows, decides results: name and parameters. The kind, the head's
        size and the metrics stand in for the parameters of :attr:`reading`, which determine them."""
        parameters = {name: value for name, value in self.parameters.items() if name not in self.reading}
        derived = {"prediction": self.prediction, "outputs": self.outputs, "metrics": self.metrics}
        return {"name": self.name, "parameters": parameters, **(derived if self.reading else {})}

    @property
    def counted_spec(self) -> str:
        """The spec without the parameters of :attr:`reading`."""
        fields = parameter_fields(type(self))
        return as_spec(self.name, self.written(field for field in fields if field.name not in self.reading))

    @property
    def prediction(self) -> Kind:
        """The kind of label: a class, a real number, or any number of C labels."""
        raise NotImplementedError

    @property
    def outputs(self) -> int:
        """The size of the head: the number of classes or labels, or 1 for a real number."""
        raise NotImplementedError

    def load(self, data_dir: Path | None) -> Splits:
        """Return the task's rows.

        :param data_dir: the folder from ``--data-dir``, for tasks that read files.
        :raises UsageError: when the data is missing or unusable; the message names file, line and value.
        """
        raise NotImplementedError

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the task's metrics (see :mod:`mtlbench.problem.metrics`), the primary one first."""
        return DEFAULT_METRICS[self.prediction]

    def targets(self, splits: Splits, labels: NDArray[Any]) -> NDArray[Any]:
        """Return the targets of the loss: classes and labels unchanged, scores standardised.

        Scores are standardised by the training split's mean and standard deviation, so that the loss of a
        constant prediction is 1 whatever the label's unit. This does not change Pearson and Spearman correlations.

        :param splits: the task's rows.
        :param labels: (N,) or (N, C) labels as in :class:`Rows`.
        :raises UsageError: when all training scores are equal.
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
        """Return the mean loss of a batch, a scalar: cross entropy for classes, squared error for real numbers, and for
        labels the binary cross entropy averaged over rows and labels.

        :param outputs: (B, :attr:`outputs`) raw outputs of the head.
        :param targets: (B,) or (B, C) from :meth:`targets`.
        """
        from torch.nn import functional

        if self.prediction == "classification":
            return functional.cross_entropy(outputs, targets)
        if self.prediction == "multilabel":
            return functional.binary_cross_entropy_with_logits(outputs, targets)
        return functional.mse_loss(outputs.squeeze(-1), targets)
