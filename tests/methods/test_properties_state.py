"""Properties of the state of methods: draws, saved states, and arrays that belong to the caller."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from assertions import answer, step
from families import CORE, CROSS, LOSS_METHODS, LOSSES, OTHERS, STATEFUL, UPDATES, drawn, jacobians, losses_of, series

from mtlbench import Method, Observation, aggregate, get_method
from mtlbench.check.families import normal


@pytest.mark.parametrize("name", CORE)
def test_methods_leave_global_generators_alone(name: str) -> None:
    def states() -> tuple[Any, ...]:
        legacy = np.random.get_state()
        assert isinstance(legacy, tuple)
        return random.getstate(), legacy[1].tobytes(), legacy[2], torch.get_rng_state().numpy().tobytes()

    before = states()
    aggregate(name, drawn(normal, 0, 5, 9), losses=np.ones(5))
    assert states() == before


@pytest.mark.parametrize("name", CORE)
def test_global_seeds_do_not_matter_and_the_methods_own_seed_decides(name: str) -> None:
    rows, found = drawn(normal, 0, 6, 3), []
    for global_seed in (1, 2):
        random.seed(global_seed)
        np.random.seed(global_seed)
        torch.manual_seed(global_seed)
        method = get_method(name, seed=5)
        found.append(np.array([aggregate(method, rows, losses=np.ones(6)) for _ in range(4)]))
    assert found[0].tobytes() == found[1].tobytes()


@pytest.mark.parametrize("name", CORE)
def test_a_saved_state_replays_exactly(name: str) -> None:
    draw = np.random.default_rng(0)
    observations = []
    for _ in range(12):
        rows = drawn(normal, int(draw.integers(2**32)), 5, 3)
        observations.append(Observation(draw.uniform(0.1, 2.0, 5), rows @ rows.T))
    method = get_method(name, seed=3)
    for observation in observations[:5]:
        method.weights(observation)
    saved = method.state_dict()
    wanted = [
        method.weights(observation).tobytes() for observation in observations[5:]
    ]  # must not reach into what was saved
    resumed = get_method(name, seed=99)
    resumed.weights(observations[0])
    resumed.load_state_dict(saved)
    assert [resumed.weights(observation).tobytes() for observation in observations[5:]] == wanted


@pytest.mark.parametrize("name", CORE)
def test_a_caller_who_writes_on_the_weights_does_not_change_the_method(name: str) -> None:
    rows = drawn(normal, 4, 3, 8)
    observation = Observation(np.array([1.0, 2.0, 3.0]), rows @ rows.T)
    left, untouched = get_method(name), get_method(name)
    for _ in range(3):
        left.weights(observation)[:] = -7.0
        untouched.weights(observation)
    assert left.weights(observation).tolist() == untouched.weights(observation).tolist()
    assert observation.gram is not None and observation.gram.tolist() == (rows @ rows.T).tolist()


@pytest.mark.parametrize("spec", [*UPDATES, *CROSS, *OTHERS, "config-m[refresh=all]"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saved_state_replays_exactly_from_a_buffer_that_is_reused(spec: str, dtype: torch.dtype) -> None:
    """The engine writes every step's gradients into one buffer, so nothing may be kept of it."""
    steps = [torch.from_numpy(rows).to(dtype) for rows in jacobians(14, 5, 11)]
    buffer, method = torch.empty(5, 11, dtype=dtype), get_method(spec, seed=1)

    def run(used: Method, number: int, rows: torch.Tensor) -> bytes:
        return answer(used, rows, losses_of(number, 5), np.eye(5) + 0.1 * number).tobytes()

    wanted, saved = [], {}
    for number, rows in enumerate(steps):
        if number == 3:
            saved = method.state_dict()
        buffer.copy_(rows)
        wanted.append(run(method, number, buffer))
        assert torch.equal(buffer, rows)
        buffer.fill_(float("nan"))
    resumed = get_method(spec, seed=99)
    run(resumed, 0, steps[4])
    resumed.load_state_dict(saved)
    assert [run(resumed, 3 + number, rows) for number, rows in enumerate(steps[3:])] == wanted[3:]


@pytest.mark.parametrize("spec", STATEFUL)
@pytest.mark.parametrize("cut", [1, 4, 11])
def test_state_is_saved_and_restored(spec: str, cut: int) -> None:
    losses, first, resumed = series(20), get_method(spec), get_method(spec)
    for row in losses[:cut]:
        step(first, row)
    resumed.load_state_dict(first.state_dict())
    for row in losses[cut:]:
        assert np.array_equal(step(first, row), step(resumed, row))


@pytest.mark.parametrize("spec", STATEFUL)
def test_saved_state_is_a_copy(spec: str) -> None:
    losses, method = series(12), get_method(spec)
    for row in losses[:5]:
        step(method, row)
    saved = method.state_dict()
    rest = [step(method, row) for row in losses[5:]]
    method.load_state_dict(saved)
    assert np.array_equal([step(method, row) for row in losses[5:]], rest)


@pytest.mark.parametrize("spec", LOSS_METHODS)
def test_given_losses_stay_as_they_are(spec: str) -> None:
    method, losses = get_method(spec), LOSSES.copy()
    given = step(method, losses)
    kept = given.copy()
    step(method, losses)
    assert np.array_equal(losses, LOSSES) and np.array_equal(given, kept)
