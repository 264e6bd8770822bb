"""Descriptions of a problem's tasks and their rows, as records have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mtlbench.contract.entries import TaskEntry
from mtlbench.contract.problem import Target
from mtlbench.problem.floors import floors
from mtlbench.problem.row_audit import audit, row_codes
from mtlbench.problem.splits import Split


def describe(
    targets: Iterable[Target], splits: Mapping[str, Split], source: str, fingerprint: str
) -> dict[str, TaskEntry]:
    """Return each task's rows, source, trivial floors and oddities, by its name.

    :param targets: the tasks.
    :param splits: the rows by split.
    :param source: where the rows came from, in words.
    :param fingerprint: the hash of all rows.
    """
    train, dev, test = splits["train"], splits["dev"], splits.get("test")
    codes = row_codes(train), row_codes(dev)

    def entry(target: Target) -> TaskEntry:
        labels = train.scored(target)
        described: dict[str, Any] = {
            "spec": target.spec,
            "prediction": target.prediction,
            "metrics": list(target.metrics),
            "train": len(labels),
            "dev": len(dev.scored(target)),
            "source": source,
            "corpus": "",
            "fingerprint": fingerprint,
            "floors": floors(target, labels, dev.scored(target)),
            "audit": audit(target, train, dev, *codes),
            "test": None,
        }
        if test is not None:
            rows = test.scored(target)
            described["test"] = {"rows": len(rows), "floors": floors(target, labels, rows)}
        return described  # type: ignore[return-value]  # its floors are TypedDicts of their own

    return {target.name: entry(target) for target in targets}
