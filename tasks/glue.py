"""The nine tasks of GLUE, with GLUE's metrics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from mtlbench.contract.task import Kind, Splits, Task
from mtlbench.errors import UsageError
from mtlbench.text.hub_reader import read_hub
from mtlbench.text.labels import Classes, Labels, Scores


class GlueEntry(NamedTuple):
    """One task of GLUE.

    :param columns: names of the columns of its one or two texts.
    :param labels: how labels are read.
    :param metrics: metrics of table 1 of the GLUE paper, the primary one first.
    :param corpus: the corpus of the texts, where encoders are known to have been tuned on it.
    """

    columns: tuple[str, ...]
    labels: Labels
    metrics: tuple[str, ...]
    corpus: str = ""


PARTS = {
    "cola": GlueEntry(("sentence",), Classes(2), ("matthews",)),
    "sst2": GlueEntry(("sentence",), Classes(2), ("accuracy",), "sst"),
    "mrpc": GlueEntry(("sentence1", "sentence2"), Classes(2), ("accuracy", "f1")),
    "stsb": GlueEntry(("sentence1", "sentence2"), Scores(0.0, 5.0), ("pearson", "spearman"), "stsb"),
    "qqp": GlueEntry(("question1", "question2"), Classes(2), ("accuracy", "f1"), "quora"),
    "mnli": GlueEntry(("premise", "hypothesis"), Classes(3), ("accuracy",)),
    "qnli": GlueEntry(("question", "sentence"), Classes(2), ("accuracy",)),
    "rte": GlueEntry(("sentence1", "sentence2"), Classes(2), ("accuracy",)),
    "wnli": GlueEntry(("sentence1", "sentence2"), Classes(2), ("accuracy",)),
}


@dataclass
class Glue(Task):
    """A task of GLUE, such as ``glue[task=mrpc]``, from the Hugging Face hub.

    Training rows come from the split ``train``, development rows from ``validation``; the test split, whose labels are
    hidden, is not used. Metrics are GLUE's: Matthews correlation for CoLA, Pearson and Spearman correlation for STS-B,
    accuracy for the others, and also F1 for MRPC and QQP.
    """

    name = "glue"
    source = (
        "Wang et al., GLUE: A Multi-Task Benchmark and Analysis Platform for Natural Language Understanding, ICLR 2019"
    )

    task: Annotated[
        Literal["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"],
        Field(description="which task"),
    ]
    mismatched: Annotated[
        bool, Field(description="use MNLI's development rows from genres that are not in its training rows")
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mismatched and self.task != "mnli":
            raise UsageError(f"task glue: mismatched=true is for task=mnli, not {self.task}")

    @property
    def part(self) -> GlueEntry:
        """Columns, labels, metrics and corpus of the task."""
        return PARTS[self.task]

    @property
    def key(self) -> str:
        return f"{self.task}-mm" if self.mismatched else self.task

    @property
    def corpus(self) -> str:
        return self.part.corpus

    @property
    def prediction(self) -> Kind:
        return self.part.labels.prediction

    @property
    def outputs(self) -> int:
        return self.part.labels.outputs

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.part.metrics

    def load(self, data_dir: Path | None) -> Splits:
        dev = "validation"
        if self.task == "mnli":
            dev += "_mismatched" if self.mismatched else "_matched"
        train, dev_rows = read_hub(
            "nyu-mll/glue",
            self.task,
            ("train", dev),
            self.part.columns,
            ["label"],
            self.part.labels,
            instead="read your own files with the task table",
        )
        return Splits(train, dev_rows, source=f"Hugging Face hub nyu-mll/glue/{self.task}, train and {dev}")
