"""The notebooks of examples/ run from top to bottom, and are kept without outputs.

A notebook is cells of Python here: no Jupyter is needed.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from problem_runs import write_suite

import mtlbench

NOTEBOOKS = {path.stem: path for path in (Path(__file__).parent.parent / "examples").glob("*.ipynb")}


def cells(name: str) -> list[dict[str, Any]]:
    content = json.loads(NOTEBOOKS[name].read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    found: list[dict[str, Any]] = content["cells"]
    return found


def run(name: str, **replaced: str) -> dict[str, Any]:
    """Run the cells of a notebook, and show what its last expressions return; return its names."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells(name)):
        if cell["cell_type"] == "code":
            source = "".join(cell["source"])
            for old, new in replaced.items():
                source = source.replace(old, new)
            tree = ast.parse(source)
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, f"{name}, cell {number}", "exec"), names)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), f"{name}, cell {number}", "eval"), names)
                assert repr(value)
    return names


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Draw without a screen, in an empty folder."""
    before = matplotlib.get_backend()
    plt.switch_backend("Agg")
    monkeypatch.chdir(tmp_path)
    yield
    plt.close("all")
    plt.switch_backend(before)


@pytest.mark.parametrize("name", sorted(NOTEBOOKS))
def test_notebooks_are_kept_without_outputs(name: str) -> None:
    kept = cells(name)
    code = [cell for cell in kept if cell["cell_type"] == "code"]
    assert len(code) >= 6 and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in kept}) == len(kept) and all(cell["metadata"] == {} for cell in kept)


@pytest.mark.usefixtures("figures")
def test_weights_on_a_matrix_says_what_it_shows() -> None:
    names = run("weights_on_a_matrix")
    assert len(plt.get_fignums()) == 3
    two, three, turned = names["two"], names["three"], names["turned"]
    assert two["cosine 1"]["sum"] == pytest.approx(0, abs=1e-12)
    assert three["cosine 3"]["sum"] == pytest.approx(0, abs=1e-12)
    weights = three[["weight 1", "weight 2", "weight 3"]].drop("sum")
    assert (weights.idxmax(axis=1) == "weight 3").all()
    for method in ("mgda", "imtl-g"):
        cosines = three.loc[method, ["cosine 1", "cosine 2", "cosine 3"]]
        assert cosines.tolist() == pytest.approx([cosines.iloc[0]] * 3, rel=1e-6)
    assert two.loc["nash-mtl", ["cosine 1", "cosine 2"]].tolist() == pytest.approx([0.5, 0.5], rel=1e-4)
    fair = {method for method, cosine in turned.items() if cosine > 0.9999}
    assert fair == {"imtl-g", "nash-mtl"}
    rising = {method for method, values in names["lowest"].items() if min(values) < -1e-9}
    assert rising == {"sum", "cagrad", "aligned-mtl"}


@pytest.mark.usefixtures("figures")
def test_a_comparison_trains_and_compares(tmp_path: Path) -> None:
    write_suite(tmp_path, "digits[rows=200,dev_rows=100]", "small", tasks=["left", "right"])
    names = run("a_comparison", **{"STEPS, SEEDS = 150, 3": "STEPS, SEEDS = 6, 2", '"digits"': '"small.toml"'})
    results = names["results"]
    assert isinstance(results, mtlbench.Results) and results.complete and len(results.cells) == 6
    assert len(plt.get_fignums()) == 2 and set(names["primary"].method) == {"stl", "mgda"}
    assert isinstance(names["findings"], pd.DataFrame)
