"""docs/foreign.md: all of TorchJD has a row, and every line that a check may print is explained."""

from __future__ import annotations

from pathlib import Path

import torchjd.aggregation

from docs.foreign import MARKS, PAGE, REMARKS, SUBJECTS, cells, page, row
from mtlbench.check.claims import STATEMENTS
from mtlbench.check.foreign import check_foreign

TEXT = PAGE.read_text(encoding="utf-8")
FILE = str(Path(__file__).with_name("foreign_code.py"))
BASES = {"Aggregator", "GramianWeightedAggregator", "WeightedAggregator", "Weighting"}


def test_all_of_torchjd_has_a_row() -> None:
    names = {subject.partition("[")[0] for subject in SUBJECTS}
    assert names - {"CR_MOGM"} | {"CRMOGMWeighting"} == set(torchjd.aggregation.__all__) - BASES
    assert set(REMARKS) <= set(SUBJECTS)
    rows = [line for line in TEXT.split(MARKS[0])[1].split(MARKS[1])[0].splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in rows[1:]] == list(SUBJECTS), "run: python docs/foreign.py"


def test_a_row_is_todays() -> None:
    assert row(cells("Mean")) in TEXT.splitlines(), "run: python docs/foreign.py"
    assert "not checked" in cells("MoDoWeighting")


def test_every_line_is_explained() -> None:
    table = TEXT.split("## What is checked")[1].split("## TorchJD")[0]
    wrapper = check_foreign(f"{FILE}:SumsFirst", None, (), 3)
    names = {result.check for result in wrapper.results} - set(STATEMENTS) - {"shape"}
    assert names >= {"heads", "cause", "unreached"}
    assert not [name for name in sorted(names | {"random order"}) if f"| {name} |" not in table]


def test_the_table_replaces_what_is_between_the_marks() -> None:
    changed = page(TEXT, "new")
    assert changed.split(MARKS[0])[1].split(MARKS[1])[0] == "\nnew\n"
    assert page(changed, TEXT.split(f"{MARKS[0]}\n")[1].split(f"\n{MARKS[1]}")[0]) == TEXT
