"""What a step's rows held before the update overwrote one of them."""

from __future__ import annotations

import pytest
import torch

from mtlbench.surgery.rows import Rows


@pytest.fixture
def task_rows(monkeypatch: pytest.MonkeyPatch) -> list[list[torch.Tensor]]:
    """For each task of the last step, the gradient of each shared parameter."""
    latest: list[list[torch.Tensor]] = []
    combine = Rows.combine

    def copying(rows: Rows, weights: object) -> list[torch.Tensor]:
        latest[:] = [[view.clone() for view in views] for views in rows.views]
        return combine(rows, weights)  # type: ignore[arg-type]

    monkeypatch.setattr(Rows, "combine", copying)
    return latest
