"""``mtlbench tune``: the same trials for every method, as ordinary cells; then a table, a figure and a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rich.markup import escape

from mtlbench.contract.method import Method
from mtlbench.contract.spec import expand_spec, parse_spec, split_specs
from mtlbench.errors import UsageError, unknown
from mtlbench.execute.executor import Event
from mtlbench.execute.placement import torchrun_place
from mtlbench.grid.command import RunRequest as Grid
from mtlbench.grid.command import introduce, load_workload, make_headers, train_cells
from mtlbench.grid.tuned_file import Tuned, write_tuned
from mtlbench.host.terminal import console
from mtlbench.plan.cells import MOST_SEEDS, SEEDS_END, Cell, Workload
from mtlbench.plan.suite import load_suite
from mtlbench.plugins.registry import Registry, load_registry
from mtlbench.records.store import Store
from mtlbench.tune.sampler import Sampler, load_optuna
from mtlbench.tune.space import read_space
from mtlbench.tune.summary import summarize
from mtlbench.tune.text import as_plan, as_text
from mtlbench.tune.trials import FIRST_SEED, Budget, MethodSearch, ended

SAMPLERS: dict[str, Sampler] = {"halton": "halton", "tpe": "tpe"}
AROUND = 10.0
"""The learning rate is searched from the recipe's divided by this to the recipe's times this."""


@dataclass(frozen=True)
class TuneRequest:
    """The options of ``mtlbench tune``.

    :param grid: those that it has in common with ``mtlbench run``.
    :param trials: of every method.
    :param seeds: training runs of every trial.
    :param lr: bounds of the learning rate, such as ``1e-6:1e-4``; ``None``: around the recipe's.
    :param space: of parameters of the methods' own, such as ``cagrad[c=0.1:0.5]``, by comma.
    :param tuning_seed: seed of the sampler.
    """

    grid: Grid
    trials: int
    seeds: int
    sampler: str
    lr: str | None
    space: str | None
    tuning_seed: int


def run_tune(request: TuneRequest, *, width: int, color: bool) -> int:
    """Tune and return the exit code: 0 when every method had its trials and one of them succeeded, else 1.

    :raises UsageError: for anything wrong with the request, before the first cell starts.
    """
    if torchrun_place() is not None:
        raise UsageError("mtlbench tune shares out cells by itself: start it without torchrun")
    budget = _budget(request)
    registry = load_registry(request.grid.plugin_files)
    workload = load_workload(request.grid, registry)
    studies = _studies(request, registry, workload)
    tuned = _tune(request.grid, registry, workload, budget, studies)
    if request.grid.dry_run:
        print(as_plan(tuned))
        return 0
    print(as_text(tuned, width=width, color=color))
    if any(study.chosen for study in tuned.studies):
        from mtlbench.tune.figure import draw

        console.print(f"wrote {escape(str(draw(tuned, request.grid.results)))}")
    if not tuned.complete:
        console.print("[red]not all trials have ended[/]: the same command tries the others again")
    return 0 if tuned.complete and all(study.chosen for study in tuned.studies) else 1


def _budget(request: TuneRequest) -> Budget:
    if request.sampler not in SAMPLERS:
        raise unknown("sampler", request.sampler, SAMPLERS)
    if not 1 <= request.seeds <= MOST_SEEDS:
        raise UsageError(f"the number of tuning seeds must be 1 to {MOST_SEEDS}, not {request.seeds}")
    if not 0 <= request.tuning_seed < SEEDS_END:
        raise UsageError("the tuning seed must be from 0 up, and below 2^63")
    if request.sampler == "tpe":
        load_optuna()
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + request.seeds))
    return Budget(request.trials, seeds, SAMPLERS[request.sampler], request.tuning_seed)


def _studies(request: TuneRequest, registry: Registry, workload: Workload) -> list[MethodSearch]:
    """Return what is to be tuned: parameters that a spec names stay as they are."""
    wanted = request.grid.methods
    specs = split_specs(wanted) if wanted is not None else load_suite(request.grid.suite).methods
    spaces = _spaces(request.space or "")
    rates = request.lr or f"{workload.recipe.lr / AROUND:.3g}:{workload.recipe.lr * AROUND:.3g}"
    if rates.count(":") != 1:
        raise UsageError(f"--lr {rates}: write LOW:HIGH, the lowest and the highest learning rate to try")
    studies: dict[str, MethodSearch] = {}
    for name, given in (one for spec in specs for one in expand_spec(spec)):
        method = registry.method_class(name).make(dict(given))
        if "base_lr" in given:
            raise UsageError(f"method {method.spec}: base_lr is tuned; leave it away")
        own = spaces.get(name, {})
        for parameter in own.keys() & given.keys():
            raise UsageError(f"method {method.spec} fixes {parameter}, and --space tunes it: leave one of them away")
        own = {**{one: text for one, text in method.search.items() if one not in given}, **own}
        if method.spec in studies:
            raise UsageError(f"method {method.spec} is named twice")
        studies[method.spec] = _study(method, {"base_lr": f"{rates}:log", **own}, workload)
    for name in spaces.keys() - {study.method.name for study in studies.values()}:
        raise UsageError(f"--space tunes {name}, which is not one of --methods")
    if not studies:
        raise UsageError("give at least one method, such as --methods sum,pcgrad")
    return list(studies.values())


def _spaces(text: str) -> dict[str, dict[str, str]]:
    """Return method → parameter → space, as the user gave them."""
    found: dict[str, dict[str, str]] = {}
    for spec in split_specs(text):
        name, parameters = parse_spec(spec)
        if not parameters:
            raise UsageError(f"--space {spec}: write METHOD[parameter=LOW:HIGH]")
        if "base_lr" in parameters:
            raise UsageError(f"--space {spec}: all methods share one space of learning rates: --lr LOW:HIGH")
        if name in found:
            raise UsageError(f"--space names {name} twice: put all of its parameters into one pair of brackets")
        found[name] = parameters
    return found


def _study(method: Method, texts: Mapping[str, str], workload: Workload) -> MethodSearch:
    """Read a method's spaces; all must contain its first trial.

    :raises UsageError: when they do not, or are none.
    """
    spaces = {name: read_space(text, method, name, len(workload.tasks)) for name, text in texts.items()}
    study = MethodSearch(method, spaces)
    values = study.values(method, workload)
    for name, space in spaces.items():
        try:
            space.find(values[name])
        except ValueError as error:
            raise UsageError(
                f"method {method.spec}: space {name}={space.text} leaves out the first trial, which has the recipe's "
                f"learning rate and the method's defaults: {error}"
            ) from None
    return study


def _tune(grid: Grid, registry: Registry, workload: Workload, budget: Budget, studies: Sequence[MethodSearch]) -> Tuned:
    """Train what is open, the earliest trials of all methods first, until nothing is left that was not tried."""
    store, headers, tried = Store(grid.results), None, set[str]()
    while True:
        before = store.state()
        tuned, cells, left = _look(store, workload, budget, studies)
        todo = [replace(cell, checkpoint_every=grid.checkpoint_every) for cell in left if cell.key not in tried]
        if not tried:
            introduce(workload, cells, todo, grid.placement)
        if grid.dry_run:
            return tuned
        if not tried:
            store.prepare()
        write_tuned(tuned, grid.results)
        if not todo:
            return tuned
        tried |= {cell.key for cell in todo}
        headers = headers or make_headers(grid, registry, workload)

        def heard(event: Event) -> None:
            if event.kind in ("done", "failed"):
                write_tuned(_look(store, workload, budget, studies)[0], grid.results)

        train_cells(grid, workload, headers, todo, store, before, heard)


def _look(
    store: Store, workload: Workload, budget: Budget, studies: Sequence[MethodSearch]
) -> tuple[Tuned, list[Cell], list[Cell]]:
    """Return what the records show, the cells of all trials that can be named, and those that are to be trained."""
    records = {record["key"]: record for record in store.scan().records}
    found = [(study, study.trials(workload, budget, records)) for study in studies]
    trials = sorted((trial for _, some in found for trial in some), key=lambda trial: trial.number)
    cells = list({cell.key: cell for trial in trials for cell in trial.cells}.values())
    waited_for = {cell.key for trial in trials if trial.status == "open" for cell in trial.cells}
    left = [cell for cell in cells if cell.key in waited_for and not ended(records.get(cell.key))]
    return summarize(workload, cells[0].group, budget, found), cells, left
