"""Checkpoints of a cell in training: what a process writes so that the next one goes on where it ended, bit for bit.

``RESULTS/.checkpoints/KEY/STEP-SHA256.safetensors``. A file appears whole or not at all, and its name holds the hash of
its content, so one that was torn or changed since is known; the one before it is kept for that case.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from mtlbench.host.disk import write_whole
from mtlbench.host.provenance import versions
from mtlbench.training.state_codec import DTYPES, Tensors, flatten, unflatten

SCHEMA = 2
KEPT = 2
"""Checkpoints of a cell that are kept: the newest, and the one before, should the newest be damaged."""
SHARE = 0.03
"""Share of the time that may go into writing them: where a write takes long, they are further apart."""
NAME = re.compile(r"(\d{9,})-([0-9a-f]{64})\.safetensors")


class Checkpoints:
    """The checkpoints of one cell. One process at a time uses them: the one that has the cell's lease.

    :param folder: ``RESULTS/.checkpoints``; the results folder itself is there already.
    :param key: the cell's key: it covers all that decides the result, so a checkpoint fits its cell and no other.
    :param every: seconds between two; 0: none is written, and none is looked for.
    :param tell: gets a line for people about every checkpoint that is no use.
    """

    def __init__(self, folder: Path, key: str, *, every: float, tell: Callable[[str], None]) -> None:
        self.folder, self.every = folder / key, every
        self._key, self._tell = key, tell
        self._next = time.monotonic() + every  # this clock goes on evenly when somebody sets the other

    def due(self, *, stopping: bool) -> bool:
        """Whether it is time for the next one: it is at once where the process is about to end."""
        return self.every > 0.0 and (stopping or time.monotonic() >= self._next)

    def save(self, step: int, state: Callable[[], Any]) -> None:
        """Write the checkpoint after a number of steps, then remove all but the last two.

        :param state: makes what to write; the time that takes counts as writing.
        :raises NotStorable: when the state holds what a file cannot.
        :raises OSError: when it cannot be written, as on a full disk. Those before it are still there.
        """
        begun = time.monotonic()
        try:
            for folder in (self.folder.parent, self.folder):
                folder.mkdir(exist_ok=True)  # not its parents: a results folder that was removed is not made again
                if folder.is_symlink():
                    raise OSError(f"{folder} is a link, which may lead anywhere")
            content = _packed(*flatten(state()), {"schema": SCHEMA, "key": self._key, "step": step})
            digest = hashlib.sha256()
            for piece in content:
                digest.update(piece)
            write_whole(self.folder / f"{step:09d}-{digest.hexdigest()}.safetensors", *content)
            self._remove_but(self._found()[:KEPT])
        finally:  # also after a failure: a full disk is not tried again at every step
            spent = time.monotonic() - begun
            self._next = time.monotonic() + max(self.every, spent / SHARE)

    def newest(self) -> Any | None:
        """Return the state of the newest checkpoint that is whole and fits, or ``None``; remove those that do not."""
        if self.every > 0.0:
            for path in self._found():
                try:
                    return _unpacked(path, self._key)
                except (OSError, ValueError) as reason:
                    self._tell(f"checkpoint {path.name} is no use: {reason}")
                    self._remove_but([other for other in self._found() if other != path])
        return None

    def clear(self) -> None:
        """Remove them all: the cell's record is written."""
        if not self.folder.is_symlink():
            shutil.rmtree(self.folder, ignore_errors=True)

    def _found(self) -> list[Path]:
        """Return the checkpoints, the newest first."""
        if self.folder.is_symlink() or not self.folder.is_dir():
            return []
        return sorted((path for path in self.folder.iterdir() if NAME.fullmatch(path.name)), reverse=True)

    def _remove_but(self, kept: list[Path]) -> None:
        """Remove all other files, also what a killed process left half written."""
        for path in self.folder.iterdir():
            if path not in kept:
                with contextlib.suppress(OSError):  # one that stays only takes room
                    path.unlink()


def _packed(tree: Any, tensors: Tensors, identity: dict[str, Any]) -> list[bytes | memoryview]:
    """Return the pieces of a safetensors file; those of tensors are their own memory, not copies of it.

    The format: eight bytes with the header's length, the header in JSON, and the tensors' bytes, without gaps.
    """
    about = {"checkpoint": json.dumps(identity | {"versions": versions()}), "state": json.dumps(tree, allow_nan=False)}
    header: dict[str, Any] = {"__metadata__": about}
    pieces, end = list[bytes | memoryview](), 0
    for name, tensor in sorted(tensors.items(), key=lambda item: -item[1].element_size()):  # so that all are aligned
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        pieces.append(tensor.reshape(-1).view(torch.uint8).numpy().data)
    first = json.dumps(header).encode()
    first += b" " * (-len(first) % 8)
    return [len(first).to_bytes(8, "little"), first, *pieces]


def _unpacked(path: Path, key: str) -> Any:
    """Return the state in a checkpoint.

    :raises OSError: when it cannot be read.
    :raises ValueError: when it is not whole, or not one that this process can go on from.
    """
    _check_whole(path)
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata()
            reasons = list(_misfits(json.loads(about["checkpoint"]), key))
            # copies: in memory that torch allocated, as before, and not in the file's, which is going to be removed
            tensors = {} if reasons else {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  it is no dict
            tree = json.loads(about["state"])
    except Exception as error:  # a file with the right hash that this program did not write
        raise ValueError(f"not a checkpoint: {type(error).__name__}: {error}") from None
    if reasons:
        raise ValueError(reasons[0])
    return unflatten(tree, tensors)


def read_parts(path: Path, *names: str) -> list[Any]:
    """Return some members of the state in a checkpoint, of whatever cell and versions: other tensors are not read.

    :raises OSError: when it cannot be read.
    :raises ValueError: when it is not whole, or has no such members.
    """
    _check_whole(path)
    try:
        with safe_open(path, "pt") as file:
            members = dict(json.loads(file.metadata()["state"])["dict"])
            return [unflatten(members[name], _Tensors(file)) for name in names]
    except Exception as error:  # a file with the right hash that this program did not write
        raise ValueError(f"not a checkpoint: {type(error).__name__}: {error}") from None


class _Tensors(dict[str, torch.Tensor]):
    """The tensors of an open file, each read when it is asked for."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __missing__(self, name: str) -> torch.Tensor:
        found: torch.Tensor = self._file.get_tensor(name)
        return found


def newest_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the key and the newest checkpoint of every cell that has any.

    :param folder: ``RESULTS/.checkpoints``.
    """
    for cell in sorted(folder.iterdir()) if folder.is_dir() else []:
        found = [path for path in cell.glob("*.safetensors") if NAME.fullmatch(path.name)]
        if found:
            yield cell.name, max(found)


def _check_whole(path: Path) -> None:
    with path.open("rb") as handle:
        if not path.stem.endswith(hashlib.file_digest(handle, "sha256").hexdigest()):
            raise ValueError("torn, or changed since it was written")


def _misfits(identity: dict[str, Any], key: str) -> Iterator[str]:
    """Yield why a checkpoint is not one to go on from. Other versions may compute other bits: no run would be both."""
    if identity.get("schema") != SCHEMA:
        yield f"schema {identity.get('schema')}; this mtlbench reads schema {SCHEMA}"
    if identity.get("key") != key:
        yield f"of another cell, {str(identity.get('key'))[:12]}"
    made_with, here = identity.get("versions", {}), versions()
    for package in here:
        if made_with.get(package) != here[package]:
            yield f"made with {package} {made_with.get(package)}, not {here[package]}"
