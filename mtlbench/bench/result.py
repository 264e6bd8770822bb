"""Results of ``mtlbench bench``."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

from mtlbench.recipe.suite import Recipe

PLAIN = "plain padded sum"
"""Name of the baseline on texts, to which all times and peaks are related."""
PLAIN_STEP = "plain sum"
"""Name of the baseline on a problem."""


def plain_of(recipe: Recipe) -> str:
    """Return the name of the baseline.

    :param recipe: the measured recipe.
    """
    return PLAIN if recipe.problem is None else PLAIN_STEP


@dataclass
class ContenderResult:
    """Measurements of one contender.

    :param method: its spec, or the name of the plain sum.
    :param engine: ``None`` for the plain sum.
    :param seconds: of each timed step.
    :param peak: peak memory in bytes.
    :param error: why measuring stopped; the numbers are incomplete then.
    """

    method: str
    engine: str | None
    seconds: list[float] = field(default_factory=list)
    peak: int | None = None
    error: str | None = None

    @property
    def title(self) -> str:
        """Method and engine as text."""
        return self.method if self.engine is None else f"{self.method}, {self.engine}"

    @property
    def median(self) -> float | None:
        """Median seconds per step; ``None`` if the contender failed."""
        return statistics.median(self.seconds) if self.seconds and self.error is None else None

    def time_ratio(self, plain: ContenderResult) -> float | None:
        """Return the median over steps of this contender's time divided by the plain sum's on the same batch.

        :param plain: the plain sum.
        :returns: ``None`` if either failed.
        """
        if self.median is None or plain.median is None:
            return None
        return statistics.median(a / b for a, b in zip(self.seconds, plain.seconds, strict=True))

    def memory_ratio(self, plain: ContenderResult) -> float | None:
        """Return this contender's peak memory divided by the plain sum's.

        :param plain: the plain padded sum.
        :returns: ``None`` if either has no peak.
        """
        return None if self.peak is None or plain.peak is None else self.peak / plain.peak


@dataclass(frozen=True)
class BenchResult:
    """Results of one call of ``mtlbench bench``.

    :param suite: name of the suite.
    :param recipe: recipe of all contenders, except the engine.
    :param tasks: keys of the tasks.
    :param encoder: title of the encoder or of the problem.
    :param contenders: their results; the plain sum first.
    """

    suite: str
    recipe: Recipe
    tasks: tuple[str, ...]
    encoder: str
    contenders: list[ContenderResult]

    @property
    def plain(self) -> ContenderResult:
        """The plain sum, which the others are compared with."""
        return self.contenders[0]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The table as plain data, one row for each contender."""
        return [
            {
                "method": contender.method,
                "engine": contender.engine,
                "seconds": contender.seconds,
                "seconds_per_step": contender.median,
                "time_by_plain": contender.time_ratio(self.plain),
                "peak_memory_bytes": contender.peak,
                "memory_by_plain": contender.memory_ratio(self.plain),
                "error": contender.error,
            }
            for contender in self.contenders
        ]

    @property
    def failed(self) -> bool:
        """Whether a contender failed, other than for an engine that does not support the model."""
        return any(
            contender.error is not None and "is not possible" not in contender.error for contender in self.contenders
        )

    @property
    def title(self) -> str:
        """The measured workload in one line."""
        recipe = self.recipe
        return (
            f"One step: {len(self.tasks)} tasks × {recipe.batch_size} rows, {self.encoder}, "
            f"{recipe.threads} thread{'s' if recipe.threads > 1 else ''}"
            + (f" on {recipe.device}" if recipe.device != "cpu" else "")
        )

    @property
    def notes(self) -> list[str]:
        """What readers of the numbers need to know: how they were measured, and which contenders failed, and why."""
        memory = (
            "what torch held on the device" if self.recipe.device != "cpu" else "resident memory, libraries included"
        )
        notes = [
            f"median of {self.recipe.steps} steps; ratios to the plain sum, step by step on the same batches",
            f"each in a process of its own, one after another; peak memory: {memory}",
            "plain padded sum: Hugging Face's encoder, each task padded to its longest row, a backward a task"
            if self.recipe.problem is None
            else "plain sum: the same model without this package: forward, one backward of the summed losses, AdamW",
        ]
        titles: dict[str, list[str]] = {}
        for contender in self.contenders:
            if contender.error is not None:
                titles.setdefault(contender.error, []).append(contender.title)
        return notes + [f"{'; '.join(failed)}: {error}" for error, failed in titles.items()]
