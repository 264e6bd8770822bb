"""Search spaces: texts read and refused, points to values and back, edges; what every method declares."""

from __future__ import annotations

import numpy as np
import pytest
from tune_searches import REGISTRY, space

from mtlbench.errors import UsageError
from mtlbench.tune.space import read_space, split


@pytest.mark.parametrize("name", REGISTRY.catalogue())
def test_every_declared_space_can_be_read_and_contains_the_default(name: str) -> None:
    method = REGISTRY.method(name)
    for parameter, text in method.search.items():
        found = read_space(text, method, parameter, 3)
        default = getattr(method, parameter)
        type(method).make({parameter: found.at(found.find(default))})
        for place in (0.0, 0.5, 1.0):
            type(method).make({parameter: found.at((place,) * found.size)})


def test_a_range_is_even_on_its_scale() -> None:
    even, log = space("cagrad", "c", "0.1:0.9"), space("uw", "lr", "1e-4:1e-2:log")
    assert [even.at((place,)) for place in (0.0, 0.5, 1.0)] == [0.1, 0.5, 0.9]
    assert [log.at((place,)) for place in (0.0, 0.5, 1.0)] == [1e-4, 1e-3, 1e-2]


@pytest.mark.parametrize("place", np.linspace(0.0, 1.0, 7))
def test_a_value_is_found_where_it_was_drawn(place: float) -> None:
    for found in (space("cagrad", "c", "0.05:0.95"), space("uw", "lr", "0.0025:0.25:log")):
        value = found.at((place,))
        assert found.at(found.find(value)) == value
        assert len(f"{value:g}") <= 8
        assert found.find(value)[0] == pytest.approx(place, abs=0.01)


def test_whole_numbers_stay_whole() -> None:
    values = {space("dwa", "window", "5:50:log").at((place,)) for place in np.linspace(0.0, 1.0, 30)}
    assert all(isinstance(value, int) for value in values) and min(values) == 5 and max(values) == 50


def test_choices_are_shared_out_evenly_and_have_no_edge() -> None:
    choice = space("mgda", "normalize", "none/l2/loss/loss+")
    assert [choice.at((place,)) for place in (0.0, 0.3, 0.6, 1.0)] == ["none", "l2", "loss", "loss+"]
    assert choice.options == 4 and choice.edge("none") is None
    assert space("cosine-gate", "weighted", "true/false").at((0.9,)) is False


def test_weights_of_tasks_add_up_to_their_number() -> None:
    weights = space("fixed", "w", "0.2:5:log:tasks", tasks=4)
    drawn = [float(piece) for piece in weights.at((0.1, 0.9, 0.5, 0.3)).split(":")]
    assert weights.size == 4 and sum(drawn) == pytest.approx(4.0, rel=1e-2)
    assert drawn[1] == max(drawn) and drawn[0] == min(drawn)
    assert weights.at((0.7,) * 4) == "1:1:1:1"
    assert weights.find("1") == (0.5,) * 4


@pytest.mark.parametrize(("value", "side"), [(0.1, "low"), (0.17, "low"), (0.5, None), (0.83, "high"), (0.9, "high")])
def test_the_outer_tenths_of_a_range_are_its_edges(value: float, side: str | None) -> None:
    assert space("cagrad", "c", "0.1:0.9").edge(value) == side


def test_edges_are_those_of_the_scale() -> None:
    found = space("uw", "lr", "1e-4:1e-2:log")
    assert [found.edge(value) for value in (1.5e-4, 2e-4, 5e-3, 7e-3)] == ["low", None, None, "high"]
    weights = space("fixed", "w", "0.2:5:log:tasks")
    assert weights.edge("1") is None and weights.edge("2:2:0.2") is None
    assert weights.edge("0.1:0.6:2.3") == "high"


@pytest.mark.parametrize(
    ("spec", "parameter", "text", "message"),
    [
        ("cagrad", "d", "0:1", "unknown parameter of method cagrad: 'd'"),
        ("cagrad", "c", "0.1:1.0", "parameter c=1.0 should be less than 1"),
        ("cagrad", "c", "0.9:0.1", "lower bound must be below"),
        ("cagrad", "c", "0:0.5:log", "lower bound above 0"),
        ("cagrad", "c", "0.1:0.5:lag", "write LOW:HIGH, then :log"),
        ("cagrad", "c", "0.1:", "parameter c= should be a valid number"),
        ("cagrad", "c", "0.3", "at least two different choices"),
        ("cagrad", "rescale", "c/c", "at least two different choices"),
        ("cagrad", "rescale", "c/d", "parameter rescale=d should be"),
        ("fixed", "w", "1:2:3", "write LOW:HIGH, then :log"),
        ("fixed", "w", "0:2:tasks", "w=0 should be positive"),
    ],
)
def test_a_bad_space_is_one_line(spec: str, parameter: str, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        space(spec, parameter, text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_point_is_split_among_spaces() -> None:
    spaces = [space("uw", "lr", "0.1:1"), space("fixed", "w", "0.2:5:tasks"), space("cagrad", "c", "0.1:0.9")]
    assert split(spaces, (0.0, 0.1, 0.2, 0.3, 0.4)) == [(0.0,), (0.1, 0.2, 0.3), (0.4,)]
