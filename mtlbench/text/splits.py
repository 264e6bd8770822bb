"""Test and development splits, carved off the training rows: no text of theirs is left among them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mtlbench import seeds
from mtlbench.contract.task import Rows, Splits
from mtlbench.errors import UsageError
from mtlbench.text.row_audit import plain


def carve(splits: Splits, count: int, task: str) -> Splits:
    """Return the splits with about ``count`` training rows moved to a test split, the same for every seed and method.

    Rows that share a text, directly or through further rows, stay together, and so do rows whose texts differ in case
    and spaces alone. Groups are taken in a random order that depends on the task's name, as long as they fit: a group
    larger than ``count`` is never taken, so test rows come from the smaller groups.

    :raises UsageError: when more than half of the rows are asked for, or no group fits.
    """
    train = splits.train
    if 2 * count > len(train):
        raise UsageError(f"task {task}: {count} test rows are more than half of its {len(train)} training rows")
    group = groups(train)
    sizes = np.bincount(group)
    order = seeds.generator("test rows", task).permutation(len(sizes))
    chosen, left = [], count
    for one in order:
        if sizes[one] <= left:
            chosen.append(one)
            left -= int(sizes[one])
        if left == 0:
            break
    if not chosen:
        raise UsageError(f"task {task}: its rows share texts in groups of more than {count}: no test split can be made")
    tested = np.isin(group, chosen)
    return replace(splits, train=train.picked(~tested), test=train.picked(tested))


def split_off(rows: Rows, share: float, task: str) -> tuple[Rows, Rows]:
    """Return training and development rows, where a task has one file of both: the latter about a share of all.

    Rows that share a text stay together, as in :func:`carve`. Whether a group goes depends on its texts alone, by the
    hash of the first in alphabetical order, so that tasks on the same texts are split alike: no text is trained on in
    one task and scored in another.

    :raises UsageError: when a side would be empty, or the development rows more than half.
    """
    group = groups(rows)
    first: dict[int, str] = {}
    for number, texts in zip(group.tolist(), plain(rows), strict=True):
        first[number] = min(first.get(number, texts[0]), *texts)
    goes = [seeds.derive("development rows", first[number]) < share * 2**63 for number in range(len(first))]
    chosen = np.array(goes)[group]
    if not 0 < chosen.sum() <= len(rows) / 2:
        raise UsageError(
            f"task {task}: a share of {share:g} makes {chosen.sum()} of {len(rows)} rows the development rows, since "
            "rows that share a text stay together; give development rows of their own, or another share"
        )
    return rows.picked(~chosen), replace(rows.picked(chosen), skipped=0)  # counted once, with the training rows


def groups(rows: Rows) -> NDArray[np.int64]:
    """Return (N,) group numbers: two rows are of one group if they share a text, directly or through other rows."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    numbers: dict[str, int] = {}
    texts = [numbers.setdefault(text, len(numbers)) for row in plain(rows) for text in row]
    owners = np.repeat(np.arange(len(rows)), [len(row) for row in rows.texts])
    nodes = len(rows) + len(numbers)
    graph = coo_array((np.ones(len(texts), dtype=np.int8), (owners, len(rows) + np.array(texts))), (nodes, nodes))
    found: NDArray[np.int64] = connected_components(graph, directed=False)[1][: len(rows)].astype(np.int64)
    return np.unique(found, return_inverse=True)[1]
