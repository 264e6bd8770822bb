"""Log: the inner method on the gradients of the log-losses."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
from families import jacobian, jacobians, losses_of

from mtlbench import Observation, UsageError, Vector, aggregate, get_method, weights
from mtlbench.contract.method_input import observe
from mtlbench.contract.observation import FLOOR
from mtlbench.plugins.registry import load_registry


@pytest.mark.parametrize("spec", ["mgda", "cagrad[c=0.2]", "pcgrad", "krum", "metabalance[main=1]"])
def test_log_is_the_inner_method_on_the_gradients_of_the_logarithms(spec: str) -> None:
    wrapped, inner = get_method(f"log-{spec}", seed=3), get_method(spec, seed=3)
    inner.generator.bit_generator.state = wrapped.generator.bit_generator.state  # each name has its own draws
    for step, rows in enumerate(jacobians(11, 5, 9)):
        losses = losses_of(step, 5)
        wanted = aggregate(inner, rows / losses[:, None])
        assert aggregate(wrapped, rows, losses=losses) == pytest.approx(wanted, rel=1e-7, abs=1e-9)


def test_log_mgda_by_hand() -> None:
    """∇log L = (1, 0), (0, 2): the nearest point of the hull has weights .8, .2 of those."""
    found = weights("log-mgda", np.diag([4.0, 1.0]), losses=[2.0, 0.5])
    assert found == pytest.approx([0.8 / 2.0, 0.2 / 0.5], rel=1e-9)


def test_log_declares_what_it_changes_and_keeps_the_rest() -> None:
    wrapped, inner = get_method("log-mgda"), get_method("mgda")
    assert (wrapped.heads, wrapped.reads_losses, wrapped.scale) == ("log", "positive", inner.scale)
    assert wrapped.properties == inner.properties | {"loss-scale invariant"}
    assert get_method("log-pcgrad").symmetry == "in distribution"
    assert get_method("log-cagrad[c=0.2]").spec == "log-cagrad[c=0.2]"


def test_log_judges_the_transformed_problem() -> None:
    """The residual of this inner method is the distance of its weights from G 1."""
    base = type(get_method("mgda"))

    class RowSums(base):  # type: ignore[misc, valid-type]
        name = "row-sums"

        def weights(self, observation: Observation) -> Vector:
            return observation.gram.sum(axis=1)

        def residual(self, observation: Observation, weights: Vector) -> float | None:
            return float(np.abs(weights - observation.gram.sum(axis=1)).max())

    wrapped = load_registry().wrappers["log"].around(RowSums)()
    rows, losses = jacobian(12, 3, 5), losses_of(12, 3)
    observation = observe(wrapped, losses=losses, gram=rows @ rows.T)
    found = wrapped.weights(observation)
    assert wrapped.residual(observation, found) == pytest.approx(0.0, abs=1e-12)
    assert cast(float, wrapped.residual(observation, found + 1.0)) == pytest.approx(losses.max())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("log-mean", "mean does not read inner products"),
        ("log-db-mtl", "db-mtl does not read inner products"),
        ("log-sdmgrad", "sdmgrad does not read inner products"),
        ("log-stl", "stl does not read inner products"),
        ("log-log-mgda", "are logarithms already"),
        ("log-cr-mogm-log-mgda", "are logarithms already"),
        ("log-gradnorm", "method log-gradnorm: the inner method must read nothing but inner products"),
        ("log-mgda[normalize=loss]", r"method log-mgda\[normalize=loss\]: the inner method must read nothing but"),
        ("log-mgdaa", "unknown method 'mgdaa'"),
    ],
)
def test_methods_that_cannot_be_wrapped_are_refused(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        get_method(spec)


def test_log_refuses_losses_without_a_logarithm() -> None:
    with pytest.raises(UsageError, match="takes logarithms of the losses"):
        weights("log-mgda", np.eye(2), losses=[1.0, -0.25])


def test_log_counts_a_loss_of_zero_as_the_floor() -> None:
    wanted = weights("log-mgda", np.eye(2), losses=[1.0, FLOOR])
    assert weights("log-mgda", np.eye(2), losses=[1.0, 0.0]).tolist() == wanted.tolist()
