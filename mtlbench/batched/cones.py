"""Batched forms of projections onto the cone of directions that conflict with no task: upgrad, dualproj."""

from __future__ import annotations

import numpy as np

from mtlbench.batched.arrays import Grams, Rows, every, some, times
from mtlbench.batched.base import Batched
from mtlbench.batched.forms import form_of
from mtlbench.batched.solvers import PRECISE
from mtlbench.batched.solvers.directions import directions
from mtlbench.batched.solvers.nonnegative import cone_violation, nonnegative
from mtlbench.contract.observation import Vector
from mtlbench.methods.dualproj import DualProj
from mtlbench.methods.upgrad import UPGrad


@form_of(UPGrad)
class BatchedUPGrad(Batched):
    """Unconflicting projection of gradients: K projections a problem."""

    method: UPGrad

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        units = directions(gram)
        cosines, (problems, tasks) = units.decoupled, units.lengths.shape
        multipliers, violation = np.zeros((problems * tasks, tasks)), np.zeros(problems * tasks)
        if tasks == 2:  # the projection of uᵢ adds −c uⱼ
            opposed = np.maximum(-cosines[:, 0, 1], 0.0)
            coordinates = units.lengths + opposed[:, None] * units.lengths[:, ::-1]
        else:
            targets = cosines.reshape(problems * tasks, tasks)  # row i of a problem: the products of uᵢ
            which = np.flatnonzero(some(targets < 0.0))
            stacked = cosines[which // tasks]
            multipliers[which], violation[which] = project(stacked, targets[which], np.ones(len(which)))
            multipliers = multipliers.reshape(problems, tasks, tasks)
            coordinates = units.lengths + np.einsum("bi,bij->bj", units.lengths, multipliers)
        weights = np.where(units.kept, coordinates / units.divisors, 0.0)
        unsolved = ~every(violation.reshape(problems, tasks) <= PRECISE)
        weights /= tasks if self.method.reduction == "mean" else 1.0
        self.solve_alone(unsolved, weights, losses, gram)
        return weights

    def residual(self, losses: Rows | None, gram: Grams | None, weights: Rows) -> Vector | None:
        assert gram is not None
        units = directions(gram)
        factor = gram.shape[1] if self.method.reduction == "mean" else 1.0
        coordinates = weights * factor * units.lengths
        products = np.minimum(times(units.cosines, coordinates), 0.0)
        return cone_violation(products, coordinates - units.lengths, units.lengths.sum(axis=1))


@form_of(DualProj)
class BatchedDualProj(Batched):
    """Projection of the mean gradient."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        units = directions(gram)
        longest = units.lengths.max(axis=1)
        longest = np.where(longest > 0.0, longest, 1.0)[:, None]
        shares = units.lengths / longest / gram.shape[1]
        cosines = units.decoupled
        products = times(cosines, shares)
        multipliers, violation = np.zeros_like(shares), np.zeros(len(shares))
        which = np.flatnonzero(some(products < 0.0))
        multipliers[which], violation[which] = project(
            units.decoupled[which], products[which], shares[which].sum(axis=1)
        )
        weights = np.where(units.kept, (shares + multipliers) * longest / units.divisors, 0.0)
        self.solve_alone(~(violation <= PRECISE), weights, losses, gram)
        return weights

    def residual(self, losses: Rows | None, gram: Grams | None, weights: Rows) -> Vector | None:
        assert gram is not None
        units = directions(gram)
        coordinates, shares = weights * units.lengths, units.lengths / gram.shape[1]
        return cone_violation(times(units.cosines, coordinates), coordinates - shares, shares.sum(axis=1))


def project(cosines: Grams, products: Rows, size: Vector) -> tuple[Rows, Vector]:
    """Return the v ≥ 0 for which target + Σ vᵢ uᵢ is the projection of the target onto {d: ⟨uᵢ, d⟩ ≥ 0 for all i}.

    :param cosines: (N, K, K) inner products of the unit vectors uᵢ.
    :param products: (N, K) inner products of the targets with them.
    :param size: (N,) the magnitudes of the targets' terms.
    :returns: (N, K) multipliers, and (N,) violations of the conditions.
    """
    multipliers = nonnegative(cosines, -products)
    along = products + times(cosines, multipliers)
    return multipliers, cone_violation(along, multipliers, size)
