"""Recommendations: from runs of the plain sum, how much other methods can gain, which kind of them, and when none.

A recommendation is no finding: it says what to try next with a healthy run, and changes nothing about what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mtlbench.diagnose.evidence import Patient
from mtlbench.diagnose.map_evidence import MapEvidence, map_evidence, range_for
from mtlbench.diagnose.plain_sum import Measured, describe, measured
from mtlbench.diagnose.rules import NEEDS, RULES, Family, Rule
from mtlbench.records.groups import Cells

SUM = "sum"
"""The method whose runs are measured; a watched run counts as one, because its losses are added up."""


@dataclass(frozen=True)
class Advice:
    """What to try next, by one rule.

    :param code: name of the rule; docs/diagnose.md describes each.
    :param what: how much there is to gain, and why, in one sentence.
    :param measured: the numbers that decided, with their thresholds.
    :param gain: gain to expect in points, from and to; ``None`` where no number is known.
    :param families: the kinds of methods, or other measures, that gain it; empty if none does.
    :param methods: examples of these.
    :param fix: what to try.
    :param evidence: what was observed elsewhere.
    :param r2: measurements → share of the gain's variance that they explain.
    :param limits: what the evidence does not show.
    :param undecided: what was not measured → rules that would come first, and could not be decided without it.
    :param method: spec of the method that was run.
    :param seeds: seeds of its runs.
    """

    code: str
    what: str
    measured: str
    gain: tuple[float, float] | None
    families: tuple[Family, ...]
    methods: tuple[str, ...]
    fix: str
    evidence: tuple[str, ...]
    r2: dict[str, float]
    limits: tuple[str, ...]
    undecided: dict[str, tuple[str, ...]]
    method: str = ""
    seeds: tuple[int, ...] = ()


def recommend(cells: Cells) -> list[Advice]:
    """Return what runs of the plain sum suggest to try; nothing where there are none, or they have a single task.

    :param cells: the group.
    """
    patients = [Patient(cells, method) for method in cells.methods]
    sums = [p for p in patients if p.runs and (p.watched or p.runs[0].record["method"]["name"] == SUM)]
    if not sums:
        return []
    most = max(sums, key=lambda patient: len(patient.runs))  # of several rates, say
    given = advise(measured(most), len(most.tasks))
    return [replace(advice, method=most.method, seeds=tuple(most.seeds)) for advice in given]


def advise(found: Measured, tasks: int, evidence: MapEvidence | None = None) -> list[Advice]:
    """Apply the rules.

    :param found: what was measured.
    :param tasks: K.
    :param evidence: thresholds and gains; the packaged ones unless given.
    :returns: at most one recommendation about weights, and those about anything else.
    """
    evidence = evidence or map_evidence()
    advice: list[Advice] = []
    undecided: dict[str, tuple[str, ...]] = {}
    for rule in RULES if tasks > 1 else ():
        verdicts = {condition: condition(found, evidence.thresholds) for condition in rule.when}
        first = rule.about == "weights" and not advice
        if all(verdicts.values()) and (first or rule.about == "capacity"):
            advice.append(_advice(rule, found, tasks, evidence, undecided if first else {}))
        elif first and False not in verdicts.values():
            for need in {NEEDS[condition]: None for condition, verdict in verdicts.items() if verdict is None}:
                undecided[need] = (*undecided.get(need, ()), rule.code)
    return advice


def _advice(
    rule: Rule, found: Measured, tasks: int, evidence: MapEvidence, undecided: Mapping[str, tuple[str, ...]]
) -> Advice:
    own, trials = evidence.rules[rule.code], range_for(evidence.trials, tasks)
    assert trials is not None  # the evidence begins at two tasks
    return Advice(
        code=rule.code,
        what=rule.what,
        measured=describe(found, evidence.thresholds),
        gain=range_for(own.gain, tasks),
        families=rule.families,
        methods=rule.methods,
        fix=rule.fix.format(trials=f"{trials[0]:g} to {trials[1]:g}"),
        evidence=(evidence.study.source, *map(str, own.observed)),
        r2=own.r2,
        limits=evidence.study.limits,
        undecided=dict(undecided),
    )
