"""``mtlbench clean``: remove the leftovers of killed runs and repeated cells from a results folder.

Only such leftovers are ever removed, and only from the folder itself: links are not followed.
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
"""Rest of a side file's name after the cell's name: hash, kind, extension."""


@dataclass(frozen=True)
class Leftover:
    """A file, or a folder with the checkpoints of a cell, that can be removed.

    :param path: the file or folder.
    :param why: the reason.
    """

    path: Path
    why: str

    @property
    def size(self) -> int:
        """Size in bytes; for a folder, of all its files."""
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(file.lstat().st_size for file in files if not file.is_dir())

    def remove(self) -> None:
        """Remove the file or folder.

        :raises OSError: if that is not possible.
        """
        if self.path.is_dir():
            shutil.rmtree(self.path)
        else:
            self.path.unlink(missing_ok=True)


def leftovers(results: Path, *, damaged: bool, failed: bool) -> list[Leftover]:
    """Return everything that can be removed, sorted by path, without removing it.

    :param results: the results folder.
    :param damaged: whether to include records that cannot be read, and their side files.
    :param failed: whether to include the records of failed cells, and their side files.
    :raises UsageError: if the folder does not exist.
    """
    if not results.is_dir():
        raise UsageError(f"results folder {results} does not exist; give --results FOLDER")
    leftovers = [*_outside_cells(results), *(Leftover(path, "half written") for path in half_written(results))]
    for folder in _folders(results):
        for cell, paths in groupby(sorted(folder.iterdir()), _cell):
            if cell:
                leftovers += _of_cell(folder / f"{cell}.json", list(paths), damaged, failed)
    return sorted(leftovers, key=lambda leftover: leftover.path)


def _outside_cells(results: Path) -> Iterator[Leftover]:
    """Yield the checkpoints of finished cells, and the leases of dead processes."""
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
    """Yield the folders ``SUITE/METHOD``."""
    for suite in results.iterdir():
        if suite.is_dir() and not suite.is_symlink() and not suite.name.startswith("."):
            yield from (folder for folder in suite.iterdir() if folder.is_dir() and not folder.is_symlink())


def _cell(path: Path) -> str:
    """Return the name of the cell that a file belongs to; empty for other files and for links."""
    match = CELL_FILE.fullmatch(path.name)
    return match[1] if match and path.is_file() and not path.is_symlink() else ""


def _of_cell(path: Path, files: list[Path], damaged: bool, failed: bool) -> Iterator[Leftover]:
    """Yield the leftovers among the files of one cell. Side files stay while a damaged record may refer to them."""
    damaged_files = [file for file in files if file.name.startswith(path.name) and file.name.endswith(DAMAGED)]
    named: set[str] = set()
    if path in files:
        try:
            record = read_record(path)
        except (OSError, ValueError):
            damaged_files.append(path)
        else:
            named = {entry["name"] for entry in record["files"].values()}
            if failed and record["status"] == "failed":
                yield from (Leftover(file, "failed") for file in [path, *(path.parent / name for name in named)])
    # a recent file may belong to a record that is being written: side files are written first
    unnamed = [
        file
        for file in files
        if SIDE_FILE.fullmatch(file.name.removeprefix(f"{path.stem}.")) and file.name not in named and is_stale(file)
    ]
    if not damaged_files:
        yield from (Leftover(file, "no record names it") for file in unnamed)
    elif damaged:
        yield from (Leftover(file, "damaged") for file in [*damaged_files, *unnamed])
