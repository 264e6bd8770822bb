"""A small results folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.sample_record import history, record
from mtlbench.records.store import Store


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A finished cell and a failed one."""
    store = Store(tmp_path / "results")
    store.prepare()
    store.save(record(), history({"step": 1}))
    error = {"type": "CellError", "message": "step 3: loss of task sst5 is nan", "step": 3, "task": "sst5"}
    store.save({**record(1, "failed", "b" * 64), "error": error}, {"log": ("txt", b"trace")})
    return store.folder
