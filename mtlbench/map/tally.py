"""Gains as readers see them, positive where the method is better; and counts of cells won and lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median

from mtlbench.errors import UsageError
from mtlbench.map.cells import Setting
from mtlbench.map.comparators import Comparator
from mtlbench.map.endpoints import Endpoint
from mtlbench.map.gains import Gain
from mtlbench.map.result import MapResult, Study


@dataclass(frozen=True)
class Shown:
    """A gain with its sign turned: positive is better.

    :param gain: the gain as the map computes it, in which negative is better.
    """

    gain: Gain

    @property
    def mean(self) -> float:
        """Points gained, the mean over seeds."""
        return -self.gain.mean

    @property
    def ends(self) -> tuple[float, float] | None:
        """Ends of the 95 % interval; ``None`` where one seed, or none of the spread, leaves no interval."""
        return (-self.gain.high, -self.gain.low) if self.gain.low < self.gain.high else None

    @property
    def won(self) -> bool:
        """Whether the method is separably better."""
        return self.gain.separable and self.mean > 0.0

    @property
    def lost(self) -> bool:
        """Whether the method is separably worse."""
        return self.gain.separable and self.mean < 0.0

    @property
    def text(self) -> str:
        """The gain with its interval, such as ``+34 [+12, +56]``."""
        ends = self.ends
        return points(self.mean) + (f" [{points(ends[0])}, {points(ends[1])}]" if ends else "")


@dataclass(frozen=True)
class Tally:
    """What a method did against a comparator, over cells.

    :param won: cells in which it is separably better.
    :param lost: cells in which it is separably worse.
    :param cells: cells compared.
    :param median: median gain over cells, in points.
    :param least: smallest gain.
    :param most: largest gain.
    """

    won: int
    lost: int
    cells: int
    median: float
    least: float
    most: float

    @classmethod
    def of(cls, gains: Sequence[Shown]) -> Tally:
        """Count.

        :param gains: one or more gains of one method.
        """
        means = [gain.mean for gain in gains]
        return cls(
            sum(gain.won for gain in gains),
            sum(gain.lost for gain in gains),
            len(gains),
            median(means),
            min(means),
            max(means),
        )

    @property
    def score(self) -> str:
        """Won and lost, such as ``18/0``."""
        return f"{self.won}/{self.lost}"


class Comparisons:
    """The gains of a map, each comparison computed once.

    :param result: the map.
    """

    def __init__(self, result: MapResult) -> None:
        self.result = result
        self.gains = cache(self._gains)

    def _gains(self, study: str, comparator: str, endpoint: Endpoint = "mean-log") -> tuple[Shown, ...] | None:
        """Return all gains of a comparison; ``None`` where the study lacks the comparator or the endpoint."""
        try:
            return tuple(map(Shown, self.result.gains(study, comparator, endpoint)))
        except UsageError:
            return None

    def of(self, study: str, comparator: str, method: str, endpoint: Endpoint = "mean-log") -> dict[Setting, Shown]:
        """Return a method's gains by setting; empty where there are none.

        :param study: name of the study.
        :param comparator: spec of the comparator.
        :param method: spec of the method.
        :param endpoint: the endpoint.
        """
        found = self.gains(study, comparator, endpoint) or ()
        return {shown.gain.setting: shown for shown in found if shown.gain.method == method}

    def tallies(self, study: str, comparator: str, endpoint: Endpoint = "mean-log") -> dict[str, Tally]:
        """Return the tally of every method.

        :param study: name of the study.
        :param comparator: spec of the comparator.
        :param endpoint: the endpoint.
        """
        found = self.gains(study, comparator, endpoint) or ()
        by_method: dict[str, list[Shown]] = {}
        for shown in found:
            by_method.setdefault(shown.gain.method, []).append(shown)
        return {method: Tally.of(gains) for method, gains in by_method.items()}

    @property
    def headline(self) -> Study | None:
        """The study over loss ratio and noise ratio, and nothing else."""
        found = self.over("loss_ratio", "noise_ratio")
        return found if found is not None and len(found.knobs) == 2 else None

    def over(self, *knobs: str) -> Study | None:
        """Return the first study that turns exactly these knobs, or else the first that turns them among others.

        :param knobs: names of fields of a setting.
        """
        turning = [study for study in self.result.studies.values() if set(knobs) <= set(study.knobs)]
        return min(turning, key=lambda study: len(study.knobs), default=None)


NORMALISED = "unit-gradients"
"""The method that is normalisation alone."""
CONTROLS = ("sum", "unit-step-sum", "log-sum", NORMALISED)
"""Methods that are no method of multi-task learning, or its part alone: what a gain must be measured against."""


def candidates(study: Study) -> tuple[str, ...]:
    """Return the methods of a study without the controls.

    :param study: the study.
    """
    return tuple(method for method in study.methods if method not in CONTROLS)


def ordered(study: Study) -> tuple[str, ...]:
    """Return a study's methods as the panels show them: the controls last.

    :param study: the study.
    """
    return (*candidates(study), *(method for method in reversed(CONTROLS) if method in study.methods))


def default_comparator(study: Study, comparisons: Comparisons) -> str:
    """Return what a study is compared with unless somebody chooses: the equal sum, with its best step rule if trained.

    :param study: the study.
    :param comparisons: gains of the map.
    """
    specs = [comparator.spec for comparator in study.comparators]
    return next(
        (spec for spec in ("step-rules", *specs) if spec in specs and comparisons.gains(study.name, spec, "mean-log")),
        specs[0],
    )


def label(comparator: str) -> str:
    """Return a comparator in words.

    :param comparator: its spec.
    """
    return Comparator.read(comparator).label


def phrase(comparator: str) -> str:
    """Return a comparator in words for the inside of a sentence, such as ``the best of all fixed weights``.

    :param comparator: its spec.
    """
    read = Comparator.read(comparator)
    if read.kind == "step-rules":
        return "the equal sum with the best of three step rules"
    if read.kind == "fixed":
        steps = {"plain": "", "unit": " with unit-length steps", "log": " on the logarithm of the loss"}[read.rule]
        if read.trials == "all":
            return f"the best of all fixed weights{steps}"
        budget = "as many trials" if read.trials == "same" else f"{read.trials} trials"
        return f"fixed weights{steps} tuned by {read.search} search with {budget}"
    plain = label(comparator)
    return f"the {plain}" if plain.startswith(("equal", "logarithm")) else plain


def points(value: float) -> str:
    """Return a gain as whole points with its sign, rounded half away from zero as the page's script does.

    :param value: points.
    """
    size = (abs(tenths(value)) + 5) // 10
    return "0" if size == 0 else f"{'+' if value > 0 else '−'}{size}"


def tenths(value: float) -> int:
    """Return a number of points as tenths, rounded half away from zero.

    :param value: points.
    """
    size = int(10.0 * abs(value) + 0.5)
    return size if value > 0 else -size


def count_of(count: int, total: int, word: str = "method") -> str:
    """Return how many of some things, with the verb: ``none of 6 methods is``, ``2 of 6 methods are``.

    :param count: how many.
    :param total: of how many.
    :param word: the noun in the singular.
    """
    return f"{count or 'none'} of {plural(total, word)} {'are' if count > 1 else 'is'}"


def plural(count: int, word: str) -> str:
    """Return a number with its noun.

    :param count: the number.
    :param word: the noun in the singular.
    """
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def joined(items: Iterable[str]) -> str:
    """Return items as a list in a sentence.

    :param items: one or more items.
    """
    *rest, last = items
    return f"{', '.join(rest)} and {last}" if rest else last
