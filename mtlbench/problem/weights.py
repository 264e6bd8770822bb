"""Fingerprints of weights and other tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch


def state_fingerprint(parameters: Iterable[torch.Tensor]) -> str:
    """Return the SHA-256 of the values of tensors, in order."""
    digest = hashlib.sha256()
    for parameter in parameters:
        digest.update(parameter.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
