"""Imbalance between tasks: gradient norms, shares of the update, epochs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import ceil
from typing import Any

import numpy as np

from mtlbench.diagnose.evidence import Patient, Run
from mtlbench.diagnose.finding import Finding, span
from mtlbench.records.shares import update_shares

RATIO, EARLY = 10.0, 0.25
"""Maximum ratio of the largest to the smallest task gradient, in the median over all measured steps and over this share
of them from the start: once a task is learned, its gradient is small whatever the scale of its loss."""
SHARE = 0.9
"""Maximum share of the update that a task has, in the median over the measured steps."""
EPOCHS = 5.0
"""Maximum number of epochs of a task while another task has not finished its first."""


def check_balance(patient: Patient) -> Iterator[Finding]:
    """Check gradient norms, shares of the update and epochs of every task.

    :param patient: the cells of one method.
    """
    if len(patient.tasks) > 1:
        if patient.runs and patient.runs[0].record["method"]["joint"]:
            yield from _silent(patient)
            yield from _norms(patient)
            yield from _shares(patient)
        if not patient.watched:  # the number of its rows is not known
            yield from _epochs(patient)


def _silent(patient: Patient) -> Iterator[Finding]:
    for task in patient.tasks:
        cases = patient.majority(partial(_without, task=task))
        if cases:
            yield patient.finding(
                cases,
                task,
                code="no-gradient",
                severity="error",
                what=f"{task} gives the shared parameters no gradient",
                evidence=f"its gradient norm is 0 at {span(list(cases.values()), '.0%')} of the measured steps",
                cause="its loss does not depend on them: detached features, a loss of 0, or a saturated head",
                fix="look at the task's loss(): it must depend on the outputs",
                sure="certain",
            )


def _without(run: Run, task: str) -> float | None:
    norms = [row["norms"][task] for row in run.measured("norms") if task in row["norms"]]
    share = float(np.mean(np.array(norms) == 0.0)) if norms else 0.0
    return share if share > 0.5 else None


def _norms(patient: Patient) -> Iterator[Finding]:
    cases = patient.majority(_ratio)
    if cases:
        tasks = {name for _, large, small in cases.values() for name in (large, small)}
        large, small = next(iter(cases.values()))[1:]
        yield patient.finding(
            cases,
            *(task for task in patient.tasks if task in tasks),
            code="loss-scale",
            severity="warning",
            what=f"the gradient of {large} is far larger than that of {small}",
            evidence=f"median ratio of their norms {span([ratio for ratio, *_ in cases.values()], '.1f')}; "
            f"at most {RATIO:g}, in the first quarter, too",
            cause="losses of unlike scale: a sum instead of a mean, or errors on an unstandardised scale",
            fix="bring losses to one scale (standardised targets, means over the batch), or use a method that does",
            sure="likely",
        )


def _ratio(run: Run) -> tuple[float, str, str] | None:
    measured = run.measured("norms")
    if not measured:
        return None
    medians, early = _medians(measured), _medians(measured[: ceil(EARLY * len(measured))])
    if len(early) < 2 or early.keys() != medians.keys():
        return None
    large, small = max(medians, key=lambda task: medians[task]), min(medians, key=lambda task: medians[task])
    if min(medians[small], early[small]) <= 0.0:
        return None
    ratio = medians[large] / medians[small]
    return (ratio, large, small) if min(ratio, early[large] / early[small]) > RATIO else None


def _medians(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return every task's median gradient norm, over the rows where it is finite."""
    norms: dict[str, list[float]] = {}
    for row in rows:
        for task, norm in row["norms"].items():
            if np.isfinite(norm):
                norms.setdefault(task, []).append(norm)
    return {task: float(np.median(values)) for task, values in norms.items()}


def _shares(patient: Patient) -> Iterator[Finding]:
    cases = patient.majority(_largest)
    if cases and len({task for _, task in cases.values()}) == 1:
        task = next(iter(cases.values()))[1]
        watched, others = patient.watched, "its gradient is larger than the others'"
        shares = span([share for share, _ in cases.values()], ".0%")
        yield patient.finding(
            cases,
            task,
            code="dominated",
            severity="warning",
            what=f"{task} decides the update of the shared parameters nearly alone",
            evidence=f"median share of the squared {'norm of the plain sum' if watched else 'update norm'} {shares}; "
            f"at most {SHARE:.0%}",
            cause=others if watched else f"{others}, or the method gives it the weight",
            fix="see loss-scale; compare with fixed weights that make the gradients equal"
            + ("" if watched else ", or update_norm=sum"),
            sure="certain",
        )


def _largest(run: Run) -> tuple[float, str] | None:
    """Return the share wᵢ ⟨gᵢ, u⟩ / ‖u‖² and the task with the largest one, in the median over measured steps."""
    shares: dict[str, list[float]] = {}
    tasks = run.record["tasks"]
    sum_of_losses = dict.fromkeys(tasks, 1.0) if run.record.get("watched") else None
    for row in run.measured("norms"):
        weights = sum_of_losses or row.get("weights")
        if weights and row["norms"].keys() == set(tasks):
            for task, share in (update_shares(row, weights) or {}).items():
                shares.setdefault(task, []).append(share)
    medians = {task: float(np.median(values)) for task, values in shares.items()}
    if not medians:
        return None
    task = max(medians, key=lambda name: medians[name])
    return (medians[task], task) if medians[task] > SHARE else None


def _epochs(patient: Patient) -> Iterator[Finding]:
    if not patient.runs:
        return
    epochs = {task: patient.epochs(task) for task in patient.tasks}
    most, least = max(epochs, key=lambda task: epochs[task]), min(epochs, key=lambda task: epochs[task])
    if epochs[most] > EPOCHS and epochs[least] < 1.0:
        sampling = patient.recipe.get("sampling", "uniform")
        yield patient.finding(
            patient.seeds,
            most,
            least,
            code="uneven-epochs",
            severity="warning",
            what=f"the rows of {most} are seen many times before those of {least} are seen once",
            evidence=f"epochs: {', '.join(f'{task} {count:.1f}' for task, count in epochs.items())}; "
            f"bounds {EPOCHS:g} and 1; sampling={sampling}",
            cause="every step takes as many rows from the small task as from the large one"
            if sampling == "uniform"
            else "the sizes of the tasks differ more than this sampling compensates, or there are too few steps",
            fix="sampling=proportional, sqrt or annealed, which take rows according to the tasks' sizes"
            if sampling == "uniform"
            else "sampling=proportional, or more steps",
            sure="certain",
        )
