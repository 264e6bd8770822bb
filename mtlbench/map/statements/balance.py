"""Statements about loss and noise ratios: is there something to gain, and does it change its sign?"""

from __future__ import annotations

from mtlbench.map.cells import Setting
from mtlbench.map.statements.statement import (
    SIDES,
    SINGLE,
    Statement,
    answer_of,
    best_sum,
    named,
    sides,
    span,
)
from mtlbench.map.tally import (
    NORMALISED,
    Comparisons,
    Shown,
    Tally,
    candidates,
    count_of,
    joined,
    phrase,
    plural,
    points,
)

MOST_DETAILED = 4
"""Most methods that a sentence describes one by one."""
UNEQUAL = 10.0
"""Loss ratio from which on, either way, losses count as unequal."""


def balanced(comparisons: Comparisons) -> Statement | None:
    """Ask whether there is something to gain with equal losses and equal noise.

    :param comparisons: gains of the map.
    """
    study = comparisons.headline
    if study is None:
        return None
    comparator = best_sum(study)
    gains = [
        gain
        for gain in comparisons.gains(study.name, comparator) or ()
        if gain.gain.method in candidates(study) and _ratio(gain.gain.setting) == gain.gain.setting.noise_ratio == 1.0
    ]
    if not gains:
        return None
    won, lost = [gain for gain in gains if gain.won], [gain for gain in gains if gain.lost]
    short = (
        f"With equal losses and equal noise, {count_of(len(won), len(gains))} separably better than"
        f" {phrase(comparator)}, and {len(lost) or 'none'} worse."
    )
    text = f"Gains range from {span(gains)}; {sides(gains)}."
    text += f" Better: {named(won)}." if won else ""
    text += f" Worse: {named(lost)}." if lost else ""
    return Statement(
        "balanced",
        "Is there anything to gain where losses and noise are equal?",
        "yes" if won else "no",
        short,
        text,
        "Yes if a method is separably better in that cell, otherwise no.",
    )


def normalisation(comparisons: Comparisons) -> Statement | None:
    """Ask whether normalising task gradients, without surgery, beats the equal sum under unequal losses.

    :param comparisons: gains of the map.
    """
    study = comparisons.headline
    if study is None:
        return None
    found = comparisons.of(study.name, "sum", NORMALISED)
    gains = [g for s, g in found.items() if s.noise_ratio == 1.0 and max(_ratio(s), 1.0 / _ratio(s)) >= UNEQUAL]
    if not gains:
        return None
    tally = Tally.of(gains)
    cells = [f"{gain.text} at loss ratio {gain.gain.setting.loss_ratio:g}" for gain in gains]
    return Statement(
        "normalisation",
        "Where losses are unequal, is it enough to normalise the tasks' gradients?",
        answer_of(tally),
        f"With losses unequal by {UNEQUAL:g} or more and equal noise, normalising the gradients alone is separably"
        f" better than the equal sum in {tally.won or 'none'} of {plural(tally.cells, 'cell')}, and worse in"
        f" {tally.lost or 'none'}.",
        f"{NORMALISED}: {', '.join(cells)}; {sides(gains)}.",
        SIDES,
    )


def sign(comparisons: Comparisons) -> Statement | None:
    """Ask whether a method helps in one part of the map and harms in another.

    :param comparisons: gains of the map.
    """
    study = comparisons.headline
    if study is None or not comparisons.gains(study.name, "sum"):
        return None
    tallies = comparisons.tallies(study.name, "sum")
    tested = [method for method in candidates(study) if method in tallies]
    turning = [method for method in tested if answer_of(tallies[method]) == "both"]
    turning.sort(key=lambda method: -min(tallies[method].won, tallies[method].lost))
    parts = []
    for method in turning[:MOST_DETAILED]:
        gains = list(comparisons.of(study.name, "sum", method).values())
        sides = [[g for g in gains if g.won], [g for g in gains if g.lost]]
        where = [f"{len(side)} (median loss ratio {_middle(side):g})" for side in sides]
        extremes = f"{min(gains, key=lambda g: g.mean).text} to {max(gains, key=lambda g: g.mean).text}"
        parts.append(f"{method} wins {where[0]} and loses {where[1]} of {len(gains)} cells, {extremes}")
    ranges = "; ".join(
        f"{m} {tallies[m].score}, {points(tallies[m].least)} to {points(tallies[m].most)}" for m in tested
    )
    listed = "; ".join(parts) if parts else f"Won/lost and range of gains: {ranges}"
    return Statement(
        "sign",
        "Does a method help in one part of the map and harm in another?",
        "yes" if turning else "no",
        f"Against the equal sum, {count_of(len(turning), len(tested))} separably better in some cells and worse in"
        " others" + (f": {joined(turning)}." if turning else "."),
        f"{listed}. The last task is the noisier one: a loss ratio above 1 makes it the louder one too.",
        "Yes if a method is separably better than the equal sum in some cells and worse in others, otherwise no."
        f" {SINGLE}",
    )


def _ratio(setting: Setting) -> float:
    return float(setting.loss_ratio)


def _middle(gains: list[Shown]) -> float:
    ratios = sorted(gain.gain.setting.loss_ratio for gain in gains)
    return float(ratios[len(ratios) // 2])
