"""What all verbs share: the application, option types, completion of names, and how text is delivered."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mtlbench.errors import UsageError
from mtlbench.host.streams import print_data

app = typer.Typer(
    name="mtlbench",
    help="Compare multi-task optimization methods: run seeded grids, report paired comparisons.",
    rich_markup_mode=None,  # plain help: no import of rich
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"mtlbench {version('mtlbench')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def complete_methods(incomplete: str) -> list[str]:
    from mtlbench.plugins.registry import load_registry

    return _completions(incomplete, load_registry().methods)


def complete_tasks(incomplete: str) -> list[str]:
    from mtlbench.plugins.registry import load_registry

    return _completions(incomplete, load_registry().tasks)


def complete_suites(incomplete: str) -> list[str]:
    from mtlbench.plan.suite import packaged_suites

    return [name for name in packaged_suites() if name.startswith(incomplete)]


def _completions(incomplete: str, names: Any) -> list[str]:
    """Complete the last name of a comma-separated list."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in sorted(names) if name.startswith(last)]


Methods = Annotated[
    str | None,
    typer.Option(
        envvar="MTLBENCH_METHODS",
        autocompletion=complete_methods,
        help="Methods, by comma: sum,pcgrad,'cagrad[c=0.2/0.4]'; stl: single-task; @FILE of tune. Default: suite's.",
    ),
]
Suite = Annotated[
    str, typer.Option(envvar="MTLBENCH_SUITE", autocompletion=complete_suites, help="Suite name or .toml file.")
]
Tasks = Annotated[
    str | None, typer.Option(envvar="MTLBENCH_TASKS", autocompletion=complete_tasks, help="Tasks, by comma.")
]
Model = Annotated[
    str | None, typer.Option(envvar="MTLBENCH_MODEL", help="Encoder: minilm, a folder, a Hugging Face id.")
]
BatchSize = Annotated[int | None, typer.Option(envvar="MTLBENCH_BATCH_SIZE", help="Rows of each task a step.")]
Threads = Annotated[int | None, typer.Option(envvar="MTLBENCH_THREADS", help="Threads a process; part of the recipe.")]
DataDir = Annotated[
    Path | None, typer.Option(envvar="MTLBENCH_DATA_DIR", help="Folder with data files, such as CS224N's.")
]
Results = Annotated[Path, typer.Option(envvar="MTLBENCH_RESULTS", help="Folder of the records.")]
Plugins = Annotated[
    list[Path],
    typer.Option("--plugin", envvar="MTLBENCH_PLUGIN", help="Python file with methods or tasks; repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def given(**options: Any) -> dict[str, Any]:
    """Return the options that the user gave: changes of a suite's recipe."""
    return {name: value for name, value in options.items() if value is not None}


def deliver(text: str, output: Path | None, format: str = "text") -> None:
    """Print a text, or write it to a file and say so.

    :param format: what the text is; see :func:`mtlbench.host.streams.print_data`.
    :raises UsageError: when the file cannot be written.
    """
    if output is None:
        print_data(text, format)
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from None
    typer.echo(f"wrote {output}", err=True)
