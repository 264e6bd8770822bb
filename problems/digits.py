"""Two scanned digits on one canvas: the MultiMNIST experiment at the size of scikit-learn's packaged scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mtlbench import Data, Examples, Problem, Target, seeds

if TYPE_CHECKING:
    import torch

SIDE = 8
"""Height and width of a scan in pixels."""
SCANS = {"train": 1000, "dev": 400, "test": 397}
"""Scans of each split: all 1797."""
COARSE = 4
"""Height and width at which ``reconstruction`` returns a scan."""


@dataclass
class Digits(Problem):
    """Two overlapping scanned digits: which is on the left, which on the right, and three tasks about both.

    The left scan lies in the upper left corner of the canvas, the right one in the lower right corner; where they
    overlap, the darker pixel counts. The tasks:

    - ``left`` and ``right``: the digit, as in MultiMNIST;
    - ``sum`` of the two digits, a real number, because 9 is closer to 10 than to 18;
    - ``parity``: whether the sum is odd, which is hard, because both digits have to be right;
    - ``reconstruction``: both scans, each at 4 × 4 pixels. Its loss is the sum over the 32 pixels, not their mean, as
      in autoencoders: it starts at 32, where the other losses start at 0.7 to 2.3.

    The 1797 scans are split before they are paired, so no scan is in two splits. Development and test pairs are made of
    400 scans each: a score's error across scans is larger than that across pairs, but the same for all methods.

    The trunk is one convolution and a linear layer, whose units cannot die, or a seed would decide more than a method.
    ``width`` is its number of features, over which the tasks compete.
    """

    name = "digits"
    source = (
        "scans: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998, as packaged by scikit-learn; "
        "two digits on one canvas: Sabour et al., Dynamic Routing Between Capsules, NeurIPS 2017; with one task a "
        "digit: Sener and Koltun, Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018"
    )

    overlap: Annotated[
        int, Field(ge=0, lt=SIDE, description="rows and columns of pixels in which the scans overlap")
    ] = 6
    rows: Annotated[int, Field(ge=10, le=200_000, description="training pairs")] = 20_000
    dev_rows: Annotated[int, Field(ge=10, le=200_000, description="development pairs, and as many test pairs")] = 5000
    width: Annotated[int, Field(ge=1, le=4096, description="features that the heads read")] = 16

    def targets(self) -> Sequence[Target]:
        return [
            Target("left", "classification", outputs=10),
            Target("right", "classification", outputs=10),
            Target("sum", "regression"),
            Target("parity", "classification", outputs=2),
            Target("reconstruction", "regression", outputs=2 * COARSE**2),
        ]

    def load(self, data_dir: Path | None) -> Data:
        from sklearn.datasets import load_digits

        packaged = load_digits()
        scans, digits = (packaged.images / 16.0).astype(np.float32), packaged.target
        pairs = scan_pairs({"train": self.rows, "dev": self.dev_rows, "test": self.dev_rows})
        splits = {split: self._examples(scans[chosen], digits[chosen]) for split, chosen in pairs.items()}
        return Data(**splits, source="scikit-learn's packaged scans of digits, in pairs")

    def _examples(self, scans: NDArray[np.float32], digits: NDArray[np.int64]) -> Examples:
        """Return pairs of scans, (N, 2, 8, 8), and of digits, (N, 2), as rows."""
        block = SIDE // COARSE
        coarse = scans.reshape(-1, 2, COARSE, block, COARSE, block).mean(axis=(3, 5))
        total = digits.sum(axis=1)
        labels: dict[str, NDArray[Any]] = {
            "left": digits[:, 0],
            "right": digits[:, 1],
            "sum": total.astype(np.float32),
            "parity": total % 2,
            "reconstruction": coarse.reshape(len(scans), -1),
        }
        return Examples(overlaid(scans, self.overlap)[:, None], labels)

    def model(self, targets: Sequence[Target]) -> torch.nn.Module:
        from torch import nn

        canvas = 2 * SIDE - self.overlap
        places = (canvas - 2) // 2 + 1  # of a 4 × 4 kernel that moves by 2, with 1 pixel of padding
        trunk = nn.Sequential(
            nn.Conv2d(1, 16, kernel_size=4, stride=2, padding=1),
            nn.LeakyReLU(0.1),
            nn.Flatten(),
            nn.Linear(16 * places**2, self.width),
            nn.LeakyReLU(0.1),
        )
        heads = nn.ModuleDict({target.name: nn.Linear(self.width, target.outputs) for target in targets})
        return nn.ModuleDict({"trunk": trunk, "heads": heads})

    def shared(self, model: Any) -> torch.nn.Module:
        return model["trunk"]

    def last_shared_layer(self, model: Any) -> torch.nn.Module:
        return model["trunk"][3]

    def representation(self, model: Any) -> torch.nn.Module:
        return model["trunk"]

    def outputs(self, model: Any, inputs: Any, tasks: Sequence[str]) -> Mapping[str, torch.Tensor]:
        features = model["trunk"](inputs)
        return {task: model["heads"][task](features) for task in tasks}

    def loss(self, target: Target, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch; that of ``reconstruction`` is a sum over pixels."""
        return super().loss(target, outputs, labels) * (outputs.shape[1] if target.name == "reconstruction" else 1)


def scan_pairs(rows: Mapping[str, int]) -> dict[str, NDArray[np.int64]]:
    """Draw pairs of scans, always the same ones: of two numbers of rows, the smaller one gives the first pairs.

    :param rows: split → N, its number of pairs.
    :returns: split → (N, 2) numbers of the left and the right scan. No scan is in two splits.
    """
    order = seeds.generator("digits", "scans").permutation(sum(SCANS.values()))
    ends = np.cumsum(list(SCANS.values()))
    parts = dict(zip(SCANS, np.split(order, ends[:-1]), strict=True))
    return {
        split: parts[split][seeds.generator("digits", "pairs", split).integers(SCANS[split], size=(count, 2))]
        for split, count in rows.items()
    }


def overlaid(scans: NDArray[np.float32], overlap: int) -> NDArray[np.float32]:
    """Return canvases with two scans each.

    :param scans: (N, 2, 8, 8) the left and the right scan, from 0, white, to 1, black.
    :param overlap: rows and columns of pixels in which they overlap.
    :returns: (N, S, S) canvases with S = 16 − overlap.
    """
    side = 2 * SIDE - overlap
    canvas = np.zeros((len(scans), side, side), np.float32)
    canvas[:, :SIDE, :SIDE] = scans[:, 0]
    corner = canvas[:, -SIDE:, -SIDE:]
    np.maximum(corner, scans[:, 1], out=corner)
    return canvas
