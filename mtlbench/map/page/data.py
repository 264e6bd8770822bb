"""The data that the page's script reads: all gains of all comparisons, in short."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from mtlbench.map import palette
from mtlbench.map.endpoints import Endpoint
from mtlbench.map.page.view import StudyView, tests_text
from mtlbench.map.tally import Comparisons, Shown, tenths

LOGARITHMIC: tuple[Endpoint, ...] = ("mean-log", "log-mean", "worst")
"""Endpoints whose differences are ratios of errors."""


def page_data(
    studies: Sequence[StudyView],
    comparisons: Comparisons,
    comparators: dict[str, str],
    endpoints: dict[Endpoint, str],
    comparator: str,
    endpoint: Endpoint,
) -> Markup:
    """Return the data as JSON, safe inside a script element.

    :param studies: the studies of the page.
    :param comparisons: gains of the map.
    :param comparators: spec → words.
    :param endpoints: name → words.
    :param comparator: the comparator that is shown first.
    :param endpoint: the endpoint that is shown first.
    """
    data = {
        "comparator": comparator,
        "endpoint": endpoint,
        "comparators": comparators,
        "endpoints": endpoints,
        "edges": palette.EDGES,
        "logarithmic": LOGARITHMIC,
        "studies": {study.name: _study(study, comparisons, comparators, endpoints) for study in studies},
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _study(
    view: StudyView, comparisons: Comparisons, comparators: dict[str, str], endpoints: dict[Endpoint, str]
) -> dict[str, Any]:
    layout = view.layout
    gains: dict[str, dict[str, Any]] = {}
    for comparator in comparators:
        for endpoint in endpoints:
            if found := comparisons.gains(view.name, comparator, endpoint):
                packed = _packed(view, found) | {"tests": tests_text(view.study, comparisons, comparator, endpoint)}
                gains.setdefault(comparator, {})[endpoint] = packed
    return {
        "methods": view.methods,
        "default": view.default,
        "settings": [layout.words(setting) for setting in layout.settings],
        "notes": [view.notes.get(setting, "") for setting in layout.settings],
        "sliders": [slider.texts for slider in layout.sliders],
        "grid": layout.grid,
        "gains": gains,
    }


def _packed(view: StudyView, gains: Sequence[Shown]) -> dict[str, Any]:
    """Return gains as columns over method × setting: ``null`` where there is none.

    Means and half widths of intervals are in tenths of a point, p in units of 1e-4.
    """
    found = {(shown.gain.method, shown.gain.setting): shown for shown in gains}
    places = [found.get((method, setting)) for method in view.methods for setting in view.layout.settings]
    return {
        "mean": [None if shown is None else tenths(shown.mean) for shown in places],
        "half": [None if shown is None else tenths((shown.gain.high - shown.gain.low) / 2.0) for shown in places],
        "p": [None if shown is None else round(shown.gain.p * 1e4) for shown in places],
        "separable": "".join("1" if shown and shown.gain.separable else "0" for shown in places),
        "seeds": _shortened([shown.gain.seeds if shown else 0 for shown in places]),
        "trials": _shortened([shown.gain.trials if shown else 0 for shown in places]),
        "comparator_trials": _shortened([shown.gain.comparator_trials if shown else 0 for shown in places]),
    }


def _shortened(values: Sequence[int]) -> int | list[int]:
    """Return the one value that all cells have, or all values."""
    some = {value for value in values if value}
    return some.pop() if len(some) == 1 else list(values)
