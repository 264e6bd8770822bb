"""What the page shows of each study before anybody chooses: panels, counts and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from mtlbench.map import palette
from mtlbench.map.cells import Setting
from mtlbench.map.endpoints import LABELS as ENDPOINT_LABELS
from mtlbench.map.endpoints import Endpoint
from mtlbench.map.evidence import cosines
from mtlbench.map.layout import Layout, layout
from mtlbench.map.result import Study
from mtlbench.map.tally import (
    Comparisons,
    Shown,
    Tally,
    default_comparator,
    label,
    ordered,
    plural,
    points,
    tenths,
)
from mtlbench.report.numbers import p_value
from mtlbench.stats import CONFIDENCE

NOTED = "width"
"""The knob whose study prints the measured cosine into its cells."""
QUESTIONS = {
    "loss-noise": "Who gains when one task's loss is larger, when its labels are noisier, and when it is both?",
    "steps": "How much of a gain is left when training is longer? In short training, a rule that makes later steps"
    " longer helps with nothing to balance; the comparison with the best step rule takes that away.",
    "width-relatedness": "Do conflicting gradients decide? A narrow shared layer makes tasks compete; the small number"
    " in a cell is the measured cosine of the tasks' gradients.",
    "trials": "How many trials of tuned fixed weights is a method worth, and does the number of tasks change that?",
    "rows-relatedness": "Where is one network for all tasks better than one for each?",
    "three-conditions": "Does PCGrad gain where its theorem says: conflicting gradients of unequal size, on a loss of"
    " high curvature?",
}


@dataclass(frozen=True)
class Cell:
    """A cell of a panel.

    :param text: the gain.
    :param note: a small text under it.
    :param classes: classes of the style sheet: colour and hatching.
    :param title: all numbers, for those who point at the cell.
    """

    text: str
    note: str
    classes: str
    title: str


@dataclass(frozen=True)
class Row:
    """A row of a panel.

    :param label: value of the vertical knob.
    :param place: its place, from below.
    :param cells: from left to right.
    """

    label: str
    place: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Panel:
    """A method over two knobs.

    :param method: its spec.
    :param count: what it won and lost.
    :param rows: from top to bottom.
    """

    method: str
    count: str
    rows: tuple[Row, ...]

    @property
    def compared(self) -> bool:
        """Whether there is something to show: the comparator itself is not compared."""
        return any(cell.text for row in self.rows for cell in row.cells)


@dataclass(frozen=True)
class Slider:
    """A knob that the panels do not show.

    :param label: its name.
    :param values: its values.
    :param place: the place of the value that is shown first.
    """

    label: str
    values: tuple[str, ...]
    place: int


@dataclass(frozen=True)
class Drawing:
    """A figure with its words, and its width in points."""

    title: str
    description: str
    svg: Markup
    width: float


@dataclass
class StudyView:
    """A study on the page.

    :param study: the study.
    :param comparisons: gains of the map.
    :param comparator: spec of what is shown first.
    :param endpoint: the endpoint that is shown first.
    """

    study: Study
    comparisons: Comparisons
    comparator: str
    endpoint: Endpoint
    drawings: list[Drawing] = field(default_factory=list)
    broad: Drawing | None = None

    def __post_init__(self) -> None:
        self.layout: Layout = layout(self.study)
        self.name, self.title = self.study.name, self.study.title
        self.anchor = f"study-{self.study.name}"
        self.question = QUESTIONS.get(self.study.name, "")
        self.across, self.methods = self.layout.across.texts, ordered(self.study)
        self.notes = notes(self.study) if NOTED in self.study.knobs else {}
        self.default = default_comparator(self.study, self.comparisons)
        self.shown = (
            self.comparator if self.comparisons.gains(self.name, self.comparator, self.endpoint) else self.default
        )

    @property
    def axes(self) -> str:
        """The axes of every panel in words."""
        up = f"; ↑ {self.layout.up.name}" if self.layout.up else ""
        return f"→ {self.layout.across.name}{up}."

    @property
    def sliders(self) -> list[Slider]:
        """The sliders, at the slice that is shown first."""
        values = self.layout.slices[self.layout.first_slice]
        axes = zip(self.layout.sliders, values, strict=True)
        return [Slider(axis.short, axis.texts, axis.values.index(value)) for axis, value in axes]

    @property
    def tests(self) -> str:
        """What is compared with what, by how many tests."""
        return tests_text(self.study, self.comparisons, self.shown, self.endpoint)

    @property
    def panels(self) -> list[Panel]:
        """One panel for each method, as they are shown first."""
        return [self._panel(method) for method in self.methods]

    def _panel(self, method: str) -> Panel:
        gains = self.comparisons.of(self.name, self.shown, method, self.endpoint)
        grid, seen, rows = self.layout.grid[self.layout.first_slice], [], []
        for place, text in reversed(list(enumerate(self.layout.row_texts))):
            cells = []
            for number in grid[place]:
                setting = None if number is None else self.layout.settings[number]
                shown = None if setting is None else gains.get(setting)
                cells.append(self._cell(method, setting, shown))
                seen += [shown] if shown else []
            rows.append(Row(text, place, tuple(cells)))
        return Panel(method, count_text(seen), tuple(rows))

    def _cell(self, method: str, setting: Setting | None, shown: Shown | None) -> Cell:
        note = self.notes.get(setting, "") if setting else ""
        if setting is None or shown is None:
            return Cell("", note, "none", "not compared")
        classes = f"g{palette.step(tenths(shown.mean) / 10)}" + ("" if shown.gain.separable else " ns")
        words = f"{method} against {label(self.shown)}; {self.layout.words(setting)}; {numbers(shown)}"
        return Cell(points(shown.mean), note, classes, words)


def notes(study: Study) -> dict[Setting, str]:
    """Return the measured cosine of each setting as a text.

    :param study: the study.
    """
    return {setting: f"{cosine:.2f}".replace("-", "−").replace("0.", ".") for setting, cosine in cosines(study).items()}


def tests_text(study: Study, comparisons: Comparisons, comparator: str, endpoint: Endpoint) -> str:
    """Return what is compared with what: trials of each side, seeds, cells and tests.

    :param study: the study.
    :param comparisons: gains of the map.
    :param comparator: spec of the comparator.
    :param endpoint: the endpoint.
    """
    gains = [shown.gain for shown in comparisons.gains(study.name, comparator, endpoint) or ()]
    if not gains:
        return ""
    methods, cells = ({getattr(gain, name) for gain in gains} for name in ("method", "setting"))
    return (
        f"Gain over {label(comparator)} ({_range([g.comparator_trials for g in gains], 'trial')}); the method has "
        f"{_range([g.trials for g in gains], 'trial')}. {ENDPOINT_LABELS[endpoint].capitalize()}, "
        f"{_range([g.seeds for g in gains], 'seed')}; {len(cells)} cells × {plural(len(methods), 'method')} = "
        f"{len(gains)} tests, Benjamini–Hochberg at 5 % over all of them."
    )


def count_text(gains: Sequence[Shown]) -> str:
    """Return what a method won and lost in the cells of a panel.

    :param gains: its gains there.
    """
    if not gains:
        return "not compared"
    tally = Tally.of(gains)
    return f"won {tally.won}, lost {tally.lost} of {tally.cells}; median {points(tally.median)}"


def numbers(shown: Shown) -> str:
    """Return the numbers of a cell.

    :param shown: its gain.
    """
    gain = shown.gain
    return (
        f"gain {shown.text} ({CONFIDENCE:.0%} interval), p {p_value(gain.p)}, "
        f"{'separable' if gain.separable else 'not separable'}; {gain.seeds} seeds; {gain.trials} trials against "
        f"{gain.comparator_trials}"
    )


def comparators(studies: Mapping[str, Study], comparisons: Comparisons) -> dict[str, str]:
    """Return all comparators of the studies that have gains: spec → words.

    :param studies: name → study.
    :param comparisons: gains of the map.
    """
    return {
        comparator.spec: comparator.label
        for study in studies.values()
        for comparator in study.comparators
        if comparisons.gains(study.name, comparator.spec, "mean-log")
    }


def _range(values: Sequence[int], word: str) -> str:
    low, high = min(values), max(values)
    return plural(low, word) if low == high else f"{low} to {high} {word}s"
