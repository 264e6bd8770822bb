"""How numbers are printed for people. JSON and CSV keep full precision and do not come here."""

from __future__ import annotations

ABSENT = "-"


def number(value: float, digits: int = 3) -> str:
    """Return a number with fixed digits; very large ones, such as losses of a toy problem, by significant digits."""
    text = f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:.4g}"
    return text.removeprefix("-") if float(text) == 0 else text


def signed(value: float, digits: int = 3) -> str:
    """Return a difference with its sign; one that rounds to zero has none."""
    text = number(value, digits)
    return f"+{text}" if float(text) > 0 else text


def plus_minus(mean: float, spread: float | None) -> str:
    """Return mean ± spread, or the mean alone when one seed has no spread."""
    return number(mean) if spread is None else f"{number(mean)} ± {number(spread)}"


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """Return a two-sided interval."""
    return ABSENT if low is None or high is None else f"[{signed(low, digits)}, {signed(high, digits)}]"


def p_value(p: float | None) -> str:
    """Return a p value; small ones as a bound, since their digits mean nothing."""
    if p is None:
        return ABSENT
    if p < 0.001:
        return "<0.001"
    return f"{p:.4f}" if p < 0.1 else f"{p:.3f}"


def memory(size: float) -> str:
    """Return bytes in MiB."""
    return f"{size / 2**20:.0f} MiB"
