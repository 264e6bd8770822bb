"""Choice of the reader for a file; all formats yield the same records."""

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
    """Read the wanted columns of a file.

    :param path: the file; its ending decides the format.
    :param wanted: names of the columns to read.
    :param dialect: format of a CSV or TSV file, as far as the user specifies it.
    :param labelled: tests cells: ``True`` for a row with a label, ``None`` for a row without one, ``False`` for cells
        that are not a row.
    :returns: the records, and the unit that their numbers count: ``"line"`` or ``"row"``.
    :raises UsageError: for a file that is missing or cannot be read, and for a missing column.
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
        f"data file {path} is of an unknown type; give .csv, .tsv, .jsonl, .json or .parquet, all but the last also "
        f"with {', '.join(PACKERS)}"
    )
