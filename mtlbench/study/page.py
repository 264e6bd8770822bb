"""The study page: a template, filled from the records."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from mtlbench.errors import UsageError
from mtlbench.grid.tuned_file import Tuned
from mtlbench.report.blocks import Block
from mtlbench.report.document import document
from mtlbench.report.figures.figure import Figure, Unavailable
from mtlbench.report.figures.save import save_figures
from mtlbench.report.markdown import escape
from mtlbench.report.markdown import render as markdown
from mtlbench.report.result import Report
from mtlbench.study import ladder
from mtlbench.study.architecture import architecture
from mtlbench.study.front import front, tuned_front
from mtlbench.study.limits import limits
from mtlbench.study.paper import table_2
from mtlbench.study.paper_figures import scores
from mtlbench.study.parts import StudiedSuite, StudyResult
from mtlbench.study.projection import projection
from mtlbench.study.trajectories import trajectories
from mtlbench.study.tuning import given, tuning

NAME = "README.md"
FIGURES = "figures"
"""Folder of the figures, next to the page."""
NO_SUITE = "No suite besides the ladder here: run mtlbench run --suite cs224n-small --methods stl,sum,pcgrad"
NO_TEST = "No cell was scored on a test split: run a suite with test_rows = N, or mtlbench run --test-rows N"
TOY = "figure-1-toy"


def write_page(study: StudyResult, folder: Path, tuned: Tuned | None = None) -> list[Path]:
    """Write the page and its figures. The same records give the same bytes.

    :param study: the suites of a results folder.
    :param folder: the folder of the page.
    :param tuned: the content of ``tuned.json``, if the methods were tuned.
    :returns: the paths of all files written.
    :raises UsageError: if the folder is not writable.
    """
    page, file = Page(study, folder, tuned), folder / NAME
    text = _render(page)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from None
    return [*page.written, file]


@dataclass
class Page:
    """Content of the template's placeholders; figures are saved when they are drawn."""

    study: StudyResult
    folder: Path
    tuned: Tuned | None = None
    written: list[Path] = field(default_factory=list)

    def blocks(self, build: Callable[[], Sequence[Block]]) -> str:
        """Return blocks as Markdown, or the reason why they are unavailable.

        :param build: a function that returns the blocks, or raises ``Unavailable``.
        """
        try:
            return markdown(build()).strip()
        except Unavailable as reason:
            return _left_out(reason)

    def figure(self, build: Callable[[], Figure]) -> str:
        """Save a figure, and return it as Markdown, or the reason why it is unavailable.

        :param build: a function that returns the figure, or raises ``Unavailable`` or ``UsageError``.
        """
        try:
            figure = build()
        except (Unavailable, UsageError) as reason:
            return _left_out(reason)
        self.written += save_figures([figure], self.folder / FIGURES, ["svg"])
        return _image(figure.title, figure.name, figure.description)

    def toy(self) -> str:
        """Draw the trajectories on the toy problem, and return them as Markdown.

        :raises UsageError: if the folder is not writable.
        """
        file = self.folder / FIGURES / f"{TOY}.svg"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            description = trajectories(file)
        except OSError as error:
            raise UsageError(f"cannot write {file}: {error.strerror}") from None
        self.written.append(file)
        return _image("Adam, and Adam with PCGrad, on the toy problem", TOY, description)


def _render(page: Page) -> str:
    """Fill the template ``README.md.j2``."""
    study = page.study
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mtlbench.study", "."),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    template = environment.get_template("README.md.j2")
    return template.render(
        table_2=page.blocks(lambda: table_2(study)),
        ladder=page.blocks(lambda: ladder.tables(study.rungs)),
        ladder_figure=page.figure(lambda: ladder.figure(study.rungs)) if study.rungs else "",
        suites=_lower(page.blocks(lambda: _reports(study.suites, NO_SUITE, limits))),
        tested=_lower(page.blocks(lambda: _reports(study.tested, NO_TEST))),
        tuning=_lower(page.blocks(lambda: tuning(given(page.tuned)))),
        tuned_front=page.figure(lambda: tuned_front(given(page.tuned), _first(study.suites))),
        front=page.figure(lambda: front(_first(study.suites))),
        toy=page.toy(),
        projection=page.figure(projection),
        architecture=page.figure(lambda: architecture(_first((*study.suites, *study.parts)))),
        scores=[
            page.figure(lambda part=part: scores(part, f"figure-4-{part.suite}"))  # type: ignore[misc]
            for part in (*(rung.part for rung in study.rungs[:1]), *study.suites)
        ],
    )


def _first(parts: Sequence[StudiedSuite]) -> StudiedSuite:
    if not parts:
        raise Unavailable(NO_SUITE)
    return parts[0]


def _reports(parts: Sequence[StudiedSuite], absent: str, *further: Callable[[StudiedSuite], Block]) -> list[Block]:
    """Return the report of every suite, each followed by further blocks.

    :raises Unavailable: with the reason in ``absent``, if there are no suites.
    """
    if not parts:
        raise Unavailable(absent)
    return [
        block
        for part in parts
        for block in (*document(Report("sum", (part.group,))), *(build(part) for build in further))
    ]


def _lower(text: str) -> str:
    """Move headings down one level: a report's headings start at the first level."""
    return re.sub("^#", "##", text, flags=re.MULTILINE)


def _image(title: str, name: str, description: str) -> str:
    return f"![{escape(title)}]({FIGURES}/{name}.svg)\n\n{escape(description)}"


def _left_out(reason: Exception) -> str:
    return f"*Left out:* {escape(str(reason))}"
