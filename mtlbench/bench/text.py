"""Results of ``mtlbench bench`` as a table and as plain data for JSON."""

from __future__ import annotations

import json
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtlbench.bench.result import BenchResult
from mtlbench.host.provenance import environment
from mtlbench.host.terminal import printed

METHOD_WIDTH = 26


def as_text(result: BenchResult, *, width: int, color: bool) -> str:
    """Return the table and its notes.

    :param width: columns of the terminal.
    :param color: whether to add terminal escapes; the characters are the same without.
    """

    def show(console: Console) -> None:
        console.print(Text(result.title, style="bold"), "", _table(result), "", sep="\n")
        for note in result.notes:
            console.print(Text(note))

    return printed(show, width=width, color=color)


def _table(result: BenchResult) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("method", overflow="fold", max_width=METHOD_WIDTH)
    table.add_column("engine", no_wrap=True)
    for name in ("step, ms", "÷ plain", "peak, MB", "÷ plain"):
        table.add_column(name, justify="right", no_wrap=True)
    previous = ""
    for number, contender in enumerate(result.contenders):
        following = result.contenders[number + 1 : number + 2]
        table.add_row(
            Text("" if contender.method == previous else contender.method),
            contender.engine or "",
            "-" if contender.median is None else f"{1e3 * contender.median:.1f}",
            _ratio(contender.time_ratio(result.plain)),
            "-" if contender.peak is None else f"{contender.peak / 1e6:.0f}",
            _ratio(contender.memory_ratio(result.plain)),
            end_section=not following or following[0].method != contender.method,
        )
        previous = contender.method
    return table


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def as_json(result: BenchResult) -> str:
    """Return recipe, measurements, versions and machine as JSON."""
    return json.dumps(as_data(result), indent=2, ensure_ascii=False) + "\n"


def as_data(result: BenchResult) -> dict[str, Any]:
    """Return recipe, measurements, versions and machine as plain data."""
    return {
        "suite": result.suite,
        "recipe": result.recipe.model_dump(mode="json", exclude={"engine"}),
        "encoder": result.encoder,
        "notes": result.notes,
        "contenders": result.rows,
        **environment(result.recipe.device),
    }
