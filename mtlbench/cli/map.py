"""``map``: a family of problems with knobs, and what each method gains where."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtlbench.cli.app import app
from mtlbench.host.streams import takes_escapes


@app.command("map")
def map_(
    preset: Annotated[
        str, typer.Option(help="quick: three minutes on two cores; full: the committed map, under two hours.")
    ] = "quick",
    results: Annotated[
        Path, typer.Option(envvar="MTLBENCH_RESULTS", help="Results folder; the map is in a folder of its preset.")
    ] = Path("results/map"),
    seeds: Annotated[
        str | None, typer.Option(help="5 means seeds 0 to 4; 0,3,7 is a list. Default: the preset's.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Shards trained at a time. Default: one per core.")] = None,
    studies: Annotated[str | None, typer.Option(help="Comma-separated studies. Default: all of the preset.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be trained, and how long.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write what is trained of the map as an HTML page to this file; train nothing.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Write the figures to this folder, as SVG and PNG; train nothing.")
    ] = None,
) -> None:
    """Map when a method beats a tuned weighted sum: thousands of small runs, batched; resumes where it stopped."""
    if report is not None or figures is not None:
        from mtlbench.map.report import write_report

        for line in write_report(results, preset, report, figures):
            typer.echo(line, err=True)
        return
    from mtlbench.map.command import MapRequest, run_map

    request = MapRequest(preset, results, seeds, jobs, studies, dry_run)
    raise typer.Exit(run_map(request, color=takes_escapes()))
