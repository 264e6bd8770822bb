"""Similarity of two generated sentences, 0 to 5: the embedded counterpart of the STS benchmark."""

from __future__ import annotations

from dataclasses import dataclass

from mtlbench.contract.task import Kind
from mtlbench.text.grammar import ADJECTIVES, GrammarTask, Opinion, agreement


@dataclass
class Similarity(GrammarTask):
    """Similarity of a generated opinion and the praise before it, from 0 (opposite) to 5 (equivalent)."""

    name = "similarity"
    idiom = "similarity"
    imbalance_power = -1

    @property
    def prediction(self) -> Kind:
        return "regression"

    @property
    def outputs(self) -> int:
        return 1

    def label(self, opinion: Opinion) -> float:
        return 2.5 * (1.0 + agreement(opinion) / (ADJECTIVES + 1.0))
