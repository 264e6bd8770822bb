"""Methods with state or random draws: B problems equal B objects over many steps."""

from __future__ import annotations

import numpy as np
import pytest
from stacks_of_grams import AGREEMENT, grams_of, losses_of

from mtlbench import get_method, weights
from mtlbench.batched import OneByOne, batched

PROBLEMS = 4
STEPS = 70  # more than the steps whose numbers are drawn at a time
LEARNED = [
    *("uw", "uw[form=classification,lr=0.1]", "imtl-l", "gradnorm", "gradnorm[alpha=0.5,lr=0.2]", "famo"),
    *("famo[minimum=-1,gamma=0.1]", "dwa", "dwa[window=3,temperature=0.5]", "stch[warmup=7]"),
    *("stch[warmup=3,mu=0.1]", "nash-mtl[every=4]", "nash-mtl", "metabalance", "metabalance[strategy=enlarge]"),
    *("metabalance[strategy=reduce,main=1]", "cr-mogm-uw", "cr-mogm-log-mgda", "log-nash-mtl[every=2]"),
]
DRAWN = [
    *("pcgrad", "gradvac", "gradvac[average=violation,beta=0.5]", "rlw", "random", "random[distribution=dirichlet]"),
    *("log-pcgrad", "cr-mogm-pcgrad", "cr-mogm-log-gradvac", "cr-mogm-rlw"),
]


@pytest.mark.parametrize("tasks", [2, 4])
@pytest.mark.parametrize("name", [*LEARNED, *DRAWN])
def test_steps_equal_separate_objects(name: str, tasks: int) -> None:
    method, seeds = get_method(name), [3, 1, 4, 1]
    form, oracle = batched(method, seeds), OneByOne(method, seeds)
    draw = np.random.default_rng(tasks)
    losses = losses_of(0, PROBLEMS, tasks)
    for _ in range(STEPS):
        losses = losses * np.exp(draw.normal(-0.02, 0.1, losses.shape))
        grams = grams_of(draw.normal(size=(PROBLEMS, tasks, 6)) * 10.0 ** draw.uniform(-2, 2, (PROBLEMS, tasks, 1)))
        got, wanted = form.weights(losses, grams), oracle.weights(losses, grams)
        np.testing.assert_allclose(got, wanted, rtol=AGREEMENT, atol=0.0)
        after = losses * np.exp(draw.normal(-0.02, 0.1, losses.shape))
        form.after_step(after)
        oracle.after_step(after)
    assert form.failures == oracle.failures == {}


@pytest.mark.parametrize("name", ["pcd", "pcgrad", "famo", "cr-mogm-log-pcgrad"])
def test_the_oracle_equals_objects_from_get_method(name: str) -> None:
    seeds = [3, 1, 4]
    oracle, objects = OneByOne(get_method(name), seeds), [get_method(name, seed=seed) for seed in seeds]
    draw = np.random.default_rng(2)
    for _ in range(5):
        losses, grams = draw.uniform(0.5, 2.0, (3, 4)), grams_of(draw.normal(size=(3, 4, 6)))
        wanted = [weights(method, gram, losses=row) for method, gram, row in zip(objects, grams, losses, strict=True)]
        assert oracle.weights(losses, grams).tolist() == np.array(wanted).tolist()
        oracle.after_step(losses / 2)
        for method, row in zip(objects, losses, strict=True):
            method.after_step(row / 2)


@pytest.mark.parametrize("name", DRAWN)
def test_seeds_decide_draws_and_nothing_else(name: str) -> None:
    """The same problem three times: equal seeds draw alike, another seed differs."""
    grams = np.repeat(grams_of(np.random.default_rng(1).normal(size=(1, 5, 4)) - 0.4), 3, axis=0)
    form = batched(get_method(name), [8, 8, 9])
    steps = np.array([form.weights(np.full((3, 5), 0.7), grams) for _ in range(70)])
    np.testing.assert_array_equal(steps[:, 0], steps[:, 1])
    assert (steps[:, 0] != steps[:, 2]).any()
    assert form.draws


def test_two_tasks_draw_no_order() -> None:
    """PCGrad at K = 2 has one other task to meet: the weights are those of a method object all the same."""
    grams = grams_of(np.random.default_rng(0).normal(size=(3, 2, 4)))
    form, oracle = batched(get_method("pcgrad"), [0, 1, 2]), OneByOne(get_method("pcgrad"), [0, 1, 2])
    for _ in range(3):
        np.testing.assert_allclose(form.weights(gram=grams), oracle.weights(gram=grams), rtol=1e-15)
    assert "generators" not in vars(form)


def test_clip_norm_is_the_methods() -> None:
    assert batched(get_method("nash-mtl"), [0]).clip_norm == 1.0
    assert batched(get_method("famo[max_norm=3]"), [0]).clip_norm == 3.0
    assert batched(get_method("mgda"), [0]).clip_norm is None
