"""``mtlbench toy``: choose methods, run them on several cores, print and save the results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mtlbench.contract.method import Method, without_trainer
from mtlbench.contract.spec import split_specs
from mtlbench.errors import UsageError, unknown
from mtlbench.host.disk import make_output_folder
from mtlbench.host.provenance import usable_cores
from mtlbench.host.terminal import console
from mtlbench.plugins.registry import Registry, load_registry
from mtlbench.tasks.toy import SETTINGS, Toy
from mtlbench.toy.pool import run_jobs
from mtlbench.toy.result import ToyResult
from mtlbench.toy.text import as_data, as_text
from mtlbench.toy.trajectory import ToyJob, Trajectory, refusal


@dataclass(frozen=True)
class ToyRequest:
    """Options of ``mtlbench toy``.

    :param setting: ``"cagrad"`` or ``"nash"``.
    :param methods: comma-separated specs; ``None``: all methods.
    :param steps: optimizer steps; ``None``: the setting's.
    :param lr: learning rate; ``None``: the setting's.
    :param jobs: methods to run at a time; ``None``: one per core.
    :param plugin_files: Python files that define further methods.
    :param output: folder for ``toy.json`` and the figures.
    """

    setting: str = "cagrad"
    methods: str | None = None
    steps: int | None = None
    lr: float | None = None
    jobs: int | None = None
    plugin_files: tuple[str, ...] = ()
    output: Path = Path("toy")


def run_toy(request: ToyRequest, *, width: int = 80, color: bool = False) -> int:
    """Run the methods, print the table, write data and figures, and return the exit code.

    :param width: columns of the table.
    :param color: whether to print terminal escapes.
    :returns: 1 if a method raised, else 0.
    :raises UsageError: for an invalid option, or if the output folder is not writable.
    """
    if request.setting not in SETTINGS:
        raise unknown("setting", request.setting, SETTINGS)
    for name, value in (("steps", request.steps), ("jobs", request.jobs)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, not {value}")
    if request.lr is not None and not 0.0 < request.lr < float("inf"):
        raise UsageError(f"lr must be a positive number, not {request.lr}")
    problem = Toy(request.setting)  # type: ignore[arg-type]  # checked above, for a better message
    methods, skipped = _choose_methods(load_registry(request.plugin_files), request.methods)
    make_output_folder(request.output)
    result = _run(request, problem, methods, skipped)
    print(as_text(result, width=width, color=color))
    _write(result, request.output)
    return 1 if result.raised else 0


def _choose_methods(registry: Registry, requested: str | None) -> tuple[dict[str, Method], dict[str, str]]:
    """Return spec → method for methods that can run, and spec → reason for those that cannot.

    :raises UsageError: if none can run, or for an unknown name, parameter or value.
    """
    requested = None if requested == "all" else requested
    specs = split_specs(requested) if requested is not None else _all_specs(registry)
    methods, skipped = dict[str, Method](), dict[str, str]()
    for spec in specs:
        try:
            expanded = registry.expand_methods(spec)
        except UsageError as error:
            if requested is not None:
                raise
            skipped[spec] = str(error)  # chosen by default; it may need a parameter
            continue
        for method in expanded:
            reason = refusal(without_trainer(method))
            if reason is None:
                methods[method.spec] = method
            else:
                skipped[method.spec] = reason
    if not methods:
        reasons = "".join(f"; {spec} cannot: {reason}" for spec, reason in skipped.items())
        raise UsageError(f"give at least one method that can run here, such as --methods sum,pcgrad{reasons}")
    return methods, skipped


def _all_specs(registry: Registry) -> list[str]:
    """Return the names of all methods and one example of each wrapper, the baseline first."""
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
        bar_task = bar.add_task("toy", total=len(jobs))

        def on_done(job: ToyJob, trajectories: list[Trajectory]) -> None:
            bar.advance(bar_task)
            if not console.redraws:
                console.print(f"{escape(job.method)} done")

        trajectories = run_jobs(jobs, workers, on_done)
    return ToyResult(problem, steps, lr, methods, skipped, dict(zip(methods, trajectories, strict=True)))


def _write(result: ToyResult, folder: Path) -> None:
    from mtlbench.toy.figure import draw

    data, figures = folder / "toy.json", [folder / "toy.svg", folder / "toy.png"]
    try:
        data.write_text(json.dumps(as_data(result), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        draw(result.problem, result.trajectories, figures)
    except OSError as error:
        raise UsageError(f"cannot write {error.filename or folder}: {error.strerror}") from None
    for file in (data, *figures):
        console.print(f"wrote {escape(str(file))}")
