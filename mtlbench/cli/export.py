"""``export``: histories in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtlbench.cli.app import Results, app, no_records
from mtlbench.errors import unknown


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")],
    to: Annotated[str, typer.Option(help="csv: one tidy table; tensorboard or mlflow: one run per cell.")] = "csv",
    results: Results = Path("results"),
) -> None:
    """Export the histories of all finished cells to other tools. Exits with 1 if something is left out."""
    from mtlbench.records.store import Store
    from mtlbench.upkeep.export import FORMATS, export

    if to not in FORMATS:
        raise unknown("export format", to, FORMATS)
    contents = Store(results).scan()
    if not contents.records and not contents.damaged:
        raise no_records(results)
    exported = export(contents.records, to, folder)
    for path, reason in [*contents.damaged, *exported.left_out]:
        typer.echo(f"left out: {path}: {reason}", err=True)
    for line in exported.lacking:
        typer.echo(line, err=True)
    typer.echo(f"wrote the histories of {exported.cells} cells to {folder}", err=True)
    raise typer.Exit(1 if contents.damaged or exported.left_out or exported.lacking else 0)
