"""The marks in tables of scores."""

from __future__ import annotations

import re
from typing import Any

from mtlbench.report import render
from mtlbench.report.build import build


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
