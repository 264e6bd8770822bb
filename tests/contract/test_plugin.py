"""Parameters of plugins: types, ranges, descriptions."""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from mtlbench.contract.plugin import Plugin, describe_parameters, parameter_fields
from mtlbench.contract.spec import parse_spec
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


def test_parameters_are_checked_whoever_makes_the_object() -> None:
    assert Example.make({"c": "0.25", "n": "3", "flag": "true"}) == Example(0.25, 3, True)
    with pytest.raises(UsageError, match=r"method example: parameter c=2 should be less than or equal to 1"):
        Example(c=2)
    with pytest.raises(UsageError, match=r"parameter c=x should be a valid number"):
        Example.make({"c": "x"})
    with pytest.raises(UsageError, match=r"unknown parameter of method example: 'flg'; did you mean flag\?"):
        Example.make({"flg": "1"})


@pytest.mark.parametrize("text", ["1_0", "１", "0_1", "1_0e-1", "٣"])
def test_numbers_are_plain_digits(text: str) -> None:
    for parameter in ("c", "n"):
        with pytest.raises(UsageError, match=f"parameter {parameter}={text} should be"):
            Example.make({parameter: text})
    with pytest.raises(UsageError, match=r"should be a number( in plain digits|, or two)"):
        load_registry().task(f"table[called=t,train=a.csv,dev=b.csv,text=t,label=l,classes={text}]")
    with pytest.raises(UsageError, match="should be LOW:HIGH"):
        load_registry().task(f"table[called=t,train=a.csv,dev=b.csv,text=t,label=l,range=0:{text}]")


@given(st.floats(0, 1), st.none() | st.integers(), st.booleans())
def test_the_spec_makes_the_same_object_again(c: float, n: int | None, flag: bool) -> None:
    plugin = Example(c, n, flag)
    name, parameters = parse_spec(plugin.spec)
    assert name == "example" and Example.make(dict(parameters)) == plugin


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
