"""Reject numbers that only Python reads: ``float`` and ``int`` also accept ``1_0`` and the digits of other scripts."""

from __future__ import annotations

from typing import Any


def number(text: str) -> float:
    """Return the number that a text in plain digits holds, such as ``5``, ``+0.5`` or ``1e-4``.

    :param text: the text; ``nan`` and ``inf`` are accepted, too.
    :raises ValueError: when the text is not a number in plain digits.
    """
    if not is_plain(text):
        raise ValueError(f"{text!r} is not a number in plain digits")
    return float(text)


def is_plain(text: str) -> bool:
    """Return whether a text, if it is a number at all, is written in plain digits."""
    return text.strip().isascii() and "_" not in text


def check_plain(written: Any, read: Any) -> None:
    """Check that a number was written in plain digits.

    :param written: the value as the user wrote it.
    :param read: the value that it was converted to.
    :raises ValueError: when ``read`` is a number and ``written`` is a text with other characters, or true or false.
    """
    is_number = isinstance(read, int | float) and not isinstance(read, bool)
    if is_number and type(written).__name__ in ("bool", "bool_"):  # also NumPy's, which is no bool of Python
        raise ValueError("should be a number")
    if is_number and isinstance(written, str) and not is_plain(written):
        raise ValueError("should be a number in plain digits")
