"""The local executor's results, with which those of every other are compared."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtlbench.execute.local import Local
from mtlbench.plan.cells import Workload

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def local_bits(make_workload: Callable[..., Workload], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from grids import Grid, bits

    folder = tmp_path_factory.mktemp("local")
    grid = Grid(make_workload(), ["stl", "pcgrad"], [0])
    assert grid.loop(folder, Local([None]), lambda event: None).run(grid.cells)
    return bits(folder)
