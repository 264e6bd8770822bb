"""What the report says first: one or two plain sentences."""

from __future__ import annotations

from mtlbench.report.model import FEWEST_SEEDS, Difference, Group


def headline(group: Group) -> tuple[str, ...]:
    """Say what was measured, and what the primary comparisons show. Not separable is never called equal."""
    return (_measured(group), *_shown(group))


def _measured(group: Group) -> str:
    """Count the cells."""
    counts = [_count(len(group.methods), "method"), _count(len(group.tasks), "task"), _count(len(group.seeds), "seed")]
    gaps = []
    if group.failed:
        gaps.append(f"{_count(len(group.failed), 'cell')} failed")
    if group.missing:
        gaps.append(f"{_count(len(group.missing), 'cell')} missing")
    return f"{', '.join(counts)}; {' and '.join(gaps) or 'every cell finished'}."


def _shown(group: Group) -> list[str]:
    """Name the separable differences."""
    primary = [d for d in group.comparisons if d.family == "primary"]
    if not primary:
        return []
    if all(d.n < FEWEST_SEEDS for d in primary):
        seeds = _count(max(d.n for d in primary), "seed")
        return [f"{seeds} cannot show a difference from {group.baseline}: read the intervals, claim none."]
    separable = [d for d in primary if d.separable]
    others = len(primary) - len(separable)
    if not separable:
        return [f"{_count(others, 'comparison')} with {group.baseline}: none is separable after Holm's correction."]
    found = "; ".join(_said(separable, method, verdict) for method, verdict in _kinds(separable))
    rest = f" The other {_count(others, 'comparison')}: not separable." if others else ""
    return [f"Against {group.baseline}, after Holm's correction over {len(primary)}: {found}.{rest}"]


def _kinds(differences: list[Difference]) -> list[tuple[str, str]]:
    """Return every method with every verdict on it, once."""
    return list(dict.fromkeys((d.method, d.verdict) for d in differences))


def _said(differences: list[Difference], method: str, verdict: str) -> str:
    """Say where a method is higher, or where it is lower."""
    where = [f"{d.task} ({d.mean_difference:+.3f})" for d in differences if (d.method, d.verdict) == (method, verdict)]
    return f"{method} is {verdict} on {', '.join(where)}"


def _count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
