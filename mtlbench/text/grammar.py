"""Embedded text: three English-looking tasks from one seeded grammar. No network, no licence, no files.

A writer praises or blames a place or a thing with four adjectives, all from one *idiom*. The valence of a sentence
is the number of its positive adjectives minus that of its negative ones: −4, −2, 0, 2 or 4. There are four idioms:
a common one, which every task reads literally, and one *ironic* idiom per task, which that task alone reads with
the opposite valence. This is the domain-dependent polarity of opinion words, drawn as a grammar.

**conflict** is the share of sentences written in ironic idioms. Any two tasks agree on the common idiom and on the
third task's, and contradict each other on their own two: the correlation of what they read into the same sentence
is 1 − 4/3 · conflict, from 1 to −1/3. Inverting all of a task's labels would make no conflict, since its head can
change sign; here each task keeps the literal valence of most sentences, so that no change of sign helps.

What that does to task gradients depends on the heads. Where all heads read one direction, the mean cosine falls with
``conflict`` (tests/test_grammar_tasks.py). In a run the heads start in random directions, and gradients go from weakly
aligned to orthogonal, *not* to opposed: with a plain sum on the quick suite's model, 150 steps, seeds 0 to 2, the mean
cosine was 0.09, 0.04 and 0.05 at conflict 0, and 0.00, 0.02 and -0.02 at conflict 1, where all tasks were still learned
but two of them less well (sentiment 1.00 against 0.57 to 0.88). Read ``conflict`` as a property of the data, and the
cosine from a run's own measurements.

**imbalance** multiplies sentiment's loss and divides similarity's, and their gradients at given weights with them:
the ratio of sentiment to paraphrase moves by imbalance, that of sentiment to similarity by its square.
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
"""The seed of the data. Not a run's seed: all runs see the same rows."""

ADJECTIVES = 4
"""Adjectives a sentence: five equally likely numbers of positive ones, hence the five classes of sentiment."""

Idiom = Literal["common", "sentiment", "paraphrase", "similarity"]
IRONIC: tuple[Idiom, ...] = ("sentiment", "paraphrase", "similarity")
"""The idioms that one task, the one of the same name, reads with the opposite valence."""

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
"""Idiom → valence of a word → words. All are plain opinion words, so that an encoder starts out reading them alike."""

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
"""A subject and its synonym, which says the same with no word in common."""

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

    :param praise: the first sentence of a pair, always in favour.
    :param text: the sentence with the adjectives.
    :param valence: positive minus negative adjectives as the task reads them: −4 … 4.
    :param same_subject: whether both sentences speak of one subject.
    """

    praise: str
    text: str
    valence: int
    same_subject: bool


@cache
def opinions(task: Idiom, conflict: float, count: int) -> tuple[Opinion, ...]:
    """Return ``count`` opinions as a task reads them, no two with the same texts.

    Every random draw is made whatever ``conflict`` is: two values of it give the same subjects, phrasing and literal
    valences in the same order, and differ in the adjectives of the sentences that turn ironic. (A rare repeated
    sentence is drawn again, and shifts the rows after it.)
    """
    random = seeds.generator(DATA_SEED, "grammar", task)
    found: dict[tuple[str, str], Opinion] = {}
    while len(found) < count:
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
        listed = f"{', '.join(words[:-1])} and {words[-1]}"
        text = _pick(OPINIONS, chosen[5]).format(subject=subject, words=listed)
        valence = int(signs.sum()) * (-1 if idiom == task else 1)
        # Sentiment shows the second sentence alone: two rows that differ in the first would be one row there.
        key = ("" if task == "sentiment" else praise, text)
        found.setdefault(key, Opinion(praise, text, valence, same))
    return tuple(found.values())


def _pick(choices: tuple[str, ...], draw: np.int64) -> str:
    return choices[int(draw) % len(choices)]


@dataclass
class GrammarTask(Task):
    """Base of the embedded tasks: their two knobs, their sizes, and their rows."""

    source: ClassVar[str] = "mtlbench, a seeded grammar"
    idiom: ClassVar[Idiom]
    """The ironic idiom of this task."""
    imbalance_power: ClassVar[int] = 0
    """The loss is multiplied by ``imbalance`` to this power."""

    conflict: Annotated[
        float, Field(ge=0, le=1, description="share of sentences whose valence the tasks read differently")
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
        """Return what the encoder sees of an opinion."""
        return opinion.praise, opinion.text

    def label(self, opinion: Opinion) -> float:
        """Return an opinion's label."""
        raise NotImplementedError

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch, times ``imbalance`` to the task's own power (1, 0 or −1)."""
        return super().loss(outputs, targets) * self.imbalance**self.imbalance_power

    def _rows(self, chosen: tuple[Opinion, ...]) -> Rows:
        kind = np.int64 if self.prediction == "classification" else np.float64
        return Rows([self.texts(one) for one in chosen], np.array([self.label(one) for one in chosen], dtype=kind))


def agreement(opinion: Opinion) -> float:
    """Return how far a pair says the same, −5 … 5: the second sentence's valence, and ±1 for the same subject or not.

    The first sentence praises, so a positive valence of the second agrees with it. Only where the valence is 0 does
    the subject decide the sign, so the overlap of words is a weak cue.
    """
    return opinion.valence + (1.0 if opinion.same_subject else -1.0)
