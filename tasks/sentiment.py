"""Sentiment of a generated sentence in five classes: the embedded counterpart of SST-5."""

from __future__ import annotations

from dataclasses import dataclass

from mtlbench.contract.task import Kind
from mtlbench.text.grammar import ADJECTIVES, GrammarTask, Opinion


@dataclass
class Sentiment(GrammarTask):
    """Sentiment of a generated sentence, from very negative (0) to very positive (4)."""

    name = "sentiment"
    idiom = "sentiment"
    imbalance_power = 1

    @property
    def prediction(self) -> Kind:
        return "classification"

    @property
    def outputs(self) -> int:
        return ADJECTIVES + 1

    def texts(self, opinion: Opinion) -> tuple[str, ...]:
        return (opinion.text,)

    def label(self, opinion: Opinion) -> float:
        return (opinion.valence + ADJECTIVES) // 2
