"""The forest plot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from factory import grid
from galleries import context, draw_all

from mtlbench.report.figures import Gallery
from mtlbench.report.figures.forest import seed_differences


def test_the_forest_plot_draws_the_difference_of_every_seed(complete: list[dict[str, Any]], drawn: Gallery) -> None:
    figure_context = context(complete)
    figure = drawn.figures[0]
    dots = [line.get_xdata() for panel in figure.canvas.axes for line in panel.lines if line.get_gid() == "seeds"]
    shown = sorted(value for values in dots for value in np.asarray(values).tolist())
    scores = {(r["method"]["spec"], r["seed"]): r["scores"] for r in complete}
    endpoints = [(task.name, task.primary) for task in figure_context.group.tasks]
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
    for d in (*figure_context.group.comparisons, *figure_context.group.delta_m_comparisons):
        assert np.mean(list(seed_differences(figure_context, d).values())) == pytest.approx(
            d.mean_difference, abs=1e-12
        )


def test_runs_that_are_not_paired_have_no_dots() -> None:
    records = grid({"sum": 0.0, "mgda": 0.01}, 3)
    for cell in records:
        cell["pairing"] = {}
    figure_context = context(records)
    assert all(seed_differences(figure_context, d) == {} for d in figure_context.group.comparisons)
    assert "Not paired, so without seeds' dots: mgda." in draw_all(records).figures[0].description
