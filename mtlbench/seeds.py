"""Random numbers by purpose: every generator is keyed by what it is for, so that one use never shifts another."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def derive(*purpose: str | int) -> int:
    """Return a 63-bit seed for a purpose such as ``(seed, "schedule", "sst5", epoch)``.

    SHA-256 of the purpose's JSON: the same on every machine and in every process, which Python's salted
    ``hash`` is not. 63 bits fit ``torch.manual_seed``.
    """
    digest = hashlib.sha256(json.dumps(purpose).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*purpose: str | int) -> np.random.Generator:
    """Return a private NumPy generator for a purpose; see :func:`derive`."""
    return np.random.Generator(np.random.PCG64(derive(*purpose)))
