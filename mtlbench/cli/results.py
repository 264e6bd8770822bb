"""``merge``, ``clean`` and ``status``: results folders, their records and what lies beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtlbench.cli.app import Json, Results, app
from mtlbench.host.safe_names import visible


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(help="Results folders to take records from; they are only read.")],
    into: Annotated[Path, typer.Option(help="Results folder to copy to; made if it is not there.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be copied; copy nothing.")] = False,
) -> None:
    """Copy records into one folder; exit with 1 where two scores of one cell differ, or files are damaged."""
    from mtlbench.records.store import NotRecorded
    from mtlbench.upkeep.merge import merge

    try:
        done = merge(folders, into, dry_run=dry_run)
    except NotRecorded as error:
        typer.echo(f"mtlbench: merge stopped: {visible(str(error))}; what was copied is whole", err=True)
        raise typer.Exit(1) from None
    for record, source in done.copied:
        _say(f"{'would copy' if dry_run else 'copied'} {record} from {source}")
    for file, why in done.left:
        _say(f"left out, damaged: {file}: {why}")
    for line in done.conflicts:
        _say(f"DIFFERENT SCORES: {line}")
    copied = f"{len(done.copied)} {'to copy' if dry_run else 'copied'}"
    _say(f"{copied}, {done.present} there already, {len(done.left)} damaged, {len(done.conflicts)} conflicts in {into}")
    if done.conflicts:
        _say(f"the result of a cell should depend on its key alone; the other records lie in {into / '.conflicts'}")
    raise typer.Exit(1 if done.conflicts or done.left else 0)


def _say(line: str) -> None:
    typer.echo(visible(line))


@app.command()
def clean(
    results: Results = Path("results"),
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; else it is only said what would be removed.")] = False,
    damaged: Annotated[bool, typer.Option("--damaged", help="Also damaged records, with their side files.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Also records of failed cells, with theirs.")] = False,
) -> None:
    """Find, and with --yes remove, what killed runs left in a results folder."""
    from mtlbench.upkeep.clean import leftovers

    found, total, stuck = leftovers(results, damaged=damaged, failed=failed), 0, 0
    for leftover in found:
        size = leftover.size
        try:
            if yes:
                leftover.remove()
            _say(f"{'removed' if yes else 'would remove'} {leftover.path} ({leftover.why}, {size} bytes)")
            total += size
        except OSError as error:
            stuck += 1
            _say(f"cannot remove {leftover.path}: {error.strerror}")
    _say(
        f"{len(found) - stuck} leftovers {'removed' if yes else 'found'}, {total} bytes"
        + ("" if yes or not found else "; to remove them: --yes")
    )
    raise typer.Exit(1 if stuck else 0)


@app.command()
def status(results: Results = Path("results"), json: Json = False) -> None:
    """Show which cells of a results folder are done, failed (and why), running, missing or damaged."""
    from mtlbench.upkeep.status import print_status

    print_status(results, as_json=json)
