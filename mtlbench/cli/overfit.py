"""``overfit``: check that each task's model can learn one batch by heart."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from mtlbench.cli.app import (
    BatchSize,
    DataDir,
    Json,
    Model,
    Plugins,
    Problem,
    Suite,
    Tasks,
    Threads,
    app,
    choose_suite,
    recipe_changes,
)
from mtlbench.host.streams import takes_escapes


@app.command()
def overfit(
    suite: Suite = None,
    problem: Problem = None,
    tasks: Tasks = None,
    model: Model = None,
    steps: Annotated[int, typer.Option(envvar="MTLBENCH_STEPS", min=1, help="Optimizer steps on the batch.")] = 100,
    batch_size: BatchSize = None,
    lr: Annotated[float | None, typer.Option(envvar="MTLBENCH_LR", help="Learning rate. Default: the suite's.")] = None,
    threads: Threads = None,
    device: Annotated[str | None, typer.Option(envvar="MTLBENCH_DEVICE", help="Device: cpu, cuda or cuda:N.")] = None,
    data_dir: DataDir = None,
    plugin: Plugins = [],
    json: Json = False,
) -> None:
    """Check that each task's model can learn one batch by heart. Exits with 1 if one cannot: it has a fault."""
    from mtlbench.grid.command import RunRequest
    from mtlbench.grid.overfit import run_overfit

    changes = recipe_changes(
        tasks=tasks, model=model, steps=steps, batch_size=batch_size, lr=lr, threads=threads, device=device
    )
    files = tuple(str(file) for file in plugin)
    chosen = choose_suite(suite, problem, model, plugin)
    request = RunRequest(chosen, None, None, data_dir, Path("results"), plugin_files=files, changes=changes)
    color = takes_escapes()
    width = shutil.get_terminal_size().columns if color else None
    raise typer.Exit(run_overfit(request, as_json=json, width=width, color=color))
