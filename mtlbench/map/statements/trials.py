"""The statement about trials: how many of fixed weights is a method worth?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from mtlbench.map.cells import Setting
from mtlbench.map.comparators import Comparator
from mtlbench.map.gains import gains as paired_gains
from mtlbench.map.result import Study
from mtlbench.map.selection import Search
from mtlbench.map.statements.statement import Answer, Statement, in_cell, named
from mtlbench.map.tally import Comparisons, Shown, plural


def budget(comparisons: Comparisons) -> Statement | None:
    """Ask how many trials of fixed weights a method is worth, where losses are most unequal.

    :param comparisons: gains of the map.
    """
    study = comparisons.over("tasks") or comparisons.headline
    if study is None:
        return None
    pooled = [cell.setting for cell in study.cells if "plain" in cell.pools and cell.setting.noise_ratio == 1.0]
    if not pooled:
        return None
    most = max(s.loss_ratio for s in pooled)
    chosen = sorted((s for s in pooled if s.loss_ratio == most), key=lambda s: s.tasks)
    parts, saved, compared = [], 0, 0
    for setting in chosen:
        better = [gain for gain in in_cell(comparisons, study, "sum", setting) if gain.won]
        needed = trials_needed(study, setting, [gain.gain.method for gain in better])
        saved += sum(n is None or n > gain.gain.trials for gain, n in zip(better, needed.values(), strict=True))
        compared += len(better)
        last = Shown(comparisons.result.budget_curve(study.name, setting, search="random")[-1])
        parts.append(f"{plural(setting.tasks, 'task')}: {_budget_words(better, needed, last)}.")
    answer: Answer = "open" if not compared else "yes" if saved * 2 > compared else "no"
    return Statement(
        "budget",
        "Do methods save trials of tuning?",
        answer,
        f"At loss ratio {most:g} and equal noise, fixed weights need more trials than the method in {saved} of"
        f" {plural(compared, 'case')} where a method beats the equal sum."
        if compared
        else f"At loss ratio {most:g} and equal noise, no method is separably better than the equal sum.",
        " ".join(parts),
        "For each method that is separably better than the equal sum: the fewest trials, of coordinate or of random"
        " search, with which fixed weights are not separably worse than the method. Yes if these are more than the"
        " method's own for most.",
    )


def trials_needed(study: Study, setting: Setting, methods: Sequence[str]) -> dict[str, int | None]:
    """Return the fewest trials of fixed weights that are not separably worse than a method, by method.

    :param study: the study.
    :param setting: one of its cells.
    :param methods: specs of the methods.
    :returns: trials of the search that needs fewer; ``None`` where all trials of the pool are too few.
    """
    cell = study.cell(setting)
    pool = cell.pools["plain"]
    needed: dict[str, int | None] = dict.fromkeys(methods)
    for trials in range(1, len(pool.all) + 1):
        searches = [search for search in get_args(Search) if pool.budget(trials, search) == trials]
        left = [Comparator("method", method) for method in methods if needed[method] is None]
        for search in searches:
            fixed = Comparator("fixed", trials=trials, search=search)
            gains = map(Shown, paired_gains([cell], left, fixed, "mean-log"))
            needed |= {gain.gain.method: trials for gain in gains if not gain.won}
    return needed


def _budget_words(better: Sequence[Shown], needed: Mapping[str, int | None], last: Shown) -> str:
    """Return the methods by the trials that fixed weights need, the fewest first."""
    if not better:
        return "no method is separably better than the equal sum"
    most = last.gain.trials
    by_trials: dict[int, list[Shown]] = {}
    for gain in better:
        by_trials.setdefault(needed[gain.gain.method] or most + 1, []).append(gain)
    words = [
        f"{f'more than {most}' if trials > most else trials} for {named(gains)}"
        for trials, gains in sorted(by_trials.items())
    ]
    return f"fixed weights need {', '.join(words)}; with {most} trials they gain {last.text}"
