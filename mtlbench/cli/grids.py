"""``run``: the grid."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtlbench.cli.app import BatchSize, DataDir, Methods, Model, Plugins, Results, Suite, Tasks, Threads, app, given
from mtlbench.cli.digits import check_number, number_options


def read_config_file(context: typer.Context, file: Path | None) -> Path | None:
    """Take options from a TOML file: below the command line and the environment, above the defaults."""
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
    typer.Option(callback=read_config_file, is_eager=True, help="TOML file whose keys are these options."),
]


@app.command()
def run(
    methods: Methods = None,
    seeds: Annotated[
        str | None, typer.Option(envvar="MTLBENCH_SEEDS", help="How many seeds (5 means 0 to 4), or a list: 0,3,7.")
    ] = None,
    suite: Suite = "quick",
    tasks: Tasks = None,
    model: Model = None,
    steps: Annotated[int | None, typer.Option(envvar="MTLBENCH_STEPS", help="Optimizer steps.")] = None,
    batch_size: BatchSize = None,
    lr: Annotated[float | None, typer.Option(envvar="MTLBENCH_LR", help="Learning rate.")] = None,
    sampling: Annotated[
        str | None,
        typer.Option(
            envvar="MTLBENCH_SAMPLING", help="How tasks share a step's rows: uniform, proportional, sqrt or annealed."
        ),
    ] = None,
    test_rows: Annotated[
        int | None,
        typer.Option(envvar="MTLBENCH_TEST_ROWS", help="Training rows a task to carve off as a test split."),
    ] = None,
    update_norm: Annotated[
        str | None,
        typer.Option(envvar="MTLBENCH_UPDATE_NORM", help="native; or sum: every shared update gets the sum's norm."),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(envvar="MTLBENCH_ENGINE", help="How task gradients come: auto, packed, lean or loop.")
    ] = None,
    accumulate: Annotated[
        int | None, typer.Option(envvar="MTLBENCH_ACCUMULATE", help="Parts that each batch is taken in, for memory.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(envvar="MTLBENCH_PRECISION", help="Of the forward pass: float32, bfloat16 or float16."),
    ] = None,
    checkpointing: Annotated[
        bool | None,
        typer.Option(
            "--checkpointing/--no-checkpointing",
            envvar="MTLBENCH_CHECKPOINTING",
            help="Compute activations twice, for memory.",
        ),
    ] = None,
    processes_per_cell: Annotated[
        int | None,
        typer.Option(
            envvar="MTLBENCH_PROCESSES_PER_CELL", help="Processes that split each batch by rows; part of the recipe."
        ),
    ] = None,
    threads: Threads = None,
    device: Annotated[str | None, typer.Option(envvar="MTLBENCH_DEVICE", help="cpu, cuda or cuda:N.")] = None,
    jobs: Annotated[
        int | None, typer.Option(envvar="MTLBENCH_JOBS", help="Cells at a time. Default: cores / threads.")
    ] = None,
    executor: Annotated[
        str, typer.Option(envvar="MTLBENCH_EXECUTOR", help="Where cells run: local, ray or slurm.")
    ] = "local",
    devices: Annotated[
        str | None, typer.Option(envvar="MTLBENCH_DEVICES", help="local: GPUs to share out, by comma: cuda:0,cuda:1.")
    ] = None,
    jobs_per_device: Annotated[
        int | None, typer.Option(envvar="MTLBENCH_JOBS_PER_DEVICE", help="local: cells at a time on each of them.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(envvar="MTLBENCH_ADDRESS", help="ray: the cluster's address. Default: this machine.")
    ] = None,
    slurm_partition: Annotated[
        str | None, typer.Option(envvar="MTLBENCH_SLURM_PARTITION", help="slurm: the partition.")
    ] = None,
    slurm_time: Annotated[
        int | None,
        typer.Option(envvar="MTLBENCH_SLURM_TIME", help="slurm: minutes, then a cell is queued again. Default: 60."),
    ] = None,
    checkpoint_every: Annotated[
        float,
        typer.Option(
            envvar="MTLBENCH_CHECKPOINT_EVERY", min=0.0, help="Seconds between a cell's checkpoints; 0: none."
        ),
    ] = 300.0,
    data_dir: DataDir = None,
    results: Results = Path("results"),
    plugin: Plugins = [],
    config: Config = None,
    dry_run: Annotated[bool, typer.Option(help="Print the cells and what is done; train nothing.")] = False,
    force: Annotated[bool, typer.Option(help="Run cells that are done again.")] = False,
    fail_fast: Annotated[bool, typer.Option(help="Start no more cells after a failure.")] = False,
) -> None:
    """Train a grid of methods × seeds on a suite; cells that are done are skipped."""
    from mtlbench.execute.placement import Placement
    from mtlbench.grid.command import RunRequest, run_grid

    request = RunRequest(
        suite=suite,
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
        changes=given(
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
    raise typer.Exit(run_grid(request))
