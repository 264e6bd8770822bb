"""Training that went wrong, or not far enough: told from losses, scores and the probes along the history."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import log, sqrt

import numpy as np

from mtlbench.diagnose.evidence import Patient, Run
from mtlbench.diagnose.finding import Finding, span

WORSE = 1.05
"""A training loss at the end that is this many times the one at the beginning has diverged."""
PATH = 2e-3
"""Sum of the relative changes of the shared weights below which they are hardly trained: an encoder that is
fine-tuned usefully moves by a per cent or more."""
OVERSHOOT = 0.5
"""Share of probed steps after which the batch's own total loss is higher than before."""
CUT = 0.05
"""Share of rows that may be cut."""


def check_training(patient: Patient) -> Iterator[Finding]:
    """Look at failures, divergence, learning rate, length of training, and cut texts."""
    yield from _not_finite(patient)
    diverged = list(_diverged(patient))
    yield from diverged
    if not diverged:
        yield from _rate(patient)
        for task in patient.tasks:
            yield from _fit(patient, task)
    yield from _cut(patient)


def _not_finite(patient: Patient) -> Iterator[Finding]:
    failed = [run for run in patient.failed if "finite" in str((run.record.get("error") or {}).get("message"))]
    if failed:
        errors = [run.record["error"] for run in failed]
        tasks = sorted({error["task"] for error in errors if error.get("task")})
        yield Finding(
            code="not-finite",
            severity="error",
            what=f"{len(failed)} of {len(failed) + len(patient.done)} cells ended with a number that is not finite",
            evidence="; ".join(f"seed {run.seed}: {run.record['error']['message']}" for run in failed[:3]),
            cause="the learning rate is too high, a loss takes the logarithm of 0, or half precision overflowed",
            fix="lower the learning rate or warm it up; use precision=float32; look at the task's loss and labels",
            sure="possible",
            tasks=tuple(tasks),
            method=patient.method,
            seeds=tuple(run.seed for run in failed),
            of=len(failed) + len(patient.done),
        )


def _diverged(patient: Patient) -> Iterator[Finding]:
    for task in patient.tasks:
        found = patient.most(partial(_grown, task=task))
        if found:
            yield patient.finding(
                found,
                task,
                code="diverged",
                severity="error",
                what=f"the training loss of {task} is higher at the end than at the beginning",
                evidence=f"last tenth ÷ first tenth of the steps: {span(list(found.values()), '.2f')}; "
                f"at most {WORSE:g}",
                cause="the learning rate is too high, or the method works against this task",
                fix="divide the learning rate by 3; compare with methods=sum at the same rate",
                sure="likely",
            )


def _grown(run: Run, task: str) -> float | None:
    losses = run.losses(task)
    tenth = len(losses) // 10
    if tenth < 3:
        return None
    ratio = float(losses[-tenth:].mean() / losses[:tenth].mean()) if losses[:tenth].mean() > 0 else 1.0
    noise = float(losses.std() / sqrt(tenth) / max(losses[:tenth].mean(), 1e-12))
    return ratio if ratio > WORSE + 2 * noise else None


def _rate(patient: Patient) -> Iterator[Finding]:
    low = patient.most(_path)
    if low:
        yield patient.finding(
            low,
            code="learning-rate-low",
            severity="error",
            what="the shared weights hardly moved",
            evidence=(
                f"sum of the relative changes of a step over all {patient.recipe['steps']} steps: "
                f"{span(list(low.values()), '.1e')}; at least {PATH:g} expected; lr {patient.recipe['lr']:g}"
            ),
            cause="the learning rate is too low for this many steps, or the shared part is frozen",
            fix="raise the learning rate tenfold, or train longer",
            sure="certain",
        )
        return
    high = patient.most(_overshoot)
    if high:
        yield patient.finding(
            high,
            code="learning-rate-high",
            severity="warning",
            what="steps overshoot: after them the loss of their own batch is higher than before",
            evidence=f"share of probed steps: {span(list(high.values()), '.0%')}; at most {OVERSHOOT:.0%}",
            cause="the learning rate is too high for the curvature along the update",
            fix="divide the learning rate by 3, or warm it up",
            sure="likely",
        )


def _path(run: Run) -> float | None:
    probes = run.measured("moved")
    if not probes or run.record["encoder"].get("trainable") == 0:
        return None
    path = float(np.mean([row["moved"] / row["size"] for row in probes])) * len(run.steps)
    return path if path < PATH else None


def _overshoot(run: Run) -> float | None:
    probes = [row for row in run.measured("after") if row["step"] > 0.1 * len(run.steps)]
    if len(probes) < 3:
        return None
    worse = [sum(row["after"].values()) > sum(row["losses"].values()) for row in probes]
    share = float(np.mean(worse))
    return share if share > OVERSHOOT else None


def _fit(patient: Patient, task: str) -> Iterator[Finding]:
    described = patient.tasks[task]
    metric = described["metrics"][0]
    error = 1 / sqrt(described["dev"]) * (0.5 if metric == "accuracy" else 1.0)
    dropped = patient.most(partial(_dropped, task=task, metric=metric, error=error))
    if dropped:
        yield patient.finding(
            dropped,
            task,
            code="overfit",
            severity="warning",
            what=f"{task} was better before: its {metric} fell while its training loss went on falling",
            evidence=(
                f"best minus last evaluation: {span([drop for drop, _ in dropped.values()], '.3f')}, more than three "
                f"standard errors of the development rows ({3 * error:.3f}); training rows seen "
                f"{patient.recipe['steps'] * patient.recipe['batch_size'] / described['train']:.1f} times"
            ),
            cause="the task's rows were seen too often for its size",
            fix="fewer steps, fewer batches of this task, or a lower learning rate",
            sure="likely",
        )
        return
    rising = patient.most(partial(_rising, task=task, metric=metric, error=error))
    if rising:
        yield patient.finding(
            rising,
            task,
            code="underfit",
            severity="warning",
            what=f"{task} was still getting better when training ended",
            evidence=(
                f"its {metric} rose by {span(list(rising.values()), '.3f')} from the last evaluation but one to the "
                f"last, more than three standard errors ({3 * error:.3f})"
            ),
            cause="too few steps",
            fix="train longer; methods compared so early differ by how fast they start",
            sure="likely",
        )


def _scores(run: Run, task: str, metric: str) -> list[float]:
    found = [row["scores"].get(task, {}).get(metric) for row in run.evaluations]
    return [value for value in found if value is not None]


def _dropped(run: Run, task: str, metric: str, error: float) -> tuple[float, float] | None:
    scores, losses = _scores(run, task, metric), run.losses(task)
    if len(scores) < 3 or len(losses) < 20:
        return None
    quarter = len(losses) // 4
    falls = losses[-quarter:].mean() < losses[quarter : 2 * quarter].mean()
    drop = max(scores) - scores[-1]
    return (drop, falls) if drop > 3 * error and falls else None


def _rising(run: Run, task: str, metric: str, error: float) -> float | None:
    scores = _scores(run, task, metric)
    return scores[-1] - scores[-2] if len(scores) >= 2 and scores[-1] - scores[-2] > 3 * error else None


def check_start(patient: Patient) -> Iterator[Finding]:
    """Compare the first loss of classification with ln(classes), which an untrained head must give."""
    for task, described in patient.tasks.items():
        classes = patient.most(partial(_classes, task=task))
        if described["prediction"] != "classification" or not classes:
            continue
        expected = log(next(iter(classes.values())))
        found = patient.most(partial(_odd_start, task=task, expected=expected))
        if found:
            yield patient.finding(
                found,
                task,
                code="odd-first-loss",
                severity="error",
                what=f"the first loss of {task} is not that of an untrained head",
                evidence=f"first loss {span(list(found.values()))}; ln(classes) is {expected:.3f}",
                cause=(
                    "the loss is not the mean cross entropy of a batch over the classes: a sum over the batch, a "
                    "softmax over the batch, or one applied twice"
                ),
                fix="look at the task's loss(): the mean over rows of cross entropy on raw (B, classes) outputs",
                sure="likely",
            )


def _classes(run: Run, task: str) -> int | None:
    return run.outputs[task].values.shape[1] if task in run.outputs else None


def _odd_start(run: Run, task: str, expected: float) -> float | None:
    losses = run.losses(task)
    if not len(losses):
        return None
    return float(losses[0]) if not 0.5 * expected < losses[0] < 2.0 * expected + 1.0 else None


def _cut(patient: Patient) -> Iterator[Finding]:
    cut = (patient.done[0].record.get("cut") if patient.done else None) or {}
    for task, told in cut.items():
        rows = patient.tasks[task]["train"] + patient.tasks[task]["dev"]
        share = (told["train"] + told["dev"]) / max(1, rows)
        if share > CUT:
            yield patient.finding(
                patient.seeds,
                task,
                code="cut-texts",
                severity="warning",
                what=f"many texts of {task} are cut",
                evidence=f"{share:.1%} of its rows are longer than {told['tokens']} tokens; at most {CUT:.0%}",
                cause="max_length is short for these texts",
                fix="raise max_length",
                sure="certain",
            )
