"""Records of a grid with gaps, and one HTML page with all features, drawn once per session."""

from __future__ import annotations

from typing import Any

import pytest
from factory import NASTY, failed, grid
from galleries import draw_all, full_grid
from histories import with_histories
from report_json import GAINS

from mtlbench.diagnose.text import by_group
from mtlbench.report import gallery, render
from mtlbench.report.build import build
from mtlbench.report.figures import Gallery

LONG = "a-method-of-a-very-long-name[parameter=0.123456789]"


@pytest.fixture(scope="session")
def page_records(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Records with histories: a grid with hostile and long method names, and a failed cell."""
    gains = {"stl": 0.02, "sum": 0.0, NASTY: 0.01, LONG: -0.01}
    finished = with_histories(grid(gains, 3), tmp_path_factory.mktemp("histories"))
    return [*finished, failed("sum", 7, "<img src=x onerror=alert(1)>")]


@pytest.fixture(scope="session")
def page_drawn(page_records: list[dict[str, Any]]) -> Gallery:
    """The figures of these records."""
    return gallery(build(page_records), page_records)


@pytest.fixture(scope="session")
def page_text(page_records: list[dict[str, Any]], page_drawn: Gallery) -> str:
    """The HTML page of these records, with figures and findings."""
    return render(build(page_records), "html", records=page_records, drawn=page_drawn, findings=by_group(page_records))


@pytest.fixture
def records() -> list[dict[str, Any]]:
    """Five methods, five seeds; pcgrad failed on seed 3 and lacks seed 4."""
    finished = [r for r in grid(GAINS, 5) if (r["method"]["spec"], r["seed"]) not in {("pcgrad", 3), ("pcgrad", 4)}]
    return [*finished, failed("pcgrad", 3)]


@pytest.fixture(scope="session")
def complete(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Records that give every figure."""
    return full_grid(tmp_path_factory.mktemp("histories"))


@pytest.fixture(scope="session")
def drawn(complete: list[dict[str, Any]]) -> Gallery:
    """The figures of these records, drawn once for all tests."""
    return draw_all(complete)
