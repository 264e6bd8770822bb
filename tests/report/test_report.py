"""The report as a reader and as a program see it, from made-up records."""

from __future__ import annotations

import csv
import html
import io
import json
import random
import re
from typing import Any

import numpy as np
import pytest
from factory import BASE, failed, grid, record
from rich.cells import cell_len

from mtlbench.errors import UsageError
from mtlbench.report import FORMATS, render
from mtlbench.report.build import build
from mtlbench.report.latex import escape

GAINS = {"stl": 0.01, "sum": 0.0, "pcgrad": 0.004, "cagrad[c=0.4]": 0.03, "mgda": -0.2}
DAMAGED = [("results/ab/record.json", "not JSON: line 1")]


@pytest.fixture
def records() -> list[dict[str, Any]]:
    """Five methods, five seeds, of which pcgrad failed seed 3 and misses seed 4."""
    made = [r for r in grid(GAINS, 5) if (r["method"]["spec"], r["seed"]) not in {("pcgrad", 3), ("pcgrad", 4)}]
    return [*made, failed("pcgrad", 3)]


def as_json(records: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    """Build, render and parse, refusing NaN and Infinity."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    parsed: dict[str, Any] = json.loads(render(build(records, DAMAGED, **options), "json"), parse_constant=refuse)
    return parsed


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_shows_methods_failed_and_damaged(format: str, records: list[dict[str, Any]]) -> None:
    text = render(build(records, DAMAGED), format)
    for method in GAINS:
        assert (escape(method) if format == "latex" else method) in text
    if format != "csv":  # there: counts per method, below
        assert "step 3: loss of task sst5 is nan" in text
        assert (escape("results/ab/record.json") if format == "latex" else "results/ab/record.json") in text


def test_unknown_format_names_the_near_one(records: list[dict[str, Any]]) -> None:
    with pytest.raises(UsageError, match="did you mean markdown"):
        render(build(records), "markdwn")


def test_json_has_the_documented_form(records: list[dict[str, Any]]) -> None:
    parsed = as_json(records)
    forms = {
        "summary": "method task metric n mean std",
        "cost": "method seconds_per_step peak_memory_bytes",
        "comparisons": "task metric method baseline n mean_difference ci_low ci_high p p_adjusted test exact_p "
        "exact_floor paired rho",
        "delta_m": "method n mean std ci_low ci_high",
        "mean_rank": "method mean_rank",
        "missing": "method seed",
        "failed": "method seed message",
    }
    for name, fields in forms.items():
        assert parsed[name], name
        for item in parsed[name]:
            assert {"suite", "group", *fields.split()} <= item.keys(), name
    assert parsed["damaged"] == [{"path": "results/ab/record.json", "reason": "not JSON: line 1"}]
    assert len(parsed["summary"]) == 5 * 6  # methods × (tasks × metrics)
    assert len(parsed["comparisons"]) == 4 * 6
    assert [(m["method"], m["seed"]) for m in parsed["missing"]] == [("pcgrad", 4)]
    assert [(m["method"], m["seed"]) for m in parsed["failed"]] == [("pcgrad", 3)]


def test_the_numbers_of_one_comparison(records: list[dict[str, Any]]) -> None:
    parsed = as_json(records)
    scores = {r["seed"]: r["scores"]["sst5"]["accuracy"] for r in records if r["method"]["spec"] == "mgda"}
    found = next(s for s in parsed["summary"] if (s["method"], s["metric"], s["task"]) == ("mgda", "accuracy", "sst5"))
    assert (found["n"], found["mean"]) == (5, pytest.approx(sum(scores.values()) / 5))
    against = {(c["method"], c["task"], c["metric"]): c for c in parsed["comparisons"]}
    lower = against["mgda", "sst5", "accuracy"]
    assert lower["ci_low"] < lower["mean_difference"] < lower["ci_high"] < 0
    assert (lower["n"], lower["test"], lower["paired"], lower["exact_floor"]) == (5, "paired t", True, 0.0625)
    assert lower["verdict"] == "lower"
    assert against["pcgrad", "sst5", "accuracy"]["n"] == 3
    assert against["pcgrad", "sst5", "accuracy"]["verdict"] == "too few seeds"


def test_holm_runs_over_the_primary_metrics_of_all_methods_and_tasks(records: list[dict[str, Any]]) -> None:
    comparisons = as_json(records)["comparisons"]
    for family, size in {"primary": 12, "secondary": 12}.items():
        members = [c for c in comparisons if c["family"] == family]
        smallest = min(members, key=lambda c: c["p"])
        assert len(members) == size
        assert smallest["p_adjusted"] == pytest.approx(size * smallest["p"])


def test_delta_m_and_rank_leave_the_single_task_baseline_out(records: list[dict[str, Any]]) -> None:
    parsed = as_json(records)
    assert "stl" not in {d["method"] for d in parsed["delta_m"]} | {r["method"] for r in parsed["mean_rank"]}
    ranks = {r["method"]: r["mean_rank"] for r in parsed["mean_rank"]}
    assert ranks["cagrad[c=0.4]"] == 1.0
    assert ranks["mgda"] == 4.0
    assert sum(ranks.values()) == pytest.approx(10)
    assert {r["seeds"] for r in parsed["mean_rank"]} == {3}  # the seeds that pcgrad finished too
    assert any(note.startswith("ranks are over 3 of ") for note in parsed["notes"])
    assert parsed["groups"][0]["methods"][:2] == ["stl", "sum"]


def test_without_single_task_runs_there_is_no_delta_m_and_a_note(records: list[dict[str, Any]]) -> None:
    parsed = as_json([r for r in records if r["method"]["joint"]])
    assert parsed["delta_m"] == []
    assert any("no single-task baseline" in note for note in parsed["notes"])


def test_the_report_is_a_function_of_the_set_of_records(records: list[dict[str, Any]]) -> None:
    shuffled = records.copy()
    random.Random(0).shuffle(shuffled)
    first, second = build(records), build(shuffled)
    assert first == second
    assert [render(first, format) for format in FORMATS] == [render(second, format) for format in FORMATS]


def test_csv_is_one_tidy_table(records: list[dict[str, Any]]) -> None:
    rows = list(csv.DictReader(io.StringIO(render(build(records, DAMAGED), "csv"))))
    assert len(rows) == 30
    pcgrad = next(row for row in rows if row["method"] == "pcgrad" and row["task"] == "qqp")
    assert (pcgrad["n"], pcgrad["failed"], pcgrad["missing"], pcgrad["pairs"]) == ("3", "1", "1", "3")
    assert all(row["mean_difference"] == "" for row in rows if row["method"] == "sum")
    assert all("nan" not in row.values() for row in rows)


@pytest.mark.parametrize("width", [80, 60, 120])
def test_text_fits_its_width_and_is_plain_without_color(width: int, records: list[dict[str, Any]]) -> None:
    long = [record("gradnorm[alpha=1.5,lr=0.025,over=last_shared_layer]", seed) for seed in range(5)]
    report = build([*records, *long], [("results/" + "x" * 200, "unreadable")])
    plain = render(report, "text", width=width)
    too_long = [line for line in plain.splitlines() if cell_len(line) > width]
    assert too_long == [f"- results/{'x' * 200}: unreadable"]  # a path stays whole, to be copied
    assert "\x1b" not in plain
    assert "\x1b[" in render(report, "text", width=width, color=True)


def test_text_with_many_tasks_is_split_by_columns_and_drops_none() -> None:
    made = grid({"sum": 0.0, "pcgrad": 0.1}, 2)
    for one in made:
        for number in range(9):
            one["tasks"][f"extra_task_{number}"] = one["tasks"]["stsb"]
            one["scores"][f"extra_task_{number}"] = one["scores"]["stsb"]
    text = render(build(made), "text", width=80)
    assert max(map(cell_len, text.splitlines())) <= 80
    assert all(f"extra_task_{number}" in text for number in range(9))


def test_marks_for_floors_tuning_and_fewer_seeds(records: list[dict[str, Any]]) -> None:
    text = render(build(records), "text", width=80)
    mgda = next(line for line in text.splitlines() if line.startswith("mgda"))
    pcgrad = next(line for line in text.splitlines() if line.startswith("pcgrad"))
    assert re.search(r"0\.2\d\d ± \S+▼", mgda)
    assert re.search(r"▼†", mgda)
    assert pcgrad.count("‡3") == 3
    assert pcgrad.rstrip().endswith("3/5")
    squeezed = " ".join(text.split())
    assert "sst5 accuracy 0.253 (majority class)" in squeezed
    assert "† the encoder was tuned on this task's corpus: qqp (quora)" in squeezed
    assert "▼" not in render(build([r for r in records if r["method"]["spec"] != "mgda"]), "text")


def test_a_model_that_lands_on_its_floor_is_not_above_it() -> None:
    made = [record("sum", seed, scores={"sst5": {"accuracy": 0.253}}) for seed in range(2)]
    found = next(s for s in as_json(made)["summary"] if (s["task"], s["metric"]) == ("sst5", "accuracy"))
    assert (found["below_floor"], found["seeds_below_floor"], found["floor_name"]) == (True, 2, "majority class")


def test_one_collapsed_seed_does_not_hide_in_the_mean() -> None:
    made = grid({"sum": 0.0}, 5)
    made[2]["scores"]["qqp"]["accuracy"] = 0.5
    assert any("sum: 1 of 5 seeds not above the floor of qqp" in note for note in as_json(made)["notes"])


def test_hashes_that_differ_make_the_comparison_unpaired() -> None:
    made = grid({"sum": 0.0, "pcgrad": 0.1, "mgda": -0.1}, 5)
    next(r for r in made if r["method"]["spec"] == "mgda")["pairing"]["dropout"]["qqp"] = "another mask"
    parsed = as_json(made)
    for comparison in parsed["comparisons"]:
        expected = (False, "Welch t") if comparison["method"] == "mgda" else (True, "paired t")
        assert (comparison["paired"], comparison["test"]) == expected
        assert (comparison["exact_p"] is None) == (comparison["method"] == "mgda")
    assert any("mgda and sum are not paired" in note for note in parsed["notes"])
    assert "unpaired" in render(build(made), "text")


def test_no_hashes_prove_no_pairing() -> None:
    made = [record(method, seed, pairing={}) for method in ("sum", "pcgrad") for seed in range(3)]
    assert {c["paired"] for c in as_json(made)["comparisons"]} == {False}


def test_three_seeds_claim_nothing() -> None:
    parsed = as_json(grid({"sum": 0.0, "pcgrad": 0.5}, 3))
    assert {c["verdict"] for c in parsed["comparisons"]} == {"too few seeds"}
    assert "3 seeds cannot show a difference" in parsed["headline"][1]


def test_methods_that_are_the_same_in_disguise_differ_by_nothing() -> None:
    made = grid({"sum": 0.0, "twin": 0.0}, 5)
    for one in made:
        one["scores"] = record("sum", one["seed"])["scores"]
    parsed = as_json(made)
    for comparison in parsed["comparisons"]:
        assert (comparison["mean_difference"], comparison["ci_low"], comparison["ci_high"]) == (0.0, 0.0, 0.0)
        assert (comparison["p_adjusted"], comparison["verdict"]) == (1.0, "not separable")
    assert "equal" not in render(build(made), "text")
    assert {r["mean_rank"] for r in parsed["mean_rank"]} == {1.5}


def test_a_single_seed_has_no_spread() -> None:
    parsed = as_json(grid({"stl": 0.0, "sum": 0.0, "pcgrad": 0.1}, 1))
    assert {s["std"] for s in parsed["summary"]} == {None}
    assert {c["p"] for c in parsed["comparisons"]} == {None}
    assert "±" not in render(build(grid({"sum": 0.0}, 1)), "text").split("Mean ±")[0]


def test_scores_that_are_not_numbers_count_as_missing() -> None:
    made = grid({"sum": 0.0, "pcgrad": 0.1}, 4)
    made[0]["scores"]["stsb"]["pearson"] = float("nan")
    made[1]["scores"]["stsb"]["pearson"] = None
    parsed = as_json(made)
    found = next(s for s in parsed["summary"] if (s["method"], s["metric"]) == ("sum", "pearson"))
    assert found["n"] == 2
    assert next(c for c in parsed["comparisons"] if c["metric"] == "pearson")["n"] == 2


def test_baseline_by_bare_name_and_unknown_baseline(records: list[dict[str, Any]]) -> None:
    assert {c["baseline"] for c in as_json(records, baseline="cagrad")["comparisons"]} == {"cagrad[c=0.4]"}
    with pytest.raises(UsageError, match="unknown baseline 'pcgard'; did you mean pcgrad"):
        build(records, baseline="pcgard")
    with pytest.raises(UsageError, match="known: mgda, pcgrad"):
        build(grid({"pcgrad": 0.0, "mgda": 0.0}, 2))


def test_a_lone_method_needs_no_baseline() -> None:
    parsed = as_json(grid({"pcgrad": 0.0}, 2))
    assert parsed["comparisons"] == []
    assert any("only one method, pcgrad" in note for note in parsed["notes"])


def test_a_method_that_failed_everywhere_is_shown() -> None:
    made = [*grid({"sum": 0.0, "pcgrad": 0.1}, 2), failed("mgda", 0), failed("mgda", 1)]
    parsed = as_json(made)
    assert {s["n"] for s in parsed["summary"] if s["method"] == "mgda"} == {0}
    assert any("mgda is not compared" in note for note in parsed["notes"])
    assert re.search(r"^mgda .*0/2$", render(build(made), "text", width=80), re.MULTILINE)
    for format in FORMATS:
        assert render(build([failed("sum", 0)]), format)


def test_nothing_to_report_says_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"no records.*1 damaged.*mtlbench run"):
        build([], DAMAGED)


def test_groups_are_never_mixed_and_say_what_differs() -> None:
    longer = [
        record(method, seed, group="b" * 64, started="2026-02-01T00:00:00Z")
        for method in ("sum", "pcgrad")
        for seed in range(2)
    ]
    for one in longer:
        one["recipe"]["steps"] = 200
    made = [*grid({"sum": 0.0, "pcgrad": 0.1, "mgda": 0.0}, 2), *longer]
    parsed = as_json(made)
    assert [g["heading"] for g in parsed["groups"]] == ["quick (steps=60)", "quick (steps=200)"]
    assert {s["n"] for s in parsed["summary"]} == {2}
    assert parsed["missing"] == []  # mgda was never asked for at 200 steps
    assert "quick (steps=200)" in render(build(made), "text")
    assert any("mgda has no cells here" in note for note in as_json(made, baseline="mgda")["notes"])


def test_the_newest_record_of_a_cell_counts() -> None:
    old = record("sum", 0, scores={"sst5": {"accuracy": 0.1}}, started="2025-01-01T00:00:00Z", key="zzz")
    parsed = as_json([record("sum", 0), old])
    assert next(s["mean"] for s in parsed["summary"] if s["task"] == "sst5") == pytest.approx(BASE["sst5"], abs=0.1)
    assert any(note.startswith("1 older record") for note in parsed["notes"])


def test_other_code_and_other_torch_are_named() -> None:
    made = grid({"sum": 0.0, "pcgrad": 0.1}, 2)
    made[0]["method"]["source_sha256"] = "edited"
    made[1]["environment"]["versions"]["torch"] = "2.6.0"
    notes = as_json(made)["notes"]
    assert any(note.startswith("sum: its source code differs") for note in notes)
    assert any("2.13.0, 2.6.0" in note for note in notes)


def test_latex_escapes_what_would_break_a_table() -> None:
    made = [*grid({"sum": 0.0, "a_b[x=5%]": 0.1}, 2), failed("sum", 2, r"50% of $x_1 & {y} \input[z]~^#")]
    text = render(build(made), "latex")
    assert r"a\_b{[}x=5\%{]}" in text
    assert r"50\% of \$x\_1 \& \{y\} \textbackslash{}input{[}z{]}\textasciitilde{}\textasciicircum{}\#" in text
    assert not re.search(r"\\\\\s*\[", text)
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 3


def test_markdown_escapes_pipes_and_tags() -> None:
    made = [*grid({"sum": 0.0, "c[x=1|2]": 0.1}, 2), failed("sum", 2, "<b>*bold*</b>\n# no heading")]
    text = render(build(made), "markdown")
    assert r"c[x=1\|2]" in text
    assert r"&lt;b&gt;\*bold\*&lt;/b&gt; # no heading" in text
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) == 3
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


# The norm of the shared update

NORM = "every method's is brought to the norm of the plain sum"


def with_norm(value: str | None, group: str = "a") -> list[dict[str, Any]]:
    """Return a small grid whose recipe names the norm of the update, or does not, as older records."""
    recipe = {**record()["recipe"], **({} if value is None else {"update_norm": value})}
    return [{**one, "recipe": recipe, "group": group * 64} for one in grid({"sum": 0.0, "mgda": 0.01}, 4)]


@pytest.mark.parametrize("format", ["text", "markdown", "html", "latex"])
def test_a_norm_that_is_not_native_is_said(format: str) -> None:
    def words(value: str | None) -> str:
        return " ".join(html.unescape(render(build(with_norm(value)), format)).split())

    assert NORM in words("sum")
    assert words("native") == words(None)
    assert "update_norm" not in words("native") and NORM not in words("native")


def test_the_norm_is_in_the_json_recipe() -> None:
    parsed: dict[str, Any] = json.loads(render(build(with_norm("sum")), "json"))
    assert parsed["groups"][0]["recipe"]["update_norm"] == "sum"


def test_groups_of_different_norms_are_told_apart_and_older_ones_are_native() -> None:
    def headings(*groups: list[dict[str, Any]]) -> list[str]:
        return [group.heading for group in build([one for group in groups for one in group]).groups]

    assert headings(with_norm("sum", "a"), with_norm("native", "b")) == [
        "quick (update_norm=sum)",
        "quick (update_norm=native)",
    ]
    other = [{**one, "recipe": {**one["recipe"], "lr": 1e-3}} for one in with_norm("native", "b")]
    assert all("update_norm" not in heading for heading in headings(with_norm(None, "a"), other))


# Cut texts


def test_cut_texts_are_told() -> None:
    cut = {task: {"tokens": 64, "train": 0, "dev": 0} for task in ("sst5", "qqp", "stsb")}
    cut |= {"stsb": {"tokens": 64, "train": 12, "dev": 0}, "qqp": {"tokens": 64, "train": 7, "dev": 3}}
    text = render(build([{**one, "cut": cut} for one in grid({"sum": 0.0, "mgda": 0.01}, 4)]), "json")
    assert [note for note in json.loads(text)["groups"][0]["notes"] if "cut" in note] == [
        "7 of 8544 training texts and 3 of 1101 development texts of qqp were longer than 64 tokens and were cut",
        "12 of 8544 training texts of stsb were longer than 64 tokens and were cut",
    ]


@pytest.mark.parametrize("absent", [{}, {"cut": None}, {"cut": {}}])
def test_records_that_do_not_tell_what_was_cut_are_reported(absent: dict[str, Any]) -> None:
    group = build([{**one, **absent} for one in grid({"sum": 0.0, "mgda": 0.01}, 4)]).groups[0]
    assert not [note for note in group.notes if "cut" in note]


# What the seeds can show


def test_the_headline_says_what_is_not_separable_and_what_would_have_been_missed() -> None:
    made = grid({"sum": 0.0, "pcgrad": 0.0, "mgda": -0.2}, 5)
    parsed = as_json(made)
    text = " ".join(parsed["headline"])
    assert "pcgrad is not separable from sum on any task with 5 seeds." in text
    largest = next(
        c["detectable_in_family"]
        for c in parsed["comparisons"]
        if (c["method"], c["task"], c["metric"]) == ("pcgrad", "sst5", "accuracy")
    )
    assert f"A true difference under {largest:.3f} on sst5 accuracy" in text
    assert "margin" not in text and "no difference" not in text.lower()


def test_the_headline_names_methods_whose_delta_m_is_separable() -> None:
    made = as_json(grid({"stl": 0.1, "sum": 0.0, "pcgrad": 0.0, "mgda": -0.2}, 5))
    (told,) = [sentence for sentence in made["headline"] if sentence.startswith("Over all tasks")]
    assert "by Δm against sum, after Holm's correction over 2: mgda is lower (-" in told and "pcgrad" not in told
    without = as_json(grid({"sum": 0.0, "mgda": -0.2}, 5))["headline"]
    assert not any(sentence.startswith("Over all tasks") for sentence in without)


def test_the_test_changes_with_the_seeds_and_the_report_says_why() -> None:
    few, many = as_json(grid({"sum": 0.0, "pcgrad": 0.1}, 5)), as_json(grid({"sum": 0.0, "pcgrad": 0.1}, 10))
    assert {c["primary_test"] for c in few["comparisons"]} == {"paired t"}
    assert {c["primary_test"] for c in many["comparisons"]} == {"sign flip"}
    for comparison in many["comparisons"]:
        assert comparison["primary_p"] == comparison["exact_p"] == pytest.approx(2 / 2**10)
        assert comparison["p_adjusted"] == pytest.approx(3 * 2 / 2**10)  # three endpoints in either family
        assert comparison["verdict"] == "higher"
    text = " ".join(render(build(grid({"sum": 0.0, "pcgrad": 0.1}, 10)), "text").split())
    assert "Primary test: sign flip; with 10 seeds the exact test can decide" in text


def test_a_family_too_large_for_the_exact_floor_keeps_the_t_test() -> None:
    made = grid({"sum": 0.0, **{f"rlw[x={index}]": 0.01 for index in range(9)}}, 10)
    assert {c["primary_test"] for c in as_json(made)["comparisons"]} == {"paired t"}  # 27 × .00195 > .05


def test_within_a_margin_only_when_it_was_declared(records: list[dict[str, Any]]) -> None:
    made = grid({"sum": 0.0, "pcgrad": 0.0}, 5)
    assert not any(c["within_margin"] or c["equivalence_p"] for c in as_json(made)["comparisons"])
    declared = as_json(made, margin=0.02)
    assert any("within the declared margin of ±0.02" in sentence for sentence in declared["headline"])
    assert {c["within_margin"] for c in declared["comparisons"] if c["family"] == "primary"} == {True}
    narrow = as_json(made, margin=1e-6)
    assert any("is not shown to hold any" in sentence for sentence in narrow["headline"])
    assert as_json(grid({"sum": 0.0, "pcgrad": 0.0}, 3), margin=0.5)["comparisons"][0]["within_margin"] is False
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="must be positive"):
            build(made, margin=wrong)


def test_simultaneous_intervals_hold_the_single_ones() -> None:
    for c in as_json(grid({"sum": 0.0, "pcgrad": 0.01, "mgda": 0.0}, 5))["comparisons"]:
        assert c["family_size"] == 6
        assert c["simultaneous_low"] < c["ci_low"] < c["ci_high"] < c["simultaneous_high"]
        assert c["detectable_in_family"] > c["minimum_detectable_effect"]
        assert c["wins"] + c["losses"] + c["ties"] == 5
        assert 0 < c["variance_ratio"] < 1


def test_the_ranking_is_over_seeds_and_names_how_p_was_counted(records: list[dict[str, Any]]) -> None:
    found = as_json(records)["rankings"]
    assert len(found) == 1
    assert (found[0]["seeds"], found[0]["score"], found[0]["exact"]) == (3, "Δm", True)
    assert found[0]["resolution"] == pytest.approx(1 / 24**2)
    assert found[0]["p"] >= found[0]["resolution"] - 1e-12
    assert sum(found[0]["mean_ranks"]) == pytest.approx(10)
    joint = as_json([r for r in records if r["method"]["joint"]])["rankings"]
    assert joint[0]["score"] == "mean of the tasks' primary metrics"
    assert as_json(grid({"sum": 0.0, "pcgrad": 0.1}, 5))["rankings"] == []  # two methods: the paired test is there


def test_every_pair_is_compared_on_what_is_ranked() -> None:
    found = build(grid({"sum": 0.0, "pcgrad": 0.0, "cagrad": 0.05, "mgda": -0.05}, 5)).groups[0].pairs
    pairs = {frozenset((p.method, p.baseline)): p for p in found}
    assert len(pairs) == len(found) == 6
    assert {p.family_size for p in found} == {6}
    assert pairs[frozenset(("cagrad", "mgda"))].verdict == "lower"  # mgda, the later name, is the candidate
    assert pairs[frozenset(("sum", "pcgrad"))].verdict == "not separable"
    text = " ".join(render(build(grid({"sum": 0.0, "pcgrad": 0.0, "cagrad": 0.1}, 5)), "text").split())
    assert "2 of 3 pairs are separable on it" in text
    text = " ".join(render(build(grid({"sum": 0.0, "pcgrad": 0.0, "cagrad": 0.1}, 3)), "text").split())
    assert "no pair is told apart" in text


def test_other_versions_on_the_two_sides_are_cautioned_in_the_headline() -> None:
    made = grid({"sum": 0.0, "pcgrad": 0.1}, 5)
    for one in made:
        if one["method"]["spec"] == "pcgrad":
            one["environment"]["versions"]["transformers"] = "5.1"
    assert any(
        s.startswith("Caution: the cells ran on different versions of transformers") for s in as_json(made)["headline"]
    )


def test_other_machines_are_cautioned_in_one_line_of_every_format() -> None:
    made = grid({"sum": 0.0, "pcgrad": 0.1}, 5)
    for one in made:
        there = one["method"]["spec"] == "pcgrad"
        one["environment"]["machine"] = {"processor": "Xeon <i>" if there else "EPYC", "gpu": "H100" if there else None}
        one["environment"]["versions"]["torch"] = "2.6.0" if there else "2.13.0"
    line = (
        "the cells ran on different devices (H100, cpu), processors (EPYC, Xeon <i>), versions of torch (2.13.0, "
        "2.6.0): scores may differ in their last bits and are not paired to the bit; cost is not comparable"
    )
    assert as_json(made)["groups"][0]["cautions"] == [line]
    for format in FORMATS:
        text = html.unescape(" ".join(render(build(made), format, records=made).split()))
        assert (escape(line) if format == "latex" else line) in text, format
        assert format != "html" or "Xeon <i>" not in render(build(made), format)


def test_where_cells_failed_or_nothing_is_known_no_machine_is_cautioned() -> None:
    made = grid({"sum": 0.0, "pcgrad": 0.1}, 2)
    elsewhere = failed("pcgrad", 2) | {"environment": {"versions": {}, "machine": {"processor": "Xeon"}}}
    assert as_json([*made, elsewhere])["groups"][0]["cautions"] == []


def test_cells_of_one_group_with_other_recipes_are_cautioned() -> None:
    made = grid({"sum": 0.0, "pcgrad": 0.1}, 5)
    made[-1]["recipe"]["steps"] = 61
    assert any("differ in their recipe: steps" in s for s in as_json(made)["headline"])


ROWS = 200


def by_row(one: Any) -> dict[str, Any]:
    """Return right answers by row whose mean is the recorded accuracy."""
    order = np.random.default_rng(one["seed"]).permutation(ROWS)
    return {task: (order < round(one["scores"][task]["accuracy"] * ROWS)).astype(float) for task in ("sst5", "qqp")}


def rounded(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Round accuracies to what so many rows can give."""
    for one in made:
        for task in ("sst5", "qqp"):
            one["scores"][task]["accuracy"] = round(one["scores"][task]["accuracy"] * ROWS) / ROWS
    return made


def test_intervals_over_seeds_and_rows() -> None:
    made = rounded(grid({"sum": 0.0, "pcgrad": 0.05}, 5))
    parsed = as_json(made, examples=by_row)
    found = {e["task"]: e for e in parsed["example_intervals"]}
    assert found.keys() == {"sst5", "qqp"}  # a correlation is no mean over rows
    single = {c["task"]: c for c in parsed["comparisons"] if c["metric"] == "accuracy"}
    for task, e in found.items():
        assert (e["seeds"], e["examples"]) == (5, ROWS)
        assert e["mean_difference"] == pytest.approx(single[task]["mean_difference"])
        assert e["ci_low"] < e["mean_difference"] < e["ci_high"]
    assert "over seeds and development rows" in render(build(made, examples=by_row), "text")


def test_rows_that_do_not_average_to_the_score_are_not_used() -> None:
    made = rounded(grid({"sum": 0.0, "pcgrad": 0.05}, 5))
    parsed = as_json(made, examples=lambda one: {"sst5": 1 - by_row(one)["sst5"]})
    assert parsed["example_intervals"] == []
    assert any("scores by row of sst5 do not average to its accuracy" in note for note in parsed["notes"])
    unequal = as_json(made, examples=lambda one: {"sst5": np.ones(3 + (one["method"]["spec"] == "sum"))})
    assert unequal["example_intervals"] == []


def degenerate(kind: str) -> list[dict[str, Any]]:
    """Return records of which little can be said."""
    made = grid({"stl": 0.0, "sum": 0.0, "pcgrad": 0.1}, 1 if kind == "one seed" else 5)
    match kind:
        case "one method":
            return [one for one in made if one["method"]["spec"] == "sum"]
        case "all scores alike":
            return [{**one, "scores": made[0]["scores"]} for one in made]
        case "constant difference":
            shifted = {task: {m: v + 0.25 for m, v in of.items()} for task, of in made[0]["scores"].items()}
            return [{**o, "scores": shifted if o["method"]["spec"] == "pcgrad" else made[0]["scores"]} for o in made]
        case "failed seeds":
            return [*(o for o in made if o["seed"] < 2), *(failed(m, s) for m in ("sum", "pcgrad") for s in (2, 3))]
        case "no seed in common":
            return [o for o in made if (o["method"]["spec"] == "sum") == (o["seed"] < 2)]
        case "unequal seeds":
            return [o for o in made if o["method"]["spec"] != "pcgrad" or o["seed"] < 4]
        case "two seeds":
            return [o for o in made if o["seed"] < 2]
        case "no baseline":
            return [o for o in made if o["method"]["spec"] != "sum"] + [{**record("sum"), "group": "b" * 64}]
    return made


@pytest.mark.parametrize("margin", [None, 0.01])
@pytest.mark.parametrize("kind", [
    "one seed", "two seeds", "one method", "all scores alike", "constant difference", "failed seeds",
    "no seed in common", "unequal seeds", "no baseline",
])  # fmt: skip
def test_degenerate_records_crash_nothing_and_print_no_nan(kind: str, margin: float | None) -> None:
    made = degenerate(kind)
    report = build(made, margin=margin)
    for format in FORMATS:
        words = re.split(r"[^a-z]+", render(report, format).lower())
        assert "nan" not in [word for word in words if "failed" not in kind]
        assert "equal" not in words
    assert all(group.headline for group in report.groups)
    if kind == "all scores alike":
        assert any("nothing varies, so its p is 1" in sentence for sentence in report.groups[0].headline)
