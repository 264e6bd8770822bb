"""Faults of the rows, from the audit of each task's splits in the record."""

from __future__ import annotations

from collections.abc import Iterator

from mtlbench.diagnose.evidence import Patient
from mtlbench.diagnose.finding import Finding

LEAKED, MUCH = 0.01, 0.05
"""Shares of development rows that are training rows, with all their texts, above which leakage is a warning, and an
error, because scores may then be wrong by points."""
SHARED = 0.1
"""Maximum share of development rows with a text in common with a training row."""
REPEATED = 0.05
"""Maximum share of training rows that repeat an earlier one."""
CONTRADICTED = 0.01
"""Maximum share of training rows that repeat an earlier one with another label."""


def check_data(patient: Patient) -> Iterator[Finding]:
    """Check leakage, duplicates and labels of every task, as far as its rows were audited.

    :param patient: the cells of any method; all methods of a group share the rows.
    """
    seeds = patient.seeds or [run.seed for run in patient.failed]
    for task, described in patient.tasks.items():
        audit = described.get("audit")
        if not audit:
            continue
        leaked = audit.get("leaked", 0) / max(1, described["dev"])
        if leaked > LEAKED:
            yield patient.finding(
                seeds,
                task,
                code="leakage",
                severity="error" if leaked > MUCH else "warning",
                what=f"development rows of {task} are training rows too",
                evidence=f"{audit['leaked']} of {described['dev']} ({leaked:.1%}); at most {LEAKED:.0%}",
                cause="the splits were made before duplicates were removed, or the same rows were used for both",
                fix="remove the rows from training",
                sure="certain",
            )
        repeated = audit.get("repeated", 0) / max(1, described["train"])
        contradicted = audit.get("contradicted", 0) / max(1, described["train"])
        if repeated > REPEATED or contradicted > CONTRADICTED:
            yield patient.finding(
                seeds,
                task,
                code="duplicates",
                severity="warning",
                what=f"training rows of {task} repeat one another",
                evidence=f"{audit['repeated']} of {described['train']} ({repeated:.1%}; at most {REPEATED:.0%}), "
                f"{audit['contradicted']} of them with another label ({contradicted:.1%}; at most {CONTRADICTED:.0%})",
                cause="the data was joined with itself, or rows were annotated more than once",
                fix="keep one copy of each, or average the labels",
                sure="certain",
            )
        if described["prediction"] == "regression" and audit["whole"] == described["train"]:
            cut = audit["whole_dev"] < described["dev"]
            yield patient.finding(
                seeds,
                task,
                code="whole-labels",
                severity="error" if cut else "note",
                what=f"all training labels of {task} are whole numbers, although it is a regression",
                evidence=f"{audit['distinct']} distinct labels; of the development rows' "
                f"{audit['whole_dev'] / max(1, described['dev']):.0%} are whole",
                cause="labels were truncated to integers when they were read" if cut else "the scale has whole steps",
                fix="read them as real numbers" if cut else "nothing, if the data has such labels",
                sure="likely" if cut else "possible",
            )
        shared = audit.get("shared", 0) / max(1, described["dev"])
        if shared > SHARED and leaked <= LEAKED:
            yield patient.finding(
                seeds,
                task,
                code="shared-texts",
                severity="note",
                what=f"development rows of {task} have texts that training rows have, too",
                evidence=f"{audit['shared']} of {described['dev']} ({shared:.0%}) share at least one text",
                cause="pairs were drawn from one pool of texts before they were split",
                fix="read the scores as those of known texts in new pairs",
                sure="certain",
            )
        if audit["rarest"] == 0:
            yield patient.finding(
                seeds,
                task,
                code="absent-class",
                severity="error",
                what=f"a class in the development rows of {task} has no training rows",
                evidence="0 training rows of it; at least 1",
                cause="the labels of the two splits do not mean the same, or the data was sorted before it was split",
                fix="look at the labels of both splits",
                sure="likely",
            )
