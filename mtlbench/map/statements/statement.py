"""A statement: question, answer, sentences with their numbers, and the rule that wrote them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mtlbench.map.tally import Shown, Tally

Answer = Literal["yes", "no", "both", "open"]
"""``open``: the data do not tell, because nothing is separable."""
MOST_NAMED = 6
"""Most single gains that a sentence lists."""
SIDES = (
    "Yes: separably better in at least one cell and worse in none. No: worse in at least one and better in none. "
    "Otherwise it depends on the cell, or nothing is separable."
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


def answer_of(won: int, lost: int) -> Answer:
    """Return the answer to "is it better?" from counts of cells.

    :param won: cells in which it is separably better.
    :param lost: cells in which it is separably worse.
    """
    if won and lost:
        return "both"
    return "yes" if won else "no" if lost else "open"


def groups(tallies: Mapping[str, Tally]) -> dict[Answer, list[str]]:
    """Return methods by the answer to "is it better?".

    :param tallies: method → its tally.
    """
    found: dict[Answer, list[str]] = {"yes": [], "both": [], "open": [], "no": []}
    for method, tally in tallies.items():
        found[answer_of(tally.won, tally.lost)].append(method)
    return found


def grouped(tallies: Mapping[str, Tally]) -> str:
    """Return a sentence that sorts methods into those that win, lose, do both, or neither.

    :param tallies: method → its tally, over the same cells.
    """
    by_answer = groups(tallies)
    words: dict[Answer, str] = {
        "yes": "better in some cells and worse in none",
        "both": "better in some and worse in others",
        "no": "worse in some and better in none",
    }
    parts = [
        f"{text}: " + ", ".join(f"{method} ({tallies[method].score})" for method in by_answer[kind])
        for kind, text in words.items()
        if by_answer[kind]
    ]
    if by_answer["open"]:
        parts.append(f"no separable cell: {', '.join(by_answer['open'])}")
    return "; ".join(parts)


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
