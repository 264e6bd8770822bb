"""Names of methods and seeds in sentences, lists and figures of groups that have many of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

MANY: Final = 8
"""A group of more methods than this is described by counts and examples: nobody reads a sentence of 40 names."""
EXAMPLES: Final = 3
"""Names that a sentence on many methods gives."""


def labels(methods: Iterable[str]) -> dict[str, str]:
    """Return a short label for each method: of many, its bare name where no other method has it; else its spec.

    :param methods: specs of all methods of the group.
    """
    methods = list(methods)
    if len(methods) <= MANY:
        return {method: method for method in methods}
    bare = {method: re.sub(r"\[.*\]", "", method) for method in methods}  # "sum (A)" keeps the folder that it is from
    counts = Counter(bare.values())
    return {method: name if counts[name] == 1 else method for method, name in bare.items()}


def listed(words: Sequence[str], last: str = "and") -> str:
    """Join words with commas and a conjunction.

    :param words: at least one.
    :param last: the conjunction.
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def examples(words: Sequence[str], most: int = EXAMPLES) -> str:
    """Join the first few words and count the others.

    :param words: at least one, the most telling first.
    :param most: most words to give; one more is given where it would be the only one left out.
    """
    more = len(words) - most
    return listed(words) if more <= 1 else f"{', '.join(words[:most])} and {more} more"


def seed_list(seeds: Iterable[int]) -> str:
    """Return ``seed 3`` or ``seeds 0, 4-19``.

    :param seeds: in any order.
    """
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    words = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return f"seed{'s' if sum(map(len, runs)) > 1 else ''} {', '.join(words)}"
