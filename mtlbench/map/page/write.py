"""Write the page of a map."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from mtlbench.errors import UsageError
from mtlbench.map import palette
from mtlbench.map.conclusions import conclusions, verdict
from mtlbench.map.endpoints import LABELS as ENDPOINT_LABELS
from mtlbench.map.endpoints import Endpoint
from mtlbench.map.figures import figures
from mtlbench.map.figures.figure import MapFigure
from mtlbench.map.figures.panels import OVERVIEW
from mtlbench.map.page.data import page_data
from mtlbench.map.page.tables import PageTable, by_comparator, by_endpoint, provenance, sizes, times
from mtlbench.map.page.view import Drawing, StudyView, comparators
from mtlbench.map.presets import PRESETS
from mtlbench.map.result import MapResult, Study
from mtlbench.map.statements.statement import Answer, Statement
from mtlbench.map.tally import Comparisons, candidates
from mtlbench.report.figures import style, svg

TITLE = "When does a multi-task method beat a tuned weighted sum?"
ENDPOINT: Endpoint = "mean-log"
"""The endpoint that is shown first: the criterion by which learning rates and weights were chosen."""
ANSWERS: dict[Answer, str] = {
    "yes": "Yes",
    "no": "No",
    "both": "It depends on the cell",
    "open": "Nothing is separable",
}
READING = (
    "Each panel is a method, each square one setting of the problem, trained with several seeds. The number is the gain"
    " over the comparator in points: 100 times the mean difference of the log test error, so that +30 means a test"
    " error 0.74 times the comparator's (for Δm: percentage points). Blue and plus: the method is better; orange and"
    " minus: it is worse. Hatched: not separable, by paired t tests over seeds and Benjamini–Hochberg at 5 % over all"
    " cells and methods of the comparison. Point at a square, tap it, or move with the arrow keys, for its interval, p"
    " and trials. The address of the page keeps the choices, for links."
)


@dataclass(frozen=True)
class Page:
    """What the template shows beside the studies."""

    title: str
    subtitle: str
    verdict: list[str]
    reading: str
    labels: tuple[str, ...]
    comparators: dict[str, str]
    endpoints: dict[Endpoint, str]
    comparator: str
    endpoint: Endpoint
    studies: list[StudyView]
    by_endpoint: dict[Endpoint, PageTable]
    by_comparator: dict[str, PageTable]
    conclusions: list[Statement]
    made: list[PageTable]
    reproduce: str
    data: Markup


def write_page(result: MapResult, output: Path) -> None:
    """Write the page of a map to a file. The same map gives the same bytes.

        >>> from pathlib import Path
        >>> from mtlbench.map.page import write_page
        >>> from mtlbench.map.presets import PRESETS
    from mtlbench.map.result import MapResult, Study
        >>> write_page(MapResult({}), Path("map.html"))
        Traceback (most recent call last):
        ...
        mtlbench.errors.UsageError: the map has no cells yet: run mtlbench map

        :param result: the map.
        :param output: the HTML file.
        :raises UsageError: when the map is empty, or the file cannot be written.
    """
    text = render(result)
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from None


def render(result: MapResult) -> str:
    """Return the page of a map.

    :param result: the map.
    :raises UsageError: when the map is empty.
    """
    if not any(study.cells for study in result.studies.values()):
        raise UsageError("the map has no cells yet: run mtlbench map")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mtlbench.map.page", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    inks = {
        f"{name}_inks": [palette.ink(c) for c in colours]
        for name, colours in (("light", palette.LIGHT), ("dark", palette.DARK))
    }
    template = environment.get_template("map.html.j2")
    return template.render(page=_page(result), answers=ANSWERS, light=palette.LIGHT, dark=palette.DARK, **inks) + "\n"


def _page(result: MapResult) -> Page:
    comparisons = Comparisons(result)
    names = comparators(result.studies, comparisons)
    if not names:
        raise UsageError("the map has nothing to compare: train at least two methods")
    comparator = next(spec for spec in ("step-rules", *names) if spec in names)
    possible = {endpoint for study in result.studies.values() for endpoint in study.endpoints}
    endpoints = {endpoint: label for endpoint, label in ENDPOINT_LABELS.items() if endpoint in possible}
    studies = [StudyView(study, comparisons, comparator, ENDPOINT) for study in _in_order(result)]
    statements = conclusions(result, comparisons)
    _place(figures(result, comparisons), studies)
    return Page(
        title=TITLE,
        subtitle=_subtitle(result),
        verdict=verdict(statements, result),
        reading=READING,
        labels=palette.labels(),
        comparators=names,
        endpoints=endpoints,
        comparator=comparator,
        endpoint=ENDPOINT,
        studies=studies,
        by_endpoint=by_endpoint(result, comparisons, names),
        by_comparator=by_comparator(result, comparisons, names),
        conclusions=statements,
        made=[sizes(result), *times(result), *provenance(result)],
        reproduce=f"To repeat it: mtlbench map --preset {result.preset or 'full'}, then mtlbench map --report.",
        data=page_data(studies, comparisons, names, endpoints, comparator, ENDPOINT),
    )


def _in_order(result: MapResult) -> list[Study]:
    """Return the studies in the order of the preset, which is that of their importance; others after them."""
    planned = [plan.name for plan in PRESETS[result.preset].plans] if result.preset in PRESETS else []
    places = {name: place for place, name in enumerate(planned)}
    return sorted(result.studies.values(), key=lambda study: places.get(study.name, len(places)))


def _subtitle(result: MapResult) -> str:
    """Return what the map is, in one sentence."""
    studies = result.studies.values()
    cells = sum(len(cell.seeds) * len(cell.columns) for study in studies for cell in study.cells)
    settings = sum(len(study.cells) for study in studies)
    methods = {method for study in studies for method in candidates(study)}
    return (
        f"A map of {len(methods)} methods over {settings} settings of one family of problems: {cells:,} trained"
        f" networks, {len(result.studies)} {'studies' if len(result.studies) != 1 else 'study'}"
        + (f", preset {result.preset}." if result.preset else ".")
    )


def _points_across(markup: str) -> float:
    """Return the width of a drawing in points, by which the page shows all drawings at one scale."""
    box = re.search(r'viewBox="0 0 ([\d.]+) ', markup)
    return float(box[1]) if box else 72.0 * style.WIDTH


def _place(drawn: list[MapFigure], studies: list[StudyView]) -> None:
    """Put every figure under the study that it shows."""
    by_name = {study.name: study for study in studies}
    for number, figure in enumerate((figure for figure in drawn if not figure.repeats), start=1):
        markup = svg.inline(figure.figure, f"figure-{number}")
        for place, colour in enumerate(palette.LIGHT):
            markup = markup.replace(colour, f"var(--g{place})")
        drawing = Drawing(figure.figure.title, figure.caption, Markup(markup), _points_across(markup))
        study = by_name[figure.study]
        if figure.figure.name == OVERVIEW:
            study.broad = drawing
        else:
            study.drawings.append(drawing)
