"""Text for a terminal, or the same characters for a pipe."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any

import rich.console
from rich.segment import Segment

from mtlbench.host.safe_names import visible


class Console(rich.console.Console):
    """A console that prints no control characters but its own."""

    def render(self, *arguments: Any, **options: Any) -> Iterable[Segment]:
        for segment in super().render(*arguments, **options):
            yield segment if segment.control else segment._replace(text=visible(segment.text, keep="\n"))

    def on_broken_pipe(self) -> None:
        """Let the command line end as it does for every reader that has seen enough; rich would exit with 1."""
        raise BrokenPipeError

    @property
    def redraws(self) -> bool:
        """Whether a line can be drawn over: false in a pipe, and on a terminal without escapes."""
        return self.is_terminal and not self.is_dumb_terminal


def printed(show: Callable[[Console], None], *, width: int, color: bool) -> str:
    """Return what ``show`` prints to a console, without spaces at the ends of lines.

    :param width: cells a line.
    :param color: whether to print terminal escapes.
    """
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    show(console)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


console = Console(stderr=True, soft_wrap=True, highlight=False)
"""Messages go to standard error; standard output is for results."""


def duration(seconds: float) -> str:
    """Return a time for people: ``42 s``, ``3:20 min``, ``2:05 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
