"""``study``: a results folder as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtlbench.cli.app import Results, app
from mtlbench.errors import UsageError


@app.command()
def study(
    output: Annotated[Path, typer.Option(help="Folder for README.md and figures/, which are overwritten.")],
    results: Results = Path("results"),
    tuned: Annotated[
        Path | None, typer.Option(help="The tuned.json of mtlbench tune: how the methods were tuned.")
    ] = None,
) -> None:
    """Write the results as a page: the paper's study redone, rung by rung, with what may be concluded, and figures."""
    from mtlbench.records.store import Store
    from mtlbench.study.page import write_page
    from mtlbench.study.parts import study_of
    from mtlbench.tune.tuned import read_tuned

    found = Store(results).scan()
    if not found.records:
        raise UsageError(f"no records in {results}; run mtlbench run first, or give --results FOLDER")
    made = study_of(found.records)
    for file in write_page(made, output, None if tuned is None else read_tuned(tuned)):
        typer.echo(f"wrote {file}", err=True)
    for suite, count in made.older.items():
        typer.echo(
            f"left out: {count} older group(s) of cells of suite {suite}, of another recipe or version", err=True
        )
    for path, reason in found.damaged:
        typer.echo(f"left out: {path}: {reason}", err=True)
