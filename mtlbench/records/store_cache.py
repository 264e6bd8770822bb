"""A cache of verified records, so that a folder of thousands is read in a second. Never the truth.

``RESULTS/.mtlbench-cache/records``: the SHA-256 of what follows, then an Arrow table of one row a record file: its
path, its stamp, and its record as compact JSON. A row is used only for a file whose stamp is the row's. A stamp holds
when the inode last changed, which no copying or unpacking carries over: a cache that came along with a folder matches
nothing in it. Side files are not in the cache: every scan looks at them.
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
"""Reading this many records anew takes about as long as writing a cache: below that, it is not worth a file."""
SETTLED_NS = 2 * 10**9
"""A file younger than this may change again within the same tick of its file system's clock, which no stamp shows."""
FORM = f"mtlbench cache 2, records {SCHEMA}\n".encode()
DIGEST = hashlib.sha256().digest_size


class FileStamp(NamedTuple):
    """What changes when a file does."""

    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, path: Path) -> FileStamp:
        """Take a file's stamp.

        :raises OSError: when there is no such file, or it is none: reading a pipe would wait for ever.
        """
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError("not a regular file")
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class RecordCache:
    """The cache of one folder, read once. A file that is no such cache, or a damaged one, counts as none.

    :param folder: the results folder.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / CACHE_FOLDER / "records"
        self._table = self._load()
        self._rows: dict[str, tuple[int, FileStamp, Record]] = {}
        if self._table is not None:
            paths, *stamps, contents = (column.to_pylist() for column in self._table.columns)
            # all at once: the parser then makes one string of each key, which halves what the records take in memory
            records = json.loads(f"[{','.join(contents)}]")
            for row, (path, record) in enumerate(zip(paths, records, strict=True)):
                self._rows[path] = row, FileStamp(*(part[row] for part in stamps)), record
        self._used: list[int] = []
        self._new: list[tuple[str, FileStamp, str]] = []
        self._now = time.time_ns()

    def get(self, path: str, stamp: FileStamp) -> Record | None:
        """Return a file's verified record, or ``None`` when it has to be read. To be asked once a file."""
        if path not in self._rows:
            return None
        row, kept, record = self._rows[path]
        if kept != stamp:
            return None
        self._used.append(row)
        return record

    def put(self, path: str, stamp: FileStamp, record: Record) -> None:
        """Remember a record that was read and verified.

        :param stamp: taken before it was read: a change while it was read then shows.
        """
        if max(stamp.mtime_ns, stamp.ctime_ns) < self._now - SETTLED_NS:
            self._new.append((path, stamp, json.dumps(record, separators=(",", ":"))))

    def save(self) -> None:
        """Write what was used and what is new, where it pays. A folder that cannot be written to has no cache."""
        gone = len(self._rows) - len(self._used)
        if max(len(self._new), gone) < FEWEST:
            return
        try:
            self._file.parent.mkdir(exist_ok=True)
            (self._file.parent / ".gitignore").write_text("*\n", encoding="utf-8")
            write_whole(self._file, self._packed())
        except OSError:
            return

    def _packed(self) -> bytes:
        """Return the file's content."""
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
        """Return the table on disk; ``None`` when there is none that is whole and ours."""
        try:
            content = self._file.read_bytes()
        except OSError:
            return None
        digest, body = content[:DIGEST], memoryview(content)[DIGEST:]
        if digest != hashlib.sha256(body).digest() or bytes(body[: len(FORM)]) != FORM:
            return None
        import pyarrow as pa

        return pa.ipc.open_file(pa.py_buffer(body[len(FORM) :])).read_all()
