"""Contents of a data file: decompression, decoding, and recognition of unreadable types."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtlbench.errors import UsageError, one_line

PACKERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
"""Ending of a compressed file → function that opens it."""
ENCODINGS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark is the first half of this one
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order mark → encoding. A file without one is UTF-8."""
OTHERS = {
    b"\x1f\x8b": "compressed with gzip: let its name end with .gz",
    b"BZh": "compressed with bzip2: let its name end with .bz2",
    b"\xfd7zXZ": "compressed with xz: let its name end with .xz",
    b"PK\x03\x04": "an archive or a spreadsheet: save its table as CSV",
    b"PAR1": "a parquet file: let its name end with .parquet",
}
"""First bytes of a file that is not text → its type and the remedy."""


def file_type(path: Path) -> str:
    """Return a file's ending in lower case, without that of its compression: ``.csv`` for ``a.csv.gz``."""
    return Path(path.stem if path.suffix.lower() in PACKERS else path).suffix.lower()


def read_text(path: Path) -> str:
    """Return a file's text, decompressed and without byte order mark.

    :raises UsageError: when the file cannot be read, decompressed or decoded.
    """
    data = _read_bytes(path)
    for start, description in OTHERS.items():
        if data.startswith(start):
            raise UsageError(f"data file {path} cannot be read: it is {description}")
    encoding = next((name for mark, name in ENCODINGS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as fault:
        line = data[: fault.start].decode(encoding, "ignore").count("\n") + 1
        name, byte = encoding.removesuffix("-sig").upper(), data[fault.start]
        raise UsageError(f"{path}, line {line}: byte 0x{byte:02x} is not {name}; save the file as UTF-8") from None
    position = text.find("\0")
    if position >= 0:
        line = text.count("\n", 0, position) + 1
        raise UsageError(f"{path}, line {line}: a zero byte: damaged, or in another encoding; save the file as UTF-8")
    return text


def _read_bytes(path: Path) -> bytes:
    try:
        with PACKERS.get(path.suffix.lower(), open)(path, "rb") as file:
            data: bytes = file.read()
            return data
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as fault:
        raise cannot_read(path, fault) from None


def cannot_read(path: Path, fault: Exception) -> UsageError:
    """Return the error for a file that cannot be read.

    :param path: the file.
    :param fault: the exception that reading it raised.
    """
    reason = getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
    return UsageError(f"data file {path} cannot be read: {one_line(reason, 120)}")
