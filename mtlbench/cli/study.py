"""``study``: the page of a results folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtlbench.cli.app import Results, app


@app.command()
def study(
    output: Annotated[Path, typer.Option(help="Folder for README.md and figures/, which are overwritten.")],
    results: Results = Path("results"),
) -> None:
    """Write README.md and figures: the paper's study redone, its ladder, and what the records let one conclude."""
    from mtlbench.study.command import write_study

    for file in write_study(results, output):
        typer.echo(f"wrote {file}", err=True)
