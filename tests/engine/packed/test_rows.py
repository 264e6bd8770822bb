"""The buffer of per-task gradients: inner products over dense parameters and touched rows of tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mtlbench.engine.packed.layout import Layout
from mtlbench.engine.packed.rows import GradientRows


@pytest.mark.parametrize("scale", [1e-25, 1e-3, 1e25])
def test_inner_products_beyond_the_range_of_single_precision(scale: float) -> None:
    weight, table = nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(5, 2))
    layout = Layout([weight, table], [table])
    buffer = torch.randn(3, layout.size, generator=torch.Generator().manual_seed(0))
    buffer[0] *= scale
    rows = GradientRows(layout, buffer)
    rows.touched.mark(table, torch.tensor([4, 1, 4]))
    seen = torch.cat([buffer[:, :6], buffer[:, 8:10], buffer[:, 14:16]], dim=1).double().numpy()
    lengths = np.linalg.norm(seen, axis=1)
    assert (np.abs(rows.gram() - seen @ seen.T) <= 1e-6 * np.outer(lengths, lengths)).all()
    dense = seen[:, :6] @ seen[:, :6].T
    assert (np.abs(rows.gram([weight]) - dense) <= 1e-6 * np.outer(lengths, lengths)).all()
