"""A shard as a tidy table: a row is one task's scores in one setting, seed and column.

It has the fields of the setting and of the column, and what the plain sum showed early in the rows of its columns:
losses, and the task's row of each Gram matrix.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mtlbench.map.cells import Array, Features, Setting, Trained
from mtlbench.map.shards import Shard

if TYPE_CHECKING:
    import pyarrow

SCORES = ("dev", "test")
LOSSES = ("start", "losses")
GRAMS = ("gram", "second_gram", "cross_gram", "full_gram")
_COLUMN_TYPES = {"method": "string", "lr": "float64", "step_rule": "string", "single": "int64"}


def as_table(shard: Shard, trained: Trained) -> pyarrow.Table:
    """Return a shard's table.

    :param shard: what was trained.
    :param trained: how it came out.
    """
    import pyarrow as pa

    table = identity(shard)
    for name in SCORES:
        table = table.append_column(name, pa.array(getattr(trained, name).ravel()))
    tasks = shard.settings[0].tasks
    table = table.append_column("diverged", pa.array(np.repeat(trained.diverged.ravel(), tasks)))
    failures = np.full(trained.diverged.shape, None, dtype=object)
    for cell, reason in trained.failures.items():
        failures[cell] = reason
    table = table.append_column("failure", pa.array(np.repeat(failures.ravel(), tasks), pa.string()))
    features = trained.features
    step = pa.scalar(None if features is None else features.step, pa.int64())
    table = table.append_column("features_step", pa.repeat(step, len(table)))
    for name in (*LOSSES, *GRAMS):
        shape = trained.dev.shape if name in LOSSES else (*trained.dev.shape, tasks)
        full = np.full(shape, np.nan)
        absent = np.ones(trained.dev.shape, dtype=np.bool_)
        if features is not None:
            full[:, :, features.columns] = getattr(features, name)
            absent[:, :, features.columns] = False
        rows = full.ravel() if name in LOSSES else [*full.reshape(-1, tasks)]
        kind = pa.float64() if name in LOSSES else pa.list_(pa.float64())
        table = table.append_column(name, pa.array(rows, kind, mask=absent.ravel(), from_pandas=False))
    return table


def identity(shard: Shard) -> pyarrow.Table:
    """Return the part of a shard's table that says which cell a row is of."""
    import pyarrow as pa

    shape = (len(shard.settings), len(shard.seeds), len(shard.columns), shard.settings[0].tasks)

    def spread(values: Any, axis: int, kind: str | None = None) -> pyarrow.Array:
        index = np.broadcast_to(np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(4)]), shape)
        return pa.array(values, None if kind is None else pa.type_for_alias(kind)).take(pa.array(index.ravel()))

    columns = {field.name: spread([getattr(s, field.name) for s in shard.settings], 0) for field in fields(Setting)}
    columns |= {"seed": spread(list(shard.seeds), 1), "column": spread(list(range(shape[2])), 2)}
    columns |= {
        name: spread([getattr(c, name) for c in shard.columns], 2, kind) for name, kind in _COLUMN_TYPES.items()
    }
    weights = pa.array([c.weights for c in shard.columns], pa.list_(pa.float64()))
    columns |= {"weights": spread(weights, 2), "task": spread(list(range(shape[3])), 3)}
    return pa.table(columns)


def as_trained(shard: Shard, table: pyarrow.Table, seconds: Mapping[str, float]) -> Trained:
    """Return what a table holds.

    :param shard: what was trained.
    :param table: as :func:`as_table` returns it.
    :param seconds: where the time went.
    """
    tasks = shard.settings[0].tasks
    shape = (len(shard.settings), len(shard.seeds), len(shard.columns), tasks)
    dev, test = (_numbers(table, name).reshape(shape) for name in SCORES)
    diverged = _numbers(table, "diverged").reshape(shape)[..., 0].astype(np.bool_)
    reasons = np.array(table.column("failure").to_pylist(), dtype=object).reshape(shape)[..., 0]
    failures = {cell: str(reason) for cell, reason in np.ndenumerate(reasons) if reason is not None}
    return Trained(
        settings=shard.settings,
        seeds=shard.seeds,
        columns=shard.columns,
        dev=dev,
        test=test,
        diverged=diverged,
        failures=cast(dict[tuple[int, int, int], str], failures),
        seconds=seconds,
        features=_features(shard, table),
    )


def _features(shard: Shard, table: pyarrow.Table) -> Features | None:
    step = table.column("features_step")[0].as_py()
    if step is None:
        return None
    sums = np.array([number for number, column in enumerate(shard.columns) if column.is_plain_sum])
    tasks = shard.settings[0].tasks
    shape = (len(shard.settings), len(shard.seeds), len(sums), tasks)
    losses = {name: _numbers(table, name, drop=True).reshape(shape) for name in LOSSES}
    grams = {name: _numbers(table, name, drop=True).reshape(*shape, tasks) for name in GRAMS}
    return Features(sums, step, **losses, **grams)


def _numbers(table: pyarrow.Table, name: str, drop: bool = False) -> Array:
    """Return a column's numbers, those of its lists one after another.

    :param drop: whether to leave out the rows without a value.
    """
    column = table.column(name).combine_chunks()
    if drop:
        column = column.drop_null()
    values = column.flatten() if name in GRAMS else column
    return np.asarray(values.to_numpy(zero_copy_only=False))


def digest(trained: Trained) -> str:
    """Return the SHA-256 of all numbers of a shard, and of the reasons of its failures.

    :param trained: the shard.
    """
    features = trained.features
    numbers = [trained.dev, trained.test, trained.diverged]
    if features is not None:
        numbers += [features.columns, np.array(features.step), *(getattr(features, name) for name in (*LOSSES, *GRAMS))]
    sha = hashlib.sha256()
    for array in numbers:
        sha.update(np.ascontiguousarray(array).tobytes())
    sha.update(json.dumps(sorted(trained.failures.items())).encode())
    return sha.hexdigest()
