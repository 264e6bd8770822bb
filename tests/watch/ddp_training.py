"""One of two processes that train with DDP, without a watch and with one: ``python ddp_training.py RESULTS OUTPUT``.

Each process writes the hashes of its final weights to ``OUTPUT-RANK``, one a line.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from own_training import TASKS, Model, batches, digest

import mtlbench


def main() -> None:
    results, output = sys.argv[1:]
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    weights = [trained(None), trained(results)]
    Path(f"{output}-{dist.get_rank()}").write_text("\n".join(weights), encoding="utf-8")
    dist.destroy_process_group()
    os._exit(0)  # gloo's threads may take seconds to end


def trained(results: str | None) -> str:
    """Train, and return a hash of the final weights."""
    torch.manual_seed(0)
    model = Model()
    parallel = torch.nn.parallel.DistributedDataParallel(Losses(model))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    watch = mtlbench.Watch(model.encoder, TASKS, results, every=2) if results else None
    for ids in batches(6, seed=dist.get_rank()):
        losses = parallel(ids)
        if watch:
            watch(losses)
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
    if watch:
        watch.close()
    return digest(model)


class Losses(torch.nn.Module):
    """DDP synchronizes what goes through ``forward``."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor) -> list[torch.Tensor]:
        return self.model.losses(ids)


if __name__ == "__main__":
    main()
