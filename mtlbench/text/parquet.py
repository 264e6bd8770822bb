"""Reader for parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mtlbench.errors import UsageError
from mtlbench.text.columns import Record, find_columns
from mtlbench.text.file_content import cannot_read


def names_of(path: Path) -> list[str]:
    """Return the names of all columns.

    :param path: the file.
    :raises UsageError: when the file cannot be read.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        names: list[str] = parquet.read_schema(path).names
    except (OSError, ValueError, pyarrow.ArrowException) as fault:
        raise cannot_read(path, fault) from None
    return names


def read_parquet(path: Path, wanted: Sequence[str]) -> Iterator[Record]:
    """Yield the wanted cells as Python values, row by row.

    :param path: the file.
    :param wanted: names of the columns to read.
    :raises UsageError: when the file cannot be read, or a column is missing.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            indices = find_columns(str(path), wanted, names)
            table = file.read(columns=[names[index] for index in indices])
            columns = [table.column(names[index]).to_pylist() for index in indices]
    except UsageError:
        raise
    # ValueError: texts and column names must be UTF-8, but readers do not check it. OverflowError: Python cannot
    # represent every date that the format can
    except (OSError, ValueError, OverflowError, pyarrow.ArrowException) as fault:
        raise cannot_read(path, fault) from None
    yield from enumerate(zip(*columns, strict=True), start=1)
