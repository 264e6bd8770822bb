"""Sweeps over one parameter, and their order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from factory import grid, record
from galleries import draw_all

from mtlbench.records.groups import collect
from mtlbench.report.figures.sweeps import sweeps


def swept(name: str, parameter: str, values: list[Any], seeds: int = 2) -> list[dict[str, Any]]:
    """Return records of sum, and of a method under several values of one of its two parameters."""
    records = grid({"sum": 0.0}, seeds)
    for index, value in enumerate(values):
        for seed in range(seeds):
            cell = record(f"{name}[{parameter}={value}]", seed, gain=0.01 * index)
            cell["method"]["parameters"] = {"other": 1, parameter: value}
            records.append(cell)
    return records


def test_a_sweep_is_joined_in_the_order_of_its_parameter() -> None:
    records = swept("cagrad", "c", [0.9, 0.1, 10])
    figure = next(f for f in draw_all(records).figures if f.name == "trade-offs")
    assert "in their order: cagrad by c (0.1, 0.9, 10)." in figure.description
    (line,) = [line for line in figure.canvas.axes[0].lines if line.get_gid() == "sweep"]
    scores = {
        m: [r["scores"]["sst5"]["accuracy"] for r in records if r["method"]["spec"] == m]
        for m in ("cagrad[c=0.1]", "cagrad[c=0.9]", "cagrad[c=10]")
    }
    assert np.asarray(line.get_xdata()).tolist() == pytest.approx([np.mean(values) for values in scores.values()])


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
    actual = sweeps(cells, cells.methods)
    assert [sweep.values for sweep in actual] == ([] if expected is None else [expected])


def test_methods_that_differ_in_two_parameters_are_not_joined() -> None:
    records = swept("cagrad", "c", [0.1, 0.2, 0.3], 1)
    records[-1]["method"]["parameters"]["other"] = 2
    (cells,) = collect(records)
    assert sweeps(cells, cells.methods) == []
    assert all("Dashed" not in figure.description for figure in draw_all(records).figures)
