"""The doctor: find faults of multi-task runs in their records, histories and predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from mtlbench.diagnose.evidence import Patient
from mtlbench.diagnose.finding import Finding, Severity, Sureness
from mtlbench.diagnose.fit import check_fit
from mtlbench.diagnose.heads import check_heads
from mtlbench.diagnose.loss_balance import check_balance
from mtlbench.diagnose.rate import check_rate
from mtlbench.diagnose.row_findings import check_data
from mtlbench.diagnose.run_health import check_training
from mtlbench.diagnose.surgery import check_surgery
from mtlbench.diagnose.transfer import check_transfer
from mtlbench.records.groups import Cells, Record, collect

__all__ = ["NOT_MEASURED", "Finding", "Severity", "Sureness", "diagnose", "diagnose_group", "not_examined"]

CHECKS: tuple[Callable[[Patient], Iterator[Finding]], ...] = (
    check_training,
    check_rate,
    check_fit,
    check_heads,
    check_transfer,
    check_balance,
    check_surgery,
)
"""Checks of one method's cells in one group."""
NOT_MEASURED: dict[str, tuple[str, ...]] = {
    "rows and labels": ("leakage", "duplicates", "whole-labels", "absent-class", "shared-texts", "cut-texts"),
    "outputs on development rows": (
        "odd-first-loss",
        "overfit",
        "dead-head",
        "one-sided-head",
        "reversed-head",
        "shifted-threshold",
        "missing-classes",
    ),
    "scores beside their floors, their errors and other trainings": ("below-floor", "underfit", "negative-transfer"),
    "the optimizer's step": ("learning-rate-low", "three-conditions", "conflict-not-in-step"),
    "the recipe": ("frozen-encoder", "encoded-apart", "uneven-epochs", "zero-loss"),
}
"""What a watched run does not show, and the findings that it therefore cannot have."""
ON_DEMAND = ("leakage", "duplicates")
"""Findings on rows that need all inputs at once; a problem may read its inputs on demand."""
ORDER: tuple[Severity, ...] = ("error", "warning", "note")
"""Severities, the gravest first."""


def diagnose(records: Sequence[Record]) -> list[tuple[Cells, list[Finding]]]:
    """Examine the cells of every group.

    :param records: the records, as a scan of the store returns them, and those of unfinished cells.
    :returns: each group with its findings, the gravest first; a healthy group has an empty list.
    """
    return [(cells, diagnose_group(cells)) for cells in collect(records)]


def diagnose_group(cells: Cells) -> list[Finding]:
    """Return the findings on one group, the gravest first.

    Findings on the data apply to every method, so they are returned once, without a method.

    :param cells: the group.
    """
    findings = [replace(finding, method="", seeds=(), of=0) for finding in check_data(Patient(cells, cells.methods[0]))]
    for method in cells.methods:
        patient = Patient(cells, method)  # its histories and predictions are dropped with it: they are large
        findings += [finding for check in CHECKS for finding in check(patient)]
    return sorted(findings, key=lambda finding: ORDER.index(finding.severity))


def not_examined(cells: Cells) -> tuple[str, ...]:
    """Return the findings that the doctor cannot make on a problem, because its record lacks what they need.

    What has no meaning for a problem, such as texts that are cut, is not among them.

    :param cells: the group.
    """
    if cells.problem is None:
        return ()
    audits = [task.get("audit") or {} for task in cells.records[0]["tasks"].values()]
    return () if all("leaked" in audit for audit in audits) else ON_DEMAND
