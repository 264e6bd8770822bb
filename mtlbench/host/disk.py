"""Atomic file writes, and the output folders of commands."""

from __future__ import annotations

import os
from pathlib import Path

from mtlbench.errors import UsageError

TEMPORARY = ".writing-"
"""Prefix of the names of incomplete files."""


def write_whole(path: Path, *content: bytes | memoryview) -> None:
    """Write a file atomically: it appears complete or not at all, even after a power cut.

    :param path: the file; an existing one is replaced.
    :param content: the pieces of the content, in order, so that a large file need not be in memory as one.
    :raises OSError: if the file cannot be written, as on a full disk; no incomplete file is left behind.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        with temporary.open("wb") as handle:
            handle.writelines(content)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_text(path: Path, text: str) -> None:
    """Write a text that a user asked for, as UTF-8; missing folders are created.

    :param path: the file; an existing one is replaced.
    :param text: its content.
    :raises UsageError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def make_output_folder(folder: Path) -> None:
    """Create the output folder of a command before its work starts, so that a bad path costs no time.

    :param folder: the folder; its parents are created too.
    :raises UsageError: if it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}") from None
