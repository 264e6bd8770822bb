"""The generators that a problem's code may draw from, seeded for one purpose and restored afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the generators of torch, NumPy and Python inside the block; afterwards they are as before.

    :param seed: 63 bits, from :func:`mtlbench.seeds.derive`.
    :param device: the model's device, whose generator is seeded too.
    """
    generators = [torch.default_generator]
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
        generators.append(torch.cuda.default_generators[device.index or 0])
    states = [generator.get_state() for generator in generators]
    numpy_state, python_state = np.random.get_state(legacy=False), random.getstate()
    try:
        for generator in generators:
            generator.manual_seed(seed)
        np.random.seed(seed & 0xFFFFFFFF)
        random.seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
