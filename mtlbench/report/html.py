"""The report as one self-contained HTML file: no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Sequence

import jinja2

from mtlbench.report.layout import Block


def render(blocks: Sequence[Block], title: str) -> str:
    """Render the document with ``report.html.j2``, which lies beside this file. Every string is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mtlbench.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.j2").render(blocks=blocks, title=title) + "\n"
