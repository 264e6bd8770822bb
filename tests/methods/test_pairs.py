"""Every pair of methods that should differ does: in a later update, or in what is done with heads and Gram matrix."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mtlbench.check.subject import Instance, step
from mtlbench.contract.observation import Vector
from mtlbench.plugins.registry import load_registry

REGISTRY = load_registry()
STEPS = 60
"""Enough for methods that warm up or average over windows."""
SAME = {
    frozenset({"sum", "stl"}): "stl is the sum of one task",
    frozenset({"sum", "fixed"}): "fixed weights are 1 until told otherwise",
    frozenset({"stl", "fixed"}): "as above",
    frozenset({"edm", "imtl-g"}): "where no weight of imtl-g is negative, as here",
}


def played(name: str) -> tuple[Vector, str, str]:
    """Return the last five of many updates, on gradients in conflict and falling losses, and what else is declared."""
    draw, method = np.random.default_rng(7), REGISTRY.method(name)
    updates = []
    for number in range(STEPS):
        losses = np.array([1.0, 0.5, 2.0, 1.5]) * np.array([0.99, 0.97, 0.995, 0.9]) ** number
        rows = np.array([[1.0, 0.2, 0.1, 0], [-0.8, 1.0, 0.3, 0], [-0.9, 0.4, -2.0, 0.2], [0.3, -0.5, 0.2, 1.5]])
        updates.append(step(method, Instance(rows + 0.3 * draw.normal(size=(4, 4)), losses)))
    return np.concatenate(updates[-5:]), method.heads, method.gram_of


PLAYED = {name: played(name) for name in REGISTRY.catalogue()}


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(PLAYED, 2)))
def test_two_methods_differ(one: str, other: str) -> None:
    (first, *declared), (second, *others) = PLAYED[one], PLAYED[other]
    apart = np.linalg.norm(first - second) / max(np.linalg.norm(first), np.linalg.norm(second))
    if frozenset({one, other}) in SAME:
        assert apart < 1e-12
    else:
        assert apart > 1e-4 or declared != others, f"{one} and {other} give the same update"


def test_directions_differ_but_for_scale() -> None:
    """Apart from their lengths, these and no others give the same updates."""
    units = {name: update / np.linalg.norm(update) for name, (update, *_) in PLAYED.items()}
    same = {
        frozenset(pair)
        for pair in itertools.combinations(units, 2)
        if np.linalg.norm(units[pair[0]] - units[pair[1]]) < 1e-4
    }
    assert same - set(SAME) == {
        frozenset({"mean", "sum"}),
        frozenset({"mean", "stl"}),
        frozenset({"mean", "fixed"}),
        frozenset({"mgda", "mgda-ub"}),  # of another Gram matrix, which here is the same
        frozenset({"uw", "imtl-l"}),  # ½e^(−s)L + ½s and e^s L − s: the same but for a factor and the sign of s
    }
