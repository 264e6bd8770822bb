"""Time of one call of every method at K = 8, and of TorchJD's method of the same name, in one run.

    OMP_NUM_THREADS=1 pytest benchmarks/test_methods.py --benchmark-json methods.json
    python benchmarks/methods_page.py methods.json > benchmarks/methods.md

Both are given the 8 × 8 Gram matrix of eight normal gradients (whole gradients, P = 1000, where a method reads them),
in double precision, on one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torchjd import aggregation

from mtlbench.check.subject import Instance, losses_after, show
from mtlbench.plugins.registry import load_registry

TASKS, SIZE, MATRICES = 8, 1000, 64
REGISTRY = load_registry()

PEERS: dict[str, Callable[[], Any]] = {
    "aligned-mtl": lambda: aggregation.AlignedMTLWeighting(),
    "cagrad": lambda: aggregation.CAGradWeighting(c=0.4),
    "dualproj": lambda: aggregation.DualProjWeighting(),
    "fairgrad": lambda: aggregation.FairGradWeighting(alpha=2.0),
    "gradvac": lambda: aggregation.GradVacWeighting(beta=0.01),
    "imtl-g": lambda: aggregation.IMTLGWeighting(),
    "krum": lambda: aggregation.KrumWeighting(n_byzantine=1),
    "mgda": lambda: aggregation.MGDAWeighting(),
    "modo": lambda: aggregation.MoDoWeighting(),
    "nash-mtl": lambda: aggregation.NashMTL(n_tasks=TASKS),
    "pcgrad": lambda: aggregation.PCGradWeighting(),
    "sdmgrad": lambda: aggregation.SDMGradWeighting(),
    "upgrad": lambda: aggregation.UPGradWeighting(),
    "config": lambda: aggregation.ConFIG(),
    "graddrop": lambda: aggregation.GradDrop(),
    "trimmed-mean": lambda: aggregation.TrimmedMean(trim_number=1),
    "excess-mtl": lambda: aggregation.ExcessMTL(),
    "pcd": lambda: aggregation.PCD(),
}
WHOLE = ("nash-mtl", "config", "graddrop", "trimmed-mean", "excess-mtl", "pcd")
"""Peers that take the gradients themselves."""


def draw() -> list[Instance]:
    random = np.random.default_rng(0)
    return [Instance(random.normal(size=(TASKS, SIZE)), random.uniform(0.1, 3.0, TASKS)) for _ in range(MATRICES)]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", REGISTRY.catalogue())
def test_ours(benchmark: Any, name: str) -> None:
    method = REGISTRY.method(name)
    seen = [(show(method, instance), losses_after(instance.losses)) for instance in draw()]
    call = method.update if method.returns == "update" else method.weights
    number = iter(range(10**9))

    def once() -> None:
        observation, after = seen[next(number) % MATRICES]
        call(observation)
        if method.reads_after:
            method.after_step(after)

    benchmark.extra_info.update(method=name, whose="mtlbench")
    benchmark(once)


@pytest.mark.parametrize("name", PEERS)
def test_torchjd(benchmark: Any, name: str) -> None:
    try:
        peer = PEERS[name]()
    except (ImportError, TypeError) as error:  # a peer that its own package cannot make is no peer
        pytest.skip(f"torchjd: {error}")
    rows = [torch.tensor(instance.rows) for instance in draw()]
    given = rows if name in WHOLE else [row @ row.T for row in rows]
    number = iter(range(10**9))
    benchmark.extra_info.update(method=name, whose="torchjd")
    benchmark(lambda: peer(given[next(number) % MATRICES]))
