"""Panels of every method over two knobs: against all comparators, or for each slice of a study."""

from __future__ import annotations

from functools import partial
from typing import Final

from mtlbench.map.figures.figure import MapFigure
from mtlbench.map.figures.heat import HeatRow, draw_heat
from mtlbench.map.layout import Layout, layout
from mtlbench.map.result import Study
from mtlbench.map.statements.statement import grouped
from mtlbench.map.tally import NORMALISED, Comparisons, candidates, default_comparator, phrase
from mtlbench.report.figures.figure import Figure

OVERVIEW: Final = "map-overview"
"""Name of the figure over all comparators."""
ROWS: Final = ("sum", "step-rules", NORMALISED, "fixed[trials=8]", "fixed[trials=all]", "single-task")
"""The comparators of the overview, where a study has them."""
ROW_WORDS: Final = {
    "sum": "equal sum",
    "step-rules": "equal sum with\nbest of 3 step rules",
    NORMALISED: "normalisation alone",
    "fixed[trials=8]": "fixed weights,\ntuned with 8 trials",
    "fixed[trials=all]": "fixed weights,\nbest of the pool",
    "single-task": "single tasks",
}


def overview(comparisons: Comparisons) -> MapFigure | None:
    """Return the map of loss and noise ratios against every kind of comparator.

    :param comparisons: gains of the map.
    """
    study = comparisons.headline
    shown = [spec for spec in ROWS if study and comparisons.gains(study.name, spec)]
    if study is None or not shown:
        return None
    methods, places = columns(study), layout(study)
    rows = []
    for spec in shown:
        gains = {method: comparisons.of(study.name, spec, method) for method in methods}
        trials = sorted({g.gain.comparator_trials for found in gains.values() for g in found.values()})
        budget = f"{' to '.join(map(str, dict.fromkeys([trials[0], trials[-1]])))} trials"
        words = ROW_WORDS[spec] + ("" if budget in ROW_WORDS[spec] else f"\n({budget})")
        rows.append(HeatRow(words, places.first_slice, gains))
    against = []
    for spec in shown:
        tallies = {m: t for m, t in comparisons.tallies(study.name, spec).items() if m in methods}
        against.append(f"Against {phrase(spec)}, {grouped(tallies)}.")
    return MapFigure(
        study.name,
        Figure(
            OVERVIEW,
            "All methods against all comparators",
            f"A row of panels for each comparator; won/lost of {len(study.cells)} cells. {' '.join(against)}",
            partial(draw_heat, places, methods, rows),
        ),
        "A row of panels for each comparator, with its trials; hatched where the methods are not separable.",
    )


def slices(comparisons: Comparisons, study: Study) -> MapFigure | None:
    """Return a study's panels with a row for each slice, against its default comparator.

    :param comparisons: gains of the map.
    :param study: the study.
    """
    comparator = default_comparator(study, comparisons)
    places = layout(study)
    methods = [m for m in (*columns(study), "sum") if comparisons.of(study.name, comparator, m)]
    if not methods:
        return None
    gains = {method: comparisons.of(study.name, comparator, method) for method in methods}
    rows = [HeatRow(_slice_words(places, number), number, gains) for number in range(len(places.slices))]
    tallies = {m: t for m, t in comparisons.tallies(study.name, comparator).items() if m in methods}
    return MapFigure(
        study.name,
        Figure(
            f"map-{study.name}",
            study.title,
            f"Gain over {phrase(comparator)}; won/lost of {len(study.cells)} cells: {grouped(tallies)}.",
            partial(draw_heat, places, methods, rows),
        ),
        f"Gain over {phrase(comparator)}.",
        repeats=len(rows) == 1,
    )


def columns(study: Study) -> list[str]:
    """Return the methods of a figure: the candidates, and normalisation alone beside them."""
    return [*candidates(study), *(method for method in (NORMALISED,) if method in study.methods)]


def _slice_words(places: Layout, number: int) -> str:
    values = zip(places.sliders, places.slices[number], strict=True)
    return "\n".join(f"{axis.short} {axis.texts[axis.values.index(value)]}" for axis, value in values)
