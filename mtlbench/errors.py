"""The errors that a user can cause and mend: each one line that says what is wrong and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any


class UsageError(ValueError):
    """Bad input. The command line prints the message alone and exits with code 2."""


class CellError(RuntimeError):
    """A cell cannot go on; the grid continues.

    :param message: what happened, with step and task.
    :param step: the optimizer step, counted from 1.
    :param task: the key of the task.
    """

    def __init__(self, message: str, step: int | None = None, task: str | None = None) -> None:
        super().__init__(message)
        self.step, self.task = step, task


class OutOfMemory(CellError):
    """A cell found no memory. That may be another program's doing, so the cell keeps its checkpoints."""


class SolverError(ArithmeticError):
    """A solver did not reach its optimality conditions. The message holds the matrix."""


def unknown(kind: str, name: str, known: Iterable[str], further: Iterable[str] = ()) -> UsageError:
    """Build the error for a name that nobody registered, with the closest known names.

    :param kind: what the name should have been, such as ``"method"``.
    :param name: what the user wrote.
    :param known: every name that would have been right, all listed where none is close.
    :param further: other right names, only suggested where they are close.
    """
    known = sorted(known)
    close = closest(name, [*known, *further])
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known) or 'none'}"
    return UsageError(f"unknown {kind} '{name}'; {hint}")


def closest(name: str, known: Iterable[str], count: int = 2) -> list[str]:
    """Return the known names most like a name, best first; letter case, spaces, ``-`` and ``_`` do not count.

    :param count: the most names to return. Where some differ in nothing that counts, only these are returned.
    """
    known = list(dict.fromkeys(known))
    same = [right for right in known if _plain(right) == _plain(name)]
    if same:
        return same[:count]
    folded = {right.casefold(): right for right in reversed(known)}
    return [folded[key] for key in difflib.get_close_matches(name.casefold(), folded, n=count, cutoff=0.55)]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


def said(error: BaseException) -> str:
    """Return what somebody else's code raised, in one line."""
    return one_line(f"{type(error).__name__}: {error}".rstrip(": "), 300)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is a lack of memory, as Python or torch tells it."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's own, without importing it
        or (isinstance(error, RuntimeError) and "you tried to allocate" in str(error))
    )


def one_line(text: str, width: int) -> str:
    """Return a text without line breaks, cut to a width."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def shown(value: Any) -> str:
    """Return a value from a file as an error shows it."""
    return one_line(repr(value), 60)
