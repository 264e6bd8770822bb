"""Specs and parameters: reading, checking, writing back."""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from mtlbench.contract.plugin import Plugin, describe_parameters, expand_spec, parameter_fields, parse_spec, split_specs
from mtlbench.errors import UsageError
from mtlbench.plugins.registry import load_registry


@dataclass
class Example(Plugin):
    """An example. With more."""

    kind = "method"
    name = "example"
    c: Annotated[float, Field(ge=0, le=1, description="a share")] = 0.5
    n: int | None = None
    flag: bool = False


def test_lists_split_at_commas_and_spaces_outside_brackets() -> None:
    assert split_specs("sum, cagrad[c=0.4,rescale=c2] mgda") == ["sum", "cagrad[c=0.4,rescale=c2]", "mgda"]
    assert split_specs(" , ") == []


def test_values_separated_by_a_slash_or_bar_expand() -> None:
    assert expand_spec("a[c=0.2/0.4]") == expand_spec("a[c=0.2|0.4]") == [("a", {"c": "0.2"}), ("a", {"c": "0.4"})]
    assert len(expand_spec("a[c=1/2/3,d=4/5]")) == 6


@pytest.mark.parametrize("text", ["a[", "a]", "[c=1]", "a[c]", "a[c=]", "a[=1]", "a[c=1,c=2]", ""])
def test_unreadable_specs_are_one_line(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_spec(text)
    assert "\n" not in str(caught.value)


def test_parameters_are_checked_whoever_makes_the_object() -> None:
    assert Example.make({"c": "0.25", "n": "3", "flag": "true"}) == Example(0.25, 3, True)
    with pytest.raises(UsageError, match=r"method example: parameter c=2 should be less than or equal to 1"):
        Example(c=2)
    with pytest.raises(UsageError, match=r"parameter c=x should be a valid number"):
        Example.make({"c": "x"})
    with pytest.raises(UsageError, match=r"unknown parameter of method example: 'flg'; did you mean flag\?"):
        Example.make({"flg": "1"})


@given(st.floats(0, 1), st.none() | st.integers(), st.booleans())
def test_the_spec_makes_the_same_object_again(c: float, n: int | None, flag: bool) -> None:
    made = Example(c, n, flag)
    name, parameters = parse_spec(made.spec)
    assert name == "example" and Example.make(dict(parameters)) == made


def test_the_description_comes_from_the_fields() -> None:
    first = describe_parameters(Example)[0]
    assert (first["name"], first["default"], first["description"]) == ("c", 0.5, "a share")
    assert first["schema"]["maximum"] == 1
    assert Example.summary() == "An example. With more."


@pytest.mark.parametrize("number", ["inf", "-inf", "nan", "Infinity", "1e999"])
def test_parameters_are_finite(number: str) -> None:
    with pytest.raises(UsageError, match=f"parameter c={number} should be a finite number"):
        Example.make({"c": number})


def test_every_number_of_every_plugin_is_finite() -> None:
    registry = load_registry()
    numbers = [
        (cls, parameter["name"])
        for cls in [*registry.methods.values(), *registry.tasks.values()]
        for parameter in describe_parameters(cls)
        if "number" in json.dumps(parameter["schema"])
    ]
    assert len(numbers) > 30
    for cls, name in [*numbers, *((cls, "base_lr") for cls in registry.methods.values())]:
        with pytest.raises(UsageError, match="finite number"):
            cls.make({field.name: "x" for field in parameter_fields(cls) if field.default is MISSING} | {name: "inf"})
