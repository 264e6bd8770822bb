"""The learning rate: how far the shared weights moved, and what steps did to losses of their own and other rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mtlbench.diagnose.evidence import Patient, Run
from mtlbench.diagnose.finding import Finding, span

PATH = 2e-3
"""Sum of the relative changes of the shared weights below which they are hardly trained: an encoder that is
fine-tuned usefully moves by a per cent or more."""
OVERSHOOT = 0.5
"""Share of probed steps after which the batch's own total loss is higher than before."""
BLOWN = 1.2
"""Times its loss before training that a task's loss may be, in the mean over any tenth of the steps; it is looked at
for the median task, since a single one has other causes. Runs of real tasks stay below 1.01."""
SETTLED = 0.1
"""Share of the steps at the start that are not looked at for overshooting: a rate is warmed up there."""


def check_rate(patient: Patient) -> Iterator[Finding]:
    """Look at the probed steps."""
    low = patient.most(_path)
    if low:
        yield patient.finding(
            low,
            code="learning-rate-low",
            severity="error",
            what="the shared weights hardly moved",
            evidence=(
                f"update-to-weight ratio ‖Δθ‖ / ‖θ‖ of a step, times {patient.recipe['steps']} steps: "
                f"{span(list(low.values()), '.1e')}; at least {PATH:g} expected; lr {_rate_of(patient):g}"
            ),
            cause="the learning rate is too low for this many steps",
            fix="raise the learning rate tenfold, or train longer",
            sure="certain",
        )
        return
    high = patient.most(_overshoot)
    if high:
        gains = told_gains(patient)
        yield patient.finding(
            high,
            code="learning-rate-high",
            severity="warning",
            what="steps overshoot: after them the loss of their own batch is higher than before",
            evidence=f"share of probed steps: {span(list(high.values()), '.0%')}; at most {OVERSHOOT:.0%}"
            + (f"; {gains}" if gains else ""),
            cause="the learning rate is too high for the curvature along the update",
            fix="divide the learning rate by 3, or warm it up",
            sure="likely",
        )
    blown = patient.most(_blown)
    if blown and not high:
        yield patient.finding(
            blown,
            code="learning-rate-high",
            severity="error",
            what="training made most losses higher than those of an untrained model",
            evidence=f"highest mean of a tenth of the steps ÷ first loss, of the median task: "
            f"{span(list(blown.values()), '.2f')}; at most {BLOWN:g}; lr {_rate_of(patient):g}",
            cause="the learning rate is too high: early steps threw the weights far off",
            fix="divide the learning rate by 10, or warm it up",
            sure="likely",
        )


def _rate_of(patient: Patient) -> float:
    """Return the learning rate of the model: the method's own, or the recipe's."""
    own = (patient.runs[0].record["method"].get("parameters") or {}).get("base_lr")
    return float(patient.recipe["lr"] if own is None else own)


def _path(run: Run) -> float | None:
    still = run.record["recipe"].get("head_steps", 0)  # first steps in which the encoder is meant to stand still
    probes = [row for row in run.measured("moved") if row["step"] > still]
    if not probes:
        return None
    path = float(np.mean([row["moved"] / row["size"] for row in probes])) * (run.record["recipe"]["steps"] - still)
    return path if path < PATH else None


def _overshoot(run: Run) -> float | None:
    probes = [row for row in run.measured("after") if row["step"] > SETTLED * run.record["recipe"]["steps"]]
    if len(probes) < 3:
        return None
    worse = [sum(row["after"].values()) > sum(row["losses"].values()) for row in probes]
    share = float(np.mean(worse))
    return share if share > OVERSHOOT else None


def _blown(run: Run) -> float | None:
    by_task = [run.losses(task) for task in (run.steps[0]["losses"] if run.steps else {})]
    tenth = min(map(len, by_task), default=0) // 10
    if tenth < 3:
        return None
    ratios = [
        losses[: 10 * tenth].reshape(10, tenth).mean(axis=1) / max(losses[:3].mean(), 1e-12) for losses in by_task
    ]
    highest = float(np.median(ratios, axis=0).max())
    return highest if highest > BLOWN else None


@dataclass(frozen=True)
class Gains:
    """By how much probed steps lowered total losses, in the mean.

    :param own: of the rows that the step was made from.
    :param other: of the next step's rows, which it had not seen.
    """

    own: float
    other: float


def gains_of(run: Run) -> Gains | None:
    """Return the gains of probed steps; ``None`` where there are none, or the losses of other rows were not taken.

    A step along the gradient of its own B rows gains ‖G‖² + tr(Σ)/B on these and ‖G‖² on others, to first order, G and
    Σ being mean and covariance of one row's gradient: other / own is 1 / (1 + B_simple / B) with the gradient noise
    scale B_simple = tr(Σ) / ‖G‖² of McCandlish et al., An Empirical Model of Large-Batch Training, 2018, equation 2.9.
    AdamW's momentum averages over some ten batches, so that the noise of one weighs a tenth of that.
    """
    following = {row["step"] - 1: row["losses"] for row in run.steps}
    probes = [row for row in run.measured("next") if row["step"] in following]
    if not probes:
        return None
    own = [sum(row["losses"].values()) - sum(row["after"].values()) for row in probes]
    other = [sum(row["next"].values()) - sum(following[row["step"]].values()) for row in probes]
    return Gains(float(np.mean(own)), float(np.mean(other)))


def told_gains(patient: Patient) -> str:
    """Return in words what steps did to the losses of their own rows and of others; nothing where it was not taken."""
    gains = [gains for run in patient.runs if (gains := gains_of(run)) is not None]
    if not gains:
        return ""
    own, other = [one.own for one in gains], [one.other for one in gains]
    return (
        f"a probed step lowers the total loss of its own {patient.recipe['batch_size']} rows a task by "
        f"{span(own)} and that of the next step's by {span(other)}"
    )
