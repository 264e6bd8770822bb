"""The errors that a user can cause and mend: each one line that says what is wrong and what to do."""

from __future__ import annotations

import difflib
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


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Build the error for a name that nobody registered, with the closest known names.

    :param kind: what the name should have been, such as ``"method"``.
    :param name: what the user wrote.
    :param known: every name that would have been right.
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.55)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known) or 'none'}"
    return UsageError(f"unknown {kind} '{name}'; {hint}")


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
