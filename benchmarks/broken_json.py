"""Changes of JSON data that leave it JSON."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

HOSTILE: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**400,
    0.5,
    float("nan"),
    float("inf"),
    "",
    "a",
    "../x",
    "\0",
    "\ud800",
    [],
    {},
    [[]],
)
Way = tuple[Any, ...]
"""The keys and indices that lead to a part."""


def ways(value: Any, above: Way = ()) -> Iterator[Way]:
    """Yield the way to every part of JSON data."""
    if above:
        yield above
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from ways(inner, (*above, key))


def changed(value: Any, changes: Sequence[tuple[Way, Any]]) -> Any:
    """Return a copy with parts replaced, or removed where the new part is ``...``."""
    made = copy.deepcopy(value)
    for way, new in changes:
        inner = made
        try:
            for key in way[:-1]:
                inner = inner[key]
            if new is ...:
                del inner[way[-1]]
            else:
                inner[way[-1]] = new
        except (KeyError, IndexError, TypeError):  # an earlier change took that part away
            continue
    return made


def mutated(text: bytes, seed: int) -> bytes | None:
    """Return a text with one part of the JSON in one of its lines removed or replaced, by whatever comes to hand.

    :return: ``None`` where the line is not JSON, or has no parts.
    """
    dice = random.Random(seed)
    lines = text.splitlines() or [b""]
    place = dice.randrange(len(lines))
    try:
        value = json.loads(lines[place])
        found = list(ways(value))
    except (ValueError, RecursionError):
        return None
    if not found:
        return None
    way, other = dice.choice(found), value
    for key in dice.choice(found):
        other = other[key]
    new = dice.choice([..., dice.choice(HOSTILE), other, dice.randrange(-9, 99), 2.0 ** dice.randrange(-60, 70)])
    lines[place] = json.dumps(changed(value, [(way, new)])).encode()
    return b"\n".join(lines)
