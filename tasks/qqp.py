"""QQP: whether two questions are duplicates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mtlbench.contract.task import Splits, Task
from mtlbench.text.corpora import Corpus
from mtlbench.text.labels import Classes

QUORA = Corpus(
    files=("quora-train.csv", "quora-dev.csv"),
    file_columns=("sentence1", "sentence2", "is_duplicate"),
    hub=("nyu-mll/glue", "qqp"),
    hub_columns=("question1", "question2", "label"),
    labels=Classes(2),
)


@dataclass
class QQP(Task):
    """Paraphrase detection on pairs of questions from Quora: 1 (duplicates) or 0.

    CS224N has its own split, which is not comparable to GLUE's split on the hub (363,846 and 40,430 pairs). Pairs of
    the training and the development split share questions. Two rows of the CS224N development file have missing fields
    and are skipped. ``all-MiniLM-L6-v2`` was tuned on this corpus, so its scores do not show transfer.
    """

    name = "qqp"
    corpus = "quora"
    source = (
        "Iyer, Dandekar and Csernai, First Quora Dataset Release: Question Pairs, 2017; on the hub as in "
        "Wang et al., GLUE, ICLR 2019"
    )
    prediction = "classification"
    outputs = 2

    def load(self, data_dir: Path | None) -> Splits:
        return QUORA.load(data_dir)
