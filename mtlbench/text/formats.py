"""The files that tables are read from: each format gives the same records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mtlbench.errors import UsageError
from mtlbench.text.columns import Record
from mtlbench.text.delimited import DELIMITED, Dialect, read_delimited
from mtlbench.text.file_content import PACKERS, file_type, read_text
from mtlbench.text.json_files import read_json, read_json_lines
from mtlbench.text.parquet import read_parquet


def read_records(
    path: Path, wanted: Sequence[str], dialect: Dialect, labelled: Callable[[Sequence[str | None]], bool | None]
) -> tuple[Iterable[Record], str]:
    """Read some columns of a file.

    :param labelled: says of cells whether they are a row with a label, one without (``None``), or none.
    :returns: the records, and what one is called: ``"line"`` or ``"row"``.
    :raises UsageError: one line, for a file that is missing or cannot be read, and a column that is not there.
    """
    if not path.exists():
        raise UsageError(f"data file {path} does not exist")
    match file_type(path):
        case ending if ending in DELIMITED:
            return read_delimited(path, read_text(path), wanted, dialect, labelled), "line"
        case ".jsonl" | ".ndjson":
            return read_json_lines(path, read_text(path), wanted), "line"
        case ".json":
            return read_json(path, read_text(path), wanted)
        case ".parquet" if path.suffix.lower() == ".parquet":
            return read_parquet(path, wanted), "row"
    raise UsageError(
        f"data file {path} is of no known type; give .csv, .tsv, .jsonl, .json or .parquet, all but the last also "
        f"with {', '.join(PACKERS)}"
    )
