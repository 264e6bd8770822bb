"""Number formats for readers. JSON and CSV do not use them and keep full precision."""

from __future__ import annotations

ABSENT = "-"


def number(value: float, digits: int = 3) -> str:
    """Return a number with fixed decimals; from 1000 up, as losses of a toy problem, with four significant digits.

    :param value: the number.
    :param digits: number of decimals.
    """
    text = f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:.4g}"
    return text.removeprefix("-") if float(text) == 0 else text


def signed(value: float, digits: int = 3) -> str:
    """Return a difference with its sign, or without one if it rounds to zero.

    :param value: the difference.
    :param digits: number of decimals.
    """
    text = number(value, digits)
    return f"+{text}" if float(text) > 0 else text


def plus_minus(mean: float, spread: float | None) -> str:
    """Return mean ± standard deviation, or the mean alone.

    :param mean: the mean.
    :param spread: the standard deviation; ``None`` for a single seed.
    """
    return number(mean) if spread is None else f"{number(mean)} ± {number(spread)}"


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """Return an interval in brackets, or :data:`ABSENT`.

    :param low: lower end, or ``None``.
    :param high: upper end, or ``None``.
    :param digits: number of decimals.
    """
    return ABSENT if low is None or high is None else f"[{signed(low, digits)}, {signed(high, digits)}]"


def p_value(p: float | None) -> str:
    """Return a p value; below .001 as a bound, since further digits carry no information.

    :param p: the p value, or ``None`` for :data:`ABSENT`.
    """
    if p is None:
        return ABSENT
    if p < 0.001:
        return "<0.001"
    return f"{p:.4f}" if p < 0.1 else f"{p:.3f}"


def memory(size: float) -> str:
    """Return a size in MiB.

    :param size: the size in bytes.
    """
    return f"{size / 2**20:.0f} MiB"
