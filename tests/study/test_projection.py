"""PCGrad's projection of a pair of gradients."""

from __future__ import annotations

import numpy as np

from mtlbench.engine.library import aggregate
from mtlbench.study import projection


def test_projections_are_pcgrads_own() -> None:
    apart, together = (projection.project(pair) for pair in projection.PAIRS)
    first, second = apart.gradients
    np.testing.assert_allclose(apart.projected[0], first - first @ second / (second @ second) * second)
    np.testing.assert_allclose(apart.projected[1], second - first @ second / (first @ first) * first)
    np.testing.assert_allclose(apart.update, apart.projected.sum(axis=0))
    np.testing.assert_allclose(apart.update, aggregate("pcgrad", apart.gradients))
    assert apart.cosine < 0 < together.cosine
    np.testing.assert_array_equal(together.projected, together.gradients)
