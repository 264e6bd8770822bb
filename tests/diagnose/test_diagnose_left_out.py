"""The doctor on records whose side files were left out on purpose."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))
from left_out_files import without
from test_diagnose import by_heart, cell, codes, head, scored, shift

from mtlbench.diagnose import diagnose
from mtlbench.diagnose.text import to_blocks, to_json
from mtlbench.diagnose.without_files import NEEDS
from mtlbench.report.text import render


def words(records: list[dict[str, Any]]) -> str:
    return " ".join(render(to_blocks(diagnose(records)), 80).split())


def test_what_is_not_examined_is_said_once(tmp_path: Path) -> None:
    slim = without([cell(tmp_path, method=name, seed=seed) for name in ("sum", "pcgrad") for seed in range(3)],
                   "history", "predictions")  # fmt: skip
    text = words(slim)
    assert text.count("6 cells hold no histories or predictions, left out when they were merged") == 1
    assert all(code in text for codes_of in NEEDS.values() for code in codes_of)
    assert "nothing is wrong with what their folder holds" in text
    (group,) = json.loads(to_json(diagnose(slim)))["groups"]
    assert group["not_measured"] == sorted({code for codes_of in NEEDS.values() for code in codes_of})
    assert group["left_out"].startswith("6 cells hold no histories")


def test_findings_of_the_record_alone_stay(tmp_path: Path) -> None:
    bad = cell(tmp_path, scored("mood", "accuracy", 0.1, 0.1, 0.1))
    assert "below-floor" in codes([bad]) and codes(without([bad], "history", "predictions")) == {"below-floor"}


def test_one_kind_left_out_leaves_the_findings_of_the_other(tmp_path: Path) -> None:
    shifted = cell(tmp_path, head("same", shift))
    assert codes([shifted]) == codes(without([shifted], "history")) != set()
    assert codes(without([shifted], "predictions")) == set()
    (group,) = json.loads(to_json(diagnose(without([shifted], "history"))))["groups"]
    assert "dead-head" not in group["not_measured"] and "overfit" in group["not_measured"]


def test_cells_without_files_do_not_count_as_healthy(tmp_path: Path) -> None:
    fault = [cell(tmp_path, by_heart, seed=seed) for seed in range(2)]
    slim = without([cell(tmp_path, seed=seed) for seed in range(2, 6)], "history", "predictions")
    assert codes([*fault, *slim]) == codes(fault) == {"overfit"}
    assert "4 cells hold no histories or predictions" in words([*fault, *slim])
    (group,) = json.loads(to_json(diagnose([*fault, *slim])))["groups"]
    assert "not_measured" not in group  # some cells were examined


def test_records_that_hold_all_say_nothing_of_it(tmp_path: Path) -> None:
    healthy = [cell(tmp_path)]
    assert "left out" not in words(copy.deepcopy(healthy)) and "left_out" not in to_json(diagnose(healthy))
