"""Captions of the tables: the meaning of each number, and its limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mtlbench import stats
from mtlbench.recipe.suite import meaningful
from mtlbench.report.numbers import number, p_value
from mtlbench.report.result import ALPHA, FEWEST_SEEDS, Difference, Floor, GroupReport, Ranking, ScoredTask

SCORES = "Mean ± sample standard deviation over n seeds ({seeds}), on {split}; higher is better."
DELTA_M = "Δm: mean relative improvement of the tasks' primary metrics over single-task training, in percent."
OVERALL = (
    "",
    "",
    "Mean rank: among the joint methods, over every task and the seeds that all of them finished; ties share a rank.",
    "Conflict: share of task pairs whose gradients point apart.",
    "s/step: median seconds of an optimizer step.",
    "Peak memory: the highest of all seeds.",
)

NORMS = {"sum": " Shared update: every method's is brought to the norm of the plain sum (update_norm=sum)."}
"""Sentence by the recipe's ``update_norm``; the default, native norms, is not mentioned."""


def recipe(group: GroupReport) -> str:
    """Return the sentences on the encoder or the problem, on the recipe, and on what tells the group from others.

    :param group: the report of one group.
    """
    settings = [
        f"{name}={value}"
        for name, value in meaningful(group.recipe).items()
        if value is not None and isinstance(value, str | int | float) and name not in ("update_norm", "problem")
    ]
    norm = NORMS.get(str(group.recipe.get("update_norm", "native")), "")
    noun = "Encoder" if group.problem is None else "Problem"
    others = ", ".join(f"{name}={value}" for name, value in group.differs.items() if group.name != group.heading)
    apart = f" In this report, groups differ in: {others}." if others else ""
    return f"{noun}: {group.encoder}. Recipe: {', '.join(settings)}.{norm}{apart}"


def floors(endpoints: Iterable[tuple[ScoredTask, str, Floor | None]]) -> str:
    """Return the sentence that lists the floors.

    :param endpoints: task, metric and the highest floor, or ``None`` where there is no floor.
    """
    named = [f"{t.name} {metric} {number(f.value)} ({f.name})" for t, metric, f in endpoints if f]
    return f"Floors: {'; '.join(named)}."


def differences(shown: Sequence[Difference], baseline: str, mark: str) -> list[str]:
    """Return the caption of a table of differences: what they are, and the marks.

    :param shown: the differences in the table.
    :param baseline: spec of the baseline method.
    :param mark: the mark of a separable difference.
    """
    lines = [f"Method - {baseline}, positive is better."]
    if any(d.n < FEWEST_SEEDS for d in shown):
        lines.append(f"With fewer than {FEWEST_SEEDS} seeds no difference is claimed.")
    if any(d.n >= FEWEST_SEEDS for d in shown):
        lines.append(f"{mark} separable: Holm p < {ALPHA:g}. No mark: not separable, which does not mean alike.")
    return lines


def tests(shown: Sequence[Difference]) -> list[str]:
    """Return the explanation of a table of differences: the tests, and the limits of n seeds.

    :param shown: the differences in the table.
    """
    families = {d.family: sum(other.family == d.family and other.p is not None for other in shown) for d in shown}
    sizes = " and ".join(f"{size} for Δm" if name == "delta_m" else f"{size}" for name, size in families.items())
    lines = [
        "Interval and p: Student's t on the seeds' differences, each on its own. Exact p: sign flips. Holm p: the "
        f"primary test's p adjusted for all tests of its family ({sizes}).",
    ]
    for test, reason in dict.fromkeys((d.primary_test, d.primary_reason) for d in shown):
        lines.append(f"Primary test: {test}; {reason}.")
    for n in sorted({d.n for d in shown if d.paired and d.n > 1}):
        detectable = stats.detectable_effect(n, ALPHA)
        if detectable is None:
            continue
        lines.append(
            f"{n} seeds: the exact p cannot fall below {_smallest(2 / 2**n)}; with 80 % power one t test finds only "
            f"differences of {number(detectable, 2)} of their own standard deviations or more."
        )
    if any(d.paired for d in shown):
        lines.append("ρ: correlation of the two methods' scores over seeds, what the pairing gained.")
    if any(not d.paired for d in shown):
        lines.append("Unpaired: the runs did not share start, batches and dropout; p is Welch's t.")
    return lines


def _smallest(p: float) -> str:
    """Return a bound of p values, which is never a bound of a bound."""
    return p_value(p) if p >= 0.001 else f"{p:.1g}"


def _compared(p: float) -> str:
    """Return ``= 0.107`` or ``< 0.001``."""
    text = p_value(p)
    return text.replace("<", "< ") if text.startswith("<") else f"= {text}"


POWER = (
    "Missed under: a true difference below this is found with less than 80 % power at the level that Holm's correction "
    "asks of the smallest p (in brackets: by one test alone).",
    "Seeds needed: for 80 % power in one test, if the true difference is {target} and the spread is what it was. "
    "An observed difference is a poor guess of the true one.",
    "Wins: seeds won of those not tied, with Clopper and Pearson's 95 % interval. "
    "P(better): chance of a better score in a fresh seed, ties counted half.",
    "Var ratio: Var(d) / (Var(method) + Var(baseline)); what pairing left of the variance. 1: no gain.",
)

EXAMPLES = (
    "Seeds and development rows are both taken as samples: v = s²(seeds)/n + s²(rows)/m - s²(residual)/(n m), "
    "Satterthwaite's degrees of freedom.",
    "Rows' share: of the variance, what the choice of rows contributes; more seeds would not lower it.",
)


def ranking(ranked: Ranking, pairs: Sequence[Difference]) -> str:
    """Return the caption on Friedman's test and on the pairs of methods that are separable.

    :param ranked: the ranking over seeds.
    :param pairs: every pair of its methods, compared.
    """
    separable = sum(pair.separable for pair in pairs)
    conclusion = f"{separable} of {len(pairs)} pairs are separable on it (Holm over all pairs)"
    if all(pair.n < FEWEST_SEEDS for pair in pairs):
        conclusion = f"with fewer than {FEWEST_SEEDS} seeds no pair is told apart"
    counted = "every ranking counted" if ranked.exact else "rankings drawn at random"
    return (
        f"Rank over seeds: of {ranked.score}, one number a seed. Friedman over {ranked.seeds} seeds: χ² = "
        f"{number(ranked.chi_squared, 2)}, permutation p {_compared(ranked.p)} ({counted}; the smallest possible is "
        f"{ranked.resolution:.1g}); {conclusion}. Nemenyi's critical difference, for a picture: "
        f"{number(ranked.critical_difference, 2)}."
    )
