"""Errors caused by user input: each says in one line what is wrong and how to fix it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any


class UsageError(ValueError):
    """Bad input. The command line prints only the message and exits with code 2.

    It is a :class:`ValueError`:

    >>> from mtlbench import UsageError, get_method
    >>> try:
    ...     get_method("pc-grad")
    ... except UsageError as error:
    ...     print(error)
    unknown method 'pc-grad'; did you mean pcgrad?
    """


class CellError(RuntimeError):
    """Failure of one cell; the rest of the grid continues.

    :param message: what happened, with step and task.
    :param step: the optimizer step, counted from 1.
    :param task: the key of the task.

    >>> from mtlbench import CellError
    >>> error = CellError("the loss of task sst5 is nan at step 7", step=7, task="sst5")
    >>> error.step, error.task
    (7, 'sst5')
    """

    def __init__(self, message: str, step: int | None = None, task: str | None = None) -> None:
        super().__init__(message)
        self.step, self.task = step, task


class OutOfMemory(CellError):
    """Out of memory. Another program may be the cause, so the cell keeps its checkpoints."""


class SolverError(ArithmeticError):
    """Failure of a solver to reach its optimality conditions. The message contains the matrix.

    A method that raises it fails its cell. It is an :class:`ArithmeticError`:

    >>> from mtlbench import SolverError
    >>> try:
    ...     raise SolverError("no minimum after 100 iterations for [[1.0, nan], [nan, 1.0]]")
    ... except ArithmeticError as error:
    ...     print(error)
    no minimum after 100 iterations for [[1.0, nan], [nan, 1.0]]
    """


def unknown(kind: str, name: str, known: Iterable[str], further: Iterable[str] = ()) -> UsageError:
    """Return the error for an unknown name, with the closest known names as suggestions.

    :param kind: what the name stands for, such as ``"method"``.
    :param name: what the user wrote.
    :param known: the valid names; the message lists all of them if none is close.
    :param further: more valid names, mentioned only if they are close.
    """
    known = sorted(known)
    close = closest(name, [*known, *further])
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known) or 'none'}"
    return UsageError(f"unknown {kind} '{one_line(name, 60)}'; {hint}")


def closest(name: str, known: Iterable[str], count: int = 2) -> list[str]:
    """Return the known names most similar to a name, best first.

    :param name: what the user wrote.
    :param known: the valid names.
    :param count: the maximum number of names to return. If some names differ from ``name`` only in case, spaces, ``-``
        or ``_``, only those are returned.
    """
    known = list(dict.fromkeys(known))
    equivalent = [candidate for candidate in known if _plain(candidate) == _plain(name)]
    if equivalent:
        return equivalent[:count]
    folded = {candidate.casefold(): candidate for candidate in reversed(known)}
    return [folded[key] for key in difflib.get_close_matches(name.casefold(), folded, n=count, cutoff=0.55)]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


def said(error: BaseException) -> str:
    """Return the type and message of an error raised by foreign code, in one line of at most 300 characters.

    :param error: the error.
    """
    return one_line(f"{type(error).__name__}: {error}".rstrip(": "), 300)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether Python or torch raised an error because memory ran out.

    :param error: the error.
    """
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's class, without importing torch
        or (isinstance(error, RuntimeError) and "you tried to allocate" in str(error))
    )


def one_line(text: str, width: int) -> str:
    """Return a text as one line.

    :param text: the text; line breaks and other white space become single spaces.
    :param width: maximum number of characters; ``…`` marks the end of a shortened text.
    """
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def shown(value: Any) -> str:
    """Return the representation of a value from a user for an error message, at most 60 characters long.

    :param value: the value.
    """
    try:
        return one_line(repr(value), 60)
    except Exception:  # a foreign object may raise anything; integers of more than 4300 digits have no text
        return f"{type(value).__name__} that cannot be shown"
