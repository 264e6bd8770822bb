"""The doctor: names what is wrong with multi-task runs, from their records, histories and predictions."""

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

__all__ = ["Finding", "Severity", "Sureness", "diagnose", "diagnose_group"]

CHECKS: tuple[Callable[[Patient], Iterator[Finding]], ...] = (
    check_training,
    check_rate,
    check_fit,
    check_heads,
    check_transfer,
    check_balance,
    check_surgery,
)
"""Each looks at one method's cells of one group."""
ORDER: tuple[Severity, ...] = ("error", "warning", "note")


def diagnose(records: Sequence[Record]) -> list[tuple[Cells, list[Finding]]]:
    """Examine every group of cells; a group without findings has an empty list."""
    return [(cells, diagnose_group(cells)) for cells in collect(records)]


def diagnose_group(cells: Cells) -> list[Finding]:
    """Return what is wrong with the cells of one group, the gravest first.

    What is wrong with the data is so for every method: it is said once.
    """
    patients = [Patient(cells, method) for method in cells.methods]
    found = [replace(finding, method="", seeds=(), of=0) for finding in check_data(patients[0])]
    found += [finding for patient in patients for check in CHECKS for finding in check(patient)]
    return sorted(found, key=lambda finding: ORDER.index(finding.severity))
