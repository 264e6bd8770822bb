"""Processes that the library starts do not run the script that called it: such a script needs no guard."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mtlbench.bench import process as bench
from mtlbench.check import check_methods
from mtlbench.execute import local
from mtlbench.execute import pool as processes
from mtlbench.toy import pool

SCRIPT = """
import multiprocessing, os, sys
from contextlib import nullcontext
from mtlbench.host.processes import without_script

print("the script ran", flush=True)
with {block}():
    process = multiprocessing.get_context("{method}").Process(target=os.getpid)
    process.start()
process.join()
sys.exit(process.exitcode)
"""


@pytest.mark.parametrize(("block", "runs", "code"), [("without_script", 1, 0), ("nullcontext", 2, 1)])
@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_script_without_a_guard_runs_once(method: str, block: str, runs: int, code: int, tmp_path: Path) -> None:
    """The second case is Python's own way, which the first one is for."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(block=block, method=method))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (done.stdout.count("the script ran"), done.returncode) == (runs, code), done.stderr


def start_cell() -> None:
    local.Local([None]).submit([SimpleNamespace(cell=SimpleNamespace(title="a cell"))])  # type: ignore[list-item]


def start_bench() -> None:
    job: Any = SimpleNamespace(recipe=SimpleNamespace(problem="digits"))
    bench.run_alone(job, SimpleNamespace(), lambda: None)  # type: ignore[arg-type]


def start_toy() -> None:
    pool.run_jobs([SimpleNamespace(method="sum")], 2, lambda job, done: None)  # type: ignore[list-item]


def start_check() -> None:
    check_methods(["sum", "mean"], every=False, plugin_files=(), matrices=1, jobs=2)


@pytest.mark.parametrize("start", [start_cell, start_bench, start_toy, start_check])
def test_everything_that_starts_processes_hides_the_script(
    start: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "script.py", raising=False)  # a test process has none
    seen = []

    def look(*arguments: Any, **options: Any) -> None:
        seen.append(hasattr(sys.modules["__main__"], "__file__"))
        raise RuntimeError("looked")

    monkeypatch.setattr(ForkServerProcess, "start", look)
    monkeypatch.setattr(multiprocessing.context.SpawnContext, "Pool", look)
    for module in (local, processes):
        monkeypatch.setattr(module, "start_fork_server", lambda: None)
    with pytest.raises(RuntimeError, match="looked"):
        start()
    assert seen == [False] and hasattr(sys.modules["__main__"], "__file__")
