"""``export``: histories in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtlbench.cli.app import Results, app


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")],
    to: Annotated[str, typer.Option(help="csv: one tidy table; tensorboard or mlflow: one run per cell.")] = "csv",
    results: Results = Path("results"),
) -> None:
    """Export the histories of all finished cells to other tools. Exits with 1 if something is left out."""
    from mtlbench.upkeep.export import export_folder

    exported = export_folder(results, to, folder)
    for path, reason in exported.left_out:
        typer.echo(f"left out: {path}: {reason}", err=True)
    typer.echo(f"wrote the histories of {exported.cells} cells to {folder}", err=True)
    raise typer.Exit(1 if exported.left_out else 0)
