"""Figures of a map: which there are, what they show, and files with the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_maps import World, made_map

from mtlbench.errors import UsageError
from mtlbench.map import palette
from mtlbench.map.figures import figures, save_figures
from mtlbench.map.figures.heat import HATCHES
from mtlbench.map.result import MapResult
from mtlbench.map.tally import Comparisons


@pytest.fixture(scope="module")
def result() -> MapResult:
    return made_map(World(seeds=4))


def test_each_study_has_its_figures(result: MapResult) -> None:
    drawn = figures(result)
    assert [(figure.study, figure.figure.name) for figure in drawn] == [
        ("loss-noise", "map-overview"),
        ("loss-noise", "map-metrics"),
        ("steps", "map-steps"),
        ("trials", "map-trials"),
        ("width-relatedness", "map-width-relatedness"),
        ("rows-relatedness", "map-rows-relatedness"),
        ("three-conditions", "map-three-conditions"),
    ]
    assert [figure.figure.name for figure in drawn if figure.repeats] == ["map-rows-relatedness"]


def test_the_overview_hatches_what_is_not_separable(result: MapResult) -> None:
    comparisons = Comparisons(result)
    svg = next(figure.figure for figure in figures(result) if figure.figure.name == "map-overview").svg
    methods = ("pcgrad", "cagrad", "mgda", "nash-mtl", "famo", "uw", "unit-gradients")
    rows = ("sum", "step-rules", "unit-gradients", "fixed[trials=8]", "fixed[trials=all]", "single-task")
    gains = [g for row in rows for method in methods for g in comparisons.of("loss-noise", row, method).values()]
    assert len(gains) == 15 * (7 * 6 - 1)
    lines = svg.count("stroke-width: 0.35")
    assert lines == HATCHES * sum(not gain.gain.separable for gain in gains)
    for colour in (palette.LIGHT[0], palette.LIGHT[-1]):
        step = palette.LIGHT.index(colour)
        drawn = svg.count(f"fill: {colour}") - 1  # one is in the key
        assert drawn == sum(palette.step(gain.mean) == step for gain in gains)


def test_descriptions_have_the_numbers_of_the_figures(result: MapResult) -> None:
    described = {figure.figure.name: figure.figure.description for figure in figures(result)}
    comparisons = Comparisons(result)
    assert comparisons.tallies("loss-noise", "fixed[trials=all]")["uw"].score in described["map-overview"]
    setting = next(s for s in result.studies["steps"].settings if (s.steps, s.loss_ratio) == (2400, 10.0))
    assert comparisons.of("steps", "step-rules", "uw")[setting].text in described["map-steps"]
    assert "4 tasks: fixed weights" in described["map-trials"]
    assert comparisons.tallies("loss-noise", "fixed[trials=all]", "worst")["mgda"].score in described["map-metrics"]


def test_files_have_the_same_bytes_each_time(tmp_path: Path) -> None:
    result = made_map(World(seeds=4), studies=["rows-relatedness"])
    files = [save_figures(result, tmp_path / folder) for folder in ("a", "b")]
    assert [path.name for path in files[0]] == ["map-rows-relatedness.svg", "map-rows-relatedness.png"]
    assert [a.read_bytes() for a in files[0]] == [b.read_bytes() for b in files[1]]


def test_an_unknown_format_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^unknown figure format 'gif'"):
        save_figures(made_map(World(seeds=4), studies=["rows-relatedness"]), tmp_path, ["gif"])
