"""What is drawn is what was measured; groups that lack data lack figures, with a reason, and never crash."""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from factory import failed, grid, record
from histories import EVERY, STEPS, with_histories
from scipy import stats

from mtlbench.errors import UsageError
from mtlbench.records.groups import collect
from mtlbench.report import gallery
from mtlbench.report.build import build
from mtlbench.report.figures import Gallery, curves, rank_diagram, scatter, style, svg
from mtlbench.report.figures.context import Context
from mtlbench.report.figures.cosines import conflict_shares
from mtlbench.report.figures.forest import seed_differences
from mtlbench.report.figures.save import save_figures
from mtlbench.report.figures.sweeps import sweeps
from mtlbench.report.figures.traces import read

PAPER_S = "|".join((style.INK, style.QUIET, style.LINE, style.PAPER))
NASTY = "<script>&" + "n" * 51
ALL = {
    "differences", "trade-offs", "cost", "ranks", "scores-by-step", "scores-by-time", "losses", "cosines",
    "norm-ratios", "weights",
}  # fmt: skip


def made(records: list[dict[str, Any]]) -> Gallery:
    return gallery(build(records), records)


def context(records: list[dict[str, Any]]) -> Context:
    (group,) = build(records).groups
    (cells,) = collect(records)
    return Context(group, cells, read(cells))


def whole(folder: Path) -> list[dict[str, Any]]:
    """Return a grid that gives every figure."""
    return with_histories(grid({"stl": 0.02, "sum": 0.0, "mgda": 0.01, "pcgrad": -0.01}, 5), folder)


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return whole(tmp_path_factory.mktemp("histories"))


@pytest.fixture(scope="module")
def drawn(complete: list[dict[str, Any]]) -> Gallery:
    """Its figures, which are drawn once for all tests."""
    return made(complete)


def test_a_complete_grid_gives_every_figure(drawn: Gallery) -> None:
    assert {figure.name for figure in drawn.figures} == ALL
    assert drawn.figures[0].name == "differences"  # the one to look at first
    assert drawn.omitted == ()
    for figure in drawn.figures:
        assert re.search(r"\d", figure.description), figure.name


def test_the_forest_plot_draws_every_seed_s_difference(complete: list[dict[str, Any]], drawn: Gallery) -> None:
    made_from = context(complete)
    figure = drawn.figures[0]
    dots = [line.get_xdata() for panel in figure.canvas.axes for line in panel.lines if line.get_gid() == "seeds"]
    shown = sorted(value for found in dots for value in np.asarray(found).tolist())
    scores = {(r["method"]["spec"], r["seed"]): r["scores"] for r in complete}
    endpoints = [(task.name, task.primary) for task in made_from.group.tasks]
    expected = [
        scores[method, seed][task][metric] - scores["sum", seed][task][metric]
        for task, metric in endpoints
        for method in ("stl", "mgda", "pcgrad")
        for seed in range(5)
    ]
    single = {
        (task, metric): np.mean([scores["stl", seed][task][metric] for seed in range(5)]) for task, metric in endpoints
    }
    expected += [
        100 * np.mean([(scores[m, seed][t][k] - scores["sum", seed][t][k]) / single[t, k] for t, k in endpoints])
        for m in ("mgda", "pcgrad")
        for seed in range(5)
    ]
    assert shown == pytest.approx(sorted(expected), abs=1e-12)
    assert "Δm %: from pcgrad " in figure.description
    for d in (*made_from.group.comparisons, *made_from.group.delta_m_comparisons):
        assert np.mean(list(seed_differences(made_from, d).values())) == pytest.approx(d.mean_difference, abs=1e-12)


def test_runs_that_are_not_paired_have_no_dots() -> None:
    records = grid({"sum": 0.0, "mgda": 0.01}, 3)
    for one in records:
        one["pairing"] = {}
    made_from = context(records)
    assert all(seed_differences(made_from, d) == {} for d in made_from.group.comparisons)
    assert "Not paired, so without seeds' dots: mgda." in made(records).figures[0].description


def test_histories_become_tidy_tables(complete: list[dict[str, Any]]) -> None:
    traces = read(collect(complete)[0])
    assert len(traces.steps) == 20 * STEPS * 3
    assert traces.steps["norm"].notna().sum() == 20 * (STEPS // EVERY) * 3
    assert len(traces.cosines) == 15 * (STEPS // EVERY) * 3  # not the single-task runs
    assert len(traces.evaluations) == 20 * 2 * 6
    assert traces.unread == ()


def test_bands_are_t_intervals() -> None:
    import pandas as pd

    values = [0.1, 0.4, 0.3, 0.25]
    band = curves.band(pd.DataFrame({"x": [1] * 4, "value": values})).iloc[0]
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (band["low"], band["high"]) == pytest.approx(expected)
    single = curves.band(pd.DataFrame({"x": [1], "value": [0.1]})).iloc[0]
    assert math.isnan(single["low"])


def test_unreadable_histories_are_left_out_and_named(tmp_path: Path) -> None:
    complete = whole(tmp_path)
    (tmp_path / "0.history.jsonl").unlink()
    (tmp_path / "6.history.jsonl").write_text('{"step": 1, "losses": {"sst5"')
    (tmp_path / "7.history.jsonl").write_bytes(b"\xff\xfe")
    (tmp_path / "8.history.jsonl").write_text("[1]\n")
    complete[9]["files"] = {}
    unread = read(collect(complete)[0]).unread
    assert len(unread) == 5
    assert any("stl, seed 0: its history could not be read" in line for line in unread)
    assert any("sum, seed 4: its record names no history" in line for line in unread)
    found = made(complete)
    assert {figure.name for figure in found.figures} == ALL
    assert len(found.omitted) == 5


def test_conflict_is_the_share_of_negative_cosines(complete: list[dict[str, Any]]) -> None:
    frame = read(collect(complete)[0]).cosines
    shares = conflict_shares(frame)
    assert set(shares) == {"sum", "mgda", "pcgrad"}
    assert shares["sum"] == pytest.approx(np.mean(frame.loc[frame["method"] == "sum", "cosine"] < 0))


def test_the_front_holds_what_nothing_dominates() -> None:
    points = {"a": (1.0, 3.0), "b": (2.0, 2.0), "c": (1.5, 2.0), "d": (3.0, 0.0), "e": (0.0, 3.0)}
    assert scatter.front(points) == ["a", "b", "d"]
    assert scatter.front({"a": (1.0, 1.0), "b": (1.0, 1.0)}) == ["a", "b"]


def swept(name: str, parameter: str, values: list[Any], seeds: int = 2) -> list[dict[str, Any]]:
    """Return a sum, and a method under several values of one of its two parameters."""
    made = grid({"sum": 0.0}, seeds)
    for index, value in enumerate(values):
        for seed in range(seeds):
            one = record(f"{name}[{parameter}={value}]", seed, gain=0.01 * index)
            one["method"]["parameters"] = {"other": 1, parameter: value}
            made.append(one)
    return made


def test_a_sweep_is_joined_in_the_order_of_its_parameter() -> None:
    records = swept("cagrad", "c", [0.9, 0.1, 10])
    figure = next(f for f in made(records).figures if f.name == "trade-offs")
    assert "in their order: cagrad by c (0.1, 0.9, 10)." in figure.description
    (line,) = [line for line in figure.canvas.axes[0].lines if line.get_gid() == "sweep"]
    scores = {
        m: [r["scores"]["sst5"]["accuracy"] for r in records if r["method"]["spec"] == m]
        for m in ("cagrad[c=0.1]", "cagrad[c=0.9]", "cagrad[c=10]")
    }
    assert np.asarray(line.get_xdata()).tolist() == pytest.approx([np.mean(one) for one in scores.values()])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["3:1", "1:3", "1:1"], ("1:3", "1:1", "3:1")),  # by the first task's share
        (["1:4:1", "1:1:1", "2:4:2"], ("1:1:1", "2:4:2", "1:4:1")),
        (["1:1:2", "1:2:1", "2:1:1"], None),  # on no line
        (["1:1", "2:2"], None),  # the same shares
        (["1:1", "1:1:1"], None),
        (["a", "b"], None),
        ([True, False], None),
        ([0.5, None], None),
        (["nan", "1"], None),
        (["0:0", "1:0"], None),
    ],
)
def test_weights_are_a_sweep_where_their_shares_lie_on_one_line(values: list[Any], expected: Any) -> None:
    (cells,) = collect(swept("fixed", "w", values, 1))
    found = sweeps(cells, cells.methods)
    assert [one.values for one in found] == ([] if expected is None else [expected])


def test_methods_that_differ_in_two_parameters_are_not_joined() -> None:
    records = swept("cagrad", "c", [0.1, 0.2, 0.3], 1)
    records[-1]["method"]["parameters"]["other"] = 2
    (cells,) = collect(records)
    assert sweeps(cells, cells.methods) == []
    assert all("Dashed" not in figure.description for figure in made(records).figures)


def test_ranks_are_over_seeds_and_demsar_s_critical_difference() -> None:
    """Four classifiers on 14 blocks: Demšar 2006, p. 15, has 1.25 (2.569 √(4 · 5 / (6 · 14)))."""
    found = rank_diagram.ranks(context(grid({"sum": 0.0, "a": 0.1, "b": 0.2, "c": 0.3}, 14)))
    assert found.critical == pytest.approx(1.2536, abs=1e-3)
    assert found.methods == ("c", "b", "a", "sum")
    assert found.ranks == (1.0, 2.0, 3.0, 4.0)
    assert found.seeds == 14
    assert found.alike == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize(("methods", "seeds", "reason"), [(3, 4, "5 seeds"), (2, 5, "3 joint methods")])
def test_ranks_need_methods_and_seeds_and_say_so(methods: int, seeds: int, reason: str) -> None:
    found = made(grid({f"m{i}" if i else "sum": 0.01 * i for i in range(methods)}, seeds))
    assert "ranks" not in {figure.name for figure in found.figures}
    assert any(reason in omission.reason for omission in found.omitted)


def degenerate(kind: str, folder: Path) -> list[dict[str, Any]]:
    """Return records that lack something, or are odd."""
    match kind:
        case "one seed":
            return with_histories(grid({"stl": 0.0, "sum": 0.0, "mgda": 0.01}, 1), folder)
        case "one method":
            return with_histories(grid({"sum": 0.0}, 3), folder)
        case "one cell, failed":
            return [failed("sum", 0)]
        case "one task":
            one = with_histories(grid({"stl": 0.0, "sum": 0.0, "mgda": 0.01}, 3), folder)
            for record_of in one:
                record_of["tasks"] = {"sst5": record_of["tasks"]["sst5"]}
                record_of["recipe"] = {**record_of["recipe"], "tasks": ["sst5"]}
            return one
        case "equal scores":
            same = {task: {"accuracy": 0.5, "macro_f1": 0.5} for task in ("sst5", "qqp")}
            same["stsb"] = {"pearson": 0.5, "spearman": 0.5}
            methods = ("stl", "sum", "mgda", "pcgrad")
            return with_histories([record(m, s, scores=same) for m in methods for s in range(5)], folder)
        case "no history":
            return grid({"stl": 0.0, "sum": 0.0, "mgda": 0.01, "pcgrad": 0.02}, 5)
        case "many methods, nasty names, numbers that are not finite":
            names = {f"method-{i}[parameter=0.{i}]": 0.001 * i for i in range(6)} | {NASTY: 0.01, "$x_1$ 漢字": 0.02}
            made = with_histories(grid({"stl": 0.0, "sum": 0.0, **names}, 5), folder)
            text = (folder / "6.history.jsonl").read_text()  # of the sum
            spoiled, count = re.subn(r'"(sst5|sst5\|qqp)": [\d.e-]+', r'"\1": NaN', text)
            assert count > STEPS
            (folder / "6.history.jsonl").write_text(spoiled)
            made[6]["files"]["history"]["sha256"] = hashlib.sha256(spoiled.encode()).hexdigest()
            return made
    raise AssertionError(kind)


KINDS = [
    "one seed", "one method", "one cell, failed", "one task", "equal scores", "no history",
    "many methods, nasty names, numbers that are not finite",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_degenerate_groups_do_not_crash_and_print_no_nan(kind: str, tmp_path: Path) -> None:
    found = made(degenerate(kind, tmp_path))
    check(found)
    names = {figure.name for figure in found.figures}
    assert len(names) == len(found.figures)
    assert bool(found.omitted) == (not kind.startswith(("many methods", "equal scores")))
    if kind == "no history":
        assert names == {"differences", "trade-offs", "cost", "ranks"}
    if kind.startswith("many methods"):
        figure = next(figure for figure in found.figures if figure.name == "cost")
        assert NASTY in figure.description  # whole there, short in the drawing
        assert "&lt;script&gt;&amp;nnn…" in figure.svg
        assert "$x_1$ 漢字" in figure.svg  # neither mathematics nor lost


def check(found: Gallery) -> None:
    """Draw everything, and look for what must never be in it."""
    seen: set[str] = set()
    for number, figure in enumerate(found.figures):
        text = svg.inline(figure, f"f{number}")
        root = ElementTree.fromstring(text)
        assert not re.search(r"(?<![a-z])(nan|inf)(?![a-z])", text, re.IGNORECASE), figure.name
        assert "<script" not in text and "<style" not in text and "<metadata" not in text
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        assert len(ids) == len(set(ids)) and not seen & set(ids)
        seen |= {str(identifier) for identifier in ids}
        used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
        assert used <= set(ids)
        assert root.get("role") == "img"
        assert [child.text for child in root][:2] == [figure.title, figure.description]
        assert not re.search(PAPER_S, text)  # the page's colours are in their place
    for omission in found.omitted:
        assert "nan" not in omission.reason


def test_the_same_records_give_the_same_bytes(
    complete: list[dict[str, Any]], drawn: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtlbench.report.figures.figure.DPI", 50)
    first, again = drawn, made(list(reversed(complete)))
    assert [figure.description for figure in first.figures] == [figure.description for figure in again.figures]
    for one, other in zip(first.figures, again.figures, strict=True):
        if one.name not in ("differences", "trade-offs", "weights", "cosines"):
            continue  # drawn like one of these
        assert svg.inline(one, "f") == svg.inline(other, "f"), one.name
    few = first.figures[2:3]
    a = save_figures(few, tmp_path / "a")
    b = save_figures(again.figures[2:3], tmp_path / "b")
    assert [path.name for path in a] == [f"{f.name}.{ending}" for f in few for ending in ("svg", "png", "pdf")]
    assert [path.read_bytes() for path in a] == [path.read_bytes() for path in b]


def test_saved_figures_are_black_on_white(drawn: Gallery, tmp_path: Path) -> None:
    (path,) = save_figures(drawn.figures[:1], tmp_path / "out", ("svg",))
    text = path.read_text()
    assert style.PAPER in text and style.INK in text and "var(" not in text
    with pytest.raises(UsageError, match="svgg"):
        save_figures((), tmp_path, ("svgg",))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        save_figures(drawn.figures[:1], tmp_path / "file", ("svg",))


def test_groups_are_saved_in_folders_of_their_own(tmp_path: Path) -> None:
    records = grid({"sum": 0.0, "mgda": 0.01}, 3)
    other = [{**one, "group": "b" * 64, "recipe": {**one["recipe"], "lr": 1e-3}} for one in records]
    paths = save_figures(made([*records, *other]).figures, tmp_path, ("svg",))
    assert {path.parent.name for path in paths} == {"1", "2"}
    assert len(paths) == len(set(paths))
