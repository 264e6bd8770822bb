"""Parsing of table cells, as different programs write them: missing values, numbers, booleans, names and lists."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from mtlbench.contract.numerals import is_plain, number
from mtlbench.errors import shown

MARKERS = frozenset(["na", "n/a", "#n/a", "#n/a n/a", "#na", "<na>", "nan", "-nan", "null", "none"])
"""Texts that pandas reads as missing values, in lower case; compared without case."""
TRUTH = {"true": 1.0, "false": 0.0}
PAIRS = {"[": "]", "(": ")", "{": "}"}
_SCALAR = re.compile(r"\bnp\.\w+\(([^()]*)\)")
"""A NumPy scalar as NumPy 2 writes it in a list: ``np.int64(2)``."""
_ITEM = re.compile(
    r"""\s*(?:(?P<single>'(?:[^'\\]|\\.)*')|(?P<double>"(?:[^"\\]|\\.)*")|(?P<bare>[^,'"\[\](){}]+))\s*(?:,|(?=['"])|$)""",
    re.DOTALL,
)
"""A list item, quoted or bare, and the comma after it; NumPy writes no comma between texts."""


def is_missing(cell: Any) -> bool:
    """Return whether a cell is empty: null, only white space, or a NaN."""
    if isinstance(cell, str):
        return not cell.strip()
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def is_marker(cell: Any, names: Sequence[str] = ()) -> bool:
    """Return whether a label is a marker of a missing value, such as ``NA`` or ``nan``.

    :param cell: the label.
    :param names: declared classes. If one of them is ``n/a``, neither ``n/a`` nor ``N/A`` counts as missing.
    """
    text = cell.strip().casefold() if isinstance(cell, str) else ""
    return text in MARKERS and all(text != name.casefold() for name in names)


def as_text(cell: Any) -> str:
    """Return a cell as text, without surrounding white space; numbers as they are written.

    :raises ValueError: when the cell is neither text nor a number.
    """
    if isinstance(cell, bytes):  # older parquet writers store text as bytes
        try:
            cell = cell.decode()
        except UnicodeDecodeError:
            raise ValueError(f"text {shown(cell)} is not UTF-8") from None
    if isinstance(cell, int | float | Decimal) and not isinstance(cell, bool):
        cell = str(cell)
    if not isinstance(cell, str):
        raise ValueError(f"{shown(cell)} is not text")
    try:
        cell.encode()
    except UnicodeEncodeError:  # JSON can hold a lone surrogate such as "\ud800", which tokenizers reject
        raise ValueError(f"text {shown(cell)} holds half a surrogate pair") from None
    return cell.strip()


def as_number(cell: Any) -> float:
    """Return a cell as a finite number; true and false are 1 and 0.

    :raises ValueError: when the cell is not a finite number.
    """
    text = cell.strip() if isinstance(cell, str) else ""
    try:
        value = number(cell) if isinstance(cell, str) else float(cell)
    except (TypeError, ValueError, OverflowError):
        value = TRUTH.get(text.casefold(), math.nan)
    if not math.isfinite(value):
        hint = "; write decimals with a point" if re.fullmatch(r"[+-]?[0-9]+,[0-9]+", text) else ""
        raise ValueError(f"label {shown(cell)} is not a number{hint}")
    return value


def as_flag(cell: Any) -> int:
    """Return a cell as 0 or 1.

    :raises ValueError: when the cell is neither 0 nor 1.
    """
    value = _value(cell)
    if value not in (0, 1):
        raise ValueError(f"label {shown(cell)} is neither 0 nor 1")
    return int(value)


def find_name(cell: Any, names: Sequence[str]) -> int | None:
    """Return the index of the name that a cell holds; ``None`` if it holds none of them.

    Names match by their spelling, else by their value, since formats store values differently: ``5``, ``5.0`` and
    ``"5"`` are equal, and so are ``True``, ``true`` and 1. A value that two names share matches neither.

    :param cell: the cell.
    :param names: the declared names.
    """
    text = cell.strip() if isinstance(cell, str) else str(cell)
    if text in names:
        return names.index(text)
    value = _value(cell)
    indices = [index for index, name in enumerate(names) if _value(name) == value]
    return indices[0] if len(indices) == 1 else None


def _value(cell: Any) -> Decimal | str:
    """Return a cell's exact number, or its text if it is not a number."""
    if isinstance(cell, bool):
        return Decimal(cell)
    text = str(cell).strip()
    if text.casefold() in TRUTH:
        return Decimal(TRUTH[text.casefold()])
    try:
        value = Decimal(text) if is_plain(text) else Decimal("nan")
    except InvalidOperation:
        return text
    return value if value.is_finite() else text


def as_list(cell: Any, names: Sequence[str] = ()) -> list[Any]:
    """Return the items of a cell that holds a list.

    The cell is a list, a text in which ``|``, ``;`` or ``,`` separates items (the first of the three that occurs), or
    a text with a list as JSON, Python or NumPy write it: ``["joy", "fear"]``, ``{0, 2}``, ``['joy' 'fear']``.

    :param cell: the cell.
    :param names: declared names; a text that equals one of them is a single item, whatever characters it has.
    :raises ValueError: when the cell is neither a list nor a text, or the list cannot be parsed.
    """
    if isinstance(cell, list | tuple):
        return list(cell)
    if not isinstance(cell, str):
        raise ValueError(f"label {shown(cell)} is neither a list nor a text with | between labels")
    text = cell.strip()
    if text in names:
        return [text]
    if text[:1] in PAIRS and text[-1:] == PAIRS[text[:1]] and len(text) > 1:
        return _parse_items(_SCALAR.sub(r"\1", text)[1:-1].strip(), cell)
    if text == "set()":
        return []
    separator = next((mark for mark in "|;," if mark in text), "|")
    return [item.strip() for item in text.split(separator) if item.strip()]


def _parse_items(text: str, cell: str) -> list[str]:
    """Return the items of a list.

    :param text: the list without its brackets.
    :param cell: the whole cell, for messages.
    """
    if not re.search(r"""[,'"\[\](){}]""", text):
        return text.split()
    items, position = [], 0
    while position < len(text):
        match = _ITEM.match(text, position)
        if match is None:
            raise ValueError(f"label {shown(cell)} cannot be read as a list")
        single, double, bare = match.groups()
        if double:
            try:
                items.append(str(json.loads(double)))
            except ValueError:
                raise ValueError(f"label {shown(cell)} cannot be read as a list") from None
        else:
            items.append(re.sub(r"\\(.)", r"\1", single[1:-1]) if single else bare.strip())
        position = match.end()
    return items
