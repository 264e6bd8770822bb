"""Shares of a step's rows: by size, by its root, annealed; and training with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_runs import run

from mtlbench.errors import UsageError
from mtlbench.plan.cells import Workload
from mtlbench.problem.sampling import batch_sizes, shares

Make = Callable[..., Workload]
KINDS = ("uniform", "proportional", "sqrt", "annealed")
CS224N = (8544, 61_991, 6040)


def test_shares_are_those_of_the_formulas() -> None:
    assert shares("uniform", CS224N, 3) == pytest.approx(np.full((3, 3), 1 / 3))
    sizes = np.array(CS224N, dtype=float)
    assert shares("proportional", CS224N, 2)[1] == pytest.approx(sizes / sizes.sum())
    assert shares("sqrt", CS224N, 2)[0] == pytest.approx(np.sqrt(sizes) / np.sqrt(sizes).sum())
    annealed = shares("annealed", CS224N, 5)
    for step, exponent in enumerate((1.0, 0.8, 0.6, 0.4, 0.2)):
        assert annealed[step] == pytest.approx(sizes**exponent / (sizes**exponent).sum())


@given(
    st.sampled_from(KINDS),
    st.lists(st.integers(1, 10**6), min_size=1, max_size=8),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(1, 60),
)
def test_every_step_has_all_rows_and_every_task_one(
    kind: Any, rows: list[int], units: int, parts: int, steps: int
) -> None:
    batch_size = units * parts
    sizes = batch_sizes(kind, rows, batch_size=batch_size, steps=steps, parts=parts)
    assert sizes.shape == (steps, len(rows))
    assert (sizes.sum(axis=1) == len(rows) * batch_size).all()
    assert (sizes >= parts).all() and (sizes % parts == 0).all()
    if kind == "uniform":
        assert (sizes == batch_size).all()


@pytest.mark.parametrize("kind", ["sqrt", "annealed"])
def test_rounding_is_paid_back(kind: Any) -> None:
    wanted = shares(kind, CS224N, 400) * 48
    sizes = batch_sizes(kind, CS224N, batch_size=16, steps=400)
    assert np.abs(np.cumsum(sizes - wanted, axis=0))[-1].max() < 48  # of 19,200: what tiny shares were lent at first
    assert np.abs(sizes - wanted).max() < 3


def test_a_task_weighs_as_much_as_it_has_rows(make_workload: Make) -> None:
    """Two tasks' rows at 3 to 1: their losses' factors are so, too, and the history tells the losses without them."""
    workload = make_workload(sampling="proportional", measure_every=1)
    even = make_workload(measure_every=1)
    # the tiny tables are equally long: every schedule is the uniform one, to the last bit
    assert run(workload, "sum").scores == run(even, "sum").scores
    longer = _longer(workload, 0, 3)
    outcome = run(longer, "sum")
    assert outcome.seen["mood"] > 2 * outcome.seen["same"] and sum(outcome.seen.values()) == 3 * 4 * 4
    first = outcome.history[0]
    assert 0.5 < first["losses"]["mood"] / np.log(3) < 2.0


@pytest.mark.parametrize("engine", ["packed", "lean", "loop"])
def test_unequal_batches_train_alike_on_every_engine(make_workload: Make, engine: str) -> None:
    made = [
        run(_longer(make_workload(sampling="sqrt", engine=one, measure_every=1), 0, 5), "pcgrad")
        for one in ("loop", engine)
    ]
    for mine, yours in zip(made[0].history, made[1].history, strict=True):
        for field in ("losses", "weights", "norms"):
            assert mine.get(field, {}) == pytest.approx(yours.get(field, {}), rel=1e-4)


def test_alone_a_task_takes_the_same_batches_and_its_plain_loss(make_workload: Make) -> None:
    workload = _longer(make_workload(sampling="proportional"), 1, 4)
    alone, joint = run(workload, "stl"), run(workload, "sum")
    assert alone.seen == joint.seen
    assert alone.pairing["schedule"] == joint.pairing["schedule"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"steps": None, "epochs": 1, "sampling": "sqrt"}, "sampling=sqrt needs steps in place of epochs"),
        ({"head_steps": 4}, "head_steps=4 leaves none of 4 steps"),
        ({"sampling": "largest"}, "sampling"),
    ],
)
def test_settings_that_cannot_be(make_workload: Make, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        make_workload(**changes)


def test_heads_alone_move_first(make_workload: Make) -> None:
    """In the first steps no shared parameter moves, nor is it decayed; afterwards it does."""
    outcome = run(make_workload(head_steps=2, measure_every=1, steps=4, weight_decay=0.5), "pcgrad")
    moved = {row["step"]: row["moved"] for row in outcome.history if "moved" in row}
    assert moved[1] == moved[2] == 0.0 and moved[3] > 0.0 and moved[4] > 0.0
    losses = [row["losses"]["mood"] for row in outcome.history if "losses" in row]
    assert losses[0] != losses[1]


def _longer(workload: Workload, task: int, times: int) -> Workload:
    """Return a workload with one task's training rows repeated."""
    from dataclasses import replace

    from mtlbench.contract.task import Rows

    splits = list(workload.problem.splits)
    train = splits[task].train
    rows = Rows([*train.texts] * times, np.tile(train.labels, times))
    splits[task] = replace(splits[task], train=rows)
    return replace(workload, problem=replace(workload.problem, splits=tuple(splits)))
