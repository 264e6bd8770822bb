"""Random numbers by purpose: each generator is seeded by its use, so that one use never shifts another."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def derive(*purpose: str | int) -> int:
    """Return a 63-bit seed for a purpose such as ``(seed, "schedule", "sst5", epoch)``.

    The seed comes from the SHA-256 hash of the purpose's JSON, which is the same on every machine and in every process;
    Python's salted ``hash`` is not. 63 bits fit ``torch.manual_seed``.

    :param purpose: names and numbers that identify the use.
    """
    digest = hashlib.sha256(json.dumps(purpose).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*purpose: str | int) -> np.random.Generator:
    """Return a new NumPy generator for a purpose.

    :param purpose: as for :func:`derive`.
    """
    return np.random.Generator(np.random.PCG64(derive(*purpose)))
