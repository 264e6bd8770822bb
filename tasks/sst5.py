"""SST-5: sentiment of a sentence in five classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mtlbench.contract.task import Splits, Task
from mtlbench.text.corpora import Corpus
from mtlbench.text.labels import Classes

SST = Corpus(
    files=("ids-sst-train.csv", "ids-sst-dev.csv"),
    file_columns=("sentence", "sentiment"),
    hub=("SetFit/sst5", None),
    hub_columns=("text", "label"),
    labels=Classes(5),
)


@dataclass
class SST5(Task):
    """Sentiment of a sentence from a film review: 0 (very negative) to 4 (very positive).

    8,544 training and 1,101 development sentences: the official splits, identical on the hub and in the CS224N files.
    Labels of phrases within sentences are not used.
    """

    name = "sst5"
    corpus = "sst"
    source = "Socher et al., Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank, EMNLP 2013"
    prediction = "classification"
    outputs = 5

    def load(self, data_dir: Path | None) -> Splits:
        return SST.load(data_dir)
