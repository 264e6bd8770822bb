"""MetaBalance: the paper's algorithm on vectors."""

from __future__ import annotations

import numpy as np
import pytest
from assertions import assert_refuses_unknown_main_task
from families import jacobians

from mtlbench import aggregate, get_method, weights


@pytest.mark.parametrize("main", [0, 2])
@pytest.mark.parametrize("strategy", ["both", "reduce", "enlarge"])
def test_metabalance_is_the_papers_algorithm(main: int, strategy: str) -> None:
    method, norms = get_method("metabalance", main=main, strategy=strategy), np.zeros(4)
    for rows in jacobians(10, 4, 9, spread=1.0):
        norms = 0.9 * norms + 0.1 * np.linalg.norm(rows, axis=1)
        wanted = rows[main].copy()
        for i in range(4):
            if i == main:
                continue
            changes = {"both": True, "reduce": norms[i] > norms[main], "enlarge": norms[i] < norms[main]}[strategy]
            wanted += rows[i] * (norms[main] / norms[i]) * 0.7 + rows[i] * 0.3 if changes else rows[i]
        assert aggregate(method, rows) == pytest.approx(wanted, rel=1e-9)


def test_metabalance_leaves_out_what_never_moved() -> None:
    assert weights("metabalance", np.diag([4.0, 0.0, 1.0])) == pytest.approx([1.0, 0.0, 0.7 * 2 + 0.3])
    assert weights("metabalance", np.diag([0.0, 1.0])) == pytest.approx([1.0, 0.3])


def test_a_main_task_that_does_not_exist_is_refused() -> None:
    assert_refuses_unknown_main_task("metabalance")
