"""``mtlbench map --report``: the page and the figures of a map that was trained before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mtlbench.map.figures import save_figures
from mtlbench.map.load import load_map
from mtlbench.map.page import write_page


def write_report(results: Path, preset: str, page: Path | None, figures: Path | None) -> Iterator[str]:
    """Write the page, the figures, or both, and train nothing.

    :param results: the results folder.
    :param preset: name of the preset.
    :param page: file of the page.
    :param figures: folder of the figures.
    :returns: a line for each file that was written, and for each part of the map that is damaged and left out.
    :raises UsageError: when there is no such map, or a file cannot be written.
    """
    result, damaged = load_map(results, preset)
    for line in damaged:
        yield f"left out: {line}"
    if page is not None:
        write_page(result, page)
        yield f"wrote {page}"
    if figures is not None:
        for path in save_figures(result, figures):
            yield f"wrote {path}"
