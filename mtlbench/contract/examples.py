"""Rows of a problem: inputs of any kind, and labels for each task."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtlbench.errors import UsageError

if TYPE_CHECKING:
    import torch


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
