"""``export``: histories for people's own plots and trackers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtlbench.cli.app import Results, app
from mtlbench.errors import UsageError, unknown


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")],
    to: Annotated[str, typer.Option(help="csv (one tidy table); tensorboard or mlflow (a run for each cell).")] = "csv",
    results: Results = Path("results"),
) -> None:
    """Write the histories of all finished cells, for other programs."""
    from mtlbench.records.store import Store
    from mtlbench.upkeep.export import FORMATS, export

    if to not in FORMATS:
        raise unknown("export format", to, FORMATS)
    found = Store(results).scan()
    if not found.records and not found.damaged:
        raise UsageError(f"no records in {results}; run mtlbench run first, or give --results FOLDER")
    done = export(found.records, to, folder)
    for path, reason in [*found.damaged, *done.left_out]:
        typer.echo(f"left out: {path}: {reason}", err=True)
    typer.echo(f"wrote the histories of {done.cells} cells to {folder}", err=True)
    raise typer.Exit(1 if found.damaged or done.left_out else 0)
