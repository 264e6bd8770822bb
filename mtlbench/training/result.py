"""Results of training: frozen values, of one model and of a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, cast

import numpy as np

from mtlbench.contract.entries import ConflictEntry, CostEntry, EncoderEntry, EngineEntry, PairingEntry, Scores
from mtlbench.engine.cost import summarize_cost
from mtlbench.problem.interface import Labels, Outputs
from mtlbench.records.history_form import HistoryRow
from mtlbench.training.history_rows import merged


@dataclass(frozen=True)
class ModelResult:
    """What training one model has led to so far.

    :param history: one row per step and per evaluation, in order.
    :param scores: split (``"dev"``, and ``"test"`` if there is one) → task → metric → value, of the last evaluation.
    :param outputs: split → outputs of the last evaluation.
    :param labels: split → labels of these rows.
    :param pairing: hashes that must agree between methods of one seed.
    :param size: numbers of parameters and of trained ones.
    :param engine: the engine's name, and why it is not the packed one.
    :param step_seconds: durations of the steps that count for the cost.
    :param peak_memory_bytes: peak memory of the steps; ``None`` before the first measurement.
    """

    history: Sequence[HistoryRow]
    scores: Mapping[str, Scores]
    outputs: Mapping[str, Outputs]
    labels: Mapping[str, Labels]
    pairing: PairingEntry
    size: EncoderEntry
    engine: EngineEntry
    step_seconds: Sequence[float]
    peak_memory_bytes: int | None

    def state_dict(self) -> dict[str, Any]:
        """Return all fields but the history, which :class:`mtlbench.training.train.Training` keeps as text."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "history"}


@dataclass(frozen=True)
class CellResult:
    """What training a cell has led to so far: complete, or up to where it stopped.

    :param history: one row per step and per evaluation, in order.
    :param scores: split (``"dev"``, and ``"test"`` if there is one) → task → metric → value, of the last evaluation.
    :param outputs: split → task → (N, outputs) raw head outputs of the last evaluation.
    :param labels: split → task → labels of these rows.
    :param pairing: hashes that must agree between methods of one seed.
    :param size: numbers of parameters and of trained ones; empty before the first model is ready.
    :param engine: the engine's name, and why it is not the packed one.
    :param seen: task → training rows that the steps take, each as often as it is taken.
    :param cut: task → the longest sequence, and how many rows of each split were longer and were cut.
    :param cost: time and memory of a step; ``None`` before the end.
    :param conflict: how far task gradients disagreed; ``None`` before the end, and where nothing was measured.
    """

    history: Sequence[HistoryRow] = ()
    scores: Mapping[str, Scores] = field(default_factory=dict)
    outputs: Mapping[str, Outputs] = field(default_factory=dict)
    labels: Mapping[str, Labels] = field(default_factory=dict)
    pairing: PairingEntry = field(default_factory=lambda: PairingEntry(heads={}, schedule={}, dropout={}))
    size: EncoderEntry = field(default_factory=lambda: EncoderEntry())
    engine: EngineEntry = field(default_factory=lambda: EngineEntry())
    seen: dict[str, int] = field(default_factory=dict)
    cut: dict[str, dict[str, int]] = field(default_factory=dict)
    cost: CostEntry | None = None
    conflict: ConflictEntry | None = None

    @classmethod
    def of(
        cls,
        models: Sequence[ModelResult],
        *,
        joint: bool,
        complete: bool,
        seen: dict[str, int],
        cut: dict[str, dict[str, int]],
    ) -> CellResult:
        """Put the results of a cell's models together.

        :param models: those of the models that were begun, in order.
        :param joint: whether the cell trains one model on all tasks.
        :param complete: whether training is at its end.
        """
        if not models:
            return cls(seen=seen, cut=cut)
        history = [row for model in models for row in model.history]
        if complete and not joint:
            history = merged(history)
        runs = [{"seconds": one.step_seconds, "peak_memory_bytes": one.peak_memory_bytes} for one in models]
        return cls(
            history=history,
            scores=_joined([model.scores for model in models]),
            outputs=_joined([model.outputs for model in models]),
            labels=_joined([model.labels for model in models]),
            pairing=_joined_pairing([model.pairing for model in models]),
            size=models[-1].size,
            engine=models[-1].engine,
            seen=seen,
            cut=cut,
            cost=cast(CostEntry, summarize_cost(runs)) if complete else None,
            conflict=_conflict(history) if complete else None,
        )


def _joined(parts: Sequence[Mapping[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Join mappings of split → task → value."""
    joined: dict[str, dict[str, Any]] = {}
    for part in parts:
        for split, by_task in part.items():
            joined.setdefault(split, {}).update(by_task)
    return joined


def _joined_pairing(parts: Sequence[PairingEntry]) -> PairingEntry:
    """Join the hashes of the models' tasks; the shared part begins the same in each."""
    return {
        "heads": {task: value for part in parts for task, value in part["heads"].items()},
        "schedule": {task: value for part in parts for task, value in part["schedule"].items()},
        "dropout": {task: value for part in parts for task, value in part["dropout"].items()},
        "shared": parts[-1]["shared"],
    }


def _conflict(history: Sequence[HistoryRow]) -> ConflictEntry | None:
    """Return how far task gradients disagreed over the measured steps."""
    cosines = [value for row in history for value in row.get("cosines", {}).values() if value is not None]
    if not cosines:
        return None
    return {"share": float(np.mean(np.array(cosines) < 0.0)), "mean_cosine": float(np.mean(cosines))}


@dataclass(frozen=True)
class CellProgress:
    """The processes that trained a cell so far, as checkpoints have it.

    :param seconds: their duration, without what was trained after a checkpoint and lost.
    :param resumed: the steps after which a process went on from the checkpoint of an earlier one.
    """

    seconds: float = 0.0
    resumed: tuple[int, ...] = ()
