"""``study``: a page of results from the records of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtlbench.cli.app import Results, app


@app.command()
def study(
    output: Annotated[Path, typer.Option(help="Folder for README.md and figures/; existing ones are overwritten.")],
    results: Results = Path("results"),
    tuned: Annotated[
        Path | None, typer.Option(help="tuned.json of mtlbench tune, to add how the methods were tuned.")
    ] = None,
) -> None:
    """Write a page of results: the paper's study redone step by step, with conclusions and figures."""
    from mtlbench.grid.tuned_file import read_tuned
    from mtlbench.records.store import Store, no_records
    from mtlbench.study.page import write_page
    from mtlbench.study.parts import study_of

    contents = Store(results).scan()
    if not contents.records:
        raise no_records(results)
    results_study = study_of(contents.records)
    for file in write_page(results_study, output, None if tuned is None else read_tuned(tuned)):
        typer.echo(f"wrote {file}", err=True)
    for suite, count in results_study.older.items():
        typer.echo(
            f"left out: {count} older group(s) of cells of suite {suite}, of another recipe or version", err=True
        )
    for path, reason in contents.damaged:
        typer.echo(f"left out: {path}: {reason}", err=True)
