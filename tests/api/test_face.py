"""The public face: names load on use, and five functions share theirs with a room."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

import mtlbench
from mtlbench.api import checking, reading, training
from mtlbench.cli import app
from mtlbench.recipe.suite import Recipe

VERBS: dict[str, Callable[..., Any]] = {
    "bench": training.bench,
    "check": checking.check,
    "diagnose": reading.diagnose,
    "export": reading.export,
    "merge": reading.merge,
    "report": reading.report,
    "run": training.run,
    "status": reading.status,
    "tune": training.tune,
}
COMMAND_LINE_ONLY = {"clean", "info", "list", "map", "new-method", "new-problem", "overfit", "study", "toy"}
"""Verbs that write pages, files or figures for people to read, or delete files."""
FOR_THE_TERMINAL = {"json", "watch", "config"}
"""Options that choose how something is printed, or where options are read from."""


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import mtlbench, sys; print([m for m in sys.modules if m.partition('.')[0] in {known}])"
    heavy = "('torch', 'numpy', 'pandas', 'pydantic', 'typer', 'rich', 'scipy', 'transformers')"
    shown = subprocess.run(
        [sys.executable, "-c", code.format(known=heavy)], capture_output=True, text=True, check=True
    ).stdout
    assert shown.strip() == "[]"


@pytest.mark.parametrize("name", sorted(VERBS))
def test_a_verb_is_a_function_whatever_was_imported_before(name: str) -> None:
    if name in mtlbench._VERBS:
        import_module(f"mtlbench.{name}")  # puts the room in the function's place
    function = getattr(mtlbench, name)
    assert callable(function) and inspect.unwrap(function) is VERBS[name]
    assert inspect.signature(function) == inspect.signature(VERBS[name])


def test_a_room_that_is_called_is_still_a_package() -> None:
    from mtlbench import report
    from mtlbench.report import FORMATS
    from mtlbench.report.build import build

    assert sys.modules["mtlbench.report"] is report and report.FORMATS is FORMATS  # type: ignore[attr-defined]
    assert mtlbench.report.build.build is build  # type: ignore[attr-defined]
    assert set(mtlbench._VERBS) == {name for name in VERBS if f"mtlbench.{name}" in sys.modules}


def test_other_names_and_modules_stay_what_they_are() -> None:
    assert not callable(import_module("mtlbench.stats")) and not callable(mtlbench.seeds)  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="module 'mtlbench' has no attribute 'reports'"):
        mtlbench.reports  # type: ignore[attr-defined]  # noqa: B018


def test_every_verb_of_the_command_line_is_a_function_or_left_out_on_purpose() -> None:
    callbacks = {
        info.name or info.callback.__name__: info.callback for info in app.registered_commands if info.callback
    }
    assert set(callbacks) == VERBS.keys() | COMMAND_LINE_ONLY


@pytest.mark.parametrize("name", sorted(VERBS))
def test_options_of_the_command_line_have_the_same_names_in_python(name: str) -> None:
    callbacks = {
        info.name or info.callback.__name__: info.callback for info in app.registered_commands if info.callback
    }
    options = set(inspect.signature(callbacks[name]).parameters) - {"context"} - FOR_THE_TERMINAL
    function = VERBS[name]
    parameters = inspect.signature(function).parameters
    takes_changes = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    known = set(parameters) | (set(Recipe.model_fields) if takes_changes else set())
    missing = options - known - ({"format", "output"} if name == "check" else set())
    assert not missing


@pytest.mark.parametrize("name", ["run", "tune", "bench", "report", "check"])
def test_defaults_are_those_of_the_command_line(name: str) -> None:
    callbacks = {
        info.name or info.callback.__name__: info.callback for info in app.registered_commands if info.callback
    }
    ours = inspect.signature(VERBS[name]).parameters
    compared = {}
    for option, parameter in inspect.signature(callbacks[name]).parameters.items():
        if option in ours and option not in ("plugin", "names", "output"):
            ends = [str(value) if value is not None else None for value in (parameter.default, ours[option].default)]
            compared[option] = ends
    assert compared and all(theirs == mine for theirs, mine in compared.values()), compared
