"""What one call of ``mtlbench bench`` found: as a table for people, and as data."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtlbench.host.provenance import environment
from mtlbench.host.terminal import printed
from mtlbench.plan.suite import Recipe

PLAIN = "plain padded sum"
METHOD_WIDTH = 26


@dataclass
class Measured:
    """What was measured of one contender.

    :param method: its spec, or :data:`PLAIN`.
    :param engine: ``None`` for the plain padded sum.
    :param seconds: of every timed step.
    :param peak: bytes.
    :param error: why there is nothing, or no more.
    """

    method: str
    engine: str | None
    seconds: list[float] = field(default_factory=list)
    peak: int | None = None
    error: str | None = None

    @property
    def title(self) -> str:
        """Method and engine, for people."""
        return self.method if self.engine is None else f"{self.method}, {self.engine}"

    @property
    def median(self) -> float | None:
        """Median seconds a step; ``None`` where the contender failed."""
        return statistics.median(self.seconds) if self.seconds and self.error is None else None

    def time_ratio(self, plain: Measured) -> float | None:
        """Return the median over steps of this one's time by the plain sum's, batch by batch."""
        if self.median is None or plain.median is None:
            return None
        return statistics.median(a / b for a, b in zip(self.seconds, plain.seconds, strict=True))

    def memory_ratio(self, plain: Measured) -> float | None:
        """Return this one's peak memory by the plain sum's."""
        return None if self.peak is None or plain.peak is None else self.peak / plain.peak


@dataclass(frozen=True)
class BenchResult:
    """The recipe and what was measured with it, the plain padded sum first."""

    suite: str
    recipe: Recipe
    tasks: tuple[str, ...]
    encoder: str
    found: list[Measured]

    @property
    def plain(self) -> Measured:
        return self.found[0]

    @property
    def failed(self) -> bool:
        """Whether a contender failed for another reason than that its engine is not possible."""
        return any(one.error is not None and "is not possible" not in one.error for one in self.found)

    @property
    def title(self) -> str:
        """What was measured, in one line."""
        recipe = self.recipe
        return (
            f"One step: {len(self.tasks)} tasks × {recipe.batch_size} rows, {self.encoder}, "
            f"{recipe.threads} thread{'s' if recipe.threads > 1 else ''}"
            + (f" on {recipe.device}" if recipe.device != "cpu" else "")
        )

    @property
    def notes(self) -> list[str]:
        """What a reader of the numbers must know beside them."""
        where = (
            "what torch held on the device" if self.recipe.device != "cpu" else "resident memory, libraries included"
        )
        told = [
            f"median of {self.recipe.steps} steps; ratios to the plain sum, step by step on the same batches",
            f"each in a process of its own, one after another; peak memory: {where}",
            "plain padded sum: Hugging Face's encoder, each task padded to its longest row, a backward a task",
        ]
        reasons: dict[str, list[str]] = {}
        for one in self.found:
            if one.error is not None:
                reasons.setdefault(one.error, []).append(one.title)
        return told + [f"{'; '.join(who)}: {reason}" for reason, who in reasons.items()]


def as_text(outcome: BenchResult, *, width: int, color: bool) -> str:
    """Return the table and its notes; plain in a pipe, the same characters with colour on a terminal."""

    def show(console: Console) -> None:
        console.print(Text(outcome.title, style="bold"), "", _table(outcome), "", sep="\n")
        for note in outcome.notes:
            console.print(Text(note))

    return printed(show, width=width, color=color)


def _table(outcome: BenchResult) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("method", overflow="fold", max_width=METHOD_WIDTH)
    table.add_column("engine", no_wrap=True)
    for name in ("step, ms", "÷ plain", "peak, MB", "÷ plain"):
        table.add_column(name, justify="right", no_wrap=True)
    before = ""
    for number, one in enumerate(outcome.found):
        last = number + 1 == len(outcome.found) or outcome.found[number + 1].method != one.method
        table.add_row(
            Text("" if one.method == before else one.method),
            one.engine or "",
            "-" if one.median is None else f"{1e3 * one.median:.1f}",
            _ratio(one.time_ratio(outcome.plain)),
            "-" if one.peak is None else f"{one.peak / 1e6:.0f}",
            _ratio(one.memory_ratio(outcome.plain)),
            end_section=last,
        )
        before = one.method
    return table


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def as_data(outcome: BenchResult) -> dict[str, Any]:
    """Return the recipe, versions and machine, and every measurement, as plain data."""
    return {
        "suite": outcome.suite,
        "recipe": outcome.recipe.model_dump(mode="json", exclude={"engine"}),
        "encoder": outcome.encoder,
        "notes": outcome.notes,
        "contenders": [
            {
                "method": one.method,
                "engine": one.engine,
                "seconds": one.seconds,
                "seconds_per_step": one.median,
                "time_by_plain": one.time_ratio(outcome.plain),
                "peak_memory_bytes": one.peak,
                "memory_by_plain": one.memory_ratio(outcome.plain),
                "error": one.error,
            }
            for one in outcome.found
        ],
        **environment(outcome.recipe.device),
    }
