"""DualProj: a published value, and a conic solver."""

from __future__ import annotations

import numpy as np
import pytest
from assertions import assert_conflicts_with_no_task, lengths
from families import PUBLISHED, jacobian
from oracles import projection

from mtlbench import aggregate


def test_published_value() -> None:
    """Exactly 5/9; the published .5563 includes a regularisation of 10⁻⁴."""
    assert aggregate("dualproj", PUBLISHED) == pytest.approx([0.5556, 1.1111, 1.1111], abs=1e-4)


@pytest.mark.parametrize("spread", [0.0, 3.0])
@pytest.mark.parametrize("tasks", [2, 4, 8])
def test_dualproj_is_the_projection_of_the_mean(tasks: int, spread: float) -> None:
    rows = jacobian(3, tasks, 5, spread)
    wanted = projection(rows, rows.mean(axis=0))
    assert np.linalg.norm(aggregate("dualproj", rows) - wanted) < 1e-4 * lengths(rows).max()


def test_projection_conflicts_with_no_task() -> None:
    assert_conflicts_with_no_task("dualproj")
