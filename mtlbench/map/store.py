"""Maps on disk: ``RESULTS/PRESET/STUDY.map``, a header in JSON, and beside it a parquet file, a row group a shard.

As with records of cells, the table is written first, under a name that contains its hash, and the header last: at any
moment a reader sees the whole old study or the whole new one. A table that has changed since is checked shard by shard,
and only damaged shards are lost.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mtlbench.errors import UsageError
from mtlbench.host.disk import write_whole
from mtlbench.map.header import Header, ShardEntry, read_header
from mtlbench.map.stored import StoredStudy
from mtlbench.map.table import as_trained, digest, identity
from mtlbench.records.store import DAMAGED, half_written

if TYPE_CHECKING:
    import pyarrow
    from pyarrow import parquet


SUFFIX = ".map"
"""Ending of a header's name: a ``.json`` three folders deep would be taken for the record of a cell."""


class MapStore:
    """The folder of one preset's studies.

    :param results: the results folder.
    :param preset: name of the preset.
    """

    def __init__(self, results: Path, preset: str) -> None:
        self.folder, self.preset = results / preset, preset

    def prepare(self) -> None:
        """Create the folder, and remove half-written files of killed runs.

        :raises UsageError: when the folder cannot be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for leftover in half_written(self.folder):
                leftover.unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(
                f"cannot write to results folder {self.folder}: {error.strerror}; give --results FOLDER"
            ) from None

    def studies(self) -> list[str]:
        """Return the names of the studies in the folder."""
        return sorted(path.stem for path in self.folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))

    def read(self, study: str) -> StoredStudy | str | None:
        """Read a study.

        :param study: its name.
        :returns: the study; ``None`` where there is none; if its header is damaged, one line that says so.
        """
        path = self._path(study)
        try:
            header = read_header(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):  # the latter is an error when the folder is prepared
            return None
        except (OSError, ValueError) as error:
            return f"{path}: {getattr(error, 'strerror', None) or error}"
        table = self.folder / header.file["name"]
        try:
            content = table.read_bytes()
        except OSError as error:
            gone = [f"{table}: {error.strerror}; all its shards are lost"]
            return StoredStudy(replace(header, shards=()), [], gone)
        return _verified(header, table, content)

    def save(self, stored: StoredStudy) -> None:
        """Write a study; replace an older version.

        :param stored: the study.
        :raises UsageError: when it cannot be written; the older version is intact then.
        """
        content = _packed(stored.tables)
        sha = hashlib.sha256(content).hexdigest()
        name = f"{stored.header.study}.{sha[:8]}.parquet"
        stored.header = replace(stored.header, file={"name": name, "bytes": len(content), "sha256": sha})
        try:
            write_whole(self.folder / name, content)
            write_whole(self._path(stored.header.study), stored.header.dump())
            for old in self.folder.glob(f"{stored.header.study}.????????.parquet"):
                if old.name != name:
                    old.unlink(missing_ok=True)
        except OSError as error:
            why = error.strerror if self.folder.is_dir() else "the folder is gone"
            raise UsageError(f"cannot write {stored.header.study} to {self.folder}: {why}") from None

    def set_aside(self, study: str) -> None:
        """Rename a damaged header, so that it is not overwritten.

        :param study: the study's name.
        """
        path = self._path(study)
        aside = path.with_name(f"{path.name}{DAMAGED}")
        path.rename(aside if not aside.exists() else path.with_name(f"{path.name}.{time.time_ns()}{DAMAGED}"))

    def _path(self, study: str) -> Path:
        return self.folder / f"{study}{SUFFIX}"


def _packed(tables: Sequence[pyarrow.Table]) -> bytes:
    """Return the content of a parquet file with one row group for each table."""
    import pyarrow as pa
    from pyarrow import parquet

    sink = pa.BufferOutputStream()
    with parquet.ParquetWriter(sink, tables[0].schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table, row_group_size=len(table))
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _verified(header: Header, path: Path, content: bytes) -> StoredStudy:
    """Return a study without its damaged shards. A table with the recorded hash has none."""
    import pyarrow as pa
    from pyarrow import parquet

    intact = hashlib.sha256(content).hexdigest() == header.file.get("sha256")
    try:
        file = parquet.ParquetFile(pa.BufferReader(content))
    except (OSError, ValueError, pa.ArrowException):
        lost = [f"{path}: cut off or overwritten; all its shards are lost"]
        return StoredStudy(replace(header, shards=()), [], lost)
    stored = StoredStudy(replace(header, shards=()))
    for number, entry in enumerate(header.shards):
        try:
            table = _row_group(file, number)
            if not intact:
                _check(header, entry, table)
        except (OSError, ValueError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            stored.damaged.append(f"{path}: shard {number + 1}, {header.shard(entry).title}: {reason}")
            continue
        stored.header = replace(stored.header, shards=(*stored.header.shards, entry))
        stored.tables.append(table)
    return stored


def _row_group(file: parquet.ParquetFile, number: int) -> pyarrow.Table:
    """Return one row group.

    :raises ValueError: when there is none.
    """
    if number >= file.num_row_groups:
        raise ValueError("missing")
    return file.read_row_group(number)


def _check(header: Header, entry: ShardEntry, table: pyarrow.Table) -> None:
    """Check that a row group is of the shard, and that its numbers are those that were written.

    :raises ValueError: when it is not.
    """
    expected = identity(header.shard(entry))
    try:
        same = table.select(expected.column_names).equals(expected)
        same = same and digest(as_trained(header.shard(entry), table, {})) == entry.sha256
    except KeyError:
        same = False
    if not same:
        raise ValueError("changed since it was written")
