"""Faults planted in small real runs, and healthy runs: does the doctor name exactly what is wrong?

    python -m benchmarks.planted              # prints the page; --write puts it into benchmarks/doctor.md

Every fault of ``benchmarks/plants.py`` is one change of one healthy recipe: three embedded tasks on a BERT of one
layer, 64 wide, trained from random weights. A fault counts as named when the finding of its code is made; others may
be made only where they are a consequence of the fault that a user would want to read, and each such is listed with its
fault. Notes never count as false.

Runs are kept in a folder, and those that are done are not run again: it can be stopped and goes on.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from benchmarks.plants import FAULTS, RECIPE, TASKS, Fault
from benchmarks.tiny_bert import write_tiny_bert
from mtlbench.diagnose import Finding, diagnose
from mtlbench.execute.executor import CellJob, Event
from mtlbench.execute.worker import run_cell
from mtlbench.plan.cells import Workload, make_cells, parse_seeds
from mtlbench.plugins.registry import load_registry
from mtlbench.recipe.suite import load_suite
from mtlbench.records.header import header
from mtlbench.records.leases import Leases
from mtlbench.records.record import Record
from mtlbench.records.store import Store
from mtlbench.text import grammar

PAGE = Path(__file__).with_name("doctor.md")
FINDINGS = Path(__file__).parents[1] / "docs" / "diagnose.md"
HEALTHY = ("sum", "mgda", "pcgrad", "cagrad", "gradnorm", "uw", "famo", "imtl-g", "nash-mtl", "fairgrad")
HEALTHY_SEEDS = 2
"""Of each method: twenty healthy runs."""

ADJUSTED = Path(__file__).with_name("doctor_adjusted.md")
"""What was changed after a look at the runs: a part of the page."""


def tiny_encoder(folder: Path) -> Path:
    """Make the folder of a small BERT that knows the words of the embedded tasks, unless it is there."""
    if not (folder / "config.json").is_file():
        phrases = [*grammar.SUBJECTS, *grammar.SUBJECTS.values(), *grammar.OPINIONS, *grammar.PRAISES, "and"]
        phrases += [word for by_valence in grammar.LEXICON.values() for words in by_valence.values() for word in words]
        words = sorted({word for phrase in phrases for word in re.findall(r"[a-z]+", re.sub(r"{\w+}", "", phrase))})
        write_tiny_bert(folder, [",", *words], layers=1, width=64, weights=False)
    return folder


def train(folder: Path, fault: Fault | None, methods: Sequence[str], seeds: str) -> list[Record]:
    """Train a small grid, or what is missing of it, and return its records."""
    recipe = RECIPE | dict(fault.changes if fault else ())
    tasks = fault.tasks if fault else TASKS
    encoder = tiny_encoder(folder.parent.resolve() / "encoder")
    head = f'description = "planted"\nmethods = ["sum"]\nseeds = 1\ntasks = {list(tasks)}\n'.replace("'", '"')
    files = {"suite.toml": head + "".join(f"{key} = {value}\n" for key, value in recipe.items())}
    files["suite.toml"] = files["suite.toml"].replace("ENCODER", str(encoder))
    if fault and fault.plugin:
        files["faulty.py"] = fault.plugin
    if any(not (folder / name).is_file() or (folder / name).read_text() != text for name, text in files.items()):
        shutil.rmtree(folder, ignore_errors=True)  # records of another fault
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text)
    plugins = tuple(str(folder / name) for name in files if name.endswith(".py"))
    registry = load_registry(plugins)
    workload = Workload.load(
        "planted", load_suite(str(folder / "suite.toml")).recipe({}), registry, plugin_files=plugins
    )
    store = Store(folder / "results")
    store.prepare()
    done = store.scan().status()
    wanted = parse_seeds(seeds)
    for cell in make_cells(workload, [registry.method(spec) for spec in methods], wanted):
        if cell.key not in done:
            lease = Leases(store.folder).claim(cell.key, cell.title)
            if lease is None:
                raise RuntimeError(f"{cell.title} of {folder} is run by another process")
            record = header(cell, workload, registry, {})
            run_cell(CellJob(cell, record, store, lease), _deaf)  # in this process: a new one would import all anew
    return kept(folder, seeds)


def kept(folder: Path, seeds: str) -> list[Record]:
    """Return the records of runs that are there."""
    wanted = parse_seeds(seeds)
    return [record for record in Store(folder / "results").scan().records if record["seed"] in wanted]


def _deaf(event: Event) -> None:
    """Hear nothing of how a cell goes."""


def examine(records: Sequence[Record]) -> list[Finding]:
    """Return the doctor's findings."""
    return [finding for _, findings in diagnose(records) for finding in findings]


def train_healthy(folder: Path, run: bool, seeds: str, method: str) -> list[Record]:
    """Train a method on the healthy recipe, if it is to be run."""
    return train(folder / method, None, [method], seeds) if run else kept(folder / method, seeds)


def folder_of(fault: Fault) -> str:
    """Return the name of a fault's folder."""
    return re.sub(r"\W+", "-", fault.name)


def plant(folder: Path, run: bool, fault: Fault) -> list[Finding]:
    """Plant a fault, if it is to be run, and return the findings."""
    place, seeds = folder / folder_of(fault), str(fault.seeds)
    found = examine(train(place, fault, fault.methods, seeds) if run else kept(place, seeds))
    wrong = {one.code for one in found if one.severity != "note"} - {fault.code, *fault.consequences}
    named = "named" if any(one.code == fault.code for one in found) else "MISSED"
    codes = ", ".join(sorted({one.code for one in found}))
    print(f"{fault.name}: {fault.code} {named}; all: {codes}; false: {', '.join(sorted(wrong)) or 'none'}", flush=True)
    return found


def matrix(found: Sequence[tuple[Fault, Sequence[Finding]]]) -> list[str]:
    """Return the table of faults × findings, and what its columns are."""
    codes = re.findall(r"^\| `([a-z-]+)`", FINDINGS.read_text(encoding="utf-8"), re.MULTILINE)
    lines = [f"| fault | {' | '.join(str(number) for number in range(1, len(codes) + 1))} |"]
    lines.append("| --- |" + " :-: |" * len(codes))
    for fault, findings in found:
        severity = {one.code: one.severity for one in findings}
        cells = [_mark(code, fault, severity) for code in codes]
        lines.append(f"| {fault.name} | {' | '.join(cells)} |")
    legend = ", ".join(f"{number} `{code}`" for number, code in enumerate(codes, start=1))
    marks = "**X** the planted fault, x a consequence of it, n a note, **!** false, ○ the planted fault, missed"
    return [*lines, "", f"Columns: {legend}.", "", f"Marks: {marks}."]


def _mark(code: str, fault: Fault, severity: Mapping[str, str]) -> str:
    if code == fault.code:
        return "**X**" if code in severity else "○"
    if code not in severity:
        return ""
    if severity[code] == "note":
        return "n"
    return "x" if code in fault.consequences else "**!**"


def healthy(records: Sequence[Record]) -> tuple[list[str], int]:
    """Return a table of healthy runs, each examined alone, and how many of them have a finding."""
    lines, sick = (
        ["| method | seed | " + " | ".join(TASKS) + " | findings | notes |", "| --- | --: |" + " --- |" * 5],
        0,
    )
    for record in sorted(records, key=lambda one: (one["method"]["spec"], one["seed"])):
        found = examine([record])
        grave = sorted({one.code for one in found if one.severity != "note"})
        notes = sorted({one.code for one in found if one.severity == "note"})
        sick += bool(grave)
        scores = [f"{next(iter(record['scores'][task].values())):.3f}" for task in TASKS]
        told = (", ".join(grave) or "none", ", ".join(notes) or "none")
        lines.append(f"| {record['method']['spec']} | {record['seed']} | {' | '.join((*scores, *told))} |")
        print(lines[-1], flush=True)
    return lines, sick


def page(found: Sequence[tuple[Fault, Sequence[Finding]]], records: Sequence[Record]) -> str:
    """Return the page, in Markdown."""
    left = ", ".join(fault.name for fault in FAULTS if fault not in [one for one, _ in found])
    named = sum(any(one.code == fault.code for one in findings) for fault, findings in found)
    false = sum(
        len({one.code for one in findings if one.severity != "note"} - {fault.code, *fault.consequences})
        for fault, findings in found
    )
    runs, sick = healthy(records)
    return "\n".join(
        [
            "# What the doctor names",
            "",
            "`python -m benchmarks.planted`: every row is one fault planted in one small real run, of the healthy "
            "recipe otherwise (`benchmarks/plants.py` has the code of each).",
            "",
            f"**{named} of {len(found)} faults are named; {false} findings are false; {sick} of {len(records)} healthy "
            "runs have a finding.**",
            "",
            *matrix(found),
            "",
            *([f"Not run yet: {left}.", ""] if left else []),
            ADJUSTED.read_text(encoding="utf-8"),
            "## Healthy runs",
            "",
            *runs,
            "",
        ]
    )


def main() -> None:
    """Plant every fault, run the healthy grid, and print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    parser.add_argument("--only", help="part of a fault's name, or 'healthy'")
    parser.add_argument("--seeds", default=str(HEALTHY_SEEDS), help="of the healthy runs, as for mtlbench run")
    parser.add_argument("--examine", dest="run", action="store_false", help="run nothing: examine the runs kept")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--results", type=Path, default=Path(".benchmarks-planted"), help="folder of the runs")
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if options.only is None or options.only in fault.name]
    if not options.run:
        chosen = [fault for fault in chosen if kept(options.results / folder_of(fault), str(fault.seeds))]
    tiny_encoder(options.results.resolve() / "encoder")
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        mapped = pool.map if options.run else map
        found = mapped(partial(plant, options.results, options.run), chosen)
        methods = HEALTHY if options.only in (None, "healthy") else ()
        well = mapped(partial(train_healthy, options.results, options.run, options.seeds), methods)
        text = page(list(zip(chosen, found, strict=True)), [record for records in well for record in records])
    print(text)
    if options.write:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
