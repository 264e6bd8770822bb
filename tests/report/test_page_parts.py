"""The page's own parts: cards, forest plot, marks of the best methods, and how figures are read."""

from __future__ import annotations

from typing import Any

import pytest
from factory import grid, record

from mtlbench.report import render
from mtlbench.report.build import build
from mtlbench.report.page.cards import cards, glance
from mtlbench.report.page.forest import FEWEST_TO_CUT, Forest, forest, ticks
from mtlbench.report.page.leaders import leaders
from mtlbench.report.page.overview import common, overview
from mtlbench.report.page.parts import LONGEST_READING, reading
from mtlbench.report.result import GroupReport
from mtlbench.report.split import cells_by_group


def only_group(records: list[dict[str, Any]]) -> GroupReport:
    (group,) = build(records).groups
    return group


def plot(records: list[dict[str, Any]], *, with_cells: bool = True) -> Forest:
    report = build(records)
    made = forest(report.groups[0], cells_by_group(report, records)["a" * 64] if with_cells else None)
    assert made is not None
    return made


def marks(records: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    report = build(records)
    return dict(leaders(report.groups[0], cells_by_group(report, records)["a" * 64]).marks)


def test_cards_show_the_best_the_separable_and_the_missed() -> None:
    best, separable, missed = cards(only_group(grid({"stl": 0.0, "sum": 0.0, "pcgrad": 0.0, "mgda": 0.2}, 5)))
    assert best.label == "Highest Δm" and best.unit == "mgda" and best.value.startswith("+")
    assert "separable from all others" in best.note
    assert (separable.value, separable.unit) == ("3", "of 9 comparisons") and separable.note.startswith("3 higher;")
    assert missed.unit.startswith("on ") and float(missed.value) > 0


def test_cards_claim_nothing_of_few_seeds_and_of_nothing_to_compare() -> None:
    best, separable, _ = cards(only_group(grid({"sum": 0.0, "pcgrad": 0.0}, 3)))
    assert best.label == "Best mean rank" and "separable" not in best.note
    assert separable.value == "–" and "nothing is claimed" in separable.note
    assert cards(only_group(grid({"sum": 0.0}, 3))) == ()


@pytest.mark.parametrize(
    ("gains", "seeds", "words"),
    [
        ({"sum": 0.0}, 5, "nothing compared"),
        ({"sum": 0.0, "mgda": 0.1}, 3, "too few seeds for a claim"),
        ({"sum": 0.0, "mgda": 0.0}, 5, "none of 1 methods separable"),
        ({"sum": 0.0, "mgda": -0.2}, 5, "mgda lower on sst5, mgda lower on qqp and mgda lower on stsb"),
    ],
)
def test_a_group_in_a_few_words(gains: dict[str, float], seeds: int, words: str) -> None:
    assert glance(only_group(grid(gains, seeds))) == words


def test_groups_are_listed_with_the_settings_that_deviate() -> None:
    records = [
        record("sum", 0, group=letter * 64, recipe={**record()["recipe"], "steps": steps})
        for letter, steps in [("a", 60), ("b", 60), ("c", 99)]
    ]
    records[1]["recipe"]["lr"] = 0.1
    groups = build(records).groups
    assert common(groups) == {"lr": "5e-05", "steps": "60"}
    assert [line.settings for line in overview(groups, "abc")] == ["", "lr=0.1", "steps=99"]


def test_the_forest_plot_shows_every_seed_where_its_difference_is() -> None:
    records = grid({"stl": 0.05, "sum": 0.0, "mgda": -0.05}, 5)
    made = plot(records)
    assert list(made.methods) == ["stl", "mgda"] and made.seeds == (0, 1, 2, 3, 4)
    assert [panel.label for panel in made.panels] == ["Δm %", "sst5 accuracy", "qqp accuracy", "stsb pearson"]
    by_name = {(r["method"]["spec"], r["seed"]): r["scores"]["qqp"]["accuracy"] for r in records}
    for row in made.panels[2].rows:
        scale = (row.mean - made.panels[2].zero) / float(row.estimate)
        for dot in row.dots:
            difference = by_name[row.method, dot.seed] - by_name["sum", dot.seed]
            assert dot.x - made.panels[2].zero == pytest.approx(scale * difference, rel=0.05)
            assert float(dot.text.partition(": ")[2]) == pytest.approx(difference, abs=1e-4)
            assert 0 <= dot.x <= 100 and 20 < dot.y < 80
        assert (row.mean > made.panels[2].zero) == (row.method == "stl")
        assert row.low is not None and row.high is not None and row.low < row.mean < row.high
    table = made.by_seed()
    assert table.columns == ("method", *(f"seed {seed}" for seed in range(5)))
    assert [section.heading for section in table.sections] == [panel.label for panel in made.panels]


def test_of_many_methods_rows_have_short_labels_and_choices_whole_specs() -> None:
    records = grid({"sum": 0.0, **{f"m{number}[c=0.5]": 0.01 * number for number in range(9)}}, 4)
    made = plot(records)
    assert list(made.methods.items())[:2] == [("m8", "m8[c=0.5]"), ("m7", "m7[c=0.5]")]
    assert [row.label for row in made.panels[0].rows] == list(made.methods)
    text = render(build(records), "html", records=records)
    assert text.count('<tr data-method="m8[c=0.5]"') + text.count('<tr class="strong" data-method="m8[c=0.5]"') > 5
    assert '<input type="checkbox" name="method" value="m8[c=0.5]" checked><span>m8</span>' in text
    overall = text[text.index(">Over all tasks, and cost</caption>") :]
    assert '<th scope="row">m8</th>' in overall[: overall.index("</table>")]


def test_without_cells_there_are_means_and_intervals_but_no_seeds() -> None:
    made = plot(grid({"sum": 0.0, "mgda": -0.05}, 5), with_cells=False)
    assert made.seeds == () and all(row.dots == () for panel in made.panels for row in panel.rows)
    assert made.panels[0].rows[0].estimate.startswith("-0.05")


def test_one_collapsed_method_does_not_flatten_the_others() -> None:
    gains = {"sum": 0.0, **{f"m{number}": 0.002 * number for number in range(FEWEST_TO_CUT)}, "collapsed": -0.4}
    made = plot(grid(gains, 5))
    assert made.cut
    rows = {row.method: row for row in made.panels[-1].rows}
    assert rows["collapsed"].beyond == "left" and rows["collapsed"].mean == 0.0
    assert rows["m7"].mean - rows["m0"].mean > 10
    assert len(rows["collapsed"].by_seed) == 5 and not rows["m7"].beyond
    assert not plot(grid({"sum": 0.0, "m": 0.002, "collapsed": -0.4}, 5)).cut  # of few methods every one is shown


def test_a_method_of_one_seed_without_spread_has_a_place() -> None:
    (panel, *_) = plot(grid({"sum": 0.0, "mgda": 0.0}, 1)).panels
    assert panel.rows[0].low is None and 0 < panel.rows[0].mean < 100


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (-0.0301, 0.0042), (0, 1e-9), (-70.8, 2.5), (0, 12345)])
def test_ticks_are_few_and_round(low: float, high: float) -> None:
    made = ticks(low, high)
    assert 2 <= len(made) <= 7
    assert all(low - 1e-12 <= place <= high + 1e-12 for place, _ in made)
    assert len({text for _, text in made}) == len(made)
    assert all(float(text) == pytest.approx(place, abs=abs(high - low) / 1e6) for place, text in made)


def test_the_best_and_those_not_separable_from_it_are_marked() -> None:
    made = marks(grid({"stl": 0.0, "sum": 0.0, "good": 0.1, "near": 0.0999, "mgda": -0.2}, 8))
    for column in ("sst5 accuracy ↑", "Δm % ↑"):
        of = {method: mark for (title, method), mark in made.items() if title == column}
        assert set(of) == {"good", "near"} and sorted(of.values()) == ["best", "near"], column


def test_nothing_is_marked_on_few_seeds_or_without_cells() -> None:
    assert marks(grid({"sum": 0.0, "mgda": -0.2}, 3)) == {}
    assert leaders(only_group(grid({"sum": 0.0, "mgda": -0.2}, 5)), None).marks == {}


def test_a_figure_is_described_by_how_to_read_it_and_then_by_its_numbers() -> None:
    assert reading("Lines: means. Dotted: the floor. a 0.1.") == ("Lines: means.", "Dotted: the floor. a 0.1.")
    assert reading("One sentence.") == ("One sentence.", "")
    first, rest = reading(f"Ranks, 1 is best: {'sum 1.00, ' * LONGEST_READING}end. More.")
    assert first == "Ranks, 1 is best." and rest.endswith("end. More.")
