"""What a search has shown so far, as the values that ``tuned.json`` holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mtlbench.grid.tuned_file import SELECTION, StudyEntry, TrialEntry, Tuned
from mtlbench.plan.cells import Workload
from mtlbench.tune.trials import Budget, MethodSearch, Trial, best


def summarize(
    workload: Workload, group: str, budget: Budget, found: Sequence[tuple[MethodSearch, Sequence[Trial]]]
) -> Tuned:
    """Return what the trials have shown so far."""
    entries = []
    for study, trials in found:
        chosen = best(trials)
        entries.append(
            StudyEntry(
                method=study.method.spec,
                space={name: space.text for name, space in study.spaces.items()},
                best=None if chosen is None else chosen.number,
                edges={} if chosen is None else study.edges(chosen, workload),
                trials=[_entry(trial, study.values(trial.method, workload)) for trial in trials],
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
