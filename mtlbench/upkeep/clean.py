"""``mtlbench clean``: what runs that were killed, and cells that ran again, left behind in a results folder.

Only files of these kinds are ever touched, and only where they lie in the folder itself: no link is followed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from mtlbench.errors import UsageError
from mtlbench.records.leases import holders
from mtlbench.records.record_file import read_record
from mtlbench.records.store import CHECKPOINTS, DAMAGED, Store, half_written, is_stale

CELL_FILE = re.compile(r"(seed-\d+-[0-9a-f]{12})\.(.+)")
SIDE_FILE = re.compile(r"[0-9a-f]{8}\.[a-z]+\.[a-z]+")
"""What follows a cell's name in that of a side file: hash, what it is, ending."""


@dataclass(frozen=True)
class Leftover:
    """A file, or a cell's folder of checkpoints, that may go."""

    path: Path
    why: str

    @property
    def size(self) -> int:
        """Bytes, with all that a folder holds."""
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(file.lstat().st_size for file in files if not file.is_dir())

    def remove(self) -> None:
        """Remove it.

        :raises OSError: when that is not possible.
        """
        if self.path.is_dir():
            shutil.rmtree(self.path)
        else:
            self.path.unlink(missing_ok=True)


def leftovers(results: Path, *, damaged: bool, failed: bool) -> list[Leftover]:
    """Return everything that may be removed, sorted by path, without removing it.

    :param damaged: also the records that cannot be read, and their side files.
    :param failed: also the records of failed cells, and their side files.
    :raises UsageError: when the folder does not exist.
    """
    if not results.is_dir():
        raise UsageError(f"results folder {results} does not exist; give --results FOLDER")
    found = [*_around(results), *(Leftover(path, "half written") for path in half_written(results))]
    for folder in _folders(results):
        for cell, paths in groupby(sorted(folder.iterdir()), _cell):
            if cell:
                found += _of_cell(folder / f"{cell}.json", list(paths), damaged, failed)
    return sorted(found, key=lambda leftover: leftover.path)


def _around(results: Path) -> Iterator[Leftover]:
    """Yield the checkpoints of cells that are done, and leases that nobody holds."""
    running = set()
    for holder in holders(results):
        if holder.gone:
            yield Leftover(holder.path, "lease of a process that is gone")
        else:
            running.add(holder.key)
    status, checkpoints = Store(results).scan().status(), results / CHECKPOINTS
    if checkpoints.is_dir() and not checkpoints.is_symlink():
        for folder in checkpoints.iterdir():
            if status.get(folder.name) == "done" and folder.name not in running and not folder.is_symlink():
                yield Leftover(folder, "checkpoints of a cell that is done")


def _folders(results: Path) -> Iterator[Path]:
    """Yield the folders SUITE/METHOD."""
    for suite in results.iterdir():
        if suite.is_dir() and not suite.is_symlink() and not suite.name.startswith("."):
            yield from (folder for folder in suite.iterdir() if folder.is_dir() and not folder.is_symlink())


def _cell(path: Path) -> str:
    """Return the cell that a file belongs to, by its name; nothing for a file that is not ours."""
    match = CELL_FILE.fullmatch(path.name)
    return match[1] if match and path.is_file() and not path.is_symlink() else ""


def _of_cell(path: Path, files: list[Path], damaged: bool, failed: bool) -> Iterator[Leftover]:
    """Yield what may go of the files of one cell. Side files that a damaged record may need stay as long as it does."""
    broken = [file for file in files if file.name.startswith(path.name) and file.name.endswith(DAMAGED)]
    own: set[str] = set()
    if path in files:
        try:
            record = read_record(path)
        except (OSError, ValueError):
            broken.append(path)
        else:
            own = {entry["name"] for entry in record["files"].values()}
            if failed and record["status"] == "failed":
                yield from (Leftover(file, "failed") for file in [path, *(path.parent / name for name in own)])
    # a young one may be of a record that is being written: side files come first
    unnamed = [
        file
        for file in files
        if SIDE_FILE.fullmatch(file.name.removeprefix(f"{path.stem}.")) and file.name not in own and is_stale(file)
    ]
    if not broken:
        yield from (Leftover(file, "no record names it") for file in unnamed)
    elif damaged:
        yield from (Leftover(file, "damaged") for file in [*broken, *unnamed])
