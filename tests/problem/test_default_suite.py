"""The suite of a problem that is named without one: packaged, declared, or generic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_problems import Points

from mtlbench.errors import UsageError
from mtlbench.plugins.fingerprint import of_code
from mtlbench.plugins.registry import load_registry
from mtlbench.problem.default_suite import GENERIC, suite_of
from mtlbench.recipe.suite import load_suite


def declaring(recipe: Any) -> Points:
    """Points that declare a recipe."""
    return type("Declaring", (Points,), {"recipe": recipe})()


def test_a_problem_has_the_packaged_suite_of_its_name() -> None:
    suite, packaged = suite_of(load_registry().problem("digits[overlap=0]")), load_suite("digits")
    assert suite.problem == "digits[overlap=0]" and suite.tasks == ("left", "right")
    assert suite.model_copy(update={"problem": packaged.problem}) == packaged


def test_another_problem_has_a_generic_recipe() -> None:
    suite = suite_of(Points(width=3))
    assert suite.problem == "points[width=3]" and suite.name == "points" and suite.description == Points.summary()
    assert {name: getattr(suite, name) for name in GENERIC} == GENERIC


def test_a_declared_recipe_changes_the_generic_one() -> None:
    suite = suite_of(declaring({"steps": 7, "lr": 0.5, "tasks": ["sum"]}))
    assert (suite.steps, suite.lr, suite.tasks, suite.batch_size) == (7, 0.5, ("sum",), GENERIC["batch_size"])
    epochs = suite_of(declaring({"epochs": 2}))
    assert (epochs.steps, epochs.epochs) == (None, 2) and epochs.recipe({"steps": 3}).epochs is None


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ([1], "problem points: recipe is [1]; declare a mapping"),
        ({1: 2}, "problem points: recipe is {1: 2}; declare a mapping"),
        ({"step": 3}, "unknown key of problem points: recipe: 'step'; did you mean steps"),
        ({"model": "minilm"}, "unknown key of problem points: recipe: 'model'"),
        ({"steps": 0}, "problem points: recipe: steps=0 should be greater than or equal to 1"),
        ({"steps": 3, "epochs": 3}, "problem points: recipe: give either steps or epochs"),
        ({"lr": "fast"}, "problem points: recipe: lr=fast should be a valid number"),
    ],
)
def test_a_wrong_recipe_is_one_line(recipe: Any, message: str) -> None:
    with pytest.raises(UsageError) as error:
        suite_of(declaring(recipe))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_suite_of_another_problem_gives_its_recipe() -> None:
    suite = suite_of(Points(), "digits")
    assert (suite.problem, suite.tasks, suite.steps) == ("points", (), load_suite("digits").steps)


def test_a_suite_of_texts_is_refused() -> None:
    with pytest.raises(UsageError, match="suite quick is for tasks on texts, but problem points has data and a model"):
        suite_of(Points(), "quick")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('model = "minilm"', "both.toml: problem=digits brings its own model: leave model out"),
        ('tasks = ["sst5"]', "unknown task of problem digits: 'sst5'"),
        ('tasks = ["table[called=a]"]', "unknown task of problem digits: 'table[called=a]'"),
    ],
)
def test_a_suite_file_with_a_problem_and_texts_is_one_line(line: str, message: str, tmp_path: Path) -> None:
    from command_line import command_line

    file = tmp_path / "both.toml"
    head = (
        'description = "both"\nmethods = ["sum"]\nseeds = 1\nproblem = "digits"\nsteps = 3\nbatch_size = 4\nlr = 1e-3\n'
    )
    file.write_text(head + line)
    refused = command_line("run", "--suite", file, "--results", tmp_path, "--dry-run")
    assert refused.returncode == 2 and message in refused.stderr and refused.stderr.count("\n") == 1


CODE = """
from mtlbench import Problem

class Mine(Problem):
    name = "mine"
    recipe = {"steps": 100}

    def targets(self):
        return []
"""


def test_a_declared_recipe_is_not_code_unless_code_reads_it() -> None:
    """A cell's key has the recipe that trained it: another default leaves it done."""
    assert (
        of_code(CODE) == of_code(CODE.replace("100", "200")) == of_code(CODE.replace('    recipe = {"steps": 100}', ""))
    )
    for reading in ("self.recipe['steps']", "getattr(self, 'recipe')", "recipe"):
        read = CODE.replace("return []", f"return {reading}")
        assert of_code(read) != of_code(read.replace("100", "200"))
