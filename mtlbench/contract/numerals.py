"""Numbers as people write them: ``float`` and ``int`` also take ``1_0`` and the digits of other scripts."""

from __future__ import annotations

from typing import Any


def number(text: str) -> float:
    """Read a number in plain digits, such as ``5``, ``+0.5`` or ``1e-4``; ``nan`` and ``inf`` are read, too.

    :raises ValueError: when it is none.
    """
    if not is_plain(text):
        raise ValueError(f"{text!r} is not a number in plain digits")
    return float(text)


def is_plain(text: str) -> bool:
    """Whether a text, if it is a number at all, is written in plain digits."""
    return text.strip().isascii() and "_" not in text


def check_plain(written: Any, read: Any) -> None:
    """Check that a value that was read as a number was written in plain digits.

    :raises ValueError: when it was not.
    """
    is_number = isinstance(read, int | float) and not isinstance(read, bool)
    if is_number and isinstance(written, str) and not is_plain(written):
        raise ValueError("should be a number in plain digits")
