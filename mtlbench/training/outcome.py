"""What training a cell leaves behind, and what of it a resumed cell starts from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = dict[str, dict[str, float]]
"""Task → metric → value."""


@dataclass
class Outcome:
    """What training left behind.

    :param history: one object per step and per evaluation, in order.
    :param scores: split ("dev", and "test" if there is one) → task → metric → value, after the last step.
    :param outputs: split → task → (N, outputs) raw head outputs after the last step.
    :param labels: split → task → (N,) labels of these rows.
    :param seen: task → training rows that the steps take, each as often as it is taken.
    :param engine: the engine's name, and why it is not the packed one.
    :param cut: task → to how many tokens, and how many rows of each split were longer and were cut.
    :param resumed: the steps after which a process went on from another one's checkpoint.
    :param seconds: that the cell took so far, without what was trained after a checkpoint and lost.
    """

    scores: dict[str, Scores] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    outputs: dict[str, dict[str, NDArray[np.float32]]] = field(default_factory=dict)
    labels: dict[str, dict[str, NDArray[Any]]] = field(default_factory=dict)
    pairing: dict[str, Any] = field(default_factory=lambda: {"heads": {}, "schedule": {}, "dropout": {}})
    cost: dict[str, float | int | None] = field(default_factory=dict)
    conflict: dict[str, float] | None = None
    size: dict[str, int] = field(default_factory=dict)
    engine: dict[str, str | None] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    cut: dict[str, dict[str, int]] = field(default_factory=dict)
    resumed: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return all fields. The history, which grows, is one piece of bytes: a row's numbers are no tensors."""
        state = {one.name: getattr(self, one.name) for one in fields(self)}
        return {**state, "history": json.dumps(self.history).encode()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state that :meth:`state_dict` returned."""
        for name, value in state.items():
            setattr(self, name, json.loads(value) if name == "history" else value)
