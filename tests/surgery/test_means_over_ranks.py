"""Means over processes of tensors that are not contiguous, as rows are whose number of columns needs padding."""

from __future__ import annotations

import torch

from mtlbench.engine.processes import Processes, spread
from mtlbench.surgery.layout import layout_of
from mtlbench.surgery.ranks import Ranks
from mtlbench.surgery.rows import Rows


def means(processes: Processes) -> list[torch.Tensor]:
    """Average tensors of which each process fills in other numbers."""
    ranks, results = Ranks(2), []
    wide = torch.full((2, 4), processes.rank + 1.0)
    image = torch.full((2, 3, 2, 2), processes.rank + 1.0)
    if processes.rank:
        image = image.to(memory_format=torch.channels_last)
    image[1, 2, 0, 1] = 5.0
    for tensor in (wide[:, :3], wide[:, 3], image):
        ranks.mean_([tensor])
        results.append(tensor)
    for size in (1, 3, 16, 21):  # 16 numbers fill a row without padding
        parameter = torch.nn.Parameter(torch.zeros(size))
        rows = Rows(layout_of([parameter]), 3)
        rows.open(3, [parameter])
        for task in range(3):
            rows.begin(task)
            rows.receive(task, 0, torch.arange(size) + 10.0 * task + processes.rank)
            rows.finish(task)
        rows.average(ranks)
        results.append(rows.matrix())
    return results


def test_means_of_tensors_with_gaps() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # a fork of a process that has computed with several threads must not start any
    try:
        with spread(2, "cpu", lambda others: means(others) and None) as processes:  # type: ignore[func-returns-value]
            first, last, image, *rows = means(processes)
    finally:
        torch.set_num_threads(before)
    assert (first == 1.5).all()
    assert (last == 1.5).all()
    assert image[1, 2, 0, 1] == 5.0
    assert image.sum() == 5.0 + 23 * 1.5
    for matrix in rows:
        size = matrix.shape[1]
        expected = torch.stack([torch.arange(size) + 10.0 * task + 0.5 for task in range(3)])
        assert torch.equal(matrix, expected)
