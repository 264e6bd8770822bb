"""The hashes that prove that two cells began alike: initial weights, batches and dropout masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mtlbench.text.batches import TaskData
from mtlbench.text.model import MultiTaskModel, state_fingerprint
from mtlbench.training.engines import Inputs
from mtlbench.training.outcome import Outcome


def fingerprint_pairing(
    model: MultiTaskModel, data: Sequence[TaskData], seed: int, device: str, outcome: Outcome
) -> None:
    """Record hashes of what must be equal between methods: initial weights, schedules, and a dropout probe."""
    outcome.pairing["shared"] = state_fingerprint([*model.encoder.parameters(), *model.last_shared_layer])
    outcome.size = {
        "parameters": sum(parameter.numel() for parameter in [*model.encoder.parameters(), *model.last_shared_layer]),
        "trainable": sum(parameter.numel() for parameter in model.shared),
    }
    inputs = Inputs(model, data, seed, device)
    for index, one in enumerate(data):
        key = one.task.key
        outcome.pairing["heads"][key] = state_fingerprint(model.heads[index].parameters())
        outcome.pairing["schedule"][key] = one.schedule_fingerprint
        with torch.no_grad():
            outcome.pairing["dropout"][key] = state_fingerprint(inputs.forward(0, 0, [index])[0].representation)
