"""Whether gradient surgery can matter: measure the conditions of the PCGrad paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from mtlbench.diagnose.evidence import Patient, Run
from mtlbench.diagnose.finding import Finding, span
from mtlbench.diagnose.rate import describe_gains
from mtlbench.records.outputs import Numbers

OPPOSED = -0.1
"""Projecting away a cosine below this changes the update by more than half a per cent (1 − √(1 − cos²))."""
FEW = 0.05
"""Surgery has nothing to do if a smaller share of the pairs at measured steps has such a cosine."""
CURVED = 0.5
"""Ratio of the curvature along the step to the slope above which the step passes the minimum of the parabola."""
BOTH = 0.8
"""If both losses fall in more than this share of the conflicts, the step has no conflict."""
PROBED = 5
"""Minimum number of conflicts at probed steps, over all seeds, for that share: a run has few probed steps."""


@dataclass(frozen=True)
class Conflict:
    """All pairs of tasks at all measured steps, P in all.

    :param cosines: (P,) cosines of the two gradients.
    :param similarity: (P,) similarity of their norms, 2ab / (a² + b²), which is 1 for equal norms: Φ of Yu et al.
        (2020), equation 1.
    :param helped: (P,) whether the step lowered both losses of the pair, 1 or 0; NaN at steps that were not probed.
    :param curvature: one value per probed step: ratio of the quadratic to the linear term of the total loss along the
        step, from the parabola through its values before, half-way and after.
    """

    cosines: Numbers
    similarity: Numbers
    helped: Numbers
    curvature: Numbers


def check_surgery(patient: Patient) -> Iterator[Finding]:
    """Check whether gradients conflict, and whether the step suffers from it, for methods that read gradients.

    :param patient: the cells of one method.
    """
    method = patient.runs[0].record["method"] if patient.runs else {}
    reads = ("gram", "gradients", "cross_gram")
    if not method.get("joint") or (method["reads"] not in reads and not patient.watched):
        return
    conflicts = patient.cases(conflict_of)
    if not conflicts:
        return
    shares = [float((conflict.cosines < OPPOSED).mean()) for conflict in conflicts.values()]
    first_two = [float((conflict.cosines <= -conflict.similarity).mean()) for conflict in conflicts.values()]
    negative = [float((conflict.cosines < 0).mean()) for conflict in conflicts.values()]
    medians = [float(np.median(conflict.cosines)) for conflict in conflicts.values()]
    evidence = (
        f"cosines below {OPPOSED:g}: {span(shares, '.1%')} of pairs at measured steps; all below 0: "
        f"{span(negative, '.0%')}; median cosine {span(medians, '.3f')}; PCGrad's first two conditions "
        f"(cos ≤ −Φ, Φ the similarity of norms) hold in {span(first_two, '.1%')}"
    )
    curved = [float(np.median(conflict.curvature)) for conflict in conflicts.values() if len(conflict.curvature)]
    if curved:
        evidence += (
            f"; curvature along the step (its third) {span(curved, '.2f')} of the slope, high from {CURVED:g} on"
        )
    gains = describe_gains(patient)
    evidence += f"; {gains}" if gains else ""
    if max(shares) < FEW:
        yield patient.finding(
            conflicts,
            code="no-conflict",
            severity="note",
            what="surgery has nothing to do: task gradients do not oppose one another",
            evidence=f"{evidence}; surgery matters from {FEW:.0%} on",
            cause="gradients of this many parameters on different rows are nearly orthogonal",
            fix="keep the plain sum, or tune fixed weights"
            if patient.watched
            else "differences to a plain sum are then differences of weights and of the update's norm: compare with "
            "update_norm=sum and with tuned fixed weights",
            sure="certain",
        )
        return
    if patient.watched:
        yield _opposed(patient, conflicts, evidence)
        return
    if curved and min(first_two) >= FEW and min(curved) >= CURVED:
        yield patient.finding(
            conflicts,
            code="three-conditions",
            severity="note",
            what="the three conditions hold under which the PCGrad paper proves that surgery helps",
            evidence=f"{evidence}; bounds {FEW:.0%} of pairs and {CURVED:g}",
            cause="the tasks need different shared parameters, their gradients have unlike norms, and the steps are "
            "long for the curvature",
            fix="expect a difference to the plain sum, and measure it: at least 5 seeds, and a sum at a lower rate",
            sure="possible",
        )
    helped = np.concatenate(
        [
            conflict.helped[(conflict.cosines < OPPOSED) & np.isfinite(conflict.helped)]
            for conflict in conflicts.values()
        ]
    )
    if len(helped) >= PROBED and helped.mean() > BOTH:
        yield patient.finding(
            conflicts,
            code="conflict-not-in-step",
            severity="note",
            what="task gradients oppose one another, but the optimizer's step lowers both losses",
            evidence=f"{evidence}; both losses of an opposed pair fell in {helped.mean():.0%} of the {len(helped)} "
            f"times that one was met at a probed step, more than {BOTH:.0%}",
            cause="AdamW scales each coordinate, and its momentum averages over batches: opposition of single batches "
            "does not survive it",
            fix="look at losses after the step, not at cosines, to judge interference",
            sure="likely",
        )


def _opposed(patient: Patient, conflicts: Mapping[int, Conflict], evidence: str) -> Finding:
    """Return the finding on a watched run whose gradients conflict; its steps were not probed."""
    cosines: dict[str, list[float]] = {}
    for run in patient.runs:
        for row in run.measured("cosines"):
            for pair, value in row["cosines"].items():
                cosines.setdefault(pair, []).extend([] if value is None else [value])
    worst = min((pair for pair in cosines if cosines[pair]), key=lambda pair: float(np.median(cosines[pair])))
    first, second = worst.split("|")
    opposed = float(np.mean(np.array(cosines[worst]) < OPPOSED))
    return patient.finding(
        conflicts,
        first,
        second,
        code="conflict",
        severity="note",
        what=f"some task gradients oppose one another, most of all those of {first} and {second}",
        evidence=f"their median cosine is {np.median(cosines[worst]):.2f}, and below {OPPOSED:g} at {opposed:.0%} of "
        f"the measured steps; {evidence}",
        cause="the tasks need different shared parameters, or one contradicts the other",
        fix="whether surgery helps shows in scores only: train again with a method, at least 5 seeds of each, beside "
        "the plain sum and fixed weights",
        sure="possible",
    )


def conflict_of(run: Run) -> Conflict | None:
    """Return every pair of tasks at every measured step, or ``None`` if nothing was measured.

    :param run: the cell.
    """
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
            norm, other = row["norms"][first], row["norms"][second]
            cosines.append(value)
            similarity.append(2 * norm * other / (norm**2 + other**2))
            fell = [after[task] < row["losses"][task] for task in (first, second)] if after else []
            helped.append(float(all(fell)) if fell else np.nan)
    return Conflict(*(np.array(values) for values in (cosines, similarity, helped, curvature))) if cosines else None
