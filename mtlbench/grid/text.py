"""What ``mtlbench run`` prints before it starts: the workload, warnings, and the state of every cell."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape

from mtlbench.execute.placement import Placement
from mtlbench.host.terminal import console, duration
from mtlbench.plan.cells import Cell, Workload
from mtlbench.records.store import FolderContents


def introduce(workload: Workload, cells: Sequence[Cell], todo: Sequence[Cell], placement: Placement) -> None:
    """Print the plan of a run: cells, steps, model, tasks and warnings.

    :param cells: all cells of the grid.
    :param todo: those that are still to be trained.
    """
    recipe = workload.recipe
    room = placement.room(recipe)
    console.print(
        f"[bold]suite {escape(workload.suite)}[/]: {len(cells)} cells, {len(cells) - len(todo)} done, "
        f"{len(todo)} to run; {workload.steps} steps of {len(workload.tasks)} × {recipe.batch_size} rows; "
        f"{'' if room is None else f'{room} jobs × '}{recipe.threads} threads, {placement.executor}"
    )
    model = workload.problem.entry()
    noun = "model" if recipe.problem is None else "problem"
    console.print(f"{noun} {escape(model['name'])}, SHA-256 {model['fingerprint'][:12]}")
    for task in workload.problem.describe().values():
        skipped = sum(task.get("skipped", {}).values())
        note = f"; {skipped} rows without text or label left out" if skipped else ""
        console.print(
            f"task {escape(task['spec'])}: {task['train']} train, {task['dev']} dev, {escape(task['source'])}{note}",
            highlight=False,
        )
    warnings = [placement.note(recipe), *workload.problem.notes(recipe)]
    if recipe.evaluations > workload.steps:
        warnings.append(f"evaluations {recipe.evaluations} lowered to {workload.steps}: one after every step")
    for warning in warnings:
        if warning:
            console.print(f"[yellow]{escape(warning)}[/]")


def print_plan(cells: Sequence[Cell], todo: Sequence[Cell], contents: FolderContents, jobs: int) -> None:
    """Print the state of every cell, and the estimated time if records of the same group show how long a cell takes.

    :param cells: all cells of the grid.
    :param todo: those that are still to be trained.
    :param contents: records of the results folder.
    :param jobs: cells that run at a time.
    """
    states = contents.status()
    waiting = {cell.key for cell in todo}
    for cell in cells:
        state = "done"
        if cell.key in waiting:
            state = {"done": "run again", "failed": "failed, run again"}.get(states.get(cell.key, ""), "to run")
        console.print(f"{escape(cell.title)}: {state}", highlight=False)
    groups = {cell.group for cell in cells}
    done = [record for record in contents.records if record["group"] in groups and record["status"] == "done"]
    seconds = [record["seconds"] for record in done if record["seconds"] is not None]
    if seconds and todo:
        console.print(f"estimated time: {duration(sum(seconds) / len(seconds) * len(todo) / min(jobs, len(todo)))}")
