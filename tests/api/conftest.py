"""Two folders of tiny results, trained once for all tests."""

from __future__ import annotations

from pathlib import Path

import problem_runs as runs
import pytest


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a grid of three methods and two seeds, scored on a test split, too."""
    folder = tmp_path_factory.mktemp("trained")
    runs.train(folder, runs.workload_of())
    return folder
