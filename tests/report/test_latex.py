"""Escaping for LaTeX."""

from __future__ import annotations

import re

from factory import failed, grid

from mtlbench.report import render
from mtlbench.report.build import build


def test_latex_escapes_what_would_break_a_table() -> None:
    records = [*grid({"sum": 0.0, "a_b[x=5%]": 0.1}, 2), failed("sum", 2, r"50% of $x_1 & {y} \input[z]~^#")]
    text = render(build(records), "latex")
    assert r"a\_b{[}x=5\%{]}" in text
    assert r"50\% of \$x\_1 \& \{y\} \textbackslash{}input{[}z{]}\textasciitilde{}\textasciicircum{}\#" in text
    assert not re.search(r"\\\\\s*\[", text)
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 3
