"""The front of points that no other dominates."""

from __future__ import annotations

from mtlbench.report.figures import scatter


def test_the_front_holds_what_nothing_dominates() -> None:
    points = {"a": (1.0, 3.0), "b": (2.0, 2.0), "c": (1.5, 2.0), "d": (3.0, 0.0), "e": (0.0, 3.0)}
    assert scatter.front(points) == ["a", "b", "d"]
    assert scatter.front({"a": (1.0, 1.0), "b": (1.0, 1.0)}) == ["a", "b"]
