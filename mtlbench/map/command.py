"""``mtlbench map``: train what is missing of a map, store it, and print what each method gains."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from mtlbench.errors import UsageError
from mtlbench.execute.heartbeat import Heartbeat
from mtlbench.execute.pool import Died, run_in_processes
from mtlbench.host.provenance import usable_cores
from mtlbench.host.terminal import console, duration
from mtlbench.map.load import load_map
from mtlbench.map.presets import preset
from mtlbench.map.progress import MapProgress
from mtlbench.map.run import Run
from mtlbench.map.store import MapStore
from mtlbench.map.text import as_plan, as_text
from mtlbench.map.work import Outcome, ShardJob, Train, train_shard
from mtlbench.plan.cells import parse_seeds
from mtlbench.plugins.registry import load_registry
from mtlbench.records.leases import Leases

LEASE = "map"
"""Name of the lease that a run holds on its folder."""


@dataclass(frozen=True)
class MapRequest:
    """Options of ``mtlbench map``.

    :param preset: ``"quick"`` or ``"full"``.
    :param results: the results folder.
    :param seeds: as :func:`mtlbench.plan.cells.parse_seeds` reads them; ``None``: the preset's.
    :param jobs: shards that are trained at a time; ``None``: one for each core.
    :param studies: comma-separated names; ``None``: all.
    :param dry_run: whether to print the plan alone.
    """

    preset: str = "quick"
    results: Path = Path("results/map")
    seeds: str | None = None
    jobs: int | None = None
    studies: str | None = None
    dry_run: bool = False


def run_map(request: MapRequest, train: Train | None = None, *, width: int = 100, color: bool = False) -> int:
    """Train, store and print, and return the exit code.

    :param request: the options.
    :param train: the trainer; ``None``: the map's own.
    :param width: columns of the tables.
    :param color: whether to print terminal escapes.
    :returns: 1 if a shard failed, else 0.
    :raises UsageError: for an invalid option, or a folder that cannot be written or is in use.
    """
    chosen = preset(request.preset)
    plans = chosen.chosen(_names(request.studies))
    seeds = list(range(chosen.seeds)) if request.seeds is None else parse_seeds(request.seeds)
    if request.jobs is not None and request.jobs < 1:
        raise UsageError(f"jobs must be at least 1, not {request.jobs}")
    jobs = request.jobs or usable_cores()
    run = Run(MapStore(request.results, chosen.name), plans, load_registry())
    for note in run.notes:
        console.print(f"[yellow]note[/] {escape(note)}")
    if request.dry_run:
        print(as_plan(run.missing(seeds), plans, len(seeds), jobs))
        return 0
    run.store.prepare()
    with _alone_in(run.store.folder):
        succeeded = _train(run, seeds, jobs, train or _trainer())
    result = load_map(request.results, chosen.name)[0]
    print(as_text(result.only([plan.name for plan in plans]), width=width, color=color))
    return 0 if succeeded else 1


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder's lease: two runs would each overwrite what the other has trained.

    :raises UsageError: while another run holds it.
    """
    lease = Leases(folder).claim(LEASE, "mtlbench map")
    if lease is None:
        raise UsageError(f"another mtlbench map trains in {folder}: wait for it, or give another --results FOLDER")
    try:
        with Heartbeat() as heartbeat:
            heartbeat.add(lease)
            yield
    finally:
        lease.release()


def _trainer() -> Train:
    """Return the map's own trainer; a dry run does without torch."""
    from mtlbench.map.trainer import train

    return train


def _train(run: Run, seeds: Sequence[int], workers: int, train: Train) -> bool:
    """Train what is missing, and return whether no shard failed."""
    left = run.missing(seeds)
    console.print(escape(as_plan(left, run.plans, len(seeds), workers)))
    jobs = [ShardJob(name, shard, train) for name, shards in left.items() for shard in shards]
    jobs.sort(key=lambda job: job.shard.seconds, reverse=True)  # long ones first: the last to end is a short one
    begin, failed = time.perf_counter(), 0
    outcomes = run_in_processes(train_shard, jobs, min(workers, max(1, len(jobs))), ["mtlbench.map.preload"])
    with MapProgress(jobs, workers) as progress, closing(outcomes):
        for job, outcome in outcomes:
            if isinstance(outcome, Died):
                outcome = Outcome("", 0.0, error=f"its process ended with exit code {outcome.exitcode}")
            if outcome.trained is not None:
                run.add(job.study, outcome.trained, outcome.started)
            failed += outcome.trained is None
            progress.show(job, outcome.error)
    if failed:
        console.print(f"[red]{failed} of {len(jobs)} shards failed[/]: the same command tries them again")
    if jobs:
        console.print(f"trained in {duration(time.perf_counter() - begin)}, stored in {escape(str(run.store.folder))}")
    return not failed


def _names(text: str | None) -> list[str] | None:
    """Return the names of a comma-separated list.

    :raises UsageError: when there are none.
    """
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("give at least one study, such as --studies loss-noise, or leave --studies out for all")
    return names
