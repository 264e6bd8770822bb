"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mtlbench.errors import UsageError
from mtlbench.text.columns import Record, find_columns
from mtlbench.text.file_content import cannot_read


def read_parquet(path: Path, wanted: Sequence[str]) -> Iterator[Record]:
    """Yield some columns' cells, row by row, as values of Python.

    :raises UsageError: one line, when the file cannot be read, or a column is not there.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            places = find_columns(str(path), wanted, names)
            table = file.read(columns=[names[place] for place in places])
            columns = [table.column(names[place]).to_pylist() for place in places]
    except UsageError:
        raise
    # a text, or a column's name, need not be UTF-8: the format says so, and its readers do not check; and a date may
    # be one that Python has none of
    except (OSError, ValueError, OverflowError, pyarrow.ArrowException) as fault:
        raise cannot_read(path, fault) from None
    yield from enumerate(zip(*columns, strict=True), start=1)
