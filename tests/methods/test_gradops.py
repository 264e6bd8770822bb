"""GradOPS: published values, projections by least squares, and what no order of tasks changes."""

from __future__ import annotations

import numpy as np
import pytest
from families import PUBLISHED, jacobian

from mtlbench import Matrix, UsageError, get_method, weights


def projected(rows: Matrix) -> Matrix:
    """Return the gᵢ' by least squares on the others."""
    result = rows.copy()
    for number, row in enumerate(rows):
        others = np.delete(rows, number, axis=0)
        if (others @ row < 0.0).any():
            result[number] = row - others.T @ np.linalg.lstsq(others.T, row, rcond=None)[0]
    return result


@pytest.mark.parametrize("tasks", [2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_the_update_is_the_sum_of_the_projected_gradients(seed: int, tasks: int) -> None:
    rows = jacobian(seed, tasks, 9, spread=1.0)
    wanted = projected(rows).sum(axis=0)
    got = weights("gradops", rows @ rows.T) @ rows
    assert np.linalg.norm(got - wanted) < 1e-8 * np.linalg.norm(rows)


def test_two_tasks_are_pcgrad() -> None:
    gram = PUBLISHED @ PUBLISHED.T
    assert weights("gradops", gram) @ PUBLISHED == pytest.approx([0.584795, 3.801170, 3.801170], abs=1e-6)
    assert weights("gradops", gram) == pytest.approx(weights("pcgrad", gram), rel=1e-12)


def test_if_all_conflict_every_task_falls_by_its_part_across_the_others() -> None:
    """⟨gᵢ, d⟩ = 1/(G⁻¹)ᵢᵢ."""
    gram = np.array([[2.0, -0.5, -0.3], [-0.5, 1.0, -0.2], [-0.3, -0.2, 3.0]])
    assert gram @ weights("gradops", gram) == pytest.approx(1.0 / np.diagonal(np.linalg.inv(gram)), rel=1e-10)


def test_without_conflict_it_is_the_sum() -> None:
    assert weights("gradops", [[1.0, 0.5, 0.0], [0.5, 2.0, 0.1], [0.0, 0.1, 1.0]]).tolist() == [1.0, 1.0, 1.0]


def test_dependent_gradients_leave_nothing() -> None:
    rows = np.array([[1.0, 0.0], [-1.0, 1.0], [0.0, -1.0]])
    assert np.abs(weights("gradops", rows @ rows.T) @ rows).max() < 1e-7


def test_a_negative_exponent_favours_dominated_tasks() -> None:
    gram = np.diag([100.0, 1.0])
    plain, favoured = weights("gradops", gram), weights("gradops[alpha=-1]", gram)
    assert plain.tolist() == [1.0, 1.0]
    assert favoured == pytest.approx([2 / 11, 20 / 11], rel=1e-12)  # R = (10, 1)


def test_zero_gradients() -> None:
    assert weights("gradops[alpha=-3]", np.zeros((2, 2))).tolist() == [0.0, 0.0]
    assert weights("gradops", np.diag([0.0, 4.0])).tolist() == [0.0, 1.0]


def test_parameters_out_of_range() -> None:
    with pytest.raises(UsageError, match="method gradops: parameter"):
        get_method("gradops[alpha=-11]")
