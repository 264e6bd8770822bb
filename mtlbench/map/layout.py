"""How a study's cells are laid out: one knob across, one upwards, and a slider for each further knob."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Final

from mtlbench.map.cells import Setting
from mtlbench.map.result import Study

KNOBS: Final[dict[str, str]] = {
    "tasks": "tasks",
    "relatedness": "relatedness of the tasks",
    "width": "width (shared units)",
    "loss_ratio": "loss ratio (loss scale of the last task over the first one's)",
    "noise_ratio": "noise ratio (label noise of the last task over the first one's)",
    "speed_ratio": "speed ratio (gain of the last teacher over the first one's)",
    "rows": "training rows",
    "batch": "batch size",
    "conditioning": "condition number of the inputs",
    "optimizer": "optimizer",
    "steps": "steps",
}
"""Knob → its name on an axis."""


@dataclass(frozen=True)
class Axis:
    """A knob and the values that a study gives it.

    :param knob: a field of :class:`mtlbench.map.cells.Setting`.
    :param values: in ascending order; of a knob without order, as they come.
    """

    knob: str
    values: tuple[Any, ...]

    @property
    def name(self) -> str:
        """The knob in words."""
        return KNOBS.get(self.knob, self.knob.replace("_", " "))

    @property
    def short(self) -> str:
        """The knob in one or two words."""
        return self.name.partition(" (")[0]

    @property
    def texts(self) -> tuple[str, ...]:
        """The values as readers see them."""
        return tuple(map(value_text, self.values))


@dataclass(frozen=True)
class Layout:
    """The places of a study's cells.

    :param across: the horizontal axis of every panel.
    :param up: the vertical axis; ``None`` for a study over one knob.
    :param sliders: further knobs: each choice of their values is one slice of the study.
    :param settings: the study's settings, in its order.
    """

    across: Axis
    up: Axis | None
    sliders: tuple[Axis, ...]
    settings: tuple[Setting, ...]

    @cached_property
    def slices(self) -> list[tuple[Any, ...]]:
        """The values of the sliders, the last slider's changing fastest."""
        return list(product(*(slider.values for slider in self.sliders)))

    @cached_property
    def first_slice(self) -> int:
        """The slice to show first: every slider at the default of its knob, or else at its last value."""
        default = Setting()
        wanted = tuple(
            getattr(default, slider.knob) if getattr(default, slider.knob) in slider.values else slider.values[-1]
            for slider in self.sliders
        )
        return self.slices.index(wanted)

    @cached_property
    def grid(self) -> list[list[list[int | None]]]:
        """Position of a setting by slice, row (from below) and place across; ``None`` where none was trained."""
        rows: tuple[Any, ...] = (None,) if self.up is None else self.up.values
        return [[[self._find(x, y, rest) for x in self.across.values] for y in rows] for rest in self.slices]

    @cached_property
    def row_texts(self) -> tuple[str, ...]:
        """The labels of the rows, from below."""
        return ("",) if self.up is None else self.up.texts

    def _find(self, x: Any, y: Any, rest: tuple[Any, ...]) -> int | None:
        wanted = {self.across.knob: x} | {s.knob: v for s, v in zip(self.sliders, rest, strict=True)}
        if self.up is not None:
            wanted[self.up.knob] = y
        found = (n for n, s in enumerate(self.settings) if all(getattr(s, knob) == v for knob, v in wanted.items()))
        return next(found, None)

    def words(self, setting: Setting) -> str:
        """Return a setting in words, by the knobs that the study turns.

        :param setting: one of the study's.
        """
        axes = [self.across, *([] if self.up is None else [self.up]), *self.sliders]
        return ", ".join(f"{axis.short} {value_text(getattr(setting, axis.knob))}" for axis in axes)


def layout(study: Study) -> Layout:
    """Return how to lay out a study: its first knob across, its second upwards. Knobs with one value are left out.

    :param study: the study.
    """
    settings = tuple(study.settings)
    axes = [Axis(knob, _values(settings, knob)) for knob in study.knobs or ("steps",)]
    first, *others = [axis for axis in axes if len(axis.values) > 1] or axes[:1]
    return Layout(first, others[0] if others else None, tuple(others[1:]), settings)


def value_text(value: Any) -> str:
    """Return a knob's value as readers see it.

    :param value: a number or a word.
    """
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _values(settings: Sequence[Setting], knob: str) -> tuple[Any, ...]:
    values = dict.fromkeys(getattr(setting, knob) for setting in settings)
    return tuple(sorted(values)) if all(isinstance(value, (int, float)) for value in values) else tuple(values)
