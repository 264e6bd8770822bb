"""The places of a study's cells: axes, slices and gaps."""

from __future__ import annotations

from dataclasses import replace

from page_maps import World, made_map

from mtlbench.map.layout import layout
from mtlbench.map.result import Study

SMALL = World(seeds=2)


def study(name: str, preset: str = "quick") -> Study:
    return made_map(SMALL, name=preset, studies=[name]).studies[name]


def test_the_first_knob_goes_across_and_the_second_upwards() -> None:
    places = layout(study("loss-noise"))
    assert (places.across.knob, places.across.texts) == ("loss_ratio", ("0.03", "0.3", "1", "3", "30"))
    assert (places.row_texts, places.sliders, places.slices) == (("1", "5", "25"), (), [()])
    setting = places.settings[places.grid[0][2][4]]  # type: ignore[index]
    assert (setting.loss_ratio, setting.noise_ratio) == (30.0, 25.0)
    assert places.words(setting) == "loss ratio 30, noise ratio 25"


def test_further_knobs_are_sliders_that_start_at_the_default() -> None:
    places = layout(study("three-conditions", "full"))
    assert [slider.knob for slider in places.sliders] == ["batch", "optimizer"]
    assert len(places.slices) == 6 and places.slices[places.first_slice] == (32, "adam")
    seen = [number for rows in places.grid for row in rows for number in row]
    assert sorted(seen) == list(range(24))  # type: ignore[type-var]
    for values, rows in zip(places.slices, places.grid, strict=True):
        for number in (number for row in rows for number in row):
            assert (places.settings[number].batch, places.settings[number].optimizer) == values  # type: ignore[index]


def test_knobs_with_one_value_are_no_axes() -> None:
    places = layout(study("steps"))  # one optimizer in the quick map
    assert (places.across.knob, places.up and places.up.knob, places.sliders) == ("steps", "loss_ratio", ())
    places = layout(study("trials"))
    assert (places.across.knob, places.up, places.row_texts) == ("tasks", None, ("",))


def test_settings_that_were_not_trained_are_gaps() -> None:
    whole = study("loss-noise")
    places = layout(replace(whole, cells=whole.cells[1:]))
    assert places.grid[0][0][0] is None and None not in places.grid[0][1]
    corners = layout(study("trials", "full"))  # four corners of loss and noise, and no grid
    assert sum(number is not None for rows in corners.grid for row in rows for number in row) == 12
