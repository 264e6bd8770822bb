"""Colours of gains: readable, symmetric, and apart for colour-blind readers."""

from __future__ import annotations

import numpy as np
import pytest

from mtlbench.map import palette

THEMES = {"light": palette.LIGHT, "dark": palette.DARK}
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""What linear RGB looks like, after Machado, Oliveira and Fernandes (2009), severity 1."""


@pytest.mark.parametrize("theme", THEMES)
def test_numbers_in_the_cells_meet_wcag(theme: str) -> None:
    colours = THEMES[theme]
    assert len(colours) == 2 * len(palette.EDGES) + 1
    assert min(palette.contrast(colour, palette.ink(colour)) for colour in colours) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
def test_each_side_grows_steadily_from_the_middle(theme: str) -> None:
    luminances = [palette.luminance(colour) for colour in THEMES[theme]]
    worse, better = luminances[palette.MIDDLE :: -1], luminances[palette.MIDDLE :]
    for side in (worse, better):
        steps = np.diff(side) * (-1 if theme == "light" else 1)
        assert (steps > 0.005).all()


@pytest.mark.parametrize("blindness", BLINDNESS)
@pytest.mark.parametrize("theme", THEMES)
def test_better_and_worse_of_one_size_differ_for_colour_blind_readers(theme: str, blindness: str) -> None:
    def seen(colour: str) -> np.ndarray:
        channels = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return np.asarray(np.clip(np.array(BLINDNESS[blindness]) @ linear, 0.0, 1.0) ** (1 / 2.4))

    colours = THEMES[theme]
    for size in range(2, len(palette.EDGES) + 1):
        better, worse = seen(colours[palette.MIDDLE + size]), seen(colours[palette.MIDDLE - size])
        assert np.linalg.norm(better - worse) > 0.15, (size, better, worse)


def test_steps_are_symmetric_and_grey_within_the_first_edge() -> None:
    gains = [-1e9, -100.0, -99.9, -5.0, -4.9, 0.0, 4.9, 5.0, 99.9, 100.0, 1e9]
    assert [palette.step(gain) for gain in gains] == [0, 0, 1, 4, 5, 5, 5, 6, 9, 10, 10]


def test_labels_name_every_step() -> None:
    labels = palette.labels()
    assert len(labels) == len(palette.LIGHT)
    assert (labels[0], labels[1], labels[palette.MIDDLE]) == ("below −100", "−60 to −100", "within ±5")
    assert (labels[-2], labels[-1]) == ("+60 to +100", "above +100")
