"""Checkpoints of a cell in training: from one, another process goes on with the same bits.

``RESULTS/.checkpoints/KEY/STEP-SHA256.safetensors``. A file appears whole or not at all, and its name contains the hash
of its content, so a torn or changed file is detected; the checkpoint before it is kept for that case.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from mtlbench.host.disk import write_whole
from mtlbench.host.provenance import versions
from mtlbench.training.state_codec import DTYPES, Tensors, flatten, unflatten

SCHEMA = 2
"""Version of the state's form."""
KEPT = 2
"""Checkpoints to keep per cell: the newest, and the one before in case the newest is damaged."""
SHARE = 0.03
"""Largest share of the time spent on writing checkpoints: the slower the writes, the longer the intervals."""
NAME = re.compile(r"(\d{9,})-([0-9a-f]{64})\.safetensors")


class Checkpoints:
    """The checkpoints of one cell. Only the process with the cell's lease uses them.

    :param folder: ``RESULTS/.checkpoints``; the results folder itself exists.
    :param key: the cell's key. It covers everything that decides the result, so a checkpoint fits only its own cell.
    :param every: seconds between two checkpoints; with 0, none is written or read.
    :param tell: is called with a line for display about every unusable checkpoint.
    :param libraries: packages that affect the cell's result besides those that affect every cell's.
    """

    def __init__(
        self, folder: Path, key: str, *, every: float, tell: Callable[[str], None], libraries: Sequence[str] = ()
    ) -> None:
        self.folder, self.every = folder / key, every
        self._key, self._tell, self._libraries = key, tell, libraries
        self._next = time.monotonic() + every  # monotonic: setting the system's clock does not matter

    def due(self, *, stopping: bool) -> bool:
        """Whether it is time for the next checkpoint.

        :param stopping: whether the process is about to end, which makes a checkpoint due at once.
        """
        return self.every > 0.0 and (stopping or time.monotonic() >= self._next)

    def save(self, step: int, state: Callable[[], Any]) -> None:
        """Write a checkpoint, then remove all but the last two.

        :param step: steps done.
        :param state: returns the state to write; its time counts as writing.
        :raises NotStorable: when the state contains a value that a file cannot hold.
        :raises OSError: when writing fails, as on a full disk. Earlier checkpoints are kept.
        """
        begun = time.monotonic()
        try:
            for folder in (self.folder.parent, self.folder):
                folder.mkdir(exist_ok=True)  # without parents: a removed results folder is not created again
                if folder.is_symlink():
                    raise OSError(f"{folder} is a link, which may lead anywhere")
            identity = {"schema": SCHEMA, "key": self._key, "step": step, "versions": versions(self._libraries)}
            content = _packed(*flatten(state()), identity)
            digest = hashlib.sha256()
            for piece in content:
                digest.update(piece)
            write_whole(self.folder / f"{step:09d}-{digest.hexdigest()}.safetensors", *content)
            self._remove_but(self._files()[:KEPT])
        finally:  # also after a failure: with a full disk, not every step tries again
            spent = time.monotonic() - begun
            self._next = time.monotonic() + max(self.every, spent / SHARE)

    def newest(self) -> Any | None:
        """Return the state of the newest usable checkpoint, or ``None``; remove unusable ones."""
        if self.every > 0.0:
            for path in self._files():
                try:
                    return _unpacked(path, self._key, versions(self._libraries))
                except (OSError, ValueError) as reason:
                    self._tell(f"checkpoint {path.name} is no use: {reason}")
                    self._remove_but([other for other in self._files() if other != path])
        return None

    def clear(self) -> None:
        """Remove all checkpoints of the cell; its record is written."""
        if not self.folder.is_symlink():
            shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        """Return the checkpoint files, the newest first."""
        if self.folder.is_symlink() or not self.folder.is_dir():
            return []
        return sorted((path for path in self.folder.iterdir() if NAME.fullmatch(path.name)), reverse=True)

    def _remove_but(self, remaining: list[Path]) -> None:
        """Remove all other files, including half-written ones of killed processes."""
        for path in self.folder.iterdir():
            if path not in remaining:
                with contextlib.suppress(OSError):  # a file that stays only takes space
                    path.unlink()


def _packed(tree: Any, tensors: Tensors, identity: dict[str, Any]) -> list[bytes | memoryview]:
    """Return the pieces of a safetensors file; tensors' pieces are views of their memory, not copies.

    The format: eight bytes with the header's length, the header in JSON, and the tensors' bytes, without gaps.
    """
    about = {"checkpoint": json.dumps(identity), "state": json.dumps(tree, allow_nan=False)}
    header: dict[str, Any] = {"__metadata__": about}
    pieces, end = list[bytes | memoryview](), 0
    for name, tensor in sorted(tensors.items(), key=lambda item: -item[1].element_size()):  # so that all are aligned
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        pieces.append(tensor.reshape(-1).view(torch.uint8).numpy().data)
    first = json.dumps(header).encode()
    first += b" " * (-len(first) % 8)
    return [len(first).to_bytes(8, "little"), first, *pieces]


def _unpacked(path: Path, key: str, ours: dict[str, str]) -> Any:
    """Return the state in a checkpoint.

    :raises OSError: when it cannot be read.
    :raises ValueError: when it is damaged, or this process cannot go on from it.
    """
    _check_whole(path)
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata()
            reasons = list(_misfits(json.loads(about["checkpoint"]), key, ours))
            # copies, in memory that torch allocates: the file's own memory goes when the file is removed
            tensors = {} if reasons else {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  not a dict
            tree = json.loads(about["state"])
    except Exception as error:  # a file with the right hash that this program did not write
        raise ValueError(f"not a checkpoint: {type(error).__name__}: {error}") from None
    if reasons:
        raise ValueError(reasons[0])
    return unflatten(tree, tensors)


def read_parts(path: Path, *names: str) -> list[Any]:
    """Return some members of the state in a checkpoint of any cell and any versions. Other tensors are not read.

    :param path: of the checkpoint.
    :param names: of the members.
    :raises OSError: when the file cannot be read.
    :raises ValueError: when it is damaged, or lacks a member.
    """
    _check_whole(path)
    try:
        with safe_open(path, "pt") as file:
            members = dict(json.loads(file.metadata()["state"])["dict"])
            return [unflatten(members[name], _Tensors(file)) for name in names]
    except Exception as error:  # a file with the right hash that this program did not write
        raise ValueError(f"not a checkpoint: {type(error).__name__}: {error}") from None


class _Tensors(dict[str, torch.Tensor]):
    """The tensors of an open file, each read on access."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __missing__(self, name: str) -> torch.Tensor:
        tensor: torch.Tensor = self._file.get_tensor(name)
        return tensor


def newest_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the key and the newest checkpoint of every cell that has checkpoints.

    :param folder: ``RESULTS/.checkpoints``.
    """
    for cell in sorted(folder.iterdir()) if folder.is_dir() else []:
        paths = [path for path in cell.glob("*.safetensors") if NAME.fullmatch(path.name)]
        if paths:
            yield cell.name, max(paths)


def _check_whole(path: Path) -> None:
    with path.open("rb") as handle:
        if not path.stem.endswith(hashlib.file_digest(handle, "sha256").hexdigest()):
            raise ValueError("torn, or changed since it was written")


def _misfits(identity: dict[str, Any], key: str, ours: dict[str, str]) -> Iterator[str]:
    """Yield reasons not to go on from a checkpoint. Other versions may compute other bits, which would mix two runs."""
    if identity.get("schema") != SCHEMA:
        yield f"schema {identity.get('schema')}; this mtlbench reads schema {SCHEMA}"
    if identity.get("key") != key:
        yield f"of another cell, {str(identity.get('key'))[:12]}"
    writers = identity.get("versions", {})
    for package in ours:
        if writers.get(package) != ours[package]:
            yield f"made with {package} {writers.get(package)}, not {ours[package]}"
