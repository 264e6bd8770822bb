"""``list``, ``info``, ``check``, ``toy``, ``new-method``, ``new-problem``: browse, verify and create plugins."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from mtlbench.cli.app import DataDir, Json, Plugins, app, complete_methods, deliver, existing_folder
from mtlbench.errors import UsageError
from mtlbench.host.streams import print_data, takes_escapes


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="methods, tasks, problems or suites.")],
    json: Json = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print docs/methods.md, the page of all methods.")
    ] = False,
    plugin: Plugins = [],
) -> None:
    """List methods, tasks, problems or suites."""
    if markdown:
        from mtlbench.plugins.describe import methods_page
        from mtlbench.plugins.registry import load_registry

        if what != "methods":
            raise UsageError("--markdown prints the methods page: mtlbench list methods --markdown")
        print_data(methods_page(load_registry(tuple(str(file) for file in plugin))), "markdown")
        return
    from mtlbench.cli.catalogue import print_list

    print_list(what, tuple(str(file) for file in plugin), as_json=json)


@app.command()
def info(
    name: Annotated[
        str, typer.Argument(help="Name of a method, task, problem or suite; the spec of a problem; encoder.")
    ],
    data_dir: DataDir = None,
    json: Json = False,
    plugin: Plugins = [],
) -> None:
    """Explain a method, task, problem or suite: what it does, its parameters, its source."""
    from mtlbench.cli.catalogue import print_info

    print_info(name, tuple(str(file) for file in plugin), as_json=json, data_dir=existing_folder(data_dir))


@app.command("new-method")
def new_method(
    name: Annotated[str, typer.Argument(help="Name of the method on the command line: lower case, words joined by -.")],
    folder: Annotated[Path, typer.Option(help="A checkout of this project, or any other folder.")] = Path(),
) -> None:
    """Write a working method and its test as a starting point."""
    from mtlbench.plugins.scaffold import write_method

    method, test = write_method(name, folder)
    typer.echo(f"wrote {method} and {test}; next: mtlbench check {method}, pytest {test}")


@app.command("new-problem")
def new_problem(
    name: Annotated[str, typer.Argument(help="Name of the problem on the command line, as of new-method.")],
    folder: Annotated[Path, typer.Argument(help="A checkout of this project, or any other folder.")] = Path(),
) -> None:
    """Write a working problem of two tasks and its test as a starting point."""
    from mtlbench.plugins.scaffold import write_problem

    problem, test = write_problem(name, folder)
    typer.echo(f"wrote {problem} and {test}; next: mtlbench check {problem}, pytest {test}")


@app.command()
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Methods (cagrad, 'cagrad[c=0.2]'), problems (digits), or Python files that define some.",
            autocompletion=complete_methods,
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Check every method.")] = False,
    format: Annotated[str, typer.Option(help="text, markdown or json.")] = "text",
    output: Annotated[Path | None, typer.Option(help="File to write instead of printing.")] = None,
    matrices: Annotated[int, typer.Option(min=1, help="Matrices per family in each check.")] = 20,
    jobs: Annotated[int, typer.Option(min=1, help="Methods to check at a time; keep 1 for reliable timings.")] = 1,
    foreign: Annotated[
        str | None,
        typer.Option(help="Code of others instead: module:Class, file.py:function, 'module:Class[c=0.5]'."),
    ] = None,
    as_: Annotated[
        str | None,
        typer.Option("--as", autocompletion=complete_methods, help="Method that the foreign code claims to be."),
    ] = None,
    data_dir: DataDir = None,
    plugin: Plugins = [],
) -> None:
    """Verify methods (finite, resumable, true to their claims) or problems. Exits with 1 on a failure."""
    from mtlbench.check.command import CheckRequest, run_check
    from mtlbench.check.foreign.text import foreign_markdown
    from mtlbench.check.problem.text import print_problem, problem_data, problems_markdown
    from mtlbench.check.text import as_data, as_markdown, print_certificate
    from mtlbench.errors import unknown

    if format not in ("text", "markdown", "json"):
        raise unknown("format", format, ("text", "markdown", "json"))
    files = tuple(str(file) for file in plugin)
    checked = run_check(CheckRequest(names or (), every, matrices, jobs, foreign, as_, data_dir, files))
    if format == "text" and output is None:
        for certificate in checked.methods:
            print_certificate(certificate)
        for certified in checked.problems:
            print_problem(certified)
    else:
        if format == "json":
            data = as_data(checked.methods) + [problem_data(certified) for certified in checked.problems]
            page = dumps(data, indent=2, ensure_ascii=False)
        elif foreign is not None:
            page = foreign_markdown(checked.methods[0])
        else:
            pages = [as_markdown(checked.methods, matrices)] if checked.methods else []
            page = "\n".join(pages + ([problems_markdown(checked.problems)] if checked.problems else []))
        deliver(page, output, format)
    raise typer.Exit(0 if checked.passed else 1)


@app.command()
def toy(
    methods: Annotated[
        str | None,
        typer.Option(autocompletion=complete_methods, help="Comma-separated methods. Default: all that can run."),
    ] = None,
    setting: Annotated[str, typer.Option(help="Starts, scale and steps of which paper: cagrad or nash.")] = "cagrad",
    steps: Annotated[int | None, typer.Option(help="Optimizer steps. Default: the setting's.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate. Default: the setting's.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Methods to run at a time. Default: cores.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for toy.json, toy.svg and toy.png.")] = Path("toy"),
    plugin: Plugins = [],
) -> None:
    """Run methods on the two-dimensional toy problem: print their end points, draw their trajectories."""
    from mtlbench.toy.command import ToyRequest, run_toy

    request = ToyRequest(setting, methods, steps, lr, jobs, tuple(str(file) for file in plugin), output)
    raise typer.Exit(run_toy(request, color=takes_escapes()))
