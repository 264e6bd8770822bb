"""``diagnose``: find faults in the runs of a results folder."""

from __future__ import annotations

from pathlib import Path

import typer

from mtlbench.cli.app import Json, Results, app
from mtlbench.host.streams import print_data


@app.command()
def diagnose(results: Results = Path("results"), json: Json = False) -> None:
    """Diagnose finished, failed and running cells: what is wrong, why, and what to do. Exits with 1 on an error."""
    from mtlbench.diagnose import diagnose
    from mtlbench.diagnose.text import to_blocks, to_json
    from mtlbench.diagnose.unfinished import read_with_unfinished
    from mtlbench.report.text import render

    contents = read_with_unfinished(results, lambda line: typer.echo(line, err=True))
    groups = diagnose(contents.records)
    text = to_json(groups) if json else render(to_blocks(groups))
    print_data(text, "json" if json else "text")
    for path, reason in contents.damaged:
        typer.echo(f"left out: {path}: {reason}", err=True)
    raise typer.Exit(any(finding.severity == "error" for _, findings in groups for finding in findings))
