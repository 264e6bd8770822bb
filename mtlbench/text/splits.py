"""Test and development splits carved off the training rows, so that no text occurs on both sides."""

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

    Rows that share a text, directly or through other rows, stay together; texts that differ only in case and spaces
    count as the same. Groups of such rows are taken in a random order that depends on the task's name, as long as they
    fit. A group larger than ``count`` never fits, so test rows come from the smaller groups.

    :param splits: training and development rows.
    :param count: maximal number of test rows.
    :param task: the task's key.
    :raises UsageError: when ``count`` is more than half of the training rows, or no group fits.
    """
    train = splits.train
    if 2 * count > len(train):
        raise UsageError(f"task {task}: {count} test rows are more than half of its {len(train)} training rows")
    group_of_row = groups(train)
    sizes = np.bincount(group_of_row)
    order = seeds.generator("test rows", task).permutation(len(sizes))
    chosen, remaining = [], count
    for group in order:
        if sizes[group] <= remaining:
            chosen.append(group)
            remaining -= int(sizes[group])
        if remaining == 0:
            break
    if not chosen:
        raise UsageError(f"task {task}: its rows share texts in groups of more than {count}: no test split can be made")
    is_test = np.isin(group_of_row, chosen)
    return replace(splits, train=train.picked(~is_test), test=train.picked(is_test))


def split_off(rows: Rows, share: float, task: str) -> tuple[Rows, Rows]:
    """Split the rows of a task without a development split into training and development rows.

    Rows that share a text stay together, as in :func:`carve`. The side of a group depends on its texts alone, through
    the hash of the first in alphabetical order, so tasks on the same texts are split alike: no text is trained on in
    one task and scored in another.

    :param rows: all rows.
    :param share: approximate share of the development rows, between 0 and 1.
    :param task: the task's key, for messages.
    :raises UsageError: when there would be no development rows, or they would be more than half of all rows.
    """
    group_of_row = groups(rows)
    first: dict[int, str] = {}
    for group, texts in zip(group_of_row.tolist(), plain(rows), strict=True):
        first[group] = min(first.get(group, texts[0]), *texts)
    is_dev_group = [seeds.derive("development rows", first[group]) < share * 2**63 for group in range(len(first))]
    is_dev = np.array(is_dev_group)[group_of_row]
    if not 0 < is_dev.sum() <= len(rows) / 2:
        raise UsageError(
            f"task {task}: a share of {share:g} makes {is_dev.sum()} of {len(rows)} rows the development rows, since "
            "rows that share a text stay together; give development rows of their own, or another share"
        )
    return rows.picked(~is_dev), replace(rows.picked(is_dev), skipped=0)  # skipped counts once, in the training rows


def groups(rows: Rows) -> NDArray[np.int64]:
    """Return (N,) group numbers; rows that share a text, directly or through other rows, are in the same group."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    numbers: dict[str, int] = {}
    texts = [numbers.setdefault(text, len(numbers)) for row in plain(rows) for text in row]
    owners = np.repeat(np.arange(len(rows)), [len(row) for row in rows.texts])
    nodes = len(rows) + len(numbers)
    graph = coo_array((np.ones(len(texts), dtype=np.int8), (owners, len(rows) + np.array(texts))), (nodes, nodes))
    components: NDArray[np.int64] = connected_components(graph, directed=False)[1][: len(rows)].astype(np.int64)
    return np.unique(components, return_inverse=True)[1]
