"""Tasks of specs, and the errors of loading them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtlbench.contract.task import Task
from mtlbench.errors import UsageError
from mtlbench.plugins.registry import load_registry


def make(spec: str) -> Task:
    """Return the task of a spec."""
    return load_registry().task(spec)


def fault(task: Task, data_dir: Path | None) -> str:
    """Return the error of loading a task, one line."""
    with pytest.raises(UsageError) as caught:
        task.load(data_dir)
    assert "\n" not in str(caught.value)
    return str(caught.value)
