"""The critical difference diagram."""

from __future__ import annotations

import pytest
from factory import grid
from galleries import context, draw_all

from mtlbench.report.figures import rank_diagram


def test_ranks_are_over_seeds_with_the_critical_difference_of_demsar() -> None:
    """Four classifiers on 14 blocks: Demšar 2006, p. 15, has 1.25 (2.569 √(4 · 5 / (6 · 14)))."""
    result = rank_diagram.ranks(context(grid({"sum": 0.0, "a": 0.1, "b": 0.2, "c": 0.3}, 14)))
    assert result.critical == pytest.approx(1.2536, abs=1e-3)
    assert result.methods == ("c", "b", "a", "sum")
    assert result.ranks == (1.0, 2.0, 3.0, 4.0)
    assert result.seeds == 14
    assert result.alike == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize(("methods", "seeds", "reason"), [(3, 4, "5 seeds"), (2, 5, "3 joint methods")])
def test_ranks_need_methods_and_seeds_and_give_the_reason(methods: int, seeds: int, reason: str) -> None:
    result = draw_all(grid({f"m{i}" if i else "sum": 0.01 * i for i in range(methods)}, seeds))
    assert "ranks" not in {figure.name for figure in result.figures}
    assert any(reason in omission.reason for omission in result.omitted)
