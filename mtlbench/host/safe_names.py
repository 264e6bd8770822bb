"""Names from outside: none leads out of a folder, none gives orders to a terminal."""

from __future__ import annotations

import hashlib
import re

LONGEST = 100
"""Bytes of a folder's name. File systems take 255, and some encrypted ones 143."""
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices, with any ending."""


def folder_name(text: str) -> str:
    """Return a name for a folder that any file system takes: ASCII, not hidden, not reserved, not too long.

    Different texts may get one name: what must be told apart, a cell's key does.
    """
    name = re.sub(r"[^A-Za-z0-9._=,+-]+", "_", text).strip("_").lstrip(".") or "_"
    if RESERVED.fullmatch(name):
        name = f"_{name}"
    if len(name) > LONGEST:
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
        name = f"{name[: LONGEST - 9]}-{digest[:8]}"
    return name


def is_file_name(text: str) -> bool:
    """Whether a text names a file of the folder that it is used in, on any system, and of no other."""
    return text not in ("", ".", "..") and text.isprintable() and not re.search(r'[/\\:*?"<>|]', text)


def is_key(text: object) -> bool:
    """Whether something is a name that a command line, a table and a record's key can hold."""
    return isinstance(text, str) and re.fullmatch(r"[\w.-]+", text) is not None


def visible(text: str, keep: str = "") -> str:
    """Return text with every character that does not print written out, such as ``\\x1b``.

    Names and errors come from other people's files: a terminal must show escape sequences in them, not obey them.

    :param keep: characters to leave as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in keep else one.encode("unicode_escape").decode("ascii") for one in text
    )


def spreadsheet_cell(value: object) -> object:
    """Return a value for a CSV file so that a spreadsheet takes no text for a formula: an apostrophe is put before it.

    No method, task or suite has a name that begins with these characters, so programs that read the file lose nothing.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value
