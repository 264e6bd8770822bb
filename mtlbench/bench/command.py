"""``mtlbench bench``: who is measured, each in a process of its own, and what is printed and written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mtlbench.bench.job import Measurement
from mtlbench.bench.process import run_alone
from mtlbench.bench.result import PLAIN, BenchResult, Measured, as_data, as_text
from mtlbench.contract.method import Method, without_trainer
from mtlbench.contract.spec import split_specs
from mtlbench.errors import UsageError
from mtlbench.execute.placement import check_device
from mtlbench.host.streams import print_data
from mtlbench.host.terminal import console
from mtlbench.plan.cells import Workload
from mtlbench.plan.conditions import check_methods
from mtlbench.plan.suite import load_suite
from mtlbench.plugins.registry import Registry, load_registry
from mtlbench.text.model_trial import Traits


@dataclass(frozen=True)
class BenchRequest:
    """The options of the command; ``None`` means the suite's own value.

    :param changes: recipe fields that the command line sets.
    """

    suite: str
    methods: str | None
    data_dir: Path | None
    plugin_files: tuple[str, ...] = ()
    output: Path = Path("bench")
    as_json: bool = False
    changes: dict[str, Any] = field(default_factory=dict)


def run_bench(request: BenchRequest, *, width: int = 80, color: bool = False) -> int:
    """Measure, print the table, write data and figure; return the exit code: 1 if a contender failed.

    :raises UsageError: when an option is not usable or the output folder is not writable.
    """
    suite = load_suite(request.suite)
    registry = load_registry(request.plugin_files)
    methods = _methods(registry, request.methods, suite.methods)
    changes = dict(request.changes)
    if "tasks" in changes:
        changes["tasks"] = tuple(split_specs(changes["tasks"]))
    recipe = suite.recipe(changes)
    if request.data_dir is not None and not request.data_dir.is_dir():
        raise UsageError(f"data folder {request.data_dir} does not exist")
    check_device(recipe.device, here=True)
    data_dir = None if request.data_dir is None else request.data_dir.resolve()
    plugin_files = tuple(str(Path(file).resolve()) for file in request.plugin_files)
    workload = Workload.load(suite.name, recipe, registry, data_dir=data_dir, plugin_files=plugin_files)
    check_methods(methods, len(workload.tasks))
    traits = workload.try_model()
    _prepare(request.output)
    contenders: list[tuple[str | None, str | None]] = [(None, None)]
    contenders += [(method.spec, engine) for method in methods for engine in engines_of(method, traits)]
    jobs = [
        Measurement(
            spec, workload.recipe.model_copy(update={"engine": engine or "auto"}), suite.name, data_dir, plugin_files
        )
        for spec, engine in contenders
    ]
    found = _measure(contenders, jobs)
    keys = tuple(task.key for task in workload.tasks)
    outcome = BenchResult(suite.name, workload.recipe, keys, workload.files.title, found)
    data = json.dumps(as_data(outcome), indent=2, ensure_ascii=False) + "\n"
    if request.as_json:
        print_data(data, "json")
    else:
        print(as_text(outcome, width=width, color=color))
    _write(outcome, data, request.output)
    return 1 if outcome.failed else 0


def engines_of(method: Method, traits: Traits) -> list[str]:
    """Return the engines between which a method's cost differs: lean is another way to a Gram matrix only.

    :param traits: of the model: one that cannot be packed has the loop alone.
    """
    if traits.unpacked is not None:
        return ["loop"]
    whole = method.reads == "gram" and method.gram_of != "representation"
    return ["packed", "lean", "loop"] if whole else ["packed", "loop"]


def _methods(registry: Registry, wanted: str | None, usual: Sequence[str]) -> list[Method]:
    """Return the methods by name, or the suite's usual ones that have a joint step."""
    specs = usual if wanted is None else split_specs(wanted)
    made = {method.spec: without_trainer(method) for spec in specs for method in registry.expand_methods(spec)}
    for method in list(made.values()):
        if not method.joint:
            if wanted is not None:
                raise UsageError(f"method {method.name} trains a model per task, so it has no joint step to measure")
            del made[method.spec]
    if not made:
        raise UsageError("give at least one method, such as --methods sum,pcgrad")
    return list(made.values())


def _measure(contenders: Sequence[tuple[str | None, str | None]], jobs: Sequence[Measurement]) -> list[Measured]:
    """Measure one contender after another: two at a time would share the machine."""
    steps = jobs[0].recipe.steps or 0
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.redraws,
    )
    results = []
    with bar:
        line = bar.add_task("bench", total=len(jobs) * steps)
        for (spec, engine), job in zip(contenders, jobs, strict=True):
            one = Measured(spec or PLAIN, engine)
            bar.update(line, description=escape(one.title))
            run_alone(job, one, lambda: bar.advance(line))
            results.append(one)
            if not console.redraws:
                told = one.error or f"{1e3 * (one.median or 0.0):.1f} ms a step"
                console.print(escape(f"{one.title}: {told}"))
    return results


def _prepare(folder: Path) -> None:
    """Make the folder before the work is done, so that a bad name costs nothing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}") from None


def _write(outcome: BenchResult, data: str, folder: Path) -> None:
    from mtlbench.bench.figure import draw

    file, figures = folder / "bench.json", [folder / "bench.svg", folder / "bench.png"]
    try:
        file.write_text(data, encoding="utf-8")
        draw(outcome, figures)
    except OSError as error:
        raise UsageError(f"cannot write {error.filename or folder}: {error.strerror}") from None
    for one in (file, *figures):
        console.print(f"wrote {escape(str(one))}")
