"""The tiny workload, for trials without training."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mtlbench.plan.cells import Workload


@pytest.fixture(scope="module")
def workload(make_workload: Callable[..., Workload]) -> Workload:
    return make_workload()
