"""``merge``, ``clean`` and ``status``: maintain results folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtlbench.cli.app import Json, Results, app
from mtlbench.host.safe_names import visible


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(help="Results folders to copy from; they are only read.")],
    into: Annotated[Path, typer.Option(help="Results folder to copy to; created if missing.")],
    without: Annotated[
        str | None,
        typer.Option(
            metavar="KINDS",
            help="Leave side files out of the copies, and say so in them: history, predictions (of all splits), log.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be copied; copy nothing.")] = False,
) -> None:
    """Copy records into one folder. Exits with 1 if two scores of one cell differ, or files are damaged."""
    from mtlbench.records.left_out import kinds_of
    from mtlbench.records.store import NotRecorded
    from mtlbench.upkeep.merge import merge

    names = frozenset[str]() if without is None else kinds_of(without)
    try:
        merged = merge(folders, into, without=names, dry_run=dry_run)
    except NotRecorded as error:
        typer.echo(f"mtlbench: merge stopped: {visible(str(error))}; the copies made so far are complete", err=True)
        raise typer.Exit(1) from None
    for record, source in merged.copied:
        _say(f"{'would copy' if dry_run else 'copied'} {record} from {source}")
    for file, reason in merged.left:
        _say(f"left out, damaged: {file}: {reason}")
    if merged.left_out:
        files, size = len(merged.left_out), sum(merged.left_out) / 1e6
        _say(f"{files} side files, {size:,.1f} MB, left out on purpose; the copies name them, with size and hash")
    for line in merged.conflicts:
        _say(f"DIFFERENT SCORES: {line}")
    copied = f"{len(merged.copied)} {'to copy' if dry_run else 'copied'}"
    damaged, conflicts = len(merged.left), len(merged.conflicts)
    _say(f"{copied}, {merged.present} there already, {damaged} damaged, {conflicts} conflicts in {into}")
    if merged.conflicts:
        _say(f"the result of a cell should depend on its key alone; the other records lie in {into / '.conflicts'}")
    raise typer.Exit(1 if merged.conflicts or merged.left else 0)


def _say(line: str) -> None:
    typer.echo(visible(line))


@app.command()
def clean(
    results: Results = Path("results"),
    yes: Annotated[bool, typer.Option("--yes", help="Remove the files; without it they are only listed.")] = False,
    damaged: Annotated[bool, typer.Option("--damaged", help="Include damaged records and their side files.")] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="Include records of failed cells and their side files.")
    ] = False,
) -> None:
    """List, and with --yes remove, what killed runs left behind in a results folder."""
    from mtlbench.upkeep.clean import leftovers

    remains, total, stuck = leftovers(results, damaged=damaged, failed=failed), 0, 0
    for leftover in remains:
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
        f"{len(remains) - stuck} leftovers {'removed' if yes else 'found'}, {total} bytes"
        + ("" if yes or not remains else "; to remove them: --yes")
    )
    raise typer.Exit(1 if stuck else 0)


@app.command()
def status(results: Results = Path("results"), json: Json = False) -> None:
    """Show which cells of a results folder are done, failed (and why), running, missing or damaged."""
    from mtlbench.upkeep.status import print_status

    print_status(results, as_json=json)
