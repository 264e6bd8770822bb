"""Steps of a problem's session beside the loop engine's, for every method and every way of computing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from tiny_problems import ROWS, ApartPoints, Points, gradients_of, load, train
from torch.nn import functional

from mtlbench.contract.method import Method
from mtlbench.engine.library import get_method
from mtlbench.engine.loop import LoopEngine, TaskLoss
from mtlbench.engine.processes import ALONE
from mtlbench.engine.step import Forward, NotFinite
from mtlbench.errors import CellError
from mtlbench.plugins.registry import load_registry
from mtlbench.problem.interface import CellRows, Loaded, Session
from mtlbench.problem.schedule import batch_schedule
from mtlbench.problem.session import ProblemSession

METHODS = sorted(load_registry().methods)
ALL = range(4)


def session_of(
    problem: Points, method: Method, *, tasks: Sequence[int] = ALL, seed: int = 0, **changes: Any
) -> ProblemSession:
    loaded, recipe = load(problem, **changes)
    return loaded.prepare(recipe, method, seed).session(tasks, ALONE)


def test_the_classes_have_the_form_of_the_interface() -> None:
    loaded, recipe = load(Points())
    form: Loaded = loaded
    rows: CellRows = form.prepare(recipe, get_method("sum"), 0)
    session: Session = rows.session(ALL, ALONE)
    assert session.tasks == ["side", "sum", "signs", "place"]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("problem", [Points(), ApartPoints(unlabelled=0.5)], ids=lambda problem: problem.name)
def test_every_method_trains(name: str, problem: Points) -> None:
    method = get_method(name)
    if problem.separate and method.gram_of == "representation":
        pytest.skip("refused: every task has a representation of its own")
    session = session_of(problem, method, tasks=ALL if method.joint else [1])
    before = [parameter.detach().clone() for parameter in session.shared]
    steps = train(session, method, 4)
    assert all(np.isfinite(step.losses).all() for step in steps)
    assert all(step.gram is not None and step.gram.shape == (len(session.tasks),) * 2 for step in steps[1::2])
    assert any(not torch.equal(old, new) for old, new in zip(before, session.shared, strict=True))
    scores, outputs, labels = session.evaluate("dev", 4)
    assert list(scores) == list(session.tasks)
    assert {task: len(values) for task, values in outputs.items()} == {
        task: len(values) for task, values in labels.items()
    }


REPRESENTATIVES = [
    "sum",  # losses, plain heads
    "mean",
    "uw",  # weighted heads
    "db-mtl",  # an update, heads that descend the logarithm
    "pcgrad",
    "mgda",
    "cagrad",
    "gradnorm",  # the last shared layer
    "mgda-ub",  # the representation
    "modo",  # further batches
    "sdmgrad",
    "graddrop",
    "moco",
    "config-m",  # an update with state
    "nash-mtl",  # clipped
    "famo",
]


@pytest.mark.parametrize("update_norm", ["native", "sum"])
@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_steps_are_those_of_the_loop_engine(name: str, update_norm: str) -> None:
    method, other = get_method(name), get_method(name)
    session = session_of(Points(double=True), method, update_norm=update_norm)
    reference = Reference(session, update_norm == "sum")
    for step in range(3):
        expected = reference.step(other, step)
        wanted = gradients_of([*session.shared, *session.heads])
        result = session.step(method, step, measure=True)
        found = gradients_of([*session.shared, *session.heads])
        np.testing.assert_allclose(result.losses, expected.losses, rtol=1e-10)
        np.testing.assert_allclose(result.gram, expected.gram, rtol=1e-10, atol=1e-14)
        assert result.factor == pytest.approx(expected.factor, rel=1e-10)
        assert (result.weights is None) == (expected.weights is None)
        if result.weights is not None:
            np.testing.assert_allclose(result.weights, expected.weights, rtol=1e-10, atol=1e-12)
        for one, two in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)
        with torch.no_grad():
            for parameter, gradient in zip([*session.shared, *session.heads], found, strict=True):
                parameter.sub_(0.05 * gradient)
        if method.reads_after:
            after = session.losses_after(step)
            method.after_step(after)
            other.after_step(after)


class Reference:
    """The loop engine on the same model, with losses that are written out here."""

    def __init__(self, session: ProblemSession, match_sum: bool) -> None:
        net: Any = session.model
        self.net, data = net, Points(double=True).load(None).train
        self.x = torch.from_numpy(data.inputs)
        self.labels = {name: torch.from_numpy(self.standard(labels)) for name, labels in data.labels.items()}
        self.engine = LoopEngine(session.shared, list(net.last.parameters()), match_sum=match_sum)

    @staticmethod
    def standard(labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if labels.dtype.kind != "f" or set(np.unique(labels)) == {0.0, 1.0}:
            return labels
        # the trainer keeps targets in single precision
        return ((labels - labels.mean(axis=0)) / labels.std(axis=0)).astype(np.float32).astype(np.float64)

    def losses(self, step: int, number: int) -> tuple[list[torch.Tensor], torch.Tensor]:
        rows = torch.from_numpy(batch_schedule(0, "", ROWS, 32, number)[8 * step : 8 * step + 8])
        net, captured = self.net, []
        handle = net.act.register_forward_hook(lambda module, inputs, output: captured.append(output))
        outputs = net(self.x[rows])
        handle.remove()
        labels = {name: values[rows] for name, values in self.labels.items()}
        losses = [
            functional.cross_entropy(outputs["side"], labels["side"]),
            functional.mse_loss(outputs["sum"][:, 0], labels["sum"]),
            functional.binary_cross_entropy_with_logits(outputs["signs"], labels["signs"]),
            functional.mse_loss(outputs["place"], labels["place"]),
        ]
        return losses, captured[0]

    def step(self, method: Method, step: int) -> Any:
        batches = {number: self.losses(step, number) for number in range(method.batches)}

        def forward(task: int, number: int) -> Forward:
            losses, representation = batches[number]
            return Forward(losses[task], [representation])

        heads = [list(head.parameters()) for head in self.net.heads.values()]
        tasks = [TaskLoss(partial(forward, task), heads[task]) for task in range(4)]
        return self.engine.step(method, tasks, measure=True, retain_graph=True)


def test_hooks_of_parameters_run_once_on_the_finished_update() -> None:
    for name in ("sum", "pcgrad"):
        plain, hooked = (session_of(Points(), get_method(name)) for _ in range(2))
        calls = []

        def double(gradient: torch.Tensor, calls: list[int] = calls) -> torch.Tensor:
            calls.append(1)
            return 2.0 * gradient

        hooked.model.last.weight.register_hook(double)
        for session in (plain, hooked):
            session.step(get_method(name), 0, measure=True)
        assert len(calls) == 1
        torch.testing.assert_close(hooked.model.last.weight.grad, 2.0 * plain.model.last.weight.grad)
        torch.testing.assert_close(hooked.model.first.weight.grad, plain.model.first.weight.grad)


def test_measuring_changes_no_bit() -> None:
    for name in ("sum", "gradnorm", "mgda-ub", "pcgrad", "modo"):
        plain, measured = (session_of(Points(dropout=0.3, norm=True), get_method(name)) for _ in range(2))
        plain.step(get_method(name), 0, measure=False)
        assert measured.step(get_method(name), 0, measure=True).gram is not None
        for one, two in zip(plain.model.parameters(), measured.model.parameters(), strict=True):
            assert one.grad is two.grad is None or torch.equal(one.grad, two.grad), name
        for one, two in zip(plain.model.buffers(), measured.model.buffers(), strict=True):
            assert torch.equal(one, two), name


def test_running_statistics_change_once_a_step() -> None:
    states = []
    for name in ("sum", "pcgrad", "modo", "famo"):
        method = get_method(name)
        session = session_of(Points(norm=True, dropout=0.2), method)
        session.step(method, 0, measure=True)
        session.losses_after(0)
        session.evaluate("dev", 1)
        states.append([buffer.clone() for buffer in session.model.buffers()])
        assert int(session.model.norm.num_batches_tracked) == 1
    for state in states[1:]:
        assert all(torch.equal(one, two) for one, two in zip(states[0], state, strict=True))


def test_random_numbers_depend_on_seed_and_step_alone() -> None:
    def losses(name: str, seed: int, before: int, tasks: Sequence[int] = ALL) -> np.ndarray[Any, Any]:
        session = session_of(Points(dropout=0.5), get_method(name), seed=seed, tasks=tasks)
        for _ in range(before):
            torch.rand(3)
            np.random.random()
            session.evaluate("dev", 0)
        return session.step(get_method(name), 1, measure=False).losses

    expected = losses("sum", 0, 0)
    assert np.array_equal(expected, losses("pcgrad", 0, 2))
    assert np.array_equal(expected[1:2], losses("stl", 0, 1, tasks=[1]))
    assert not np.array_equal(expected, losses("sum", 1, 0))


def test_the_callers_generators_stay() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    session = session_of(Points(dropout=0.5), get_method("sum"))
    session.step(get_method("sum"), 0, measure=True)
    session.evaluate("dev", 1)
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])


def test_losses_after_are_those_of_the_step_before_an_update() -> None:
    method = get_method("pcgrad")
    for problem in (Points(dropout=0.4, unlabelled=0.3), ApartPoints(dropout=0.4, unlabelled=0.3)):
        session = session_of(problem, method)
        result = session.step(method, 2, measure=False)
        assert np.array_equal(session.losses_after(2), result.losses)


def test_the_baseline_is_paired_with_the_joint_model() -> None:
    for problem in (Points(dropout=0.4), ApartPoints(dropout=0.4)):
        joint, alone = session_of(problem, get_method("sum")), session_of(problem, get_method("stl"), tasks=[2])
        assert alone.pairing["shared"] == joint.pairing["shared"]
        for part in ("heads", "schedule", "dropout"):
            assert alone.pairing[part] == {"signs": joint.pairing[part]["signs"]}  # type: ignore[literal-required]
        other = session_of(problem, get_method("sum"), seed=1)
        assert other.pairing["shared"] != joint.pairing["shared"]
        assert other.pairing["schedule"] != joint.pairing["schedule"]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["sum", "pcgrad", "moco", "gradnorm", "mgda-ub", "uw", "modo"])
def test_half_precision_is_close_to_single(precision: str, name: str) -> None:
    single, half = (session_of(Points(), get_method(name), precision=p) for p in ("float32", precision))
    expected, result = (session.step(get_method(name), 0, measure=True) for session in (single, half))
    assert (half.scale is not None) == (precision == "float16")
    np.testing.assert_allclose(result.losses, expected.losses, rtol=0.05)
    np.testing.assert_allclose(result.gram, expected.gram, rtol=0.2, atol=0.02)
    one, two = (torch.cat([g.flatten() for g in gradients_of([*s.shared, *s.heads])]) for s in (single, half))
    assert float((one - two).norm()) < 0.1 * float(one.norm())


def test_a_step_that_overflows_is_skipped_and_the_method_stays() -> None:
    for name in ("sum", "pcgrad", "uw"):
        method = get_method(name)
        session = session_of(Points(), method, precision="float16")
        assert session.scale is not None
        session.scale.value = 2.0**40
        before = method.state_dict()
        assert session.step(method, 0, measure=False).skipped
        assert session.scale.value == 2.0**39
        assert method.state_dict() == before
        session.scale.value = 2.0**10
        assert not session.step(method, 0, measure=False).skipped


def test_a_loss_that_is_not_finite_names_its_task() -> None:
    for name in ("sum", "pcgrad"):
        session = session_of(Points(), get_method(name))
        with torch.no_grad():
            session.model.heads["sum"].bias.fill_(float("nan"))
        with pytest.raises(NotFinite, match="loss of task sum is nan") as error:
            session.step(get_method(name), 0, measure=False)
        assert error.value.task == 1
        with pytest.raises(CellError, match=r"evaluation after step 3, task sum: 40 of 40 predictions are not finite"):
            session.evaluate("dev", 3)
