"""``tune``: search for parameters, with the same budget for every method."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from mtlbench.cli.app import (
    BatchSize,
    DataDir,
    Methods,
    Model,
    Plugins,
    Problem,
    Results,
    Suite,
    Tasks,
    Threads,
    app,
    choose_suite,
    recipe_changes,
)
from mtlbench.cli.grids import Config
from mtlbench.host.streams import takes_escapes


@app.command()
def tune(
    methods: Methods = None,
    trials: Annotated[
        int, typer.Option(envvar="MTLBENCH_TRIALS", min=1, help="Trials per method, including its defaults.")
    ] = 8,
    seeds: Annotated[int, typer.Option(help="Training runs per trial, with seeds from 1000000.")] = 1,
    lr: Annotated[
        str | None, typer.Option(help="Learning rates to search, LOW:HIGH. Default: the suite's / 10 to × 10.")
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="Comma-separated search spaces of methods' own parameters: 'cagrad[c=0.1:0.5]'.")
    ] = None,
    sampler: Annotated[
        str, typer.Option(help="halton: quasi-random points; tpe: points chosen from results.")
    ] = "halton",
    tuning_seed: Annotated[int, typer.Option(help="Seed of the sampler.")] = 0,
    suite: Suite = None,
    problem: Problem = None,
    tasks: Tasks = None,
    model: Model = None,
    steps: Annotated[int | None, typer.Option(envvar="MTLBENCH_STEPS", help="Optimizer steps.")] = None,
    batch_size: BatchSize = None,
    threads: Threads = None,
    device: Annotated[str | None, typer.Option(envvar="MTLBENCH_DEVICE", help="Device: cpu, cuda or cuda:N.")] = None,
    jobs: Annotated[
        int | None, typer.Option(envvar="MTLBENCH_JOBS", help="Cells to run at a time. Default: cores / threads.")
    ] = None,
    data_dir: DataDir = None,
    results: Results = Path("results/tuning"),
    plugin: Plugins = [],
    config: Config = None,
    dry_run: Annotated[bool, typer.Option(help="Print the trials and their states; train nothing.")] = False,
) -> None:
    """Tune every method with the same number of trials; mtlbench run --methods @RESULTS/tuned.json uses the best."""
    from mtlbench.execute.placement import Placement
    from mtlbench.grid.command import RunRequest
    from mtlbench.tune.command import TuneRequest, run_tune

    grid = RunRequest(
        suite=choose_suite(suite, problem, model, plugin),
        methods=methods,
        seeds=None,
        data_dir=data_dir,
        results=results,
        plugin_files=tuple(str(file) for file in plugin),
        placement=Placement(jobs=jobs),
        dry_run=dry_run,
        changes=recipe_changes(
            tasks=tasks, model=model, steps=steps, batch_size=batch_size, threads=threads, device=device
        ),
    )
    request = TuneRequest(grid, trials, seeds, sampler, lr, space, tuning_seed)
    raise typer.Exit(run_tune(request, width=shutil.get_terminal_size().columns, color=takes_escapes()))
