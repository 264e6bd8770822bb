"""Make names from files safe for paths, terminals and spreadsheets."""

from __future__ import annotations

import hashlib
import re

LONGEST = 100
"""Maximum length of a folder's name, in bytes. File systems allow 255, some encrypted ones 143."""
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows reserves for devices, with any extension."""


def folder_name(text: str) -> str:
    """Return a folder name valid on any file system: ASCII, not hidden, not reserved, not too long.

    Different texts may get the same name: cells are distinguished by their keys.

    :param text: any text, such as the spec of a method.
    """
    name = re.sub(r"[^A-Za-z0-9._=,+-]+", "_", text).strip("_").lstrip(".") or "_"
    if RESERVED.fullmatch(name):
        name = f"_{name}"
    if len(name) > LONGEST:
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
        name = f"{name[: LONGEST - 9]}-{digest[:8]}"
    return name


def is_file_name(text: str) -> bool:
    """Return whether a text is a plain file name on any system, without a path to another folder.

    :param text: any text.
    """
    return text not in ("", ".", "..") and text.isprintable() and not re.search(r'[/\\:*?"<>|]', text)


def is_key(text: object) -> bool:
    """Return whether a value is a name that is safe in command lines, tables and records: letters, digits, ``_.-``.

    :param text: any value; only strings can be names.
    """
    return isinstance(text, str) and re.fullmatch(r"[\w.-]+", text) is not None


def visible(text: str, keep: str = "") -> str:
    """Return a text with each nonprintable character replaced by its escape, such as ``\\x1b``.

    Names and errors come from other people's files: a terminal must show their escape sequences, not execute them.

    :param text: any text.
    :param keep: characters to leave unchanged.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode("ascii") for char in text
    )


def spreadsheet_cell(value: object) -> object:
    """Return a value for a CSV file, with an apostrophe before any text that a spreadsheet would take for a formula.

    No name of a method, task or suite begins with these characters, so other readers of the file lose nothing.

    :param value: the value; only strings are changed.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value
