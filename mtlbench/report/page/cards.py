"""The three numbers at the top of a group: the best method, what is separable, and what may have been missed."""

from __future__ import annotations

from dataclasses import dataclass

from mtlbench.report.names import examples, labels
from mtlbench.report.numbers import interval, number, signed
from mtlbench.report.result import FEWEST_SEEDS, GroupReport


@dataclass(frozen=True)
class Card:
    """One number with its words."""

    label: str
    value: str
    unit: str
    """What the number belongs to, printed beside it."""
    note: str


def cards(group: GroupReport) -> tuple[Card, ...]:
    """Return the cards of a group; none for a watched run or where nothing is compared.

    :param group: the report of one group.
    """
    primary = [d for d in group.comparisons if d.family == "primary"]
    if not primary:
        return ()
    return tuple(card for card in (_best(group), _separable(group), _missed(group)) if card)


def glance(group: GroupReport) -> str:
    """Return the result of a group in a few words, for a list of groups.

    :param group: the report of one group.
    """
    if group.watched:
        return "own training, compared with nothing"
    primary = [d for d in group.comparisons if d.family == "primary"]
    if not primary:
        return "nothing compared"
    if all(d.n < FEWEST_SEEDS for d in primary):
        return "too few seeds for a claim"
    separable = [d for d in primary if d.separable]
    label = labels(group.methods)
    ways = [f"{label[d.method]} {d.verdict} on {d.task}" for d in separable]
    return examples(ways, 2) if ways else f"none of {len({d.method for d in primary})} methods separable"


def _best(group: GroupReport) -> Card | None:
    """Return the joint method with the highest Δm; without Δm, that with the best mean rank."""
    if group.delta_m:
        best = max(group.delta_m, key=lambda delta: delta.mean)
        method, value, label = best.method, f"{signed(best.mean, 2)} %", "Highest Δm"
        words = ["mean over the tasks, against single-task training"]
        if best.ci_low is not None:
            words.append(f"95 % interval {interval(best.ci_low, best.ci_high, 2)}")
    elif group.mean_ranks:
        first = min(group.mean_ranks, key=lambda rank: rank.mean_rank)
        method, value, label = first.method, number(first.mean_rank, 2), "Best mean rank"
        words = [f"of {first.methods} methods, over every task of {first.seeds} seeds"]
    else:
        return None
    pairs = [pair for pair in group.pairs if method in (pair.method, pair.baseline)]
    if pairs and all(pair.n >= FEWEST_SEEDS for pair in pairs):
        near = sum(not pair.separable for pair in pairs)
        others = "the other one" if len(pairs) == 1 else f"{near} of {len(pairs)} others" if near else "no other"
        words.append(f"not separable from {others}" if near else "separable from all others")
    return Card(label, value, labels(group.methods)[method], "; ".join(words))


def _separable(group: GroupReport) -> Card:
    """Return the number of separable primary comparisons."""
    primary = [d for d in group.comparisons if d.family == "primary"]
    separable = [d for d in primary if d.separable]
    label = f"Separable from {labels(group.methods)[group.baseline or '']}"
    if all(d.n < FEWEST_SEEDS for d in primary):
        return Card(label, "–", "", f"fewer than {FEWEST_SEEDS} seeds: nothing is claimed")
    ways = [f"{count} {way}" for way in ("higher", "lower") if (count := sum(d.verdict == way for d in separable))]
    detail = f"{', '.join(ways)}; " if ways else ""
    unit = f"of {len(primary)} comparisons"
    return Card(label, str(len(separable)), unit, f"{detail}methods × tasks, after Holm's correction")


def _missed(group: GroupReport) -> Card | None:
    """Return the largest true difference that may have been missed on any task."""
    largest: dict[str, float] = {}
    for d in group.comparisons:
        if d.family == "primary" and d.detectable_in_family is not None and not d.separable:
            name = f"{d.task} {d.metric}"
            largest[name] = max(largest.get(name, 0.0), d.detectable_in_family)
    if not largest:
        return None
    widest = max(largest, key=lambda name: largest[name])
    others = [f"{number(value)} on {name}" for name, value in largest.items() if name != widest]
    more = f"; under {examples(others, 2)}" if others else ""
    note = f"a smaller true difference could well have been missed with {len(group.seeds)} seeds{more}"
    return Card("Resolution", number(largest[widest]), f"on {widest}", note)
