"""Gradients, losses and lists of methods that the tests of several methods share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlbench import Matrix, Vector
from mtlbench.check.families import (
    Family,
    duplicated,
    non_stationary,
    normal,
    rank_one,
    strongly_stationary,
    weakly_stationary,
    zero_rows,
)

PUBLISHED = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
"""A conflict whose update TorchJD publishes for many methods."""
SIZES = [2, 3, 5, 8]
"""Numbers of tasks."""
COUNTS = [1, 2, 3, 16]
"""Numbers of tasks, of methods that read losses alone."""
STEPS = 7
LOSSES = np.array([0.5, 2.0, 8.0])
GRAM_NOISE = 1e-7
"""A Gram matrix of 16 digits knows a vector of length 0 only up to √10⁻¹⁶ of the lengths around it."""


STATELESS = ["sum", "pcgrad", "mgda", "cagrad"]
CORE = [*STATELESS, "gradnorm"]
SOLVED = ["mgda", "mgda-ub", "cagrad", "nash-mtl", "fairgrad", "upgrad", "dualproj", "imtl-g", "pcd", "edm", "imgrad"]
CLOSED = ["config", "aligned-mtl", "gradvac", "unit-gradients", "gradops"]
"""Methods without optimality conditions."""
GRAM_METHODS = [*SOLVED, *CLOSED]
UPDATES = ["graddrop", "graddrop[leak=0.3]", "trimmed-mean", "moco", "moco[normalize=loss]", "db-mtl", "config-m"]
CROSS = ["sdmgrad", "modo"]
OTHERS = ["krum", "excess-mtl", "cosine-gate", "metabalance", "unit-step-sum", "log-mgda"]
OTHERS += ["cr-mogm-excess-mtl", "cr-mogm-log-mgda"]
LEARNING = ["go4align", "igb", "lbtw", "cov-weighting", "ema-scaling"]
"""Methods that read positive losses and learn from those of earlier steps."""
EXACT = ["mean", "fixed", "si", "log-sum", "gls", "dwa", "uw", "uw-so", "imtl-l", "stch", "famo"]
EXACT += [*LEARNING, "bmtl", "group-dro", "bandit-mtl"]
DRAWN = ["rlw", "random", "random[distribution=dirichlet]"]
LOSS_METHODS = [*EXACT, *DRAWN]
BLIND = ["mean", "fixed", *DRAWN]
"""Methods whose weights do not depend on the values of the losses."""
LOGS = ["si", "log-sum", "gls", "uw-so", "stch", "famo", *LEARNING]
"""Methods that take logarithms or ratios of losses: a loss of 0 counts as the floor."""
STATEFUL = ["dwa[window=3]", "uw", "imtl-l", "stch[warmup=6]", "famo", *LEARNING, "igb[warmup=3]", "group-dro"]
STATEFUL += ["bandit-mtl"]


FAMILIES: list[Family] = [
    normal,
    strongly_stationary,
    weakly_stationary,
    non_stationary,
    duplicated,
    zero_rows,
    rank_one,
]
every_family = pytest.mark.parametrize("family", FAMILIES)
every_stateless = pytest.mark.parametrize("name", STATELESS)
examples = given(seed=st.integers(0, 2**32), tasks=st.integers(1, 10), size=st.integers(2, 30))
pairs = given(seed=st.integers(0, 2**32), size=st.integers(2, 30))

settings.register_profile("methods", deadline=None, derandomize=True, database=None, max_examples=8)
checked = settings(settings.get_profile("methods"))


def jacobian(seed: int, tasks: int, size: int, spread: float = 0.0) -> Matrix:
    """Return (K, P) normal gradients with lengths scaled by 10^(uniform ± spread)."""
    random = np.random.default_rng([seed, tasks, size])
    return np.asarray(random.normal(size=(tasks, size)) * 10.0 ** random.uniform(-spread, spread, (tasks, 1)))


def jacobians(seed: int, tasks: int, size: int, spread: float = 0.0) -> list[Matrix]:
    """Return the gradients of several steps."""
    return [jacobian(1000 * seed + step, tasks, size, spread) for step in range(STEPS)]


def losses_of(seed: int, tasks: int) -> Vector:
    """Return (K,) positive losses."""
    return np.random.default_rng([seed, tasks, 1]).uniform(0.1, 3.0, tasks)


def series(steps: int, tasks: int = 3, seed: int = 0) -> Vector:
    """Return (steps, K) positive losses that fall, at rates of their own, with noise."""
    draw = np.random.default_rng([seed, tasks])
    rates = draw.uniform(0.0, 0.1, tasks)
    return np.asarray(np.exp(-np.outer(np.arange(steps), rates) + draw.normal(size=(steps, tasks)) / 5) * [0.2, 1, 5])


def spread_losses(seed: int, tasks: int) -> Vector:
    """Return (K,) losses from 10⁻³ to 10³."""
    return np.asarray(10.0 ** np.random.default_rng([seed, tasks]).uniform(-3, 3, tasks))


def singular(seed: int) -> list[Matrix]:
    """Return stationary, duplicated, opposite, rank-one and zero matrices."""
    draw = np.random.default_rng(seed)
    rows, v = draw.normal(size=(5, 12)), draw.uniform(0.1, 1.0, 5)
    weak = np.array([*v[:4], 0.0])
    zeros = rows.copy()
    zeros[:2] = 0.0
    return [
        rows - np.outer(v, v @ rows) / (v @ v),
        rows - np.outer(weak, weak @ rows) / (weak @ weak),
        np.vstack([rows, rows[0]]),
        np.vstack([rows, -rows[0]]),
        np.outer(draw.normal(size=5), rows[0]),
        zeros,
        np.zeros((3, 4)),
        rows[:1],
        draw.normal(size=(9, 3)),
    ]


def drawn(family: Family, seed: int, tasks: int, size: int) -> Matrix:
    """Return the (K, P) gradients of a family for a seed."""
    return family(np.random.default_rng(seed), tasks, size)
