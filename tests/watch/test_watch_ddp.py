"""Under DDP, rank 0 measures its own losses, and all processes end with the bits of a training without a watch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mtlbench.records.store import Store


@pytest.mark.slow
def test_ddp_trains_as_without_a_watch(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    results, output = tmp_path / "results", tmp_path / "weights"
    command = [sys.executable, str(Path(__file__).with_name("ddp_training.py")), str(results), str(output)]
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    processes = [subprocess.Popen(command, env={**common, "RANK": str(rank)}) for rank in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    weights = [line for rank in range(2) for line in (tmp_path / f"weights-{rank}").read_text().splitlines()]
    assert len(weights) == 4 and len(set(weights)) == 1
    (record,) = Store(results).scan().records
    watched = record["watched"]
    assert watched is not None and (watched["rank"], watched["processes"], watched["looks"]) == (0, 2, 3)
