"""Methods on the toy problem in several processes."""

from __future__ import annotations

import numpy as np

from mtlbench.tasks.toy import Toy
from mtlbench.toy.pool import run_jobs
from mtlbench.toy.trajectory import ToyJob


def test_trajectories_do_not_depend_on_the_number_of_processes() -> None:
    jobs = [ToyJob(method, Toy("nash"), 60, 0.01) for method in ("sum", "pcgrad", "gradnorm")]
    alone, side_by_side = (run_jobs(jobs, workers, lambda job, trajectories: None) for workers in (1, 2))
    for first, second in zip(alone, side_by_side, strict=True):
        assert [np.array(t.path).tobytes() for t in first] == [np.array(t.path).tobytes() for t in second]
