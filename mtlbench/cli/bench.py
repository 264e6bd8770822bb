"""``bench``: the cost of a training step on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtlbench.cli.app import (
    BatchSize,
    DataDir,
    Json,
    Methods,
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


@app.command("bench")
def bench(
    methods: Methods = None,
    suite: Suite = None,
    problem: Problem = None,
    tasks: Tasks = None,
    model: Model = None,
    batch_size: BatchSize = None,
    steps: Annotated[int, typer.Option(help="Timed optimizer steps, after two steps of warm-up.")] = 10,
    threads: Threads = None,
    data_dir: DataDir = None,
    output: Annotated[Path, typer.Option(help="Folder for bench.json, bench.svg and bench.png.")] = Path("bench"),
    json: Json = False,
    plugin: Plugins = [],
) -> None:
    """Measure step time and peak memory of each method on each engine, relative to a plain sum."""
    from mtlbench.bench.command import BenchRequest, run_bench

    request = BenchRequest(
        suite=choose_suite(suite, problem, model, plugin),
        methods=methods,
        data_dir=data_dir,
        plugin_files=tuple(str(file) for file in plugin),
        output=output,
        as_json=json,
        changes=recipe_changes(tasks=tasks, model=model, steps=steps, batch_size=batch_size, threads=threads),
    )
    raise typer.Exit(run_bench(request, color=takes_escapes()))
