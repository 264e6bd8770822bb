"""What of a plugin's code counts as another method, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtlbench.plugins.fingerprint import of_code

CODE = '''
"""A method."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector
from mtlbench.errors import UsageError

HALF = 0.5


@dataclass
class Mine(Method):
    """Weights from the diagonal."""

    name = "mine"
    source = "Authors, Title, Venue Year"
    search = {"c": "0:1"}

    c: Annotated[float, Field(ge=0, description="what it does")] = 0.5

    def weights(self, observation: Observation) -> Vector:
        """Return them."""
        total: float = 0.0
        for one in np.diagonal(observation.gram):
            total += one  # the trace
        if total < 0:
            raise UsageError(f"method mine: negative trace {total}")
        parts = [HALF * (lambda x, y: x * y)(one, self.c) for one in observation.gram.sum(axis=0)]
        try:
            return _scaled(np.array(parts), total)
        except ZeroDivisionError as error:
            raise UsageError("zero") from error


def _scaled(numbers: Vector, total: float) -> Vector:
    return numbers / total
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A method."""', '"""Other words."""  # and a comment'),
        (
            "from mtlbench import Method, Observation, Vector",
            "from mtlbench.contract.method import Method, Observation\n",
        ),
        ("from mtlbench.errors import UsageError", "from mtlbench import UsageError"),
        ('description="what it does"', 'description="what it multiplies"'),
        ('"Authors, Title, Venue Year"', '"Authors, Other Title, Venue Year"'),
        ('{"c": "0:1"}', '{"c": "0:2"}'),
        ("total", "trace"),
        ("one", "square"),
        ("observation", "measurement"),
        ("lambda x, y: x * y", "lambda a, b: a * b"),
        ("as error", "as fault"),
        ("negative trace {total}", "the trace {total} is negative"),
        (" -> Vector", ""),
        ("numbers: Vector", "numbers"),
    ],
)
def test_what_changes_no_result_does_not_count(old: str, new: str) -> None:
    edited = CODE.replace(old, new).replace("from error", "from fault" if new == "as fault" else "from error")
    assert edited != CODE and of_code(edited) == of_code(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("HALF = 0.5", "HALF = 0.6"),
        ("ge=0", "ge=1"),
        ("= 0.5\n\n    def", "= 0.7\n\n    def"),
        ("np.diagonal", "np.linalg.eigvalsh"),
        ("lambda x, y: x * y", "lambda x, y: x / y"),
        ("(one, self.c)", "(self.c, one)"),
        ("x * y", "y * x"),
        ("numbers / total", "total / numbers"),
        ("return numbers / total", "return numbers"),
        ("import numpy as np", "import jax.numpy as np"),
        ("total < 0", "total <= 0"),
        ("raise UsageError(f", "raise ValueError(f"),
        ("self.c)", "self.d)"),
        ("HALF * (lambda", "total * (lambda"),
    ],
)
def test_what_may_change_a_result_counts(old: str, new: str) -> None:
    edited = CODE.replace(old, new, 1)
    assert edited != CODE and of_code(edited) != of_code(CODE)


def test_names_that_are_swapped_are_another_method() -> None:
    swapped = CODE.replace("numbers / total", "total / numbers")
    assert of_code(swapped) != of_code(CODE)
    consistent = CODE.replace("numbers: Vector, total: float", "total: float, numbers: Vector")
    assert of_code(consistent) != of_code(CODE)


def test_an_import_under_another_name_is_the_same_import() -> None:
    code = "from mtlbench.solvers import min_norm\n\ndef f(g):\n    return min_norm(g)\n"
    renamed = "from mtlbench.other import min_norm as shortest\n\ndef f(h):\n    return shortest(h)\n"
    other = "from mtlbench.solvers import max_norm as min_norm\n\ndef f(g):\n    return min_norm(g)\n"
    assert of_code(code) == of_code(renamed) != of_code(other)


def test_a_packaged_method_that_is_imported_counts() -> None:
    code = "from mtlbench.methods.sum import Sum\n\nclass Twice(Sum):\n    name = 'twice'\n"
    assert of_code(code) != of_code(code.replace("methods.sum import Sum", "methods.mean import Mean as Sum"))


def test_every_packaged_method_has_a_fingerprint_of_its_own() -> None:
    files = sorted((Path(__file__).parents[2] / "methods").glob("[!_]*.py"))
    assert len({of_code(file.read_text()) for file in files}) == len(files) > 35
