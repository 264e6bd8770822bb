"""Training that failed, began oddly or trained less than it seems: faults in errors, losses and cut texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from math import isfinite, log

import numpy as np

from mtlbench.diagnose.evidence import Patient, Run
from mtlbench.diagnose.finding import Finding, span

NOT_FINITE = re.compile(r"\b(nan|inf|finite)\b")
"""Matches the message of a cell that failed on a nonfinite number, such as "the loss of task sst5 is nan"."""
CUT = 0.05
"""Maximum share of rows that are cut."""
START = (0.7, 0.5)
"""Bounds on the first loss of a classification: at least this share of ln(classes), and at most this much above it.
Heads start with weights of standard deviation 0.02, which changes the loss by a few hundredths."""


def check_training(patient: Patient) -> Iterator[Finding]:
    """Check failures, frozen encoders, first losses, losses of 0 and cut texts.

    :param patient: the cells of one method.
    """
    yield from _not_finite(patient)
    yield from _broken(patient)
    yield from _frozen(patient)
    yield from _start(patient)
    yield from _zero(patient)
    yield from _cut(patient)


def _not_finite(patient: Patient) -> Iterator[Finding]:
    failed = [run for run in patient.failed if NOT_FINITE.search(str((run.record.get("error") or {}).get("message")))]
    if failed:
        errors = [run.record["error"] for run in failed]
        tasks = sorted({error["task"] for error in errors if error.get("task")})
        examined = len(failed) + len(patient.runs)
        yield Finding(
            code="not-finite",
            severity="error",
            what=f"{len(failed)} of {examined} cells failed on a number that is not finite",
            evidence="; ".join(f"seed {run.seed}: {run.record['error']['message']}" for run in failed[:3]),
            cause="the learning rate is too high, a loss takes the logarithm of 0, or half precision overflowed",
            fix="lower the learning rate or warm it up; use precision=float32; look at the task's loss and labels",
            sure="possible",
            tasks=tuple(tasks),
            method=patient.method,
            seeds=tuple(run.seed for run in failed),
            of=examined,
        )


def _broken(patient: Patient) -> Iterator[Finding]:
    """Find numbers that are not finite in histories: a cell fails on one, a watched run goes on."""
    for task in patient.tasks:
        cases = patient.cases(partial(_first_broken, task=task))
        if cases:
            step, what, count = next(iter(cases.values()))
            yield patient.finding(
                cases,
                task,
                code="not-finite",
                severity="error",
                what=f"the {what} of {task} was not finite, and training went on",
                evidence=f"first at step {step}; at {count} of the recorded steps",
                cause="the learning rate is too high, a loss takes the logarithm of 0, or half precision overflowed",
                fix="lower the learning rate or warm it up; use bfloat16 or float32; look at the loss and its labels",
                sure="possible",
            )


def _first_broken(run: Run, task: str) -> tuple[int, str, int] | None:
    """Return the first step with a loss or gradient that is not finite, which it was, and the number of such steps."""
    norms = [row["norms"][task] for row in run.measured("norms") if row["norms"].get(task) is not None]
    if np.isfinite(run.raw_losses(task)).all() and np.isfinite(norms).all():
        return None
    found = []
    for row in run.steps:
        for what, values in (("loss", row["losses"]), ("gradient", row.get("norms") or {})):
            if values.get(task) is not None and not isfinite(values[task]):
                found.append((row["step"], what))
                break
    return (*found[0], len(found)) if found else None


def _frozen(patient: Patient) -> Iterator[Finding]:
    if "frozen=true" in patient.encoder and patient.runs:
        trained = next((run.record["encoder"].get("trainable") for run in patient.runs), None)
        yield patient.finding(
            patient.seeds,
            code="frozen-encoder",
            severity="warning",
            what="the encoder is not trained: the tasks share one new layer only",
            evidence=f"model {patient.encoder}" + (f"; {trained} trained shared parameters" if trained else ""),
            cause="frozen=true",
            fix="train the encoder, unless you want to compare methods on fixed features",
            sure="certain",
        )


def _start(patient: Patient) -> Iterator[Finding]:
    """Compare the first loss of each classification with ln(classes), the loss of an untrained head.

    Heads on texts are this program's own. A problem's author may have a reason to start them in another way.
    """
    own = patient.cells.problem is None
    for task, described in patient.tasks.items():
        classes = patient.majority(partial(_classes, task=task))
        if described["prediction"] != "classification" or not classes:
            continue
        expected = log(next(iter(classes.values())))
        cases = patient.majority(partial(_odd_start, task=task, expected=expected))
        if cases:
            yield patient.finding(
                cases,
                task,
                code="odd-first-loss",
                severity="error" if own else "warning",
                what=f"the first loss of {task} is not that of an untrained head",
                evidence=f"first loss {span(list(cases.values()))}; ln(classes) is {expected:.3f}",
                cause="the loss is not the mean cross entropy of a batch over the classes: a sum over the batch, a "
                "softmax over the batch, a factor, or the wrong sign"
                + ("" if own else "; or the untrained model's outputs are large"),
                fix="look at the task's loss(): it must be the mean cross entropy of raw (B, classes) outputs"
                if own
                else "look at loss() and at the initial weights of the head; nothing, if both are meant so",
                sure="likely" if own else "possible",
            )


def _classes(run: Run, task: str) -> int | None:
    return run.outputs[task].values.shape[1] if task in run.outputs else None


def _odd_start(run: Run, task: str, expected: float) -> float | None:
    losses, (share, more) = run.losses(task), START
    if not len(losses):
        return None
    return float(losses[0]) if not share * expected < losses[0] < expected + more else None


def _zero(patient: Patient) -> Iterator[Finding]:
    for task in patient.tasks:
        cases = patient.majority(partial(_floored, task=task))
        if cases:
            yield patient.finding(
                cases,
                task,
                code="zero-loss",
                severity="note",
                what=f"the loss of {task} was exactly 0, and {patient.method} takes logarithms or ratios of losses",
                evidence=f"{span(list(cases.values()))} of {patient.recipe['steps']} steps; 0 counts as 1e-8 there",
                cause="the batch is fitted to the last bit of single precision, or the task's loss() is constant",
                fix="nothing, if the task is solved; otherwise, look at the task's loss()",
                sure="possible",
            )


def _floored(run: Run, task: str) -> int | None:
    return (run.record.get("floored") or {}).get(task)


def _cut(patient: Patient) -> Iterator[Finding]:
    cut = (patient.runs[0].record.get("cut") if patient.runs else None) or {}
    for task, counts in cut.items():
        if "tokens" not in counts:  # of inputs that nothing is ever cut off
            continue
        rows = patient.tasks[task]["train"] + patient.tasks[task]["dev"]
        share = (counts["train"] + counts["dev"]) / max(1, rows)
        if share > CUT:
            yield patient.finding(
                patient.seeds,
                task,
                code="cut-texts",
                severity="warning",
                what=f"many texts of {task} are cut",
                evidence=f"{share:.1%} of its rows are longer than {counts['tokens']} tokens; at most {CUT:.0%}",
                cause="max_length is too small for these texts",
                fix="raise max_length",
                sure="certain",
            )
