"""The generators that a problem's code may draw from, seeded for one purpose and restored afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_numpy: Any = np.random  # its stubs do not name the generator of its functions
_OWN = np.random.MT19937(0)


def _free(used: np.random.BitGenerator) -> np.random.BitGenerator:
    """Return a generator for NumPy's functions, other than the one in use."""
    return np.random.MT19937(0) if used is _OWN else _OWN


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the generators of torch, NumPy and Python inside the block; afterwards they are as before.

    Only a second normal number, which ``np.random.normal`` may keep for its next call, is lost.

    :param seed: 63 bits, from :func:`mtlbench.seeds.derive`.
    :param device: the model's device, whose generator is seeded too.
    """
    generators = [torch.default_generator]
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
        generators.append(
            torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]
        )
    states = [generator.get_state() for generator in generators]
    numpy_generator, python_state = _numpy.get_bit_generator(), random.getstate()
    try:
        for generator in generators:
            generator.manual_seed(seed)
        _numpy.set_bit_generator(_free(numpy_generator))  # in a hundredth of the time that its state takes
        np.random.seed(seed & 0xFFFFFFFF)
        random.seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        _numpy.set_bit_generator(numpy_generator)
        random.setstate(python_state)
