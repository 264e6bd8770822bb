"""GradDrop: TorchJD with the same draws, and the frequencies of the signs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import jacobian
from torchjd import aggregation as torchjd

from mtlbench import aggregate, get_method, seeds


def next_uniform(seed: int, steps: int, size: int) -> list[torch.Tensor]:
    """Return what the method's generator draws at its first steps."""
    random = seeds.generator(seed, "method", "graddrop")
    generators = [torch.Generator().manual_seed(int(random.integers(2**63))) for _ in range(steps)]
    return [torch.rand(size, dtype=torch.float64, generator=generator) for generator in generators]


@pytest.mark.parametrize("leak", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_graddrop_is_torchjd_with_the_same_draws(seed: int, leak: float, monkeypatch: pytest.MonkeyPatch) -> None:
    method = get_method("graddrop", seed=seed, leak=leak)
    for step, drawn in enumerate(next_uniform(seed, 3, 50)):
        rows = jacobian(seed + 10 * step, 4, 50)
        monkeypatch.setattr(torch, "rand", lambda *_, drawn=drawn, **__: drawn)
        wanted = torchjd.GradDrop(leak=torch.full((4,), leak, dtype=torch.float64))(torch.from_numpy(rows))
        assert aggregate(method, rows) == pytest.approx(wanted.numpy(), rel=1e-12)


def test_graddrop_keeps_one_sign_in_proportion_to_its_share() -> None:
    """Coordinates: +3 against −1, so P = ½ (1 + 2/4) = ¾; agreement, always the sum; nothing, always 0."""
    rows = np.array([[3.0, 1.0, 0.0], [-1.0, 2.0, 0.0]])
    method = get_method("graddrop")
    found = np.array([aggregate(method, rows) for _ in range(4000)])
    assert set(found[:, 0]) == {3.0, -1.0} and set(found[:, 1]) == {3.0} and set(found[:, 2]) == {0.0}
    assert np.mean(found[:, 0] == 3.0) == pytest.approx(0.75, abs=0.03)


def test_graddrop_with_a_leak_of_one_is_the_sum() -> None:
    rows = jacobian(0, 3, 9)
    assert aggregate("graddrop[leak=1]", rows) == pytest.approx(rows.sum(axis=0), rel=1e-12)
