"""The learning rate: how far the shared weights move, and how steps change the losses of their own and other rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mtlbench.diagnose.evidence import Patient, Run
from mtlbench.diagnose.finding import Finding, span

PATH = 2e-3
"""Below this sum of relative changes, the shared weights are hardly trained: useful fine-tuning changes an encoder by a
per cent or more."""
OVERSHOOT = 0.5
"""Maximum share of probed steps that increase the total loss of their own batch."""
BLOWN = 1.2
"""Maximum ratio of a task's mean loss over any tenth of the steps to its loss before training. The median task counts,
because a single task may have other causes. Runs of real tasks stay below 1.01."""
SETTLED = 0.1
"""Share of the first steps that are not checked for overshooting, because the rate is warmed up there."""


def check_rate(patient: Patient) -> Iterator[Finding]:
    """Check the probed steps and the course of the losses.

    :param patient: the cells of one method.
    """
    low = patient.majority(_path)
    if low:
        yield patient.finding(
            low,
            code="learning-rate-low",
            severity="error",
            what="the shared weights hardly moved",
            evidence=(
                f"update-to-weight ratio ‖Δθ‖ / ‖θ‖ of a step, times {patient.recipe['steps']} steps: "
                f"{span(list(low.values()), '.1e')}; at least {PATH:g} expected{_rate_of(patient)}"
            ),
            cause="the learning rate is too low for this many steps",
            fix="raise the learning rate tenfold, or train longer",
            sure="certain",
        )
        return
    high = patient.majority(_overshoot)
    if high:
        gains = describe_gains(patient)
        yield patient.finding(
            high,
            code="learning-rate-high",
            severity="warning",
            what="steps overshoot: they increase the loss of their own batch",
            evidence=f"share of probed steps: {span(list(high.values()), '.0%')}; at most {OVERSHOOT:.0%}"
            + (f"; {gains}" if gains else ""),
            cause="the learning rate is too high for the curvature along the update",
            fix="divide the learning rate by 3, or warm it up",
            sure="likely",
        )
    blown = patient.majority(_blown)
    if blown and not high:
        yield patient.finding(
            blown,
            code="learning-rate-high",
            severity="error",
            what="training raised most losses above those of an untrained model",
            evidence=f"highest mean of a tenth of the steps ÷ first loss, of the median task: "
            f"{span(list(blown.values()), '.2f')}; at most {BLOWN:g}{_rate_of(patient)}",
            cause="the learning rate is too high: early steps threw the weights far off",
            fix="divide the learning rate by 10, or warm it up",
            sure="likely",
        )


def _rate_of(patient: Patient) -> str:
    """Return the learning rate of the model as a clause: the method's own, else the recipe's; empty if unknown."""
    own = (patient.runs[0].record["method"].get("parameters") or {}).get("base_lr")
    rate = patient.recipe.get("lr") if own is None else own
    return "" if rate is None else f"; lr {rate:g}"


def _path(run: Run) -> float | None:
    frozen = run.record["recipe"].get("head_steps", 0)  # the recipe freezes the encoder in these first steps
    probes = [row for row in run.measured("moved") if row["step"] > frozen]
    if not probes:
        return None
    path = float(np.mean([row["moved"] / row["size"] for row in probes])) * (run.record["recipe"]["steps"] - frozen)
    return path if path < PATH else None


def _overshoot(run: Run) -> float | None:
    probes = [row for row in run.measured("after") if row["step"] > SETTLED * run.record["recipe"]["steps"]]
    if len(probes) < 3:
        return None
    worse = [sum(row["after"].values()) > sum(row["losses"].values()) for row in probes]
    share = float(np.mean(worse))
    return share if share > OVERSHOOT else None


def _blown(run: Run) -> float | None:
    by_task = [losses for task in run.record["tasks"] if len(losses := run.losses(task))]
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
    """Mean decrease of the total loss by probed steps.

    :param own: decrease on the rows of the step itself.
    :param other: decrease on the rows of the next step, which the step has not seen.
    """

    own: float
    other: float


def gains_of(run: Run) -> Gains | None:
    """Return the gains of probed steps, or ``None`` if there are none, or the losses of other rows were not measured.

    A step along the gradient of its own B rows gains ‖G‖² + tr(Σ)/B on these and ‖G‖² on others, to first order, G and
    Σ being mean and covariance of one row's gradient: other / own is 1 / (1 + B_simple / B) with the gradient noise
    scale B_simple = tr(Σ) / ‖G‖² of McCandlish et al., An Empirical Model of Large-Batch Training, 2018, equation 2.9.
    AdamW's momentum averages over about ten batches, so that the noise of one batch weighs a tenth of that.

    :param run: the cell.
    """
    following = {row["step"] - 1: row["losses"] for row in run.steps}
    probes = [row for row in run.measured("next") if row["step"] in following]
    if not probes:
        return None
    own = [sum(row["losses"].values()) - sum(row["after"].values()) for row in probes]
    other = [sum(row["next"].values()) - sum(following[row["step"]].values()) for row in probes]
    return Gains(float(np.mean(own)), float(np.mean(other)))


def describe_gains(patient: Patient) -> str:
    """Return a clause on the effect of steps on the losses of their own and other rows; empty if it was not measured.

    :param patient: the cells of one method.
    """
    gains = patient.cases(gains_of).values()
    if not gains:
        return ""
    own, other = [gain.own for gain in gains], [gain.other for gain in gains]
    return (
        f"a probed step lowers the total loss of its own {patient.recipe['batch_size']} rows a task by "
        f"{span(own)} and that of the next step's by {span(other)}"
    )
