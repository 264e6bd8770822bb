"""``mtlbench study``: from a results folder to its page."""

from __future__ import annotations

from pathlib import Path

from mtlbench.errors import UsageError
from mtlbench.store import Store
from mtlbench.study.page import Page, render
from mtlbench.study.parts import study_of

PAGE = "README.md"


def write_study(results: Path, output: Path) -> list[Path]:
    """Write the page of a results folder and its figures, and return the files.

    :raises UsageError: when there are no records, or the folder cannot be written to.
    """
    found = Store(results).scan()
    if not found.records:
        raise UsageError(f"no records in {results}; run mtlbench run first, or give --results FOLDER")
    page = Page(study_of(found.records), output)
    text = render(page)
    file = output / PAGE
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from None
    return [file, *page.written]
