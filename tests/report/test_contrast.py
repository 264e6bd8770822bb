"""Contrast of text and graphics meets WCAG 2.2 (1.4.3, 1.4.11) on light and dark pages."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from mtlbench.report.figures import style, svg

PAGE = files("mtlbench.report.page").joinpath("page.css").read_text(encoding="utf-8")
TEXT = [
    *((colour, ground) for colour in ("ink", "quiet", "accent", "higher", "lower") for ground in ("paper", "band")),
    *((colour, "back") for colour in ("ink", "quiet", "accent", "lower")),
    *(("paper", ground) for ground in ("ink", "accent")),  # what a pointer shows; chosen buttons
]
GRAPHICS = ["ink", "quiet", "accent", "higher", "lower", "blue", "sky"]
"""Without ``line``: grids and rules between rows carry no information."""
MARKED = 0.09
"""Share of the accent in the ground of the best methods' cells."""
SEED = 0.75
"""Opacity of a seed's dot."""


def themes() -> dict[str, dict[str, str]]:
    """Return the page's colours by theme; colours that a theme does not set are those of the light theme."""
    light, *others = [
        {
            name: f"#{value[0] * 2}{value[1] * 2}{value[2] * 2}" if len(value) == 3 else f"#{value}"
            for name, value in variables
        }
        for variables in (re.findall(r"--(\w+): #(\w+)", block) for block in re.findall(r":root \{([^}]+)\}", PAGE))
    ]
    return {name: light | colours for name, colours in zip(("light", "dark", "print"), [{}, *others], strict=True)}


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(share * channel for share, channel in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def mixed(colour: str, ground: str, share: float) -> str:
    """Return a colour of some opacity on a ground."""
    channels = [
        share * int(colour[place : place + 2], 16) + (1 - share) * int(ground[place : place + 2], 16)
        for place in (1, 3, 5)
    ]
    return "#" + "".join(f"{round(channel):02x}" for channel in channels)


def contrast(first: str, other: str) -> float:
    darker, lighter = sorted((luminance(first), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_follows_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)  # as contrast checkers print it


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_colours_of_the_page_have_enough_contrast(theme: str) -> None:
    colours = themes()[theme]
    assert {"ink", "paper", "quiet", "band", *GRAPHICS} <= colours.keys()
    assert {
        pair: contrast(colours[pair[0]], colours[pair[1]])
        for pair in TEXT
        if contrast(colours[pair[0]], colours[pair[1]]) < 4.5
    } == {}
    assert [name for name in GRAPHICS if contrast(colours[name], colours["paper"]) < 3] == []
    ground = mixed(colours["accent"], colours["paper"], MARKED)
    assert min(contrast(colours[name], ground) for name in ("ink", "accent")) >= 4.5
    assert contrast(mixed(colours["blue"], colours["paper"], SEED), colours["paper"]) >= 3
    fixed = [colour for colour in style.PALETTE if colour.lower() not in svg.VARIABLES]
    assert len(fixed) == len(style.PALETTE) - 2
    assert [colour for colour in fixed if contrast(colour, colours["paper"]) < 3] == []


def test_the_shares_are_those_of_the_style() -> None:
    assert f"var(--accent) {100 * MARKED:g}%, var(--paper)" in PAGE
    assert f"fill-opacity: {str(SEED).removeprefix('0')};" in PAGE


def test_colours_of_figure_files_have_enough_contrast() -> None:
    assert min(contrast(colour, style.PAPER) for colour in (style.INK, style.QUIET)) >= 4.5  # names, numbers
    assert min(contrast(colour, style.PAPER) for colour in style.PALETTE) >= 3


def test_variables_of_the_light_page_match_the_palette() -> None:
    light = themes()["light"]
    named = {colour: value[6:-1] for colour, value in svg.VARIABLES.items() if value in ("var(--blue)", "var(--sky)")}
    assert {colour: light[name] for colour, name in named.items()} == {colour: colour for colour in named}
    assert set(named) <= {colour.lower() for colour in style.PALETTE}
