"""Opening sentences of a report: what was measured and what the primary comparisons show."""

from __future__ import annotations

from mtlbench.report.numbers import number
from mtlbench.report.result import FEWEST_SEEDS, Difference, GroupReport


def headline(group: GroupReport) -> tuple[str, ...]:
    """Return what was measured and what the primary comparisons show. Methods not separable are never called equal.

    :param group: the report of one group, without its headline.
    :returns: the sentences.
    """
    return (_counts(group), *_conclusions(group))


def _counts(group: GroupReport) -> str:
    """Return the sentence that counts methods, tasks, seeds and unfinished cells."""
    counts = [
        counted(len(group.methods), "method"),
        counted(len(group.tasks), "task"),
        counted(len(group.seeds), "seed"),
    ]
    gaps = []
    if group.failed:
        gaps.append(f"{counted(len(group.failed), 'cell')} failed")
    if group.missing:
        gaps.append(f"{counted(len(group.missing), 'cell')} missing")
    return f"{', '.join(counts)}; {' and '.join(gaps) or 'every cell finished'}."


def _conclusions(group: GroupReport) -> list[str]:
    """Return the separable differences, then those not separable and the size up to which they could be missed."""
    primary = [d for d in group.comparisons if d.family == "primary"]
    if not primary:
        return []
    sentences = [f"Caution: {caution}; differences may be due to that." for caution in group.cautions]
    if all(d.n < FEWEST_SEEDS for d in primary):
        seeds = counted(max(d.n for d in primary), "seed")
        return [*sentences, f"{seeds} cannot show a difference from {group.baseline}: read the intervals, claim none."]
    separable = [d for d in primary if d.separable]
    if separable:
        clauses = "; ".join(_clause(separable, method, verdict) for method, verdict in _verdicts(separable))
        sentences.append(f"Against {group.baseline}, after Holm's correction over {len(primary)}: {clauses}.")
    sentences += _over_all_tasks(group)
    sentences += _not_separable(primary, group.baseline or "")
    sentences += _within(primary)
    few = sorted({d.method for d in primary if d.n < FEWEST_SEEDS})
    if few:
        sentences.append(f"Of {listed(few)} nothing is claimed: fewer than {FEWEST_SEEDS} seeds to compare.")
    return sentences


def _over_all_tasks(group: GroupReport) -> list[str]:
    """Name the methods whose Δm is separable from the baseline's, tested as a separate family."""
    clauses = [
        f"{d.method} is {d.verdict} ({d.mean_difference:+.2f} %)" for d in group.delta_m_comparisons if d.separable
    ]
    if not clauses:
        return []
    tests = len(group.delta_m_comparisons)
    corrected = f", after Holm's correction over {tests}" if tests > 1 else ""
    return [f"Over all tasks, by Δm against {group.baseline}{corrected}: {listed(clauses)}."]


def _not_separable(primary: list[Difference], baseline: str) -> list[str]:
    """Name the methods that are not separable from the baseline, and the differences that these seeds may miss."""
    missed = [d for d in primary if d.n >= FEWEST_SEEDS and not d.separable]
    groups: dict[tuple[str, str], list[str]] = {}
    for method in dict.fromkeys(d.method for d in missed):
        of_method = [d for d in missed if d.method == method]
        everywhere = len(of_method) == sum(d.method == method for d in primary)
        where = "any task" if everywhere else listed([d.task for d in of_method], "or")
        counts = "/".join(str(n) for n in sorted({d.n for d in of_method}))
        groups.setdefault((where, f"{counts} seeds"), []).append(method)
    sentences = []
    for (where, seeds), methods in groups.items():
        verb = "is" if len(methods) == 1 else "are"
        sentences.append(f"{listed(methods)} {verb} not separable from {baseline} on {where} with {seeds}.")
    largest: dict[str, float] = {}
    for d in missed:
        if d.detectable_in_family is not None:
            name = f"{d.task} {d.metric}"
            largest[name] = max(largest.get(name, 0.0), d.detectable_in_family)
    if largest:
        bounds = listed([f"{number(value)} on {name}" for name, value in largest.items()], "or")
        whose = "" if len({d.method for d in missed}) == 1 else ", for the noisiest of them"
        sentences.append(f"A true difference under {bounds} could well have been missed{whose} (power below 80 %).")
    constant = [d for d in missed if d.standard_error is None and d.mean_difference == 0.0]
    for method in dict.fromkeys(d.method for d in constant):
        tasks = listed([d.task for d in constant if d.method == method])
        sentences.append(f"{method} scored as {baseline} did in every seed of {tasks}: nothing varies, so its p is 1.")
    return sentences


def _within(primary: list[Difference]) -> list[str]:
    """Name the differences that are shown to lie within the declared margin."""
    margins = {d.margin for d in primary if d.margin is not None}
    if not margins:
        return []
    margin = f"{margins.pop():g}"
    within = [f"{d.method} on {d.task}" for d in primary if d.within_margin]
    if within:
        return [f"Shown to lie within the declared margin of ±{margin} (two one-sided tests, Holm): {listed(within)}."]
    return [f"The declared margin of ±{margin} is not shown to hold any of the differences."]


def listed(words: list[str], last: str = "and") -> str:
    """Join words with commas and a conjunction.

    :param words: the words.
    :param last: the conjunction before the last of them.
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def _verdicts(differences: list[Difference]) -> list[tuple[str, str]]:
    """Return the distinct pairs of method and verdict."""
    return list(dict.fromkeys((d.method, d.verdict) for d in differences))


def _clause(differences: list[Difference], method: str, verdict: str) -> str:
    """Name the tasks on which a method has this verdict."""
    where = [f"{d.task} ({d.mean_difference:+.3f})" for d in differences if (d.method, d.verdict) == (method, verdict)]
    return f"{method} is {verdict} on {', '.join(where)}"


def counted(number: int, noun: str) -> str:
    """Return the count with its noun.

    :param number: the count.
    :param noun: the noun in the singular.
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
