"""Pairing hashes: proof that two cells began with the same weights, batches and dropout masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mtlbench.contract.entries import PairingEntry
from mtlbench.problem.weights import state_fingerprint
from mtlbench.text.batches import TaskData
from mtlbench.text.inputs import Inputs
from mtlbench.text.model import MultiTaskModel


def fingerprint_pairing(model: MultiTaskModel, data: Sequence[TaskData], seed: int, device: str) -> PairingEntry:
    """Return hashes of what must be equal between methods: initial weights, schedules, and a dropout probe.

    :param model: before its first step.
    :param data: the tasks of the model's heads, in order.
    """
    inputs = Inputs(model, data, seed, device)
    heads, schedule, dropout = {}, {}, {}
    for index, task_data in enumerate(data):
        key = task_data.task.key
        heads[key] = state_fingerprint(model.heads[index].parameters())
        schedule[key] = task_data.schedule_fingerprint
        with torch.no_grad():
            dropout[key] = state_fingerprint(inputs.forward(0, 0, [index])[0].representation)
    shared = state_fingerprint([*model.encoder.parameters(), *model.last_shared_layer])
    return {"heads": heads, "schedule": schedule, "dropout": dropout, "shared": shared}
