"""Whether gradient surgery has anything to do: the conditions of the PCGrad paper, measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mtlbench.diagnose.evidence import Numbers, Patient, Run
from mtlbench.diagnose.finding import Finding, span
from mtlbench.diagnose.rate import told_gains

OPPOSED = -0.1
"""A cosine below this changes an update by more than half a per cent when it is projected away (1 − √(1 − cos²))."""
FEW = 0.05
"""Share of pairs and measured steps with such a cosine below which surgery has nothing to do."""
CURVED = 0.5
"""Curvature along the step, over its slope, from which the step is past the minimum of the parabola through it."""
BOTH = 0.8
"""Share of conflicts in which both losses fall all the same, from which the conflict is not one of the step."""
PROBED = 5
"""Conflicts at probed steps, over all seeds, from which that share is told: a run has few probed steps."""


@dataclass(frozen=True)
class Conflict:
    """The pairs of tasks of all measured steps.

    :param cosines: of the two gradients.
    :param similarity: of their norms, 2ab / (a² + b²), 1 where equal: Φ of Yu et al. (2020), equation 1.
    :param helped: for probed steps, whether both losses of a pair fell in the step; NaN elsewhere.
    :param curvature: of probed steps: the quadratic term of the total loss along the step over the linear one, by a
        parabola through its values before, half-way and after.
    """

    cosines: Numbers
    similarity: Numbers
    helped: Numbers
    curvature: Numbers


def check_surgery(patient: Patient) -> Iterator[Finding]:
    """For methods that look at gradients: is there conflict, and does it reach the step?"""
    method = patient.runs[0].record["method"] if patient.runs else {}
    if not method.get("joint") or method["reads"] not in ("gram", "gradients", "cross_gram"):
        return
    of = {run.seed: conflict for run in patient.runs if (conflict := conflict_of(run)) is not None}
    if not of:
        return
    shares = [float((one.cosines < OPPOSED).mean()) for one in of.values()]
    first_two = [float((one.cosines <= -one.similarity).mean()) for one in of.values()]
    told = (
        f"cosines below {OPPOSED:g}: {span(shares, '.1%')} of pairs at measured steps; all below 0: "
        f"{span([float((one.cosines < 0).mean()) for one in of.values()], '.0%')}; median cosine "
        f"{span([float(np.median(one.cosines)) for one in of.values()], '.3f')}; PCGrad's first two conditions "
        f"(cos ≤ −Φ, Φ the similarity of norms) hold in {span(first_two, '.1%')}"
    )
    curved = [float(np.median(one.curvature)) for one in of.values() if len(one.curvature)]
    if curved:
        told += f"; curvature along the step (its third) {span(curved, '.2f')} of the slope, high from {CURVED:g} on"
    gains = told_gains(patient)
    told += f"; {gains}" if gains else ""
    if max(shares) < FEW:
        yield patient.finding(
            of,
            code="no-conflict",
            severity="note",
            what="surgery has nothing to do: task gradients do not oppose one another",
            evidence=f"{told}; surgery matters from {FEW:.0%} on",
            cause="gradients of this many parameters on different rows are nearly orthogonal",
            fix="differences to a plain sum are then differences of weights and of the update's norm: compare with "
            "update_norm=sum and with tuned fixed weights",
            sure="certain",
        )
        return
    if curved and min(first_two) >= FEW and min(curved) >= CURVED:
        yield patient.finding(
            of,
            code="three-conditions",
            severity="note",
            what="the three conditions hold under which the PCGrad paper proves that surgery helps",
            evidence=f"{told}; bounds {FEW:.0%} of pairs and {CURVED:g}",
            cause="tasks that want different things of the shared parameters, with gradients of unlike norm, at steps "
            "that are long for the curvature",
            fix="expect a difference to the plain sum, and measure it: at least 5 seeds, and a sum with a lower rate",
            sure="possible",
        )
    helped = np.concatenate([one.helped[(one.cosines < OPPOSED) & np.isfinite(one.helped)] for one in of.values()])
    if len(helped) >= PROBED and helped.mean() > BOTH:
        yield patient.finding(
            of,
            code="conflict-not-in-step",
            severity="note",
            what="task gradients oppose one another, but the optimizer's step lowers both losses",
            evidence=f"{told}; both losses of an opposed pair fell in {helped.mean():.0%} of the {len(helped)} "
            f"times that one was met at a probed step, more than {BOTH:.0%}",
            cause="AdamW scales each coordinate, and its momentum averages over batches: opposition of single batches "
            "does not survive it",
            fix="look at losses after the step, not at cosines, to judge interference",
            sure="likely",
        )


def conflict_of(run: Run) -> Conflict | None:
    """Return every pair of tasks at every measured step; ``None`` where nothing was measured."""
    cosines, similarity, helped, curvature = [], [], [], []
    for row in run.measured("cosines"):
        after = row.get("after")
        if after:
            begin, half, end = (sum(row[name].values()) for name in ("losses", "half", "after"))
            quadratic, linear = 2 * (begin - 2 * half + end), -3 * begin + 4 * half - end
            if linear:
                curvature.append(quadratic / abs(linear))
        for pair, value in row["cosines"].items():
            if value is None:
                continue
            first, second = pair.split("|")
            one, other = row["norms"][first], row["norms"][second]
            cosines.append(value)
            similarity.append(2 * one * other / (one**2 + other**2))
            fell = [after[task] < row["losses"][task] for task in (first, second)] if after else []
            helped.append(float(all(fell)) if fell else np.nan)
    return Conflict(*(np.array(one) for one in (cosines, similarity, helped, curvature))) if cosines else None
