"""The rules of recommendations: when each applies, what it means, and what to try. Their numbers are data elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mtlbench.diagnose.map_evidence import Thresholds
from mtlbench.diagnose.plain_sum import Measured, ends, tasks_of

Family = Literal["step rule", "normalize gradients", "weight whole losses", "tuned fixed weights", "widen the trunk"]
Condition = Callable[[Measured, Thresholds], bool | None]
"""Whether something holds; ``None`` if what it takes was not measured."""


@dataclass(frozen=True)
class Rule:
    """One rule; its evidence has the same name in :func:`mtlbench.diagnose.map_evidence.map_evidence`.

    :param code: its name.
    :param about: of the rules about weights the first is given whose conditions all hold; others are given besides.
    :param when: its conditions.
    :param what: what they mean, in one sentence.
    :param families: the kinds of methods, or other measures, that gain something; empty if none does.
    :param methods: examples of these.
    :param fix: what to try; ``{trials}`` stands for the number of trials of fixed weights.
    """

    code: str
    about: Literal["weights", "capacity"]
    when: tuple[Condition, ...]
    what: str
    families: tuple[Family, ...]
    methods: tuple[str, ...]
    fix: str


def _unequal_losses(found: Measured, bounds: Thresholds) -> bool | None:
    return ends(found.losses)[2] > bounds.ratio if found.losses else None


def _unequal_norms(found: Measured, bounds: Thresholds) -> bool | None:
    return ends(found.norms)[2] > bounds.ratio if found.norms else None


def _equal(found: Measured, bounds: Thresholds) -> bool | None:
    """Whether neither losses nor norms are unequal; without losses, as in a watched run, norms decide alone."""
    decided = [one for one in (_unequal_losses(found, bounds), _unequal_norms(found, bounds)) if one is not None]
    return not any(decided) if decided else None


def _noisier(found: Measured, bounds: Thresholds) -> bool | None:
    return ends(found.noise)[2] > bounds.noise if found.noise else None


def _quieter(found: Measured, bounds: Thresholds) -> bool | None:
    """Whether the noisiest task has a smaller loss than the least noisy one, by more than the ratio."""
    sizes = found.losses or found.norms
    if not found.noise or not sizes:
        return None
    least, most, _ = ends(found.noise)
    return sizes[least] / sizes[most] > bounds.ratio


def _not_quieter(found: Measured, bounds: Thresholds) -> bool | None:
    quieter = _quieter(found, bounds)
    return None if quieter is None else not quieter


def _sgd(found: Measured, bounds: Thresholds) -> bool | None:
    return None if found.optimizer is None else found.optimizer == "sgd"


def _opposed(found: Measured, bounds: Thresholds) -> bool | None:
    return min(found.cosines.values()) < bounds.cosine if found.cosines else None


def _halted_high(found: Measured, bounds: Thresholds) -> bool | None:
    """Whether the losses of the two most opposed tasks have come to a halt high above 0."""
    if not found.cosines or not found.remaining:
        return None
    pair = tasks_of(min(found.cosines, key=lambda name: found.cosines[name]), tuple(found.remaining))
    return (
        all(found.remaining[task] >= bounds.remaining and found.falling[task] <= bounds.falling for task in pair)
        and len(pair) == 2
    )


NEEDS: dict[Condition, str] = {
    _unequal_losses: "losses of a known kind",
    _unequal_norms: "gradient norms",
    _equal: "losses of a known kind or gradient norms",
    _noisier: "the noise of each task's gradient (two batches a step)",
    _quieter: "the noise of each task's gradient (two batches a step)",
    _not_quieter: "the noise of each task's gradient (two batches a step)",
    _sgd: "the optimizer",
    _opposed: "cosines",
    _halted_high: "cosines and the losses of a finished run",
}
"""Condition → what it takes to decide it."""

RULES = (
    Rule(
        code="quiet-task-is-noisier",
        about="weights",
        when=(_noisier, _quieter),
        what="balancing would follow noise: the task with the small loss is the noisy one",
        families=("step rule",),
        methods=("log-sum", "si", "uw"),
        fix="keep the plain sum, or try si, uw, or their step rule alone, log-sum; mgda, gradnorm and other ways to "
        "make gradients equal lose here",
    ),
    Rule(
        code="loud-task-is-noisier",
        about="weights",
        when=(_noisier, _not_quieter),
        what="the noise of one task drowns the others in the plain sum",
        families=("weight whole losses", "normalize gradients", "tuned fixed weights"),
        methods=("uw", "si", "mgda"),
        fix="weight whole losses (uw or si), turn from large gradients (mgda), or tune fixed weights with {trials} "
        "trials",
    ),
    Rule(
        code="unequal-tasks-under-sgd",
        about="weights",
        when=(_unequal_losses, _sgd),
        what="the losses are of unlike scale, and SGD does not make up for it in the heads",
        families=("weight whole losses", "tuned fixed weights"),
        methods=("uw", "si"),
        fix="weight whole losses, heads included: uw or si, or fixed weights, tuned with {trials} trials; methods that "
        "weight the shared gradient alone, such as imtl-g and mgda, lose here",
    ),
    Rule(
        code="unequal-tasks",
        about="weights",
        when=(_unequal_losses,),
        what="the losses are of unlike scale, and the plain sum favours the large ones",
        families=("normalize gradients", "weight whole losses", "tuned fixed weights"),
        methods=("unit-gradients", "nash-mtl", "famo", "uw"),
        fix="make the gradients equally long (unit-gradients, nash-mtl), weight whole losses (famo, uw), or tune fixed "
        "weights with {trials} trials (mtlbench tune); projecting conflicts away (pcgrad) is not enough",
    ),
    Rule(
        code="unequal-gradients",
        about="weights",
        when=(_unequal_norms,),
        what="the gradients are of unlike length, though the losses are not: weights gain where noise is the reason",
        families=("weight whole losses", "normalize gradients"),
        methods=("uw", "unit-gradients"),
        fix="compare uw and unit-gradients with the plain sum over 5 seeds or more; if the task with the long gradient "
        "is harder, not noisier, expect nothing",
    ),
    Rule(
        code="equal-tasks",
        about="weights",
        when=(_equal,),
        what="no weights will gain much: the tasks are of one scale already",
        families=("step rule",),
        methods=("unit-step-sum",),
        fix="keep the plain sum, and train longer; where a method does better in few steps, compare it with "
        "unit-step-sum and log-sum, which change the length of the sum's steps only",
    ),
    Rule(
        code="capacity",
        about="capacity",
        when=(_opposed, _halted_high),
        what="two tasks compete for too small a shared part: their gradients oppose each other, and neither loss falls",
        families=("widen the trunk",),
        methods=(),
        fix="widen the shared part; until then, decide which score counts: what serves the worst task costs the mean",
    ),
)
"""All rules, in the order in which they are tried."""
