"""Figures as files for papers, in dark ink on white."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mtlbench.errors import UsageError, unknown
from mtlbench.report.figures.figure import METADATA, Figure

FORMATS = tuple(METADATA)


def save_figures(figures: Sequence[Figure], folder: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write every figure in every format; the same figures give the same bytes.

    With several groups, each group gets a folder, ``1``, ``2``, …, in the order of the report.

    :param figures: the figures.
    :param folder: folder to write to, created if needed.
    :param formats: formats out of :data:`FORMATS`.
    :returns: paths of the files.
    :raises UsageError: when a format is unknown or the folder is not writable.
    """
    for format in formats:
        if format not in FORMATS:
            raise unknown("figure format", format, FORMATS)
    groups = list(dict.fromkeys(figure.group for figure in figures))
    paths = []
    try:
        for figure in figures:
            target = folder if len(groups) == 1 else folder / str(groups.index(figure.group) + 1)
            target.mkdir(parents=True, exist_ok=True)
            for format in formats:
                path = target / f"{figure.name}.{format}"
                path.write_bytes(figure.file(format))
                paths.append(path)
    except OSError as error:
        raise UsageError(f"cannot write figures to {folder}: {error.strerror}") from None
    return paths
