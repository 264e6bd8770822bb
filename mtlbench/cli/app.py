"""The application and what its verbs share: option types, completion of names, and output."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtlbench.errors import UsageError
from mtlbench.host.disk import write_text
from mtlbench.host.streams import print_data

if TYPE_CHECKING:  # help needs no pydantic
    from mtlbench.recipe import suite as suites

INTERRUPTED = 130
"""Exit code after Ctrl-C, by the convention of shells: 128 + SIGINT."""

app = typer.Typer(
    name="mtlbench",
    help="Compare multi-task optimization methods: run seeded grids, report paired comparisons.",
    rich_markup_mode=None,  # plain help needs no import of rich
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"mtlbench {version('mtlbench')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def complete_methods(incomplete: str) -> list[str]:
    """Return completions of the last method in a comma-separated list."""
    from mtlbench.plugins.registry import load_registry

    return _completions(incomplete, load_registry().methods)


def complete_tasks(incomplete: str) -> list[str]:
    """Return completions of the last task in a comma-separated list."""
    from mtlbench.plugins.registry import load_registry

    return _completions(incomplete, load_registry().tasks)


def complete_problems(incomplete: str) -> list[str]:
    """Return the problems whose names begin with a text."""
    from mtlbench.plugins.registry import load_registry

    return [name for name in sorted(load_registry().problems) if name.startswith(incomplete)]


def complete_suites(incomplete: str) -> list[str]:
    """Return the packaged suites whose names begin with a text."""
    from mtlbench.recipe.suite import packaged_suites

    return [name for name in packaged_suites() if name.startswith(incomplete)]


def _completions(incomplete: str, names: Iterable[str]) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in sorted(names) if name.startswith(last)]


Methods = Annotated[
    str | None,
    typer.Option(
        envvar="MTLBENCH_METHODS",
        autocompletion=complete_methods,
        help="Comma-separated methods: sum,pcgrad,'cagrad[c=0.2/0.4]'; stl: single-task models; "
        "all: every method that applies; @FILE: the best of mtlbench tune. Default: the suite's.",
    ),
]
Suite = Annotated[
    str | None,
    typer.Option(
        envvar="MTLBENCH_SUITE",
        autocompletion=complete_suites,
        help="Name of a suite, or a .toml file. Default: the problem's, or quick.",
    ),
]
Problem = Annotated[
    str | None,
    typer.Option(
        envvar="MTLBENCH_PROBLEM",
        autocompletion=complete_problems,
        help="Problem with data and a model of its own: digits, 'digits[overlap=0]'. Default: the suite's.",
    ),
]
Tasks = Annotated[
    str | None,
    typer.Option(
        envvar="MTLBENCH_TASKS",
        autocompletion=complete_tasks,
        help="Comma-separated tasks, of a problem too. Default: the suite's.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(envvar="MTLBENCH_MODEL", help="Model: minilm, a folder, or a Hugging Face id; settings in brackets."),
]
BatchSize = Annotated[int | None, typer.Option(envvar="MTLBENCH_BATCH_SIZE", help="Rows of each task per step.")]
Threads = Annotated[
    int | None, typer.Option(envvar="MTLBENCH_THREADS", help="Threads per process; part of the recipe.")
]
DataDir = Annotated[
    Path | None, typer.Option(envvar="MTLBENCH_DATA_DIR", help="Folder with the tasks' data files, such as CS224N's.")
]
Results = Annotated[Path, typer.Option(envvar="MTLBENCH_RESULTS", help="Results folder, which holds the records.")]
Plugins = Annotated[
    list[Path],
    typer.Option(
        "--plugin", envvar="MTLBENCH_PLUGIN", help="Python file that defines methods, tasks or problems; repeatable."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def choose_suite(suite: str | None, problem: str | None, model: str | None, plugin: list[Path]) -> str | suites.Suite:
    """Return what the options ``--suite`` and ``--problem`` stand for together.

    :param suite: a suite's name or file; ``None`` for the default.
    :param problem: the spec of a problem; ``None`` for the suite's.
    :param model: the option ``--model``, which no problem takes.
    :param plugin: files that define further problems.
    :raises UsageError: as :func:`mtlbench.problem.default_suite.choose_suite`.
    """
    from mtlbench.problem.default_suite import choose_suite

    return choose_suite(suite, problem, model, tuple(str(file) for file in plugin))


def existing_folder(folder: Path | None) -> Path | None:
    """Return the folder of ``--data-dir``.

    :raises UsageError: when it is no folder.
    """
    if folder is not None and not folder.is_dir():
        raise UsageError(f"data folder {folder} does not exist")
    return folder


def recipe_changes(**options: Any) -> dict[str, Any]:
    """Return the options that the user set, which override fields of the suite's recipe.

    :param options: recipe field → value, ``None`` where the option was not set.
    """
    return {name: value for name, value in options.items() if value is not None}


def deliver(text: str, output: Path | None, format: str = "text") -> None:
    """Print a text, or write it to a file and report the file on standard error.

    :param output: the file; ``None`` prints.
    :param format: the format of the text; see :func:`mtlbench.host.streams.print_data`.
    :raises UsageError: if the file cannot be written.
    """
    if output is None:
        print_data(text, format)
        return
    write_text(output, text)
    typer.echo(f"wrote {output}", err=True)
