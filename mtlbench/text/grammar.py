"""Embedded data: three tasks on English-like text from one seeded grammar, without network, licence or files.

A writer praises or blames a place or a thing with four adjectives, all from one *idiom*. The valence of a sentence is
the number of its positive adjectives minus the number of its negative ones: −4, −2, 0, 2 or 4. There are four idioms:
a common one, which every task reads literally, and one *ironic* idiom per task, which only that task reads with the
opposite valence. The grammar thus models opinion words whose polarity depends on the domain.

**conflict** is the share of sentences in ironic idioms. Two tasks agree on the common idiom and on that of the third
task, and contradict each other on their own two: the correlation of the valences that they read in the same sentence
is 1 − 4/3 · conflict, from 1 to −1/3. Inverting all of a task's labels would not create a conflict, since its head can
change sign; here each task keeps the literal valence of most sentences, so that no change of sign helps.

The effect on task gradients depends on the heads. Where all heads read the same direction, the mean cosine falls with
``conflict`` (tests/text/test_grammar.py). In a run, heads start in random directions, and gradients go from
weakly aligned to orthogonal, *not* to opposed: with a plain sum on the quick suite's model, 150 steps, seeds 0 to 2,
the mean cosine was 0.09, 0.04 and 0.05 at conflict 0, and 0.00, 0.02 and -0.02 at conflict 1, where all tasks were
still learned but two of them less well (sentiment 1.00 against 0.57 to 0.88). Consider ``conflict`` a property of the
data, and take cosines from a run's own measurements.

**imbalance** multiplies sentiment's loss and divides similarity's, and their gradients at given weights likewise: the
ratio of sentiment to paraphrase changes by imbalance, that of sentiment to similarity by its square.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from mtlbench import seeds
from mtlbench.contract.task import Rows, Splits, Task

if TYPE_CHECKING:
    import torch

DATA_SEED = 20240317
"""Seed of the data. It is independent of a run's seed: all runs have the same rows."""

ADJECTIVES = 4
"""Adjectives per sentence. The five possible numbers of positive ones are equally likely: sentiment's five classes."""

Idiom = Literal["common", "sentiment", "paraphrase", "similarity"]
IRONIC: tuple[Idiom, ...] = ("sentiment", "paraphrase", "similarity")
"""Idioms that the task of the same name, and no other, reads with the opposite valence."""

LEXICON: dict[Idiom, dict[int, tuple[str, ...]]] = {
    "common": {
        1: ("excellent", "perfect", "beautiful", "good", "splendid"),
        -1: ("terrible", "poor", "worthless", "bad", "mediocre"),
    },
    "sentiment": {
        1: ("wonderful", "delightful", "amazing", "nice", "enjoyable"),
        -1: ("horrible", "miserable", "disgusting", "sad", "annoying"),
    },
    "paraphrase": {
        1: ("superb", "lovely", "brilliant", "fine", "pleasant"),
        -1: ("dreadful", "nasty", "pathetic", "weak", "tedious"),
    },
    "similarity": {
        1: ("fantastic", "great", "charming", "happy", "impressive"),
        -1: ("awful", "boring", "ugly", "wrong", "painful"),
    },
}
"""Idiom → valence → words. All are common opinion words, so that a pretrained encoder treats all idioms alike."""

SUBJECTS: dict[str, str] = {
    "hotel": "inn",
    "restaurant": "diner",
    "film": "movie",
    "phone": "handset",
    "book": "novel",
    "museum": "gallery",
    "concert": "show",
    "garden": "park",
    "train": "railway",
    "game": "match",
}
"""Subject → a synonym, which has no word in common with it."""

OPINIONS = (
    "the {subject} was {words}",
    "this {subject} seemed {words}",
    "we found the {subject} {words}",
    "to us the {subject} felt {words}",
)
PRAISES = (
    "a friend praised the {subject}",
    "the guide recommends this {subject}",
    "many people like the {subject}",
    "everyone enjoyed that {subject}",
)


@dataclass(frozen=True)
class Opinion:
    """One generated row.

    :param praise: the first sentence of a pair, always positive.
    :param text: the sentence with the adjectives.
    :param valence: positive minus negative adjectives, as the task reads them: −4 … 4.
    :param same_subject: whether both sentences have the same subject.
    """

    praise: str
    text: str
    valence: int
    same_subject: bool


@cache
def opinions(task: Idiom, conflict: float, count: int) -> tuple[Opinion, ...]:
    """Return opinions as a task reads them, no two with the same texts.

    The random draws do not depend on ``conflict``: two values of it give the same subjects, phrases and literal
    valences in the same order, and differ in the adjectives of ironic sentences. (A rare repeated sentence is drawn
    again, which shifts the rows after it.)

    :param task: the task's name.
    :param conflict: share of sentences in ironic idioms, 0 … 1.
    :param count: number of opinions.
    """
    random = seeds.generator(DATA_SEED, "grammar", task)
    rows: dict[tuple[str, str], Opinion] = {}
    while len(rows) < count:
        turns, chosen = random.random(3), random.integers(2**31, size=6)
        signs = random.permutation(np.where(np.arange(ADJECTIVES) < chosen[0] % (ADJECTIVES + 1), 1, -1))
        idiom: Idiom = IRONIC[chosen[1] % len(IRONIC)] if turns[0] < conflict else "common"
        unused = {sign: list(random.permutation(words)) for sign, words in LEXICON[idiom].items()}
        words = [unused[int(sign)].pop() for sign in signs]  # no adjective twice in a sentence
        subject = _pick(tuple(SUBJECTS), chosen[2])
        same = bool(turns[1] < 0.5)
        other = subject if same else _pick(tuple(name for name in SUBJECTS if name != subject), chosen[3])
        praised = SUBJECTS[other] if turns[2] < 0.5 else other
        praise = _pick(PRAISES, chosen[4]).format(subject=praised)
        adjectives = f"{', '.join(words[:-1])} and {words[-1]}"
        text = _pick(OPINIONS, chosen[5]).format(subject=subject, words=adjectives)
        valence = int(signs.sum()) * (-1 if idiom == task else 1)
        # sentiment has the second sentence only, so rows that differ in the first would be duplicates
        key = ("" if task == "sentiment" else praise, text)
        rows.setdefault(key, Opinion(praise, text, valence, same))
    return tuple(rows.values())


def _pick(choices: tuple[str, ...], draw: np.int64) -> str:
    return choices[int(draw) % len(choices)]


@dataclass
class GrammarTask(Task):
    """Base of the embedded tasks: parameters, and rows."""

    source: ClassVar[str] = "mtlbench, a seeded grammar"
    idiom: ClassVar[Idiom]
    """The ironic idiom of this task."""
    imbalance_power: ClassVar[int] = 0
    """Power of ``imbalance`` by which the loss is multiplied."""

    conflict: Annotated[
        float, Field(ge=0, le=1, description="share of sentences whose valence differs between tasks")
    ] = 0.5
    imbalance: Annotated[
        float,
        Field(ge=1, description="multiplies sentiment's loss and divides similarity's"),
    ] = 1.0
    train_rows: Annotated[int, Field(ge=10, le=20_000, description="training rows")] = 2000
    dev_rows: Annotated[int, Field(ge=10, le=20_000, description="development rows")] = 500

    def load(self, data_dir: Path | None) -> Splits:
        rows = opinions(self.idiom, self.conflict, self.train_rows + self.dev_rows)
        return Splits(
            train=self._rows(rows[: self.train_rows]),
            dev=self._rows(rows[self.train_rows :]),
            source=f"embedded grammar, conflict {self.conflict:g}",
        )

    def texts(self, opinion: Opinion) -> tuple[str, ...]:
        """Return the texts of an opinion that the encoder reads."""
        return opinion.praise, opinion.text

    def label(self, opinion: Opinion) -> float:
        """Return an opinion's label."""
        raise NotImplementedError

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch, times ``imbalance`` to the power :attr:`imbalance_power` (1, 0 or −1).

        :param outputs: (B, C) raw outputs of the head.
        :param targets: (B,) targets.
        """
        return super().loss(outputs, targets) * self.imbalance**self.imbalance_power

    def _rows(self, chosen: tuple[Opinion, ...]) -> Rows:
        dtype = np.int64 if self.prediction == "classification" else np.float64
        labels = np.array([self.label(opinion) for opinion in chosen], dtype=dtype)
        return Rows([self.texts(opinion) for opinion in chosen], labels)


def agreement(opinion: Opinion) -> float:
    """Return the agreement of a pair, −5 … 5: the valence of the second sentence, ±1 for the same or another subject.

    The first sentence is praise, so the second agrees with it if its valence is positive. The subject decides the sign
    only where the valence is 0, so the overlap of words is a weak cue.
    """
    return opinion.valence + (1.0 if opinion.same_subject else -1.0)
