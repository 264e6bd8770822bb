"""``mtlbench toy``: which methods, on how many cores, and what is printed and written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mtlbench.contract.method import Method, without_trainer
from mtlbench.contract.spec import split_specs
from mtlbench.errors import UsageError, unknown
from mtlbench.host.provenance import usable_cores
from mtlbench.host.terminal import console
from mtlbench.plugins.registry import Registry, load_registry
from mtlbench.tasks.toy import SETTINGS, Toy
from mtlbench.toy.pool import run_jobs
from mtlbench.toy.result import ToyResult, as_data, as_text
from mtlbench.toy.trajectory import ToyJob, Trajectory, refusal


@dataclass(frozen=True)
class ToyRequest:
    """The options of the command; ``None`` leaves it to the setting, or takes all methods or cores."""

    setting: str = "cagrad"
    methods: str | None = None
    steps: int | None = None
    lr: float | None = None
    jobs: int | None = None
    plugin_files: tuple[str, ...] = ()
    output: Path = Path("toy")


def run_toy(request: ToyRequest, *, width: int = 80, color: bool = False) -> int:
    """Run the methods, print the table, write data and figure; return the exit code: 1 if a method raised.

    :raises UsageError: when an option is not usable or the output folder is not writable.
    """
    if request.setting not in SETTINGS:
        raise unknown("setting", request.setting, SETTINGS)
    for name, value in (("steps", request.steps), ("jobs", request.jobs)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, not {value}")
    if request.lr is not None and not 0.0 < request.lr < float("inf"):
        raise UsageError(f"lr must be a positive number, not {request.lr}")
    problem = Toy(request.setting)  # type: ignore[arg-type]  # checked above, with a better message
    methods, skipped = _choose(load_registry(request.plugin_files), request.methods)
    _prepare(request.output)
    outcome = _run(request, problem, methods, skipped)
    print(as_text(outcome, width=width, color=color))
    _write(outcome, request.output)
    return 1 if outcome.raised else 0


def _choose(registry: Registry, wanted: str | None) -> tuple[dict[str, Method], dict[str, str]]:
    """Return the methods that can run, by spec, and those that cannot, with the reason."""
    specs = split_specs(wanted) if wanted is not None else _all(registry)
    methods, skipped = dict[str, Method](), dict[str, str]()
    for spec in specs:
        try:
            made = registry.expand_methods(spec)
        except UsageError as error:
            if wanted is not None:
                raise
            skipped[spec] = str(error)  # nobody asked for it: it may need a parameter
            continue
        for method in made:
            reason = refusal(without_trainer(method))
            if reason is None:
                methods[method.spec] = method
            else:
                skipped[method.spec] = reason
    if not methods:
        told = "".join(f"; {spec} cannot: {reason}" for spec, reason in skipped.items())
        raise UsageError(f"give at least one method that can run here, such as --methods sum,pcgrad{told}")
    return methods, skipped


def _all(registry: Registry) -> list[str]:
    """Return every method's name, the baseline first, and one example of every wrapper."""
    examples = [f"{name}-{wrapper.example}" for name, wrapper in registry.wrappers.items() if wrapper.example]
    return sorted({*registry.methods, *examples}, key=lambda name: (name != "sum", name))


def _run(request: ToyRequest, problem: Toy, methods: dict[str, Method], skipped: dict[str, str]) -> ToyResult:
    steps, lr = request.steps or problem.constants.steps, request.lr or problem.constants.lr
    plugin_files = tuple(str(Path(file).resolve()) for file in request.plugin_files)
    jobs = [ToyJob(spec, problem, steps, lr, plugin_files) for spec in methods]
    workers = min(len(jobs), request.jobs or usable_cores())
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} methods"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.redraws,
    )
    with bar:
        line = bar.add_task("toy", total=len(jobs))

        def heard(job: ToyJob, trajectories: list[Trajectory]) -> None:
            bar.advance(line)
            if not console.redraws:
                console.print(f"{escape(job.method)} done")

        found = run_jobs(jobs, workers, heard)
    return ToyResult(problem, steps, lr, methods, skipped, dict(zip(methods, found, strict=True)))


def _prepare(folder: Path) -> None:
    """Make the folder before the work is done, so that a bad name costs nothing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}") from None


def _write(outcome: ToyResult, folder: Path) -> None:
    from mtlbench.toy.figure import draw

    data, figures = folder / "toy.json", [folder / "toy.svg", folder / "toy.png"]
    try:
        data.write_text(json.dumps(as_data(outcome), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        draw(outcome.problem, outcome.found, figures)
    except OSError as error:
        raise UsageError(f"cannot write {error.filename or folder}: {error.strerror}") from None
    for file in (data, *figures):
        console.print(f"wrote {escape(str(file))}")
