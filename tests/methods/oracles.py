"""Oracles of several methods: TorchJD, conic solvers, torch's autograd and Adam. None shares code with the methods."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from assertions import lengths
from torchjd import aggregation as torchjd

from mtlbench import Matrix, Vector

cvxpy: Any = importlib.import_module("cvxpy")  # its types leave out half its names

Objective = Callable[[torch.Tensor], torch.Tensor]


def peer(aggregator: torchjd.Aggregator, rows: Matrix) -> Vector:
    """Return TorchJD's update."""
    return np.asarray(aggregator(torch.from_numpy(rows)).numpy())


def conic(problem: Any) -> None:
    """Solve a problem by Clarabel, in place."""
    problem.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    assert problem.status in ("optimal", "optimal_inaccurate")


def projection(rows: Matrix, target: Vector) -> Vector:
    """Return the d nearest to the target with ⟨gᵢ, d⟩ ≥ 0; dividing these by ‖gᵢ‖ changes nothing."""
    d = cvxpy.Variable(len(target))
    units, size = rows / lengths(rows)[:, None], float(np.linalg.norm(target))
    conic(cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(d - target / size)), [units @ d >= 0]))
    return np.asarray(d.value) * size


def gradient(objective: Objective, losses: Vector) -> Vector:
    """Return ∂ objective / ∂ Lᵢ by torch's autograd."""
    leaf = torch.tensor(losses, requires_grad=True)
    objective(leaf).backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    return np.asarray(leaf.grad.numpy())


def learn(objective: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], lr: float, losses: Vector) -> list[Vector]:
    """Return each step's ∂ objective(L, s) / ∂ Lᵢ, with s trained from 0 by torch's Adam on the same backward pass."""
    s = torch.zeros(losses.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([s], lr=lr)
    got = []
    for row in losses:
        optimizer.zero_grad()
        got.append(gradient(lambda leaf: objective(leaf, s), row))
        optimizer.step()
    return got


def softmax(values: Vector) -> Vector:
    """Return torch's softmax."""
    return np.asarray(torch.softmax(torch.from_numpy(values), 0).numpy())
