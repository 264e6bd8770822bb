"""Figures as files, for papers: black ink on white."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mtlbench.errors import UsageError, unknown
from mtlbench.report.figures.figure import METADATA, Figure

FORMATS = tuple(METADATA)


def save_figures(figures: Sequence[Figure], folder: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write every figure in every format; the same figures give the same bytes.

    Figures of several groups lie in a folder for each: ``1``, ``2``, in the order of the report.

    :param folder: made if it is not there.
    :param formats: some of :data:`FORMATS`.
    :return: the files.
    :raises UsageError: when a format is unknown, or the folder cannot be written to.
    """
    for format in formats:
        if format not in FORMATS:
            raise unknown("figure format", format, FORMATS)
    groups = list(dict.fromkeys(figure.group for figure in figures))
    written = []
    try:
        for figure in figures:
            into = folder if len(groups) == 1 else folder / str(groups.index(figure.group) + 1)
            into.mkdir(parents=True, exist_ok=True)
            for format in formats:
                path = into / f"{figure.name}.{format}"
                path.write_bytes(figure.file(format))
                written.append(path)
    except OSError as error:
        raise UsageError(f"cannot write figures to {folder}: {error.strerror}") from None
    return written
