"""One page with everything in it, drawn once for all tests of it."""

from __future__ import annotations

from typing import Any

import pytest
from factory import NASTY, failed, grid
from histories import with_histories

from mtlbench.diagnose.text import by_group
from mtlbench.report import gallery, render
from mtlbench.report.build import build
from mtlbench.report.figures import Gallery

LONG = "a-method-of-a-very-long-name[parameter=0.123456789]"


@pytest.fixture(scope="session")
def page_records(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """A grid with histories, methods of nasty and of long names among them, and a cell that failed."""
    gains = {"stl": 0.02, "sum": 0.0, NASTY: 0.01, LONG: -0.01}
    made = with_histories(grid(gains, 3), tmp_path_factory.mktemp("histories"))
    return [*made, failed("sum", 7, "<img src=x onerror=alert(1)>")]


@pytest.fixture(scope="session")
def page_drawn(page_records: list[dict[str, Any]]) -> Gallery:
    return gallery(build(page_records), page_records)


@pytest.fixture(scope="session")
def page_text(page_records: list[dict[str, Any]], page_drawn: Gallery) -> str:
    return render(build(page_records), "html", records=page_records, drawn=page_drawn, findings=by_group(page_records))
