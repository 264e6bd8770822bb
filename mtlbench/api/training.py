"""Verbs that train or measure: ``run``, ``tune`` and ``bench``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtlbench.api.arguments import (
    PathName,
    Words,
    changes_of,
    check_whole,
    data_folder,
    path_of,
    plugin_files,
    seeds_of,
    words_of,
)
from mtlbench.api.results import Results, results_of
from mtlbench.errors import UsageError, shown
from mtlbench.host.terminal import silenced

if TYPE_CHECKING:
    from mtlbench.bench.result import BenchResult
    from mtlbench.grid.tuned_file import Tuned
    from mtlbench.recipe.suite import Suite


def run(
    suite: str | None = None,
    methods: Words | None = None,
    seeds: int | str | Iterable[int] | None = None,
    *,
    problem: str | None = None,
    results: PathName = "results",
    data_dir: PathName | None = None,
    plugin: PathName | Iterable[PathName] = (),
    jobs: int | None = None,
    executor: str = "local",
    devices: Words | None = None,
    jobs_per_device: int | None = None,
    address: str | None = None,
    slurm_partition: str | None = None,
    slurm_time: int | None = None,
    processes_per_cell: int | None = None,
    checkpoint_every: float = 300.0,
    dry_run: bool = False,
    force: bool = False,
    fail_fast: bool = False,
    quiet: bool = False,
    **changes: Any,
) -> Results:
    """Train a grid of methods × seeds on a suite; skip cells that are already done, as ``mtlbench run`` does.

    Every argument means what the option of its name means. Environment variables are not read.

    :param suite: name of a suite, or a ``.toml`` file. Default: the problem's, or quick.
    :param methods: a list of specs, or a text as on the command line: ``"sum,cagrad[c=0.2/0.4]"``, ``"all"``,
        ``"@tuned.json"``. Default: the suite's.
    :param seeds: number of seeds (5 means 0 to 4), or a list. Default: the suite's.
    :param problem: problem with data and a model of its own, such as ``"digits[overlap=0]"``. Default: the suite's.
    :param results: results folder, which holds the records.
    :param data_dir: folder with data files.
    :param plugin: Python file or files that define methods, tasks or problems.
    :param jobs: cells to run at a time. Default: cores / threads.
    :param executor: where cells run: local, ray or slurm.
    :param devices: local: GPUs to use, such as ``["cuda:0", "cuda:1"]``.
    :param jobs_per_device: local: cells at a time on each of these.
    :param address: ray: address of the cluster.
    :param slurm_partition: slurm: partition.
    :param slurm_time: slurm: time limit in minutes.
    :param processes_per_cell: processes that share the rows of each batch; part of the recipe.
    :param checkpoint_every: seconds between checkpoints of a cell; 0: none.
    :param dry_run: whether to print the cells and their states, and train nothing.
    :param force: whether to run cells again that are already done.
    :param fail_fast: whether to start no further cells after a failure.
    :param quiet: whether to print no plan and no progress; otherwise they go to standard error.
    :param changes: fields of the suite's recipe to change, such as ``steps=200, lr=1e-3``. ``None`` keeps the suite's.
    :returns: the results of this grid's cells. A failed cell raises nothing: see ``.cells`` and ``.complete``.
    :raises UsageError: for a wrong argument, before the first cell starts.

    >>> import mtlbench
    >>> results = mtlbench.run("digits", ["sum", "pcgrad"], seeds=2, steps=2, quiet=True)
    >>> results.cells[["method", "seed", "status"]].to_dict("records")[0]
    {'method': 'sum', 'seed': 0, 'status': 'done'}
    """
    from mtlbench.execute.placement import Placement
    from mtlbench.grid.command import RunRequest, run_grid

    check_whole(jobs=jobs, jobs_per_device=jobs_per_device, slurm_time=slurm_time)
    if not isinstance(checkpoint_every, int | float) or not checkpoint_every >= 0:
        raise UsageError(f"checkpoint_every={shown(checkpoint_every)}: give seconds, at least 0")
    recipe = changes_of(run, changes, processes_per_cell)
    files = plugin_files(plugin)
    placement = Placement(
        executor, jobs, words_of("devices", devices), jobs_per_device, address, slurm_partition, slurm_time
    )
    request = RunRequest(
        suite=_suite(suite, problem, recipe, files),
        methods=words_of("methods", methods),
        seeds=seeds_of(seeds),
        data_dir=data_folder(data_dir),
        results=path_of("results", results),
        plugin_files=files,
        placement=placement,
        checkpoint_every=checkpoint_every,
        force=force,
        fail_fast=fail_fast,
        dry_run=dry_run,
        changes=recipe,
    )
    with silenced(quiet):
        grid = run_grid(request)
    return results_of(request.results, grid.cells)


def tune(
    suite: str | None = None,
    methods: Words | None = None,
    *,
    trials: int = 8,
    seeds: int = 1,
    lr: str | tuple[float, float] | None = None,
    space: Words | None = None,
    sampler: str = "halton",
    tuning_seed: int = 0,
    problem: str | None = None,
    results: PathName = "results/tuning",
    data_dir: PathName | None = None,
    plugin: PathName | Iterable[PathName] = (),
    jobs: int | None = None,
    dry_run: bool = False,
    quiet: bool = False,
    **changes: Any,
) -> Tuned:
    """Search for parameters, with the same number of trials for every method, as ``mtlbench tune`` does.

    Arguments that :func:`mtlbench.run` has, too, mean the same.

    :param trials: trials per method, including its defaults.
    :param seeds: training runs per trial, with seeds from 1000000.
    :param lr: learning rates to search, ``(low, high)`` or ``"LOW:HIGH"``. Default: the suite's / 10 to × 10.
    :param space: search spaces of methods' own parameters, such as ``"cagrad[c=0.1:0.5]"``.
    :param sampler: ``halton``: quasi-random points; ``tpe``: points chosen from results.
    :param tuning_seed: seed of the sampler.
    :param results: results folder, in which ``tuned.json`` is written, too.
    :param changes: fields of the suite's recipe to change, except the learning rate.
    :returns: the content of ``tuned.json``: ``.studies`` has each method's trials, and the best as ``.chosen``.
        ``mtlbench.run(methods="@results/tuning/tuned.json")`` trains the best of each.
    :raises UsageError: for a wrong argument, before the first cell starts.

    >>> import mtlbench
    >>> tuned = mtlbench.tune("digits", ["sum"], trials=1, steps=2, quiet=True)
    >>> tuned.studies[0].chosen.values
    {'base_lr': 0.005}
    """
    from mtlbench.execute.placement import Placement
    from mtlbench.grid.command import RunRequest
    from mtlbench.tune.command import TuneRequest
    from mtlbench.tune.command import tune as search

    check_whole(jobs=jobs, trials=trials, seeds=seeds)
    check_whole(0, tuning_seed=tuning_seed)
    recipe = changes_of(tune, changes)
    files = plugin_files(plugin)
    grid = RunRequest(
        suite=_suite(suite, problem, recipe, files),
        methods=words_of("methods", methods),
        seeds=None,
        data_dir=data_folder(data_dir),
        results=path_of("results", results),
        plugin_files=files,
        placement=Placement(jobs=jobs),
        dry_run=dry_run,
        changes=recipe,
    )
    rates = lr if lr is None or isinstance(lr, str) else ":".join(map(str, lr))
    with silenced(quiet):
        return search(TuneRequest(grid, trials, seeds, sampler, rates, words_of("space", space), tuning_seed))


def bench(
    suite: str | None = None,
    methods: Words | None = None,
    *,
    steps: int = 10,
    problem: str | None = None,
    data_dir: PathName | None = None,
    plugin: PathName | Iterable[PathName] = (),
    output: PathName | None = None,
    quiet: bool = False,
    **changes: Any,
) -> BenchResult:
    """Measure step time and peak memory of methods on each engine, relative to a plain sum, as ``mtlbench bench`` does.

    Arguments that :func:`mtlbench.run` has, too, mean the same.

    :param steps: timed optimizer steps, after two steps of warm-up.
    :param output: folder for ``bench.json``, ``bench.svg`` and ``bench.png``; ``None`` writes none.
    :param changes: fields of the suite's recipe to change, such as ``batch_size=32``.
    :returns: the measurements; ``.rows`` is the table, for ``pandas.DataFrame(result.rows)``.
    :raises UsageError: for a wrong argument, before the first step.

    >>> import mtlbench
    >>> result = mtlbench.bench("digits", ["pcgrad"], steps=2, quiet=True)
    >>> [row["method"] for row in result.rows]
    ['plain sum', 'pcgrad']
    """
    from mtlbench.bench.command import BenchRequest
    from mtlbench.bench.command import bench as measure

    recipe = changes_of(bench, changes)
    files = plugin_files(plugin)
    request = BenchRequest(
        suite=_suite(suite, problem, recipe, files),
        methods=words_of("methods", methods),
        data_dir=data_folder(data_dir),
        plugin_files=files,
        output=None if output is None else path_of("output", output),
        changes={**recipe, "steps": steps},
    )
    with silenced(quiet):
        return measure(request)


def _suite(suite: Any, problem: Any, recipe: dict[str, Any], files: tuple[str, ...]) -> str | Suite:
    """Return what the arguments ``suite`` and ``problem`` stand for together."""
    from mtlbench.problem.default_suite import choose_suite

    if problem is not None and not isinstance(problem, str):
        raise UsageError(f"problem={shown(problem)}: give the spec of a problem, such as 'digits[overlap=0]'")
    name = str(suite) if isinstance(suite, Path) else suite
    if name is not None and not isinstance(name, str):
        raise UsageError(f"suite={shown(suite)}: give the name of a suite, or a .toml file")
    return choose_suite(name, problem, recipe.get("model"), files)
