"""Reports of many methods: best first, counts instead of lists of names, short names, small figures."""

from __future__ import annotations

from typing import Any

import pytest
from factory import failed, grid
from galleries import context
from histories import with_histories

from mtlbench.diagnose import Finding
from mtlbench.diagnose.text import _lines
from mtlbench.host.terminal import Console
from mtlbench.report import render
from mtlbench.report.build import build
from mtlbench.report.figures import cosines, forest, rank_diagram
from mtlbench.report.names import MANY, examples, labels, seed_list
from mtlbench.report.text import _folded

COUNT = 13
GAINS = {
    "stl": 0.02,
    "sum[lr=1]": 0.0,
    **{f"m{i:02}[parameter=0.123456789,lr=1]": 0.01 * (i - 6) for i in range(COUNT)},
}


@pytest.fixture(scope="module")
def many() -> list[dict[str, Any]]:
    return grid(GAINS, 6)


def test_methods_come_best_first_after_what_they_are_compared_with(many: list[dict[str, Any]]) -> None:
    (group,) = build(many).groups
    best = [method.partition("[")[0] for method in group.methods]
    assert best == ["stl", "sum", *(f"m{i:02}" for i in reversed(range(COUNT)))]
    assert [s.method for s in group.scores[:: len(group.scores) // len(best)]] == list(group.methods)
    compared = [d.method for d in group.comparisons if (d.task, d.family) == ("qqp", "primary")]
    assert compared == [method for method in group.methods if method != "sum[lr=1]"]
    assert [d.method for d in group.delta_m_comparisons] == list(group.methods[2:])
    assert [d.method for d in group.delta_m] == list(group.methods[1:])


def test_methods_without_a_common_seed_come_in_the_order_of_delta_m() -> None:
    cells = [one for one in grid({"stl": 0.0, "sum": 0.0, "a": -0.1, "b": 0.1}, 4)
             if (one["method"]["spec"], one["seed"]) not in {("a", 0), ("a", 1), ("b", 2), ("b", 3)}]  # fmt: skip
    (group,) = build([*cells, failed("c", 0)]).groups
    assert not group.mean_ranks and group.methods == ("stl", "sum", "b", "a", "c")


def test_the_headline_counts_and_names_the_extremes(many: list[dict[str, Any]]) -> None:
    (group,) = build(many).groups
    text = " ".join(group.headline)
    verdicts = [d.verdict for d in group.comparisons if (d.task, d.family) == ("sst5", "primary")]
    assert f"On sst5, {verdicts.count('higher')} of {COUNT + 1} methods are higher than sum: m12 (+0.0" in text
    assert f"{verdicts.count('lower')} are lower: m00 (-0.0" in text and "more;" in text
    assert text.count("m05") == 0 and "parameter" not in text
    assert "By Δm over all tasks, " in text and "A true difference under" in text
    assert max(map(len, group.headline)) < 300


def test_too_few_seeds_of_many_methods_are_counted(many: list[dict[str, Any]]) -> None:
    cells = [one for one in many if not one["method"]["spec"].startswith("m03") or one["seed"] < 3]
    assert any("1 is of too few seeds to tell" in sentence for sentence in build(cells).groups[0].headline)


def test_a_margin_is_told_in_a_count(many: list[dict[str, Any]]) -> None:
    (group,) = build(many, margin=0.5).groups
    assert any(s.startswith("42 of 42 differences are shown to lie within the declared margin") for s in group.headline)


@pytest.mark.parametrize("width", [80, 120])
def test_only_the_first_table_has_parameters(many: list[dict[str, Any]], width: int) -> None:
    lines = render(build(many), "text", width=width).splitlines()
    assert all(len(line) <= width for line in lines)
    overall = lines.index("Over all tasks, and cost")
    assert not any("parameter=" in line for line in lines[overall:])
    assert any("The other tables and the figures name methods without" in line for line in lines[:overall])
    row = next(line for line in lines[overall:] if line.startswith("m12"))
    assert "MiB" in row or "MiB" in lines[lines.index(row) + 1]


def test_long_names_break_between_parameters() -> None:
    console = Console()
    assert _folded(console, "m12[parameter=0.123456789,lr=1]", 28) == ["m12[parameter=0.123456789,", "lr=1]"]
    assert _folded(console, "m12[parameter=0.123456789,lr=1]", 23) == ["m12", "[parameter=0.123456789,", "lr=1]"]
    assert "".join(_folded(console, "a-very-long-name[x=0.1]", 5)) == "a-very-long-name[x=0.1]"


def test_seeds_of_missing_and_failed_cells_share_a_line(many: list[dict[str, Any]]) -> None:
    gone = [one for one in many if not (one["method"]["spec"].startswith("m07") and one["seed"] in (1, 2, 3, 5))]
    for seed in (1, 2):
        gone.append(failed("m07[parameter=0.123456789,lr=1]", seed, "{} is nan"))
    text = render(build(gone), "markdown")
    assert "m07[parameter=0.123456789,lr=1], seeds 1, 2: {} is nan" in text.replace("\\", "")
    assert "m07[parameter=0.123456789,lr=1], seeds 3, 5" in text.replace("\\", "")


def test_names() -> None:
    few = ["a[x=1]", "b"]
    assert labels(few) == {"a[x=1]": "a[x=1]", "b": "b"}
    specs = [f"m{i}[x=1]" for i in range(8)] + ["a[x=1]", "a[x=2]"]
    assert labels(specs)["m3[x=1]"] == "m3" and labels(specs)["a[x=1]"] == "a[x=1]"
    assert labels(f"{spec} (A)" for spec in specs)["m3[x=1] (A)"] == "m3 (A)"
    assert [seed_list(s) for s in ([3], [1, 0], [0, 1, 2, 4], [5, 9])] == [
        "seed 3",
        "seeds 0, 1",
        "seeds 0-2, 4",
        "seeds 5, 9",
    ]
    assert examples(["a", "b", "c", "d"]) == "a, b, c and d" and examples(list("abcde")) == "a, b, c and 2 more"


def test_floors_missed_by_many_methods_are_one_note(many: list[dict[str, Any]]) -> None:
    for one in (cells := grid(GAINS, 6)):
        if one["seed"] == 0:
            one["scores"]["qqp"]["accuracy"] = 0.1
    notes = [note for note in build(cells).groups[0].notes if "floor of qqp accuracy" in note]
    assert len(notes) == 1 and notes[0].count("1 of 6 seeds") > MANY


def test_figures_of_many_methods_stay_small(tmp_path: Any) -> None:
    shown = context(with_histories(grid(GAINS, 5), tmp_path))
    for figure in (forest.forest(shown), rank_diagram.ranking(shown), cosines.cosines(shown)):
        assert figure.canvas.get_size_inches()[1] < 9
        assert "parameter" not in figure.svg and ">m12" in figure.svg
    described = cosines.cosines(shown).description
    assert f"The first 8 of {COUNT + 1} methods are shown; conflict of all:" in described
    assert "In grey, without a name: m06, m05, m04, m03" in shown.unnamed(shown.ranking)


def test_a_finding_on_many_methods_names_them_in_one_line() -> None:
    found = [
        Finding(code="c", severity="note", what="w", evidence=f"e{i}", cause="", fix="", sure="certain", tasks=(),
                method=f"m{i}[x=1]", seeds=(0,), of=1)
        for i in range(12)
    ]  # fmt: skip
    lines = _lines(found)
    assert len(lines) == 6 and lines[3].endswith(
        "the same of 9 more methods, see --json: " + ", ".join(f"m{i}" for i in range(3, 12))
    )
    assert len(_lines(found[:8])) == 10
