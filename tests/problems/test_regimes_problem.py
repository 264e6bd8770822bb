"""The family of problems with knobs: what each knob changes and what it leaves alone, and a step on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from problem_steps import check_seeded, check_step, new_model

from mtlbench import Data, UsageError
from mtlbench.contract.problem import Target
from mtlbench.problem.evaluation import Unit
from mtlbench.problem.splits import checked_splits
from mtlbench.problems.regimes import HELD_OUT, INPUTS, POOL, Regimes, diagonal, spread


def labels(data: Data, split: str = "train") -> Any:
    """Return (N, K) labels."""
    return np.stack(list(data.splits[split].labels.values()), axis=1)


def values(**knobs: Any) -> Any:
    """Return (6144, K) values of the teachers, without noise."""
    return Regimes(**knobs)._teachers()[1]


def test_teachers_have_mean_0_and_variance_1_over_all_rows_and_held_out_labels_no_noise() -> None:
    problem = Regimes(tasks=3, noise_ratio=9.0, rows=POOL)
    inputs, clean = problem._teachers()
    data = problem.load(None)
    assert np.allclose(clean.mean(axis=0), 0.0, atol=1e-12) and np.allclose(clean.std(axis=0), 1.0)
    assert np.array_equal(labels(data, "dev"), clean[POOL : POOL + HELD_OUT])
    assert np.array_equal(labels(data, "test"), clean[POOL + HELD_OUT :])
    noise = labels(data) - clean[:POOL]
    assert noise.std(axis=0) == pytest.approx([0.2 / 3, 0.2, 0.2 * 3], rel=0.05)
    assert np.allclose(np.corrcoef(noise.T) - np.eye(3), 0.0, atol=0.06)
    assert data.train.inputs.dtype == np.float32
    assert np.array_equal(data.dev.inputs, inputs[POOL : POOL + HELD_OUT].astype(np.float32))


def test_a_teacher_is_the_network_of_the_description() -> None:
    problem = Regimes(relatedness=1.0, tasks=2)
    inputs, clean = problem._teachers()
    units = np.tanh(1.5 * inputs @ _common_rows(inputs).T)
    for column in clean.T:  # with the same units, both tasks are linear in them
        design = np.column_stack([units, np.ones(len(units))])
        fitted = design @ np.linalg.lstsq(design, column, rcond=None)[0]
        assert np.allclose(fitted, column, atol=1e-9)


def _common_rows(inputs: Any) -> Any:
    from mtlbench import seeds

    draw = seeds.generator("regimes", 0, "teachers")
    draw.normal(size=inputs.shape)
    rows = draw.normal(size=(4, INPUTS))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_two_tasks_are_the_first_of_eight_and_few_rows_the_first_of_many() -> None:
    assert np.allclose(values(tasks=2), values(tasks=8)[:, :2])
    few, many = Regimes(rows=32).load(None), Regimes(rows=1024).load(None)
    assert np.array_equal(few.train.inputs, many.train.inputs[:32]) and np.array_equal(labels(few), labels(many)[:32])
    assert np.array_equal(labels(few, "test"), labels(many, "test"))


def test_related_teachers_read_the_same_four_directions() -> None:
    ranks = []
    for rho in (0.0, 1.0):
        inputs, clean = Regimes(relatedness=rho, tasks=8)._teachers()
        strengths = np.linalg.svd(np.linalg.lstsq(inputs, clean, rcond=None)[0], compute_uv=False)
        ranks.append(int((strengths > 0.1 * strengths[0]).sum()))
    assert ranks == [8, 4]


def test_a_larger_gain_makes_a_teacher_more_curved() -> None:
    errors = []
    for ratio in (1.0, 16.0):
        inputs, clean = Regimes(speed_ratio=ratio)._teachers()
        slopes = np.linalg.lstsq(inputs, clean, rcond=None)[0]
        errors.append(np.square(clean - inputs @ slopes).mean(axis=0))
    assert errors[1][0] < errors[0][0] and errors[1][1] > errors[0][1]


def test_conditioning_and_noise_change_only_what_they_name() -> None:
    plain = Regimes().load(None)
    curved, noisy = Regimes(conditioning=30.0).load(None), Regimes(noise_ratio=25.0).load(None)
    assert np.array_equal(labels(plain), labels(curved)) and np.array_equal(plain.dev.inputs, noisy.dev.inputs)
    assert np.allclose(curved.train.inputs, plain.train.inputs * diagonal(30.0).astype(np.float32))
    factors = diagonal(30.0)
    assert (factors**2).sum() == pytest.approx(16.0) and factors[0] ** 2 / factors[-1] ** 2 == pytest.approx(30.0)
    assert np.array_equal(diagonal(1.0), np.ones(16))
    assert np.array_equal(labels(plain, "dev"), labels(noisy, "dev"))
    excess = (labels(noisy) - labels(plain, "train")).std(axis=0)  # of the same draws: |0.2 √25^±1 − 0.2|
    assert excess == pytest.approx([0.16, 0.8], rel=0.05)


def test_the_loss_is_half_the_squared_error_times_the_tasks_factor_of_labels_as_they_are() -> None:
    problem = Regimes(tasks=4, loss_ratio=16.0)
    outputs, targets = torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [1.0]])
    losses = [float(problem.loss(target, outputs, targets)) for target in problem.targets()]
    assert losses == pytest.approx(1.25 * spread(16.0, 4)) and losses[-1] / losses[0] == pytest.approx(16.0)
    data = problem.load(None)
    unit = Unit.of(problem, problem.targets()[0], checked_splits(problem, data, problem.targets())["train"])
    assert unit.mean == 0.0 and unit.spread == 1.0


def test_the_fingerprint_changes_with_every_knob_of_the_data() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"relatedness": 0.6},
        {"noise_ratio": 2.0},
        {"speed_ratio": 2.0},
        {"rows": 65},
        {"conditioning": 2.0},
        {"instance": 1},
        {"tasks": 3},
        {"precision": "float64"},
    ]
    prints = [Regimes(**{"rows": 64, **change}).load(None).fingerprint for change in changes]
    assert len(set(prints)) == len(changes)
    assert Regimes(rows=64).load(None).fingerprint == Regimes(rows=64, loss_ratio=9.0, width=3).load(None).fingerprint


def test_weights_depend_on_the_seed_and_are_the_same_for_any_number_of_tasks_and_precision() -> None:
    check_seeded(Regimes())
    two, eight = Regimes(tasks=2), Regimes(tasks=8, precision="float64")
    first, second = new_model(two, two.targets()).state_dict(), new_model(eight, eight.targets()).state_dict()
    assert all(torch.equal(first[name], second[name].float()) for name in first)
    assert second["heads.task1.weight"].dtype == torch.float64
    last = new_model(two, two.targets()[1:]).state_dict()
    assert torch.equal(last["heads.task1.weight"], first["heads.task1.weight"])
    wide = Regimes(width=2048)
    state = new_model(wide, wide.targets()).state_dict()
    assert float(state["trunk.0.weight"].std()) == pytest.approx(0.25, rel=0.02)
    assert float(state["heads.task0.weight"].std()) == pytest.approx(2048**-0.5, rel=0.1)
    assert not state["trunk.0.bias"].any()


@pytest.mark.parametrize("method", ["sum", "pcgrad"])
def test_a_step(method: str) -> None:
    problem = Regimes(rows=60, tasks=3, loss_ratio=10.0)
    check_step(problem, problem.load(None), ("task0", "task2"), method)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"tasks": 1}, "problem regimes: parameter tasks=1 should be greater than or equal to 2"),
        ({"relatedness": 1.5}, "parameter relatedness=1.5 should be less than or equal to 1"),
        ({"loss_ratio": 0}, "parameter loss_ratio=0 should be greater than 0"),
        ({"rows": 5000}, "parameter rows=5000 should be less than or equal to 4096"),
        ({"precision": "float16"}, "parameter precision=float16"),
    ],
)
def test_bad_parameters(parameters: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Regimes.make(parameters)


def test_targets_are_numbers_with_one_output() -> None:
    assert Regimes(tasks=3).targets() == [Target(f"task{number}", "regression") for number in range(3)]
