"""What a cell of a table says, whatever wrote it: nothing, a number, a truth value, a name, or a list of these."""

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
"""What pandas takes for a value that is not there; upper or lower case is one."""
TRUTH = {"true": 1.0, "false": 0.0}
PAIRS = {"[": "]", "(": ")", "{": "}"}
_SCALAR = re.compile(r"\bnp\.\w+\(([^()]*)\)")
"""A number or text of NumPy's, as it is written in a list since NumPy 2: ``np.int64(2)``."""
_ITEM = re.compile(
    r"""\s*(?:(?P<single>'(?:[^'\\]|\\.)*')|(?P<double>"(?:[^"\\]|\\.)*")|(?P<bare>[^,'"\[\](){}]+))\s*(?:,|(?=['"])|$)""",
    re.DOTALL,
)
"""An item of a list, in quotes or bare, and the comma after it; NumPy puts none between texts."""


def is_missing(cell: Any) -> bool:
    """Whether a cell holds nothing: no value, white space, or not-a-number as a number."""
    if isinstance(cell, str):
        return not cell.strip()
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def is_marker(cell: Any, names: Sequence[str] = ()) -> bool:
    """Whether a label is written as missing, such as ``NA`` or ``nan``.

    :param names: of classes: one called ``n/a`` is a class, and ``N/A`` beside it is not taken for missing.
    """
    text = cell.strip().casefold() if isinstance(cell, str) else ""
    return text in MARKERS and all(text != name.casefold() for name in names)


def as_text(cell: Any) -> str:
    """Return a cell as text without white space around it; numbers as they are written.

    :raises ValueError: when it is none.
    """
    if isinstance(cell, bytes):  # how older writers of parquet keep text
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
    except UnicodeEncodeError:  # JSON can hold "\ud800", half a character, which no tokenizer takes
        raise ValueError(f"text {shown(cell)} holds half a surrogate pair") from None
    return cell.strip()


def as_number(cell: Any) -> float:
    """Return a cell as a finite number; true and false are 1 and 0.

    :raises ValueError: when it is none.
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

    :raises ValueError: when it is neither.
    """
    value = _value(cell)
    if value not in (0, 1):
        raise ValueError(f"label {shown(cell)} is neither 0 nor 1")
    return int(value)


def find_name(cell: Any, names: Sequence[str]) -> int | None:
    """Return the place of the name that a cell holds; ``None`` if it holds none of them.

    A name is found as it is written, or by its value: ``5``, ``5.0`` and ``"5"`` are one, and ``True``, ``true`` and 1,
    since files differ in how they keep them. A value that two names have is neither.
    """
    text = cell.strip() if isinstance(cell, str) else str(cell)
    if text in names:
        return names.index(text)
    value = _value(cell)
    places = [place for place, name in enumerate(names) if _value(name) == value]
    return places[0] if len(places) == 1 else None


def _value(cell: Any) -> Decimal | str:
    """Return the number that a cell is, exactly, or else its text."""
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
    """Return the items of a cell that holds several: a list, or a text.

    A text has ``|``, ``;`` or ``,`` between its items, the first of them that is there; or it is a list as JSON, Python
    or NumPy write it: ``["joy", "fear"]``, ``{0, 2}``, ``['joy' 'fear']``.

    :param names: a text that is one of them is one item, whatever is in it.
    :raises ValueError: when it is neither.
    """
    if isinstance(cell, list | tuple):
        return list(cell)
    if not isinstance(cell, str):
        raise ValueError(f"label {shown(cell)} is neither a list nor a text with | between labels")
    text = cell.strip()
    if text in names:
        return [text]
    if text[:1] in PAIRS and text[-1:] == PAIRS[text[:1]] and len(text) > 1:
        return _listed(_SCALAR.sub(r"\1", text)[1:-1].strip(), cell)
    if text == "set()":
        return []
    separator = next((mark for mark in "|;," if mark in text), "|")
    return [piece.strip() for piece in text.split(separator) if piece.strip()]


def _listed(text: str, cell: str) -> list[str]:
    """Return the items of a list, between its brackets."""
    if not re.search(r"""[,'"\[\](){}]""", text):
        return text.split()
    items, place = [], 0
    while place < len(text):
        match = _ITEM.match(text, place)
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
        place = match.end()
    return items
