"""The LaTeX report compiles in a document that loads only the packages named in its first line."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from factory import failed, grid, record

from mtlbench.report import render
from mtlbench.report.build import build

COMPILER = shutil.which("tectonic") or shutil.which("pdflatex")
OPTIONS = {"tectonic": [], "pdflatex": ["-halt-on-error", "-interaction=nonstopmode"]}
HOSTILE = r"cagrad[c=0.4/0.6,name=a_b&c#d%e$f~g^h{i}\j<k>l|m'n*]"

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs pdflatex or tectonic on PATH")

CASES: dict[str, list[dict[str, Any]]] = {
    "full": [*grid({"stl": 0.0, "sum": 0.0, "pcgrad": 0.03, "mgda": -0.4}, 6), failed("mgda", 6)],
    "few seeds": grid({"stl": 0.0, "sum": 0.0, "pcgrad": 0.03}, 2),
    "one method": [record()],
    "one cell failed": [failed("sum", 0)],
    "hostile names": [
        *grid({"sum": 0.0, HOSTILE: 0.01}, 5),
        failed("pcgrad", 0, r"50% of $x_1 {lost} \ at ~/path & <more> | 'quoted' #1 ^2 [*] -1 +2"),
        record(HOSTILE, 1, suite="my_suite & co", group="b" * 64),
    ],
    "double quotes": [*grid({"sum": 0.0}, 2), failed("pcgrad", 0, 'no file "a"')],
}


@pytest.mark.parametrize("case", list(CASES))
def test_it_compiles(tmp_path: Path, case: str) -> None:
    assert COMPILER is not None
    text = render(build(CASES[case], [("results/a_b/seed-0.json", "not JSON: cut off & overwritten")]), "latex")
    asked = re.search(r"\\usepackage\{[^}]*\}", text.splitlines()[0])
    assert asked is not None
    (tmp_path / "report.tex").write_text(text, encoding="utf-8")
    (tmp_path / "paper.tex").write_text(
        f"\\documentclass{{article}}\n{asked[0]}\n\\begin{{document}}\n\\input{{report}}\n\\end{{document}}\n"
    )
    command = [COMPILER, *OPTIONS[Path(COMPILER).stem], "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    errors = [line for line in done.stdout.splitlines() if line.startswith(("!", "l."))]
    assert done.returncode == 0, (errors, done.stderr)
    assert (tmp_path / "paper.pdf").stat().st_size > 1000
