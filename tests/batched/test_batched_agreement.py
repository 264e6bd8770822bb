"""Batched forms equal single calls, problem by problem, on every family of matrices."""

from __future__ import annotations

import numpy as np
import pytest
from stacks_of_grams import (
    assert_agree,
    few,
    grams_of,
    jacobians,
    losses_of,
    seeds_drawn,
)

from mtlbench import get_method
from mtlbench.batched import OneByOne, batched, has_form

SIZES = [2, 3, 4, 8]
SOLVED = [
    *("mgda", "mgda[normalize=l2]", "mgda[normalize=loss]", "mgda[normalize=loss+]", "mgda-ub"),
    *("cagrad", "cagrad[c=0]", "cagrad[c=0.9,rescale=c2]", "cagrad[reduction=sum,rescale=c]", "nash-mtl"),
    *("fairgrad", "fairgrad[alpha=0.5]", "upgrad", "upgrad[reduction=sum]", "dualproj", "imtl-g", "log-mgda"),
]
CLOSED = [
    *("sum", "mean", "stl", "fixed[w=2]", "gls", "si", "uw-so", "uw-so[temperature=0.1]", "pcgrad", "config"),
    *("aligned-mtl", "aligned-mtl[scale_mode=median,reduction=mean]", "aligned-mtl[scale_mode=rmse]", "log-pcgrad"),
    *("rlw", "random", "random[distribution=dirichlet]", "cosine-gate", "cosine-gate[main=1,weighted=true]"),
]


@pytest.mark.parametrize("tasks", SIZES)
@pytest.mark.parametrize("name", [*SOLVED, *CLOSED])
@few
@seeds_drawn
def test_weights_equal_single_calls(name: str, tasks: int, seed: int) -> None:
    rows = jacobians(seed, tasks)
    grams, losses, method = grams_of(rows), losses_of(seed, len(rows), tasks), get_method(name)
    form, oracle = batched(method, range(len(rows))), OneByOne(method, range(len(rows)))
    assert type(form) is not OneByOne
    got, wanted = form.weights(losses, grams), oracle.weights(losses, grams)
    assert form.failures.keys() == oracle.failures.keys()
    fine = ~form.failed
    assert_agree(got[fine], wanted[fine], rows[fine])


@pytest.mark.parametrize("tasks", [4, 8])
@pytest.mark.parametrize("name", ["krum", "krum[selected=2]"])
@few
@seeds_drawn
def test_krum_equals_single_calls(name: str, tasks: int, seed: int) -> None:
    rows = jacobians(seed, tasks)
    method, seeds = get_method(name), range(len(rows))
    form, oracle = batched(method, seeds), OneByOne(method, seeds)
    assert type(form) is not OneByOne
    np.testing.assert_allclose(form.weights(None, grams_of(rows)), oracle.weights(None, grams_of(rows)), atol=1e-12)


@pytest.mark.parametrize("tasks", SIZES)
@pytest.mark.parametrize("name", SOLVED)
def test_residuals_are_those_of_the_method(name: str, tasks: int) -> None:
    """For its own weights, which pass, and for others, which do not."""
    rows = jacobians(5, tasks, each=2)
    grams, losses, method = grams_of(rows), losses_of(5, len(rows), tasks), get_method(name)
    form, oracle = batched(method, range(len(rows))), OneByOne(method, range(len(rows)))
    weights = form.weights(losses, grams)
    fine = ~form.failed
    others = 1.0 + losses_of(6, len(rows), tasks)
    for given in (np.where(fine[:, None], weights, 1.0), others):
        got, wanted = form.residual(losses, grams, given), oracle.residual(losses, grams, given)
        assert got is not None and wanted is not None
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-9)
        if given is not others:
            assert got[fine].max() <= 1e-8
        else:
            assert np.sort(got)[-len(rows) // 2] > 1e-4 or "c=0]" in name


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_have_no_residual(name: str) -> None:
    form = batched(get_method(name), [0, 1])
    assert form.residual(np.ones((2, 3)), np.stack([np.eye(3)] * 2), np.ones((2, 3))) is None


@pytest.mark.parametrize("name", [*SOLVED, "pcgrad", "gradvac", "config", "aligned-mtl", "krum"])
def test_problems_do_not_influence_one_another(name: str) -> None:
    """A problem's weights are the same in any company: next to others, in another order, or alone."""
    rows = jacobians(9, 4, each=1)
    grams, losses, method = grams_of(rows), losses_of(9, len(rows), 4), get_method(name)
    together = batched(method, range(len(rows))).weights(losses, grams)
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = batched(method, order).weights(losses[order], grams[order])
    alone = np.concatenate([batched(method, [i]).weights(losses[[i]], grams[[i]]) for i in range(len(rows))])
    np.testing.assert_allclose(shuffled, together[order], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(alone, together, rtol=1e-9, atol=1e-12)


def test_most_methods_have_a_form() -> None:
    """Those that read whole gradients or two batches cannot; pcd alone is called one by one."""
    from mtlbench.engine.library import _registry

    registry = _registry()
    without = set()
    for name in registry.catalogue():
        method = registry.method(name)
        if method.reads in ("losses", "gram") and method.returns == "weights" and not has_form(method):
            without.add(name)
    assert without == {"pcd"}
