"""A training that is killed at a step: ``python killed_training.py FOLDER STEP``."""

from __future__ import annotations

import os
import signal
import sys

import torch

import mtlbench


def main() -> None:
    torch.manual_seed(0)
    shared = torch.nn.Linear(4, 2)
    watch = mtlbench.Watch(shared, ["a", "b"], sys.argv[1], every=5)
    for step in range(1, 1000):
        losses = list(shared(torch.ones(4)).square())
        watch(losses)
        if step == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
