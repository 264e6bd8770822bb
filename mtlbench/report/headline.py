"""Opening sentences of a report: what was measured and what the primary comparisons show."""

from __future__ import annotations

from collections.abc import Mapping

from mtlbench.report.names import MANY, examples, labels, listed
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
    if len({d.method for d in primary}) > MANY:
        return [*sentences, *_many(group, primary)]
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


def _many(group: GroupReport, primary: list[Difference]) -> list[str]:
    """Return a sentence on each task and one on Δm, with counts and the largest differences instead of all names."""
    label = labels(group.methods)
    sentences = [
        _tally([d for d in primary if d.task == task.name], f"On {task.name}", label, "{:+.3f}", len(primary))
        for task in group.tasks
        if any(d.task == task.name for d in primary)
    ]
    deltas = list(group.delta_m_comparisons)
    if deltas:
        sentences.append(_tally(deltas, "By Δm over all tasks", label, "{:+.2f} %", len(deltas)))
    missed = [d for d in primary if d.n >= FEWEST_SEEDS and not d.separable]
    return [*sentences, *_missable(missed), *_within(primary, label)]


def _tally(differences: list[Difference], where: str, label: Mapping[str, str], form: str, family: int) -> str:
    """Count the methods by verdict, and name those with the largest differences."""
    baseline, clauses = label[differences[0].baseline], []
    for verdict, sign in (("higher", -1), ("lower", 1)):
        chosen = sorted((d for d in differences if d.verdict == verdict), key=lambda d: sign * d.mean_difference)
        named = [f"{label[d.method]} ({form.format(d.mean_difference)})" for d in chosen]
        number_of = str(len(chosen) or "none") + (f" of {len(differences)} methods" if verdict == "higher" else "")
        verb = f"{'is' if len(chosen) < 2 else 'are'} {verdict}"
        than = f" than {baseline}" if verdict == "higher" else ""
        clauses.append(f"{number_of} {verb}{than}{f': {examples(named)}' if named else ''}")
    for verdict, words in (("not separable", "not separable"), ("too few seeds", "of too few seeds to tell")):
        if count := sum(d.verdict == verdict for d in differences):
            clauses.append(f"{count} {'is' if count == 1 else 'are'} {words}")
    return f"{where}, {'; '.join(clauses)} (Holm's correction over {family})."


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
    sentences += _missable(missed)
    constant = [d for d in missed if d.standard_error is None and d.mean_difference == 0.0]
    for method in dict.fromkeys(d.method for d in constant):
        tasks = listed([d.task for d in constant if d.method == method])
        sentences.append(f"{method} scored as {baseline} did in every seed of {tasks}: nothing varies, so its p is 1.")
    return sentences


def _missable(missed: list[Difference]) -> list[str]:
    """Return the sentence on the true differences that may have been missed."""
    largest: dict[str, float] = {}
    for d in missed:
        if d.detectable_in_family is not None:
            name = f"{d.task} {d.metric}"
            largest[name] = max(largest.get(name, 0.0), d.detectable_in_family)
    if not largest:
        return []
    bounds = listed([f"{number(value)} on {name}" for name, value in largest.items()], "or")
    whose = "" if len({d.method for d in missed}) == 1 else ", for the noisiest of them"
    return [f"A true difference under {bounds} could well have been missed{whose} (power below 80 %)."]


def _within(primary: list[Difference], label: Mapping[str, str] | None = None) -> list[str]:
    """Name the differences that are shown to lie within the declared margin."""
    margins = {d.margin for d in primary if d.margin is not None}
    if not margins:
        return []
    margin = f"{margins.pop():g}"
    within = [f"{label[d.method] if label else d.method} on {d.task}" for d in primary if d.within_margin]
    if within:
        shown = examples(within) if label else listed(within)
        count = f"{len(within)} of {len(primary)} differences are shown" if label else "Shown"
        return [f"{count} to lie within the declared margin of ±{margin} (two one-sided tests, Holm): {shown}."]
    return [f"The declared margin of ±{margin} is not shown to hold any of the differences."]


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
