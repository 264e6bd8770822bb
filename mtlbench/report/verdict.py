"""The verdict: the result of a group in two or three sentences that can be quoted without the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mtlbench.report.headline import counted
from mtlbench.report.names import examples, labels, listed
from mtlbench.report.numbers import number, signed
from mtlbench.report.result import FEWEST_SEEDS, Difference, GroupReport

MOST_CLAUSES, MOST_BOUNDS = 3, 3
"""Most clauses and tasks to spell out; further ones are counted."""


def verdict(group: GroupReport) -> tuple[str, ...]:
    """Return what the comparisons show, what they may have missed, and what limits them.

    Methods that are not separable are never called equal.

    :param group: the report of one group.
    :returns: two to four sentences or short paragraphs, the most important first.
    """
    if group.watched:
        return group.headline
    label = labels(group.methods)
    primary = [_labelled(d, label) for d in group.comparisons if d.family == "primary"]
    if not primary:
        return (_nothing_compared(group), *_limits(group))
    tested = [d for d in primary if d.n >= FEWEST_SEEDS]
    if not tested:
        most = counted(max(d.n for d in primary), "seed")
        few = f"{most} cannot show a difference from {group.baseline}: read the intervals, claim none."
        return (few, *_limits(group))
    overall = [_labelled(d, label) for d in group.delta_m_comparisons if d.n >= FEWEST_SEEDS]
    return (_separable(tested, tested[0].baseline), *_overall(overall), *_missed(tested), *_limits(group))


def _labelled(d: Difference, label: Mapping[str, str]) -> Difference:
    """Return a comparison with the short labels of its methods."""
    return replace(d, method=label[d.method], baseline=label[d.baseline])


def _nothing_compared(group: GroupReport) -> str:
    if len(group.methods) == 1:
        return f"Only {group.methods[0]} was trained, so nothing is compared."
    if group.baseline is None:
        return "The baseline has no cells here, so nothing is compared."
    return f"No other method shares finished cells with {group.baseline}, so nothing is compared."


def _separable(tested: Sequence[Difference], baseline: str) -> str:
    """Return the sentences on the primary comparisons: separable ones first, and how many methods are not separable."""
    seeds = sorted({d.n for d in tested})
    start = f"With {seeds[0]} seeds" if len(seeds) == 1 else f"With {seeds[0]} to {seeds[-1]} seeds"
    methods = list(dict.fromkeys(d.method for d in tested))
    separable = sorted((d for d in tested if d.separable), key=lambda d: -abs(d.mean_difference))
    others = [method for method in methods if method not in {d.method for d in separable}]
    if not separable:
        none = f"{methods[0]} is not" if len(methods) == 1 else f"none of {len(methods)} methods is"
        return f"{start}, {none} separable from {baseline} on any task, which does not mean that they are alike."
    found = f"{start}, {_clauses(separable, tested, baseline)}."
    if not others:
        return found
    rest = f"{others[0]} is" if len(others) == 1 else f"The other {len(others)} methods are"
    return f"{found} {rest} not separable from it on any task, which does not mean alike."


def _clauses(separable: Sequence[Difference], tested: Sequence[Difference], baseline: str) -> str:
    """Name the methods that are higher or lower, and where; of many methods, count them."""
    tasks = len({d.task for d in tested})
    results = list(dict.fromkeys((d.method, d.verdict) for d in separable))
    if len(results) <= MOST_CLAUSES:
        found: list[str] = []
        for method, way in results:
            where = _where([d for d in tested if d.separable and (d.method, d.verdict) == (method, way)], tasks)
            found.append(f"{method} is {way}{f' than {baseline}' * (not found)} on {where}")
        return "; ".join(found)
    counts = []
    for way in ("higher", "lower"):
        if names := [method for method, verdict in results if verdict == way]:
            verb = "is" if len(names) == 1 else "are"
            counts.append(
                f"{counted(len(names), 'method')} {verb} {way} than {baseline} on some task ({examples(names)})"
            )
    return listed(counts)


def _where(differences: Sequence[Difference], tasks: int) -> str:
    """Name the tasks with their differences, or count them."""
    if len(differences) == 1 or (len(differences) < tasks and len(differences) <= MOST_BOUNDS):
        return listed([f"{d.task} ({signed(d.mean_difference)})" for d in differences])
    low, high = (signed(end(d.mean_difference for d in differences)) for end in (min, max))
    count = "every task" if len(differences) == tasks else f"{len(differences)} of {tasks} tasks"
    return f"{count} ({low} to {high})"


def _overall(tested: Sequence[Difference]) -> list[str]:
    """Return the sentence on Δm, where it was compared."""
    if not tested:
        return []
    baseline = tested[0].baseline
    separable = sorted((d for d in tested if d.separable), key=lambda d: -abs(d.mean_difference))
    if separable and len(separable) <= MOST_CLAUSES:
        clauses = [f"{d.method} is {d.verdict} ({signed(d.mean_difference, 2)} %)" for d in separable]
        return [f"Over all tasks (Δm against {baseline}): {listed(clauses)}."]
    if separable:
        clauses = [
            f"{counted(len(alike), 'method')} {'is' if len(alike) == 1 else 'are'} {way} ({examples(alike)})"
            for way in ("higher", "lower")
            if (alike := [f"{d.method} {signed(d.mean_difference, 2)} %" for d in separable if d.verdict == way])
        ]
        return [f"Over all tasks (Δm against {baseline}), {listed(clauses)}."]
    if len(tested) == 1:
        return [f"Over all tasks (Δm), {tested[0].method} is not separable from {baseline}."]
    return [f"Over all tasks (Δm), none of {len(tested)} joint methods is separable from {baseline}."]


def _missed(tested: Sequence[Difference]) -> list[str]:
    """Return the sentence on the true differences that these seeds may miss, for the noisiest method of each task."""
    largest: dict[str, float] = {}
    for d in tested:
        if d.detectable_in_family is not None and not d.separable:
            name = f"{d.task} {d.metric}"
            largest[name] = max(largest.get(name, 0.0), d.detectable_in_family)
    if not largest:
        return []
    if len(largest) > MOST_BOUNDS:
        widest = max(largest, key=lambda name: largest[name])
        bounds = f"{number(min(largest.values()))} to {number(largest[widest])} (on {widest})"
    else:
        bounds = listed([f"{number(value)} on {name}" for name, value in largest.items()], "or")
    return [f"A true difference under {bounds} could well have been missed (power below 80 %)."]


def _limits(group: GroupReport) -> list[str]:
    """Return the sentence on gaps in the grid and on cautions, if there are any."""
    gaps = [
        f"{counted(len(cells), 'cell')} {'is' if len(cells) == 1 else 'are'} missing"
        if cells is group.missing
        else f"{counted(len(cells), 'cell')} failed"
        for cells in (group.failed, group.missing)
        if cells
    ]
    sentences = [f"{listed(gaps)}."] if gaps else []
    if group.cautions:
        sentences.append("Caution: the cells differ in more than the method; the notes say in what.")
    return [" ".join(sentences)] if sentences else []
