"""A map in the terminal: sentences, then a small table."""

from __future__ import annotations

from page_maps import World, made_map

from mtlbench.map.conclusions import conclusions, verdict
from mtlbench.map.result import MapResult
from mtlbench.map.tally import Comparisons, points
from mtlbench.map.text import as_text


def test_sentences_first_then_won_and_lost() -> None:
    result = made_map(studies=["loss-noise"])
    text = as_text(result, width=300, color=False)
    assert text.startswith("\n".join(verdict(conclusions(result), result)))
    tally = Comparisons(result).tallies("loss-noise", "fixed[trials=8]")["mgda"]
    line = next(line for line in text.splitlines() if line.startswith("mgda"))
    assert f" {tally.score} {points(tally.median)} " in line
    assert "cells won/lost of 15" in text and "8 seeds" in text
    assert next(line for line in text.splitlines() if line.startswith("sum ")).split()[1] == "-"


def test_it_fits_a_terminal_and_colour_changes_no_character() -> None:
    result = made_map(World(seeds=4), studies=["loss-noise"])
    plain = as_text(result, width=80, color=False)
    assert max(map(len, plain.splitlines())) <= 85  # the table is as wide as it is
    coloured = as_text(result, width=80, color=True)
    assert "\x1b[" in coloured and "\x1b[" not in plain


def test_few_seeds_and_no_cells() -> None:
    few = made_map(World(seeds=2), studies=["loss-noise"])
    assert as_text(few, width=100, color=False).startswith("With 2 seeds no difference is claimed")
    assert as_text(MapResult({}), width=100, color=False) == "The map has no cells."
