"""Summarize trials as the contents of ``tuned.json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mtlbench.grid.tuned_file import SELECTION, StudyEntry, TrialEntry, Tuned
from mtlbench.plan.cells import Workload
from mtlbench.tune.trials import Budget, MethodSearch, Trial, best


def summarize(
    workload: Workload, group: str, budget: Budget, searches: Sequence[tuple[MethodSearch, Sequence[Trial]]]
) -> Tuned:
    """Return the results so far.

    :param group: of the trials' cells, as in their records.
    :param searches: each method's search with its trials.
    """
    entries = []
    for search, trials in searches:
        best_trial = best(trials)
        entries.append(
            StudyEntry(
                method=search.method.spec,
                space={name: space.text for name, space in search.spaces.items()},
                best=None if best_trial is None else best_trial.number,
                edges={} if best_trial is None else search.edges(best_trial, workload),
                trials=[_entry(trial, search.values(trial.method, workload)) for trial in trials],
            )
        )
    return Tuned(
        suite=workload.suite,
        group=group,
        lr=workload.recipe.lr,
        steps=workload.steps,
        selection=SELECTION,
        sampler=budget.sampler,
        tuning_seed=budget.seed,
        seeds=list(budget.seeds),
        trials=budget.trials,
        studies=entries,
    )


def _entry(trial: Trial, values: dict[str, Any]) -> TrialEntry:
    return TrialEntry(
        number=trial.number,
        spec=trial.method.spec,
        values=values,
        status=trial.status,
        score=trial.score,
        scores=dict(trial.scores),
        reason=trial.reason,
        keys={cell.seed: cell.key for cell in trial.cells},
    )
