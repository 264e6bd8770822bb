"""``diagnose``: what is wrong with the runs of a results folder."""

from __future__ import annotations

from pathlib import Path

import typer

from mtlbench.cli.app import Json, Results, app
from mtlbench.errors import UsageError


@app.command()
def diagnose(results: Results = Path("results"), json: Json = False) -> None:
    """Name what is wrong with finished and failed cells, why, and what to do; exit with 1 where there is an error."""
    from mtlbench.diagnose import diagnose
    from mtlbench.diagnose.render import to_blocks, to_json
    from mtlbench.report.text import render
    from mtlbench.store import Store

    found = Store(results).scan()
    if not found.records and not found.damaged:
        raise UsageError(f"no records in {results}; run mtlbench run first, or give --results FOLDER")
    groups = diagnose(found.records)
    text = to_json(groups) if json else render(to_blocks(groups))
    typer.echo(text.rstrip("\n"))
    for path, reason in found.damaged:
        typer.echo(f"left out: {path}: {reason}", err=True)
    raise typer.Exit(any(finding.severity == "error" for _, findings in groups for finding in findings))
