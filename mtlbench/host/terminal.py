"""Text for a terminal, or for a pipe without escape sequences."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import rich.console
from rich.segment import Segment

from mtlbench.host.safe_names import visible


class Console(rich.console.Console):
    """Console that escapes all control characters except its own."""

    def render(self, *arguments: Any, **options: Any) -> Iterable[Segment]:
        """Yield rich's segments with the nonprintable characters of their text escaped.

        :param arguments: as for :meth:`rich.console.Console.render`.
        :param options: as for :meth:`rich.console.Console.render`.
        """
        for segment in super().render(*arguments, **options):
            yield segment if segment.control else segment._replace(text=visible(segment.text, keep="\n"))

    def on_broken_pipe(self) -> None:
        """Let the command line handle a closed pipe; rich would exit with code 1.

        :raises BrokenPipeError: always.
        """
        raise BrokenPipeError

    @property
    def redraws(self) -> bool:
        """Whether a line can be overwritten: false in a pipe and on a terminal without escape sequences."""
        return self.is_terminal and not self.is_dumb_terminal


def printed(show: Callable[[Console], None], *, width: int, color: bool) -> str:
    """Return the output of a function that prints to a console, without trailing spaces.

    :param show: prints to the console that it receives.
    :param width: width of a line, in characters.
    :param color: whether to include escape sequences.
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
"""Console for messages, on standard error; standard output is for results."""


@contextmanager
def silenced(quiet: bool) -> Iterator[None]:
    """Print no messages to :data:`console` while the block runs.

    :param quiet: whether to; otherwise the console stays as it is.
    """
    before = console.quiet
    console.quiet = before or quiet
    try:
        yield
    finally:
        console.quiet = before


def duration(seconds: float) -> str:
    """Return a time in readable form: ``42 s``, ``3:20 min``, ``2:05 h``.

    :param seconds: the time.
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
