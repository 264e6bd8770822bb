"""A watch in the Trainer of Hugging Face. The losses come from your ``compute_loss``; the callback does the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback

from mtlbench.watch.scores import NamedScores
from mtlbench.watch.watch import Watch


class WatchCallback(TrainerCallback):  # type: ignore[misc]
    """Count optimizer steps for a watch, add scores of evaluations, and close the watch after training.

    Call ``watch(losses)`` in your Trainer's ``compute_loss``, and give the Trainer
    ``callbacks=[WatchCallback(watch)]``.

    :param watch: the watch.
    :param scores: task → name of its metric, such as ``{"sst": "eval_sst_accuracy"}``; higher is better.
    :raises UsageError: for a task that the watch does not have.
    """

    def __init__(self, watch: Watch, scores: Mapping[str, str] | None = None) -> None:
        self._watch, self._scores = watch, NamedScores(watch, scores)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Name the step; its micro-batches follow."""
        self._watch.begin(state.global_step + 1)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Add the scores of an evaluation."""
        self._scores.take(kwargs.get("metrics") or {}, state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the record."""
        self._watch.close()
        self._scores.check()
