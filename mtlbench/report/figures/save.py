"""Figures as files, for papers: black ink on white."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from mtlbench.errors import UsageError, unknown
from mtlbench.report.figures import style
from mtlbench.report.figures.figure import Figure
from mtlbench.report.figures.svg import UNDATED

FORMATS: Final = ("svg", "png", "pdf")
METADATA: dict[str, dict[str, Any]] = {
    "svg": UNDATED,
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
DPI = 200


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
            with style.drawn(figure.draw, style.PRINT) as canvas:
                for format in formats:
                    path = into / f"{figure.name}.{format}"
                    canvas.savefig(path, dpi=DPI, facecolor=style.PRINT.paper, metadata=METADATA[format])
                    written.append(path)
    except OSError as error:
        raise UsageError(f"cannot write figures to {folder}: {error.strerror}") from None
    return written
