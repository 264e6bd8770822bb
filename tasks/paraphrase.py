"""Paraphrase detection on generated sentences: the embedded counterpart of Quora's question pairs."""

from __future__ import annotations

from dataclasses import dataclass

from mtlbench.contract.task import Kind
from mtlbench.text.grammar import GrammarTask, Opinion, agreement


@dataclass
class Paraphrase(GrammarTask):
    """Whether a generated opinion agrees with the praise before it (1) or not (0)."""

    name = "paraphrase"
    idiom = "paraphrase"

    @property
    def prediction(self) -> Kind:
        return "classification"

    @property
    def outputs(self) -> int:
        return 2

    def label(self, opinion: Opinion) -> float:
        return float(agreement(opinion) > 0)
