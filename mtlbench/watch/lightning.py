"""A watch in the Trainer of Lightning. The losses come from your ``training_step``; the callback does the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mtlbench.errors import UsageError
from mtlbench.watch.scores import NamedScores
from mtlbench.watch.watch import Watch

try:
    from lightning.pytorch import Callback
except ImportError:
    raise UsageError("mtlbench.watch.lightning needs Lightning: pip install 'mtlbench[integrations]'") from None


class WatchCallback(Callback):  # type: ignore[misc]
    """Count optimizer steps for a watch, add scores of evaluations, and close the watch after training.

    Call ``watch(losses)`` in your module's ``training_step``, and give the Trainer
    ``callbacks=[WatchCallback(watch)]``.

    :param watch: the watch.
    :param scores: task → name of a metric that the module logs, such as ``{"sst": "val_sst"}``; higher is better.
    :raises UsageError: for a task that the watch does not have.
    """

    def __init__(self, watch: Watch, scores: Mapping[str, str] | None = None) -> None:
        self._watch, self._scores = watch, NamedScores(watch, scores)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Name the step of the batch: with gradient accumulation, several batches have the same."""
        self._watch.begin(trainer.global_step + 1)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Add the scores of an evaluation."""
        if not trainer.sanity_checking:
            self._scores.take(trainer.callback_metrics, trainer.global_step)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the record."""
        self._watch.close()
        self._scores.check()
