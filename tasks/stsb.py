"""STS-B: similarity of two sentences, from 0 to 5."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mtlbench.contract.task import Splits, Task
from mtlbench.text.corpora import Corpus
from mtlbench.text.labels import Scores

if TYPE_CHECKING:
    import torch

STS = Corpus(
    files=("sts-train.csv", "sts-dev.csv"),
    file_columns=("sentence1", "sentence2", "similarity"),
    hub=("nyu-mll/glue", "stsb"),
    hub_columns=("sentence1", "sentence2", "label"),
    labels=Scores(0.0, 5.0),
)


@dataclass
class STSB(Task):
    """Semantic similarity of two sentences: a real number from 0 (unrelated) to 5 (the same meaning).

    CS224N's files re-split all 8,628 pairs (6,040 and 863 of them), so scores on them are not comparable to scores on
    GLUE's split on the hub (5,749 and 1,500). Labels are real numbers, not classes: most are not whole.
    """

    name = "stsb"
    corpus = "stsb"
    source = "Cer et al., SemEval-2017 Task 1: Semantic Textual Similarity, SemEval 2017; Wang et al., GLUE, ICLR 2019"
    prediction = "regression"
    outputs = 1

    target: Annotated[
        Literal["standardised", "raw"],
        Field(
            description="targets of the loss: scores standardised by the training split, or raw scores from 0 to 5, "
            "whose loss starts about ten times larger than a cross entropy: the problem of unequal loss scales",
        ),
    ] = "standardised"
    loss_function: Annotated[
        Literal["mse", "pearson"],
        Field(
            description="mean squared error, or 1 minus the batch's Pearson correlation, which ignores the scale",
        ),
    ] = "mse"

    def load(self, data_dir: Path | None) -> Splits:
        return STS.load(data_dir)

    def targets(self, splits: Splits, labels: NDArray[Any]) -> NDArray[Any]:
        return labels.astype(np.float32) if self.target == "raw" else super().targets(splits, labels)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if self.loss_function == "mse":
            return super().loss(outputs, targets)
        from torch.nn import functional

        scores = outputs.squeeze(-1)  # Pearson is the cosine of the centred vectors; eps keeps a constant batch finite
        return 1 - functional.cosine_similarity(scores - scores.mean(), targets - targets.mean(), dim=0, eps=1e-6)
