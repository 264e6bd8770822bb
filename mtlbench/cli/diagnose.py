"""``diagnose``: what is wrong with the runs of a results folder."""

from __future__ import annotations

from pathlib import Path

import typer

from mtlbench.cli.app import Json, Results, app
from mtlbench.errors import UsageError
from mtlbench.host.streams import print_data


@app.command()
def diagnose(results: Results = Path("results"), json: Json = False) -> None:
    """Name what is wrong with cells, finished, failed or running, why, and what to do; exit with 1 on an error."""
    from mtlbench.diagnose import diagnose
    from mtlbench.diagnose.text import to_blocks, to_json
    from mtlbench.diagnose.unfinished import unfinished
    from mtlbench.records.store import Store
    from mtlbench.report.text import render

    found = Store(results).scan()
    records = [*found.records, *unfinished(results, lambda line: typer.echo(line, err=True))]
    if not records and not found.damaged:
        raise UsageError(f"no records in {results}; run mtlbench run first, or give --results FOLDER")
    groups = diagnose(records)
    text = to_json(groups) if json else render(to_blocks(groups))
    print_data(text, "json" if json else "text")
    for path, reason in found.damaged:
        typer.echo(f"left out: {path}: {reason}", err=True)
    raise typer.Exit(any(finding.severity == "error" for _, findings in groups for finding in findings))
