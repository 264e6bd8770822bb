"""Colours of gains: eleven steps from orange (worse) over grey to blue (better), for light and for dark pages.

Orange and blue stay apart for every kind of colour blindness, and each side grows steadily darker (on a dark page:
lighter), so that a copy in grey shows the size of a gain, and the printed number its sign.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import Final

EDGES: Final = (5.0, 15.0, 30.0, 60.0, 100.0)
"""Where a step ends, in points; gains below the first are drawn in grey, whatever their sign."""
LIGHT: Final = (
    *("#8a3b00", "#b9550a", "#ec9a52", "#f6c699", "#fbe6d3"),
    "#f1f2f4",
    *("#d9e8f5", "#a8cdea", "#66a8d8", "#2474b4", "#08437e"),
)
"""From the worst step to the best; the middle one is that of no difference."""
DARK: Final = (
    *("#ffcf9c", "#e89a4c", "#bd7429", "#7a4a1a", "#4a3524"),
    "#2a3038",
    *("#243f56", "#28608c", "#3f8bc5", "#75b5e8", "#c0e0ff"),
)
INKS: Final = ("#0b0e12", "#ffffff")
MIDDLE: Final = len(EDGES)


def step(gain: float) -> int:
    """Return the place of a gain in :data:`LIGHT`.

    :param gain: gain in points; positive is better.
    """
    size = bisect_right(EDGES, abs(gain))
    return MIDDLE + size if gain > 0 else MIDDLE - size


def labels() -> tuple[str, ...]:
    """Return the range of every step, from the worst to the best."""

    def side(sign: str, beyond: str) -> list[str]:
        ranges = [f"{sign}{low:g} to {sign}{high:g}" for low, high in pairwise(EDGES)]
        return [*ranges, f"{beyond} {sign}{EDGES[-1]:g}"]

    return (*reversed(side("−", "below")), f"within ±{EDGES[0]:g}", *side("+", "above"))


def ink(colour: str) -> str:
    """Return the ink that is easier to read on a colour.

    :param colour: ``#rrggbb``.
    """
    return max(INKS, key=lambda text: contrast(text, colour))


def contrast(first: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2.2 defines it: 1 for equal ones, 21 for black and white.

    :param first: ``#rrggbb``.
    :param other: ``#rrggbb``.
    """
    darker, lighter = sorted((luminance(first), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour, from 0 to 1.

    :param colour: ``#rrggbb``.
    """
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(share * channel for share, channel in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
