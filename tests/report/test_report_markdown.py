"""Escaping for Markdown."""

from __future__ import annotations

import re

from factory import failed, grid

from mtlbench.report import render
from mtlbench.report.build import build


def test_markdown_escapes_pipes_and_tags() -> None:
    records = [*grid({"sum": 0.0, "c[x=1|2]": 0.1}, 2), failed("sum", 2, "<b>*bold*</b>\n# no heading")]
    text = render(build(records), "markdown")
    assert r"c[x=1\|2]" in text
    assert r"&lt;b&gt;\*bold\*&lt;/b&gt; # no heading" in text
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) == 3
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
