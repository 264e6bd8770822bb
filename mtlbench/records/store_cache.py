"""A cache of verified records: with it, a folder of thousands is read in a second. It can be deleted at any time.

``RESULTS/.mtlbench-cache/records`` is the SHA-256 of the rest, then an Arrow table with one row per record file: its
path, its stamp, and its record as compact JSON. A row is used only while the file has the row's stamp. A stamp contains
the time of the inode's last change, which copying and unpacking do not preserve: a cache that was copied along with a
folder matches none of its files. Side files are not in the cache: every scan checks them.
"""

from __future__ import annotations

import hashlib
import json
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mtlbench.host.disk import write_whole
from mtlbench.records.record import SCHEMA, Record

if TYPE_CHECKING:
    import pyarrow

CACHE_FOLDER = ".mtlbench-cache"
FEWEST = 200
"""Fewest records worth caching: reading so many takes about as long as writing a cache."""
SETTLED_NS = 2 * 10**9
"""Age from which a file is cached: a younger one may change again within one tick of its file system's clock, and its
stamp would stay the same."""
FORM = f"mtlbench cache 2, records {SCHEMA}\n".encode()
DIGEST = hashlib.sha256().digest_size


class FileStamp(NamedTuple):
    """Attributes of a file that change whenever the file changes."""

    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, path: Path) -> FileStamp:
        """Return the stamp of a file.

        :raises OSError: when the file does not exist, or is not a regular file: reading a pipe would wait for ever.
        """
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class RecordCache:
    """The cache of one folder, read once. A damaged cache, or a file of another kind, counts as an empty cache.

    :param folder: the results folder.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / CACHE_FOLDER / "records"
        self._table = self._load()
        self._rows: dict[str, tuple[int, FileStamp, Record]] = {}
        if self._table is not None:
            paths, *stamps, contents = (column.to_pylist() for column in self._table.columns)
            # parsed together: the parser then shares the strings of keys, which halves the memory
            records = json.loads(f"[{','.join(contents)}]")
            for row, (path, record) in enumerate(zip(paths, records, strict=True)):
                self._rows[path] = row, FileStamp(*(part[row] for part in stamps)), record
        self._used: list[int] = []
        self._new: list[tuple[str, FileStamp, str]] = []
        self._now = time.time_ns()

    def get(self, path: str, stamp: FileStamp) -> Record | None:
        """Return the verified record of a file, or ``None`` when the file has to be read. Call it once per file.

        :param path: of the file, in the folder.
        :param stamp: the file's stamp now.
        """
        if path not in self._rows:
            return None
        row, cached, record = self._rows[path]
        if cached != stamp:
            return None
        self._used.append(row)
        return record

    def put(self, path: str, stamp: FileStamp, record: Record) -> None:
        """Add a record that was read and verified.

        :param path: of the file, in the folder.
        :param stamp: taken before the file was read, so that a change during reading shows.
        :param record: the verified record.
        """
        if max(stamp.mtime_ns, stamp.ctime_ns) < self._now - SETTLED_NS:
            self._new.append((path, stamp, json.dumps(record, separators=(",", ":"))))

    def save(self) -> None:
        """Write used and new rows, if enough has changed. A folder that is not writable gets no cache."""
        unused = len(self._rows) - len(self._used)
        if max(len(self._new), unused) < FEWEST:
            return
        try:
            self._file.parent.mkdir(exist_ok=True)
            (self._file.parent / ".gitignore").write_text("*\n", encoding="utf-8")
            write_whole(self._file, self._packed())
        except OSError:
            return

    def _packed(self) -> bytes:
        """Return the content of the cache file."""
        import pyarrow as pa

        paths, stamps, contents = zip(*self._new, strict=True) if self._new else ((), (), ())
        columns = [
            pa.array(paths, pa.string()),
            *(pa.array([stamp[part] for stamp in stamps], pa.int64()) for part in range(len(FileStamp._fields))),
            pa.array(contents, pa.large_string()),
        ]
        table = pa.table(columns, names=["path", *FileStamp._fields, "record"])
        if self._table is not None:
            table = pa.concat_tables([self._table.take(pa.array(self._used, pa.int64())), table])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
            writer.write_table(table)
        body = FORM + sink.getvalue().to_pybytes()
        return hashlib.sha256(body).digest() + body

    def _load(self) -> pyarrow.Table | None:
        """Return the table on disk; ``None`` when there is no intact cache."""
        try:
            content = self._file.read_bytes()
        except OSError:
            return None
        digest, body = content[:DIGEST], memoryview(content)[DIGEST:]
        if digest != hashlib.sha256(body).digest() or bytes(body[: len(FORM)]) != FORM:
            return None
        import pyarrow as pa

        return pa.ipc.open_file(pa.py_buffer(body[len(FORM) :])).read_all()
