"""A statement: question, answer, sentences with their numbers, and the rule that wrote them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mtlbench.map.cells import Setting
from mtlbench.map.result import Study
from mtlbench.map.tally import Comparisons, Shown, Tally, candidates

Answer = Literal["yes", "no", "both", "open"]
"""``open``: the data do not tell, because nothing is separable."""
MOST_NAMED = 6
"""Most single gains that a sentence lists."""
MANY_CELLS = 10
"""From this many cells on, a single separable one does not count: up to 5 % of those found are expected to be false."""
SINGLE = f"A single one of {MANY_CELLS} or more cells does not count."
SIDES = (
    "Yes: separably better in some cells and worse in none. No: worse in some and better in none. Otherwise it depends"
    f" on the cell, or nothing is separable. {SINGLE}"
)


@dataclass(frozen=True)
class Statement:
    """A conclusion that was computed.

    :param name: short name, for links.
    :param question: what is asked.
    :param answer: the answer.
    :param short: the answer in one sentence with its most important numbers.
    :param text: the numbers: gains with intervals, counts, seeds and trials.
    :param rule: how the answer follows from the numbers.
    """

    name: str
    question: str
    answer: Answer
    short: str
    text: str
    rule: str


def enough(won: int, cells: int) -> bool:
    """Return whether as many separable cells are evidence, rather than what false discoveries may explain.

    :param won: separable cells.
    :param cells: cells compared.
    """
    return won >= (2 if cells >= MANY_CELLS else 1)


def answer_of(tally: Tally) -> Answer:
    """Return the answer to "is it better?".

    :param tally: cells won and lost.
    """
    won, lost = enough(tally.won, tally.cells), enough(tally.lost, tally.cells)
    if won and lost:
        return "both"
    return "yes" if won else "no" if lost else "open"


def groups(tallies: Mapping[str, Tally]) -> dict[Answer, list[str]]:
    """Return methods by the answer to "is it better?".

    :param tallies: method → its tally.
    """
    found: dict[Answer, list[str]] = {"yes": [], "both": [], "open": [], "no": []}
    for method, tally in tallies.items():
        found[answer_of(tally)].append(method)
    return found


def grouped(tallies: Mapping[str, Tally]) -> str:
    """Return a sentence that sorts methods into those that win, lose, do both, or neither.

    :param tallies: method → its tally, over the same cells.
    """
    by_answer = groups(tallies)
    words: dict[Answer, str] = {
        "yes": "better",
        "both": "better and worse",
        "no": "worse",
        "open": "neither",
    }
    return "; ".join(
        f"{text}: {', '.join(f'{method} ({tallies[method].score})' for method in by_answer[kind])}"
        for kind, text in words.items()
        if by_answer[kind]
    )


def named(gains: Iterable[Shown]) -> str:
    """Return gains with their methods and intervals, the largest first.

    :param gains: one or more gains.
    """
    ranked = sorted(gains, key=lambda gain: -gain.mean)
    shown = [f"{gain.gain.method} {gain.text}" for gain in ranked[:MOST_NAMED]]
    more = len(ranked) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def span(gains: Sequence[Shown]) -> str:
    """Return the smallest and the largest of some gains, with methods and intervals.

    :param gains: one or more gains.
    """
    ranked = sorted(gains, key=lambda gain: gain.mean)
    ends = [ranked[0], ranked[-1]] if len(ranked) > 1 else ranked
    return " to ".join(f"{end.gain.method} {end.text}" for end in ends)


def number_of(values: Iterable[int], word: str) -> str:
    """Return a count that may differ between cells, such as ``4 to 5 trials``.

    :param values: one or more counts.
    :param word: the noun in the singular.
    """
    found = sorted(set(values))
    text = f"{found[0]}" if len(found) == 1 else f"{found[0]} to {found[-1]}"
    return f"{text} {word}" + ("" if text == "1" else "s")


def best_sum(study: Study) -> str:
    """Return the strongest equal sum of a study: that with the best step rule where all three were trained.

    :param study: the study.
    """
    return next((c.spec for c in study.comparators if c.kind == "step-rules"), "sum")


def sides(gains: Sequence[Shown]) -> str:
    """Return seeds and the trials of each side.

    :param gains: one or more gains.
    """
    trials = number_of((gain.gain.trials for gain in gains), "trial")
    against = number_of((gain.gain.comparator_trials for gain in gains), "trial")
    return f"{number_of((gain.gain.seeds for gain in gains), 'seed')}, {trials} against {against}"


def in_cell(comparisons: Comparisons, study: Study, comparator: str, setting: Setting) -> list[Shown]:
    """Return the gains of the methods in one cell, without the controls.

    :param comparisons: gains of the map.
    :param study: the study.
    :param comparator: spec of the comparator.
    :param setting: the cell.
    """
    methods = candidates(study)
    found = comparisons.gains(study.name, comparator) or ()
    return [gain for gain in found if gain.gain.setting == setting and gain.gain.method in methods]
