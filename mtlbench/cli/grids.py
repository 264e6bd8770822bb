"""``run``: train a grid of methods × seeds."""

from __future__ import annotations

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
from mtlbench.cli.digits import check_number, number_options


def read_config_file(context: typer.Context, file: Path | None) -> Path | None:
    """Read options from a TOML file; the command line and the environment override them, they override the defaults.

    :raises UsageError: if the file is unusable; see :func:`mtlbench.cli.options_file.read_config`.
    """
    if file is not None:
        from mtlbench.cli.options_file import read_config

        names = {parameter.name for parameter in context.command.params if parameter.name} - {"config", "help"}
        options = read_config(file, names)
        for name in number_options(context.command.callback or run).keys() & options.keys():
            check_number(f"config {file.name}: {name.replace('_', '-')}", options[name])
        context.default_map = {**(context.default_map or {}), **options}
    return file


Config = Annotated[
    Path | None,
    typer.Option(callback=read_config_file, is_eager=True, help="TOML file that sets these options by name."),
]


@app.command()
def run(
    methods: Methods = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            envvar="MTLBENCH_SEEDS", help="Number of seeds (5 means 0 to 4), or a list: 0,3,7. Default: the suite's."
        ),
    ] = None,
    suite: Suite = None,
    problem: Problem = None,
    tasks: Tasks = None,
    model: Model = None,
    steps: Annotated[int | None, typer.Option(envvar="MTLBENCH_STEPS", help="Optimizer steps.")] = None,
    batch_size: BatchSize = None,
    lr: Annotated[float | None, typer.Option(envvar="MTLBENCH_LR", help="Learning rate.")] = None,
    sampling: Annotated[
        str | None,
        typer.Option(
            envvar="MTLBENCH_SAMPLING",
            help="How tasks share the rows of a step: uniform, proportional, sqrt or annealed.",
        ),
    ] = None,
    test_rows: Annotated[
        int | None,
        typer.Option(envvar="MTLBENCH_TEST_ROWS", help="Training rows per task to set aside as a test split."),
    ] = None,
    update_norm: Annotated[
        str | None,
        typer.Option(
            envvar="MTLBENCH_UPDATE_NORM", help="native; or sum: scale every shared update to the norm of the sum's."
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(envvar="MTLBENCH_ENGINE", help="How to compute task gradients: auto, packed, lean or loop."),
    ] = None,
    accumulate: Annotated[
        int | None, typer.Option(envvar="MTLBENCH_ACCUMULATE", help="Parts to split each batch into, to save memory.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(envvar="MTLBENCH_PRECISION", help="Precision of the forward pass: float32, bfloat16 or float16."),
    ] = None,
    checkpointing: Annotated[
        bool | None,
        typer.Option(
            "--checkpointing/--no-checkpointing",
            envvar="MTLBENCH_CHECKPOINTING",
            help="Recompute activations in the backward pass, to save memory.",
        ),
    ] = None,
    processes_per_cell: Annotated[
        int | None,
        typer.Option(
            envvar="MTLBENCH_PROCESSES_PER_CELL",
            help="Processes that share the rows of each batch; part of the recipe.",
        ),
    ] = None,
    threads: Threads = None,
    device: Annotated[str | None, typer.Option(envvar="MTLBENCH_DEVICE", help="Device: cpu, cuda or cuda:N.")] = None,
    jobs: Annotated[
        int | None, typer.Option(envvar="MTLBENCH_JOBS", help="Cells to run at a time. Default: cores / threads.")
    ] = None,
    executor: Annotated[
        str, typer.Option(envvar="MTLBENCH_EXECUTOR", help="Where cells run: local, ray or slurm.")
    ] = "local",
    devices: Annotated[
        str | None, typer.Option(envvar="MTLBENCH_DEVICES", help="local: comma-separated GPUs to use: cuda:0,cuda:1.")
    ] = None,
    jobs_per_device: Annotated[
        int | None,
        typer.Option(envvar="MTLBENCH_JOBS_PER_DEVICE", help="local: cells at a time on each GPU of --devices."),
    ] = None,
    address: Annotated[
        str | None, typer.Option(envvar="MTLBENCH_ADDRESS", help="ray: address of the cluster. Default: this machine.")
    ] = None,
    slurm_partition: Annotated[
        str | None, typer.Option(envvar="MTLBENCH_SLURM_PARTITION", help="slurm: partition.")
    ] = None,
    slurm_time: Annotated[
        int | None,
        typer.Option(
            envvar="MTLBENCH_SLURM_TIME",
            help="slurm: time limit in minutes, after which a cell is queued again. Default: 60.",
        ),
    ] = None,
    checkpoint_every: Annotated[
        float,
        typer.Option(
            envvar="MTLBENCH_CHECKPOINT_EVERY", min=0.0, help="Seconds between checkpoints of a cell; 0: none."
        ),
    ] = 300.0,
    data_dir: DataDir = None,
    results: Results = Path("results"),
    plugin: Plugins = [],
    config: Config = None,
    dry_run: Annotated[bool, typer.Option(help="Print the cells and their states; train nothing.")] = False,
    force: Annotated[bool, typer.Option(help="Run cells again that are already done.")] = False,
    fail_fast: Annotated[bool, typer.Option(help="Start no further cells after a failure.")] = False,
) -> None:
    """Train a grid of methods × seeds on a suite; skip cells that are already done."""
    from mtlbench.execute.placement import Placement
    from mtlbench.grid.command import RunRequest, run_grid

    request = RunRequest(
        suite=choose_suite(suite, problem, model, plugin),
        methods=methods,
        seeds=seeds,
        data_dir=data_dir,
        results=results,
        plugin_files=tuple(str(file) for file in plugin),
        placement=Placement(
            executor=executor,
            jobs=jobs,
            devices=devices,
            jobs_per_device=jobs_per_device,
            address=address,
            slurm_partition=slurm_partition,
            slurm_time=slurm_time,
        ),
        checkpoint_every=checkpoint_every,
        force=force,
        fail_fast=fail_fast,
        dry_run=dry_run,
        changes=recipe_changes(
            tasks=tasks,
            model=model,
            steps=steps,
            batch_size=batch_size,
            lr=lr,
            sampling=sampling,
            test_rows=test_rows,
            update_norm=update_norm,
            engine=engine,
            accumulate=accumulate,
            precision=precision,
            checkpointing=checkpointing,
            processes=processes_per_cell,
            threads=threads,
            device=device,
        ),
    )
    raise typer.Exit(0 if run_grid(request).succeeded else 1)
