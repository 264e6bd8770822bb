"""Cells on Ray, on a real cluster of two nodes on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from grids import Grid, bits

from mtlbench.errors import UsageError
from mtlbench.execute.executor import Event
from mtlbench.plan.cells import Workload
from mtlbench.records.leases import holders
from mtlbench.records.store import Store

ray = pytest.importorskip("ray", reason="needs the extra 'ray'")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, of files and threads that it leaves open

FAULTY = '''
import os, time
from dataclasses import dataclass
import numpy as np
from mtlbench import Method, Observation

@dataclass
class Dies(Method):
    """Kills its own process."""
    name = "dies"
    def weights(self, seen: Observation):
        os.abort()

@dataclass
class Raises(Method):
    """Raises."""
    name = "raises"
    def weights(self, seen: Observation):
        raise RuntimeError("no weights today")

@dataclass
class Sleeps(Method):
    """Takes its time."""
    name = "sleeps"
    def weights(self, seen: Observation):
        time.sleep(0.5)
        return np.ones(seen.tasks)
'''


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def on_ray(workload: Workload) -> Any:
    from mtlbench.execute.ray import Ray

    return Ray(workload.recipe, jobs=None, address=None)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "faulty.py"
    file.write_text(FAULTY)
    return file


def test_an_address_where_nobody_listens_is_said_at_once(make_workload: Callable[..., Workload]) -> None:
    from mtlbench.execute.ray import Ray

    with pytest.raises(UsageError, match=r"no Ray cluster at 127\.0\.0\.1:1: .*refused"):
        Ray(make_workload().recipe, jobs=None, address="127.0.0.1:1")


def test_the_address_of_the_environment_is_tried_at_once_too(
    make_workload: Callable[..., Workload], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mtlbench.execute.ray import Ray

    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UsageError, match=r"no Ray cluster at 127\.0\.0\.1:1: .*refused"):
        Ray(make_workload().recipe, jobs=None, address=None)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.40.0\n    Python: 3.12.1"),
        ray.exceptions.RaySystemError("no token"),
        PermissionError("/tmp/ray"),
    ],
)
def test_what_ray_raises_and_warns_of_at_the_start_is_one_line(
    make_workload: Callable[..., Workload],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    import logging
    import warnings

    from mtlbench.execute.ray import Ray

    def init(**options: Any) -> None:
        logging.getLogger("ray").warning("token authentication")
        warnings.warn("in future versions of Ray", FutureWarning, stacklevel=1)
        raise error

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UsageError) as told:
        Ray(make_workload().recipe, jobs=None, address="auto")
    assert str(told.value) == f"no Ray cluster at auto: {' '.join(str(error).split())}"
    assert capfd.readouterr().err == ""


def test_a_cell_that_no_machine_can_hold_says_so(make_workload: Callable[..., Workload], monkeypatch: Any) -> None:
    from mtlbench.execute.ray import Ray

    monkeypatch.setattr(ray, "init", lambda **options: None)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}])
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    recipe = make_workload(threads=64).recipe
    with pytest.raises(UsageError, match="a cell takes 64 cores, which no machine of the Ray cluster has"):
        Ray(recipe, jobs=None, address=None)
    assert Ray(recipe, jobs=None, address="auto")._small  # more machines may come: told once cells wait


@pytest.mark.slow
def test_rays_cells_have_the_bits_of_local_ones(
    cluster: Any, make_workload: Callable[..., Workload], tmp_path: Path, local_bits: dict[str, Any]
) -> None:
    workload = make_workload()
    grid = Grid(workload, ["stl", "pcgrad"], [0])
    assert grid.loop(tmp_path, on_ray(workload), lambda event: None).run(grid.cells)
    assert bits(tmp_path) == local_bits


@pytest.mark.slow
def test_a_crash_is_tried_again_and_a_methods_own_error_is_not(
    cluster: Any, make_workload: Callable[..., Workload], tmp_path: Path, plugin: Path
) -> None:
    workload = make_workload()
    grid = Grid(workload, ["dies", "raises", "sum"], [0], plugin)
    events: list[Event] = []
    assert not grid.loop(tmp_path / "results", on_ray(workload), events.append).run(grid.cells)
    records = {record["method"]["name"]: record for record in Store(tmp_path / "results").scan().records}
    assert {name: record["tries"] for name, record in records.items()} == {"dies": 3, "raises": 1, "sum": 1}
    assert (
        records["raises"]["error"]["message"]
        == "step 1: method raises: weights() raised RuntimeError: no weights today"
    )
    assert "its process or machine was lost" in records["dies"]["error"]["message"]
    assert records["sum"]["status"] == "done"


@pytest.mark.slow
def test_a_node_that_dies_costs_no_cell(
    cluster: Any, make_workload: Callable[..., Workload], tmp_path: Path, plugin: Path
) -> None:
    node = cluster.add_node(num_cpus=1)
    workload = make_workload(steps=10)
    grid = Grid(workload, ["sleeps"], [0, 1, 2], plugin)
    executor = on_ray(workload)
    wait, events, died = executor.wait, list[Event](), False

    def killing(seconds: float) -> Any:
        nonlocal died
        # two cells run, each in a process of its own, and this process holds the lease of the one that waits
        if not died and len({one.pid for one in holders(tmp_path / "results")}) == 3:
            time.sleep(1.0)
            cluster.remove_node(node, allow_graceful=False)
            died = True
        return wait(0.2)

    executor.wait = killing
    assert grid.loop(tmp_path / "results", executor, events.append).run(grid.cells)
    assert died
    records = Store(tmp_path / "results").scan().records
    assert [record["status"] for record in records] == ["done"] * 3
    assert sorted(record["tries"] for record in records)[-1] == 2
    assert [event.kind for event in events].count("again") == 1


@pytest.mark.slow
def test_ctrl_c_ends_the_cells_within_seconds(
    cluster: Any, make_workload: Callable[..., Workload], tmp_path: Path, plugin: Path
) -> None:
    workload = make_workload(steps=10_000)
    grid = Grid(workload, ["sleeps"], [0], plugin)
    executor = on_ray(workload)
    wait, begun = executor.wait, 0.0

    def interrupting(seconds: float) -> Any:
        nonlocal begun
        if any(one.pid != os.getpid() for one in holders(tmp_path / "results")):
            time.sleep(2.0)
            begun = time.monotonic()
            raise KeyboardInterrupt
        return wait(0.2)

    executor.wait = interrupting
    with pytest.raises(KeyboardInterrupt):
        grid.loop(tmp_path / "results", executor, lambda event: None).run(grid.cells)
    assert time.monotonic() - begun < 15.0
    assert holders(tmp_path / "results") == [] and not Store(tmp_path / "results").scan().records
