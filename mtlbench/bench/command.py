"""``mtlbench bench``: choose contenders, measure each in a process of its own, print and save the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mtlbench.bench.job import BenchJob
from mtlbench.bench.process import run_alone
from mtlbench.bench.result import BenchResult, ContenderResult, plain_of
from mtlbench.bench.text import as_json, as_text
from mtlbench.contract.method import Method, without_trainer
from mtlbench.contract.spec import split_specs
from mtlbench.errors import UsageError
from mtlbench.execute.placement import check_device
from mtlbench.host.disk import make_output_folder
from mtlbench.host.streams import print_data
from mtlbench.host.terminal import console
from mtlbench.plan.cells import Workload
from mtlbench.plan.choice import choose_methods, with_all
from mtlbench.plan.conditions import check_methods
from mtlbench.plugins.registry import Registry, load_registry
from mtlbench.recipe.suite import Recipe, Suite, load_suite
from mtlbench.text.model_trial import Traits
from mtlbench.text.problem import TextProblem

SURGERY = "surgery"
"""The engine of problems."""


@dataclass(frozen=True)
class BenchRequest:
    """Options of ``mtlbench bench``; ``None`` means the suite's own value.

    :param suite: name of a packaged suite, or a ``.toml`` file; or a suite, such as that of ``--problem``.
    :param methods: comma-separated specs.
    :param data_dir: folder with the tasks' data files.
    :param plugin_files: Python files that define further methods or tasks.
    :param output: folder for ``bench.json`` and the figures; ``None`` writes none.
    :param as_json: whether to print JSON instead of a table.
    :param changes: recipe field → value, for the fields that the command line overrides.
    """

    suite: str | Suite
    methods: str | None
    data_dir: Path | None
    plugin_files: tuple[str, ...] = ()
    output: Path | None = Path("bench")
    as_json: bool = False
    changes: dict[str, Any] = field(default_factory=dict)


def run_bench(request: BenchRequest, *, width: int = 80, color: bool = False) -> int:
    """Measure, print the results, write data and figures, and return the exit code.

    :param width: columns of the table.
    :param color: whether to print terminal escapes.
    :returns: 1 if a contender failed, else 0.
    :raises UsageError: for an invalid option, or if the output folder is not writable.
    """
    result = bench(request)
    if request.as_json:
        print_data(as_json(result), "json")
    else:
        print(as_text(result, width=width, color=color))
    return 1 if result.failed else 0


def bench(request: BenchRequest) -> BenchResult:
    """Measure every contender, and write data and figures to the request's folder.

    :raises UsageError: for an invalid option, or if the output folder is not writable.
    """
    suite = load_suite(request.suite)
    registry = load_registry(request.plugin_files)
    methods = _named_methods(registry, request.methods, suite.methods)
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
    if request.methods is not None:
        methods = [method for method in with_all(methods, request.methods, registry, workload) if method.joint]
    check_methods(methods, len(workload.tasks))
    workload.problem.check(workload.recipe)
    for method in methods:
        workload.problem.accept(workload.recipe, method)
    if request.output is not None:
        make_output_folder(request.output)
    contenders: list[tuple[str | None, str | None]] = [(None, None)]
    contenders += [(method.spec, engine) for method in methods for engine in _engines(workload, method)]
    jobs = [
        BenchJob(spec, _with_engine(workload.recipe, engine), suite.name, data_dir, plugin_files)
        for spec, engine in contenders
    ]
    results = _measure(contenders, jobs)
    keys = tuple(task.key for task in workload.tasks)
    result = BenchResult(suite.name, workload.recipe, keys, workload.problem.title, results)
    if request.output is not None:
        _write(result, request.output)
    return result


def _engines(workload: Workload, method: Method) -> list[str]:
    """Return the engines to measure a method on; a problem has one."""
    if not isinstance(workload.problem, TextProblem):
        return [SURGERY]
    return engines_of(method, workload.problem.traits(workload.recipe))


def _with_engine(recipe: Recipe, engine: str | None) -> Recipe:
    return recipe.model_copy(update={"engine": "auto" if engine in (None, SURGERY) else engine})


def engines_of(method: Method, traits: Traits) -> list[str]:
    """Return the engines on which a method's cost differs: lean only computes Gram matrices in another way.

    :param traits: of the model; one that cannot be packed runs on the loop engine only.
    """
    if traits.unpacked is not None:
        return ["loop"]
    lean = method.reads == "gram" and method.gram_of != "representation"
    return ["packed", "lean", "loop"] if lean else ["packed", "loop"]


def _named_methods(registry: Registry, requested: str | None, default: Sequence[str]) -> list[Method]:
    """Return the requested methods, or those of the suite that have a joint step.

    :raises UsageError: if there is none, or a requested method has no joint step.
    """
    chosen = choose_methods(",".join(default) if requested is None else requested, registry)
    methods = [without_trainer(method) for method in chosen if method.joint or requested is not None]
    for method in methods:
        if not method.joint:
            raise UsageError(f"method {method.name} trains a model per task, so it has no joint step to measure")
    if requested is None and not methods:
        raise UsageError("give at least one method, such as --methods sum,pcgrad")
    return methods


def _measure(contenders: Sequence[tuple[str | None, str | None]], jobs: Sequence[BenchJob]) -> list[ContenderResult]:
    """Measure one contender after another: two at a time would compete for the machine."""
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
        bar_task = bar.add_task("bench", total=len(jobs) * steps)
        for (spec, engine), job in zip(contenders, jobs, strict=True):
            result = ContenderResult(spec or plain_of(job.recipe), engine)
            bar.update(bar_task, description=escape(result.title))
            run_alone(job, result, lambda: bar.advance(bar_task))
            results.append(result)
            if not console.redraws:
                message = result.error or f"{1e3 * (result.median or 0.0):.1f} ms a step"
                console.print(escape(f"{result.title}: {message}"))
    return results


def _write(result: BenchResult, folder: Path) -> None:
    from mtlbench.bench.figure import draw

    file, figures = folder / "bench.json", [folder / "bench.svg", folder / "bench.png"]
    try:
        file.write_text(as_json(result), encoding="utf-8")
        draw(result, figures)
    except OSError as error:
        raise UsageError(f"cannot write {error.filename or folder}: {error.strerror}") from None
    for path in (file, *figures):
        console.print(f"wrote {escape(str(path))}")
