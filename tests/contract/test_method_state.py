"""States of methods: files that torch loads with weights_only, old states, other methods, other numbers of tasks."""

from __future__ import annotations

import copy
import io
from collections import deque
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pytest
import torch

from mtlbench import CellError, Method, Observation, UsageError, Vector, aggregate, get_method, weights
from mtlbench.contract.method_input import observe
from mtlbench.contract.method_output import ask_update, ask_weights, tell_after
from mtlbench.contract.numbers import as_numbers
from mtlbench.plugins.registry import load_registry

CATALOGUE = [name for name in load_registry().catalogue() if name != "stl"]
WRAPPED = ["cr-mogm-famo", "cr-mogm-excess-mtl", "cr-mogm-log-gradvac", "log-nash-mtl", "log-pcd"]
SPECS = [*CATALOGUE, *WRAPPED, "stch[warmup=3]", "dwa[window=2]", "moco[normalize=loss]", "nash-mtl[every=3]"]
KEEPING = [spec for spec in SPECS if get_method(spec).state != "none"]
TASKS, SIZE = 4, 6


def step(method: Method, number: int, tasks: int = TASKS, size: int = SIZE) -> Vector:
    """Return a method's weights or update for the made-up numbers of a step."""
    draw = np.random.default_rng([number, tasks, size])
    rows = torch.from_numpy(draw.normal(size=(tasks, size))).float()
    losses, wide = draw.uniform(0.1, 3.0, tasks), rows.double().numpy()
    cross = draw.normal(size=(tasks, tasks)) + np.eye(tasks)
    observation = observe(method, losses=losses, gram=wide @ wide.T, cross_gram=cross, gradients=rows)
    answer = (ask_update if method.returns == "update" else ask_weights)(method, observation)
    if method.reads_after:
        tell_after(method, losses * draw.uniform(0.8, 1.1, tasks))
    return as_numbers(answer, "answer").copy()


def through_a_file(state: dict[str, Any], **options: Any) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True, **options)
    return loaded


def fault(function: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def old_form(value: Any) -> Any:
    """Return a state as earlier versions wrote it: with NumPy's arrays, and without the method's name."""
    if isinstance(value, dict):
        if value.keys() == {"numpy array"}:
            return value["numpy array"].numpy()
        return {key: old_form(item) for key, item in value.items() if key != "state of"}
    return value


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("done", [0, 4])
def test_a_state_from_a_file_goes_on_to_the_last_bit(spec: str, done: int) -> None:
    method = get_method(spec, seed=5)
    for number in range(done):
        step(method, number)
    states = [through_a_file(method.state_dict()), through_a_file(method.state_dict(), map_location="cpu")]
    states.append(old_form(method.state_dict()))
    resumed = [get_method(spec, seed=99) for _ in states]
    for other, state in zip(resumed, states, strict=True):
        other.load_state_dict(state)
    for number in range(done, done + 3):
        expected = step(method, number)
        for other in resumed:
            assert step(other, number).tobytes() == expected.tobytes()


@pytest.mark.parametrize("spec", KEEPING)
def test_a_loaded_state_has_the_types_that_it_had(spec: str) -> None:
    method, other = get_method(spec), get_method(spec)
    step(method, 0)
    other.load_state_dict(through_a_file(method.state_dict()))
    for one in fields(method):
        assert type(getattr(method, one.name)) is type(getattr(other, one.name))
    saved = other.state_dict()
    step(other, 1)  # may write into its own arrays, but not into what was saved
    other.load_state_dict(saved)
    assert step(other, 1).tobytes() == step(method, 1).tobytes()


@dataclass
class Window(Method):
    """Keeps its last losses, and values of every kind that a state may hold."""

    name = "window"
    reads = "losses"
    state = "K"

    recent: Any = field(default_factory=lambda: deque(maxlen=2), init=False)
    other: Any = field(default=None, init=False)

    @property
    def reads_losses(self) -> Any:
        return "any"

    def weights(self, observation: Observation) -> Vector:
        self.recent.append(observation.losses.copy())
        return np.mean(self.recent, axis=0)


def test_values_of_every_kind_survive_a_file() -> None:
    method, other = Window(), Window()
    fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    values = [
        np.float32(0.1),
        np.int64(3),
        np.bool_(True),
        np.array(2.0),
        fortran,
        np.array([1 + 2j]),
        np.empty((0, 2)),
        (1, 2.5, None, "text", True, 2**100),
        {"a": [torch.ones(2, dtype=torch.bfloat16)], 3: {4, 5}},
        deque([np.ones(1)]),
    ]
    method.other = copy.deepcopy(values)
    for losses in ([1.0, 2.0], [3.0, 4.0], [5.0, 6.0]):
        weights(method, losses=losses)
    other.load_state_dict(through_a_file(method.state_dict()))
    assert other.recent.maxlen == 2 and np.array_equal(other.recent, [[3.0, 4.0], [5.0, 6.0]])
    assert [type(value) for value in other.other] == [type(value) for value in values]
    assert str(other.other) == str(values) and other.other[0].dtype == np.float32
    assert other.other[4].strides == fortran.strides
    assert weights(other, losses=[7.0, 8.0]).tolist() == [6.0, 7.0]


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("tasks", [3, 5])
def test_another_number_of_tasks_works_or_is_one_line(spec: str, tasks: int) -> None:
    method = get_method(spec)
    step(method, 0)
    if tasks < method.min_tasks:
        assert "needs at least" in fault(step, method, 1, tasks)
        return
    if method.state == "none":
        assert np.isfinite(step(method, 1, tasks)).all()
        return
    words = f"method {method.name} keeps state for 4 tasks and was given {tasks} tasks: use one method object for one"
    assert fault(step, method, 1, tasks).startswith(words)
    resumed = get_method(spec)
    resumed.load_state_dict(through_a_file(method.state_dict()))
    assert fault(step, resumed, 1, tasks).startswith(words)
    expected = step(method, 1)
    assert step(resumed, 1).tobytes() == expected.tobytes()  # a refused step changes nothing


@pytest.mark.parametrize("spec", ["moco", "db-mtl", "config-m", "excess-mtl", "cr-mogm-excess-mtl"])
def test_gradients_of_another_size_are_one_line(spec: str) -> None:
    method = get_method(spec)
    step(method, 0)
    assert fault(step, method, 1, size=7) == (
        f"method {spec} keeps state for gradients of 6 numbers and was given gradients of 7 numbers: use one method "
        "object for one set of tasks"
    )


def test_a_state_follows_the_gradients_to_their_device() -> None:
    method = get_method("moco")
    step(method, 0)
    observation = Observation(gradients=torch.empty(TASKS, SIZE, device="meta"))
    with pytest.raises(CellError):  # a device without numbers: the update cannot be computed
        ask_update(method, observation)
    assert method.tracked.device.type == "meta"  # type: ignore[attr-defined]


@pytest.mark.parametrize("spec", SPECS)
def test_every_method_that_keeps_state_declares_it(spec: str) -> None:
    method = get_method(spec)
    kept = {one.name for one in fields(method) if not one.init} - {"generator"}
    assert (method.state == "none") == (not kept)
    step(method, 0)
    keeps_gradients = any(isinstance(getattr(method, name), torch.Tensor) for name in kept)
    assert (method.state == "K × P") == keeps_gradients
    expected = (TASKS if kept else None, SIZE if keeps_gradients else None)
    assert (method.state_sizes.tasks, method.state_sizes.numbers) == expected


def test_methods_without_state_take_any_number_of_tasks() -> None:
    method = get_method("pcgrad", seed=1)
    for tasks in (3, 1, 4):
        assert weights(method, np.eye(tasks)).tolist() == [1.0] * tasks
    assert get_method("trimmed-mean").state == "none"


def test_a_first_step_that_fails_ties_a_method_to_nothing() -> None:
    method = get_method("uw")
    assert "not negative" in fault(weights, method, losses=[1.0, -1.0, 2.0])
    assert weights(method, losses=[1.0, 2.0]).tolist() == [0.5, 0.5]


def test_a_plugin_that_keeps_state_is_tied_to_its_tasks() -> None:
    method = Window()
    weights(method, losses=[1.0, 2.0])
    assert "keeps state for 2 tasks and was given 3" in fault(weights, method, losses=[1.0, 2.0, 3.0])


def test_equality_and_parameters_do_not_see_the_sizes() -> None:
    used, fresh = get_method("modo"), get_method("modo")
    step(used, 0)
    used.task_weights = None  # type: ignore[attr-defined]
    assert used == fresh and used.parameters == fresh.parameters and repr(used) == repr(fresh)


def saved(spec: str, tasks: int = TASKS) -> dict[str, Any]:
    method = get_method(spec)
    step(method, 0, tasks)
    return method.state_dict()


def changed(state: dict[str, Any], **entries: Any) -> dict[str, Any]:
    return {name: value for name, value in {**state, **entries}.items() if value is not Ellipsis}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (lambda: saved("uw"), "method famo: this is a state of method uw"),
        (lambda: old_form(saved("uw")), "this is not a state of the method: it lacks before, logits and has unknown "),
        (lambda: changed(saved("famo"), logits=...), "this is not a state of the method: it lacks logits"),
        (lambda: changed(saved("famo"), extra=1), "this is not a state of the method: it has unknown extra"),
        (lambda: {}, "this is not a state of the method: it lacks adam, before, generator, logits"),
        (lambda: changed(saved("famo"), adam={"steps": 1, "speed": 2}), "the state's adam is unreadable: TypeError"),
        (lambda: changed(saved("famo"), generator=3), "the state's generator is unreadable: "),
        (lambda: changed(saved("famo"), generator={"bit_generator": "MT19937"}), "the state's generator is unreadable"),
        (lambda: changed(saved("famo"), **{"state of": 3}), "the state's entry 'state of' is unreadable"),
        (lambda: None, "a state is a dict from state_dict(), not None"),
        (lambda: "state.pt", "a state is a dict from state_dict(), not 'state.pt'"),
        (
            lambda: saved("famo", 3),
            "method famo keeps state for 4 tasks, and this state is for 3 tasks: load it into a",
        ),
    ],
)
def test_a_state_that_does_not_fit_is_one_line_and_changes_nothing(state: Any, words: str) -> None:
    method, untouched = get_method("famo"), get_method("famo")
    for one in (method, untouched):
        step(one, 0)
    assert words in fault(method.load_state_dict, state())
    assert step(method, 1).tobytes() == step(untouched, 1).tobytes()


def test_losses_after_a_step_may_be_tensors_of_any_kind() -> None:
    methods = [get_method("famo") for _ in range(3)]
    leaf = torch.tensor([0.5, 0.25], requires_grad=True)
    for method, after in zip(methods, ([0.5, 0.25], [leaf[0], leaf[1] * 1.0], leaf.bfloat16()), strict=True):
        weights(method, losses=[1.0, 1.0])
        method.after_step(after)  # type: ignore[arg-type]
    grams = [weights(method, losses=[1.0, 1.0]).tolist() for method in methods]
    assert grams[0] == grams[1] == grams[2] != [0.5, 0.5]
    assert "method famo: losses after the step[1] is None" in fault(methods[0].after_step, [1.0, None])


def test_a_foreign_error_does_not_pass_as_another_number_of_tasks() -> None:
    class Failing(Window):
        name = "failing"

        def weights(self, observation: Observation) -> Vector:
            raise ValueError("operands could not be broadcast")

    with pytest.raises(CellError, match=r"method failing: weights\(\) raised ValueError"):
        weights(Failing(), losses=[1.0])


def test_aggregate_is_tied_too() -> None:
    method = get_method("db-mtl")
    aggregate(method, np.eye(3), losses=[1.0, 2.0, 3.0])
    assert "keeps state for 3 tasks and was given 2" in fault(aggregate, method, np.eye(3)[:2], losses=[1.0, 2.0])
