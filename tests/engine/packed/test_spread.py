"""Steps spread over real processes: the gradients of the batch in as many parts, the same errors, never a hang."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_models import Encoded, Model, Plain, grads, make_engine, sequences, shared_of, truth
from torch.distributed import FileStore  # type: ignore[attr-defined]

from mtlbench import get_method, seeds
from mtlbench.contract.method import Method
from mtlbench.engine.loop import LoopEngine, TaskLoss
from mtlbench.engine.packed.pack import Pack, Sequences
from mtlbench.engine.processes import ALONE, Processes, joined
from mtlbench.engine.step import Forward, NotFinite, Step
from mtlbench.errors import CellError
from mtlbench.solvers.inner_products import gram

LENGTHS = ([3, 5, 1, 8, 2, 2, 6, 4], [7, 1, 4, 4, 6, 9, 2, 3], [2, 3, 12, 1, 1, 5, 5, 7])
EVERY_KIND = (
    *("sum", "fixed[w=1:2:0.5]", "rlw", "famo", "uw", "gls", "pcgrad", "mgda", "cagrad", "gradnorm[lr=0.2]"),
    *("mgda-ub", "imtl-g", "graddrop", "db-mtl", "moco", "sdmgrad", "log-pcgrad"),
)

SOME = ("fixed[w=1:2:0.5]", "famo", "pcgrad", "gradnorm[lr=0.2]", "mgda-ub", "graddrop", "sdmgrad")


OURS: list[Connection] = []
"""This process's ends of all pipes. A fork has them, too, and closes them, so that each process ends with this one."""


class Group:
    """Processes that have joined one another once, and run what they are told."""

    def __init__(self, count: int, folder: Path) -> None:
        context = multiprocessing.get_context("fork")  # this process has imported what they need
        self.connections: list[Connection] = []
        self.started = []
        for rank in range(count):
            ours, theirs = context.Pipe()
            OURS.append(ours)
            process = context.Process(target=serve, args=(rank, count, folder / str(count), theirs), daemon=True)
            process.start()
            theirs.close()
            self.connections.append(ours)
            self.started.append(process)

    def run(self, work: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Run a function in each process, which it is given first; return what each returned."""
        for connection in self.connections:
            connection.send((work, arguments))
        actual = []
        for connection in self.connections:
            assert connection.poll(120.0), "a process hangs"
            actual.append(connection.recv())
        assert all(well for well, _ in actual), "\n".join(str(result) for well, result in actual if not well)
        return [result for _, result in actual]

    def end(self) -> None:
        for connection in self.connections:
            connection.close()
        for process in self.started:
            process.join(10.0)


def serve(rank: int, count: int, file: Path, connection: Connection) -> None:
    for inherited in OURS:
        inherited.close()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    with joined(FileStore(str(file), count), rank, count, "cpu") as processes:
        while True:
            try:
                work, arguments = connection.recv()
            except EOFError:
                return
            try:
                connection.send((True, work(processes, *arguments)))
            except Exception:
                connection.send((False, traceback.format_exc()))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """More than there are cores would wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Group]]:
    folder = tmp_path_factory.mktemp("groups")
    made = {count: Group(count, folder) for count in (2, 4)}
    yield made
    for group in made.values():
        group.end()


@dataclass
class Taken:
    """What some steps gave."""

    gradients: list[NDArray[Any]]
    losses: list[NDArray[Any]]
    weights: list[NDArray[Any] | None]
    grams: list[NDArray[Any] | None]


def batch(task: int, number: int, part: int, parts: int) -> Sequences:
    whole = sequences(LENGTHS[task], 10 * number + task)
    size = len(whole.lengths) // parts
    ends = np.concatenate([[0], np.cumsum(whole.lengths)])[[part * size, (part + 1) * size]]
    tokens, rows = slice(*ends), slice(part * size, (part + 1) * size)
    return Sequences(whole.ids[tokens], whole.kinds[tokens], whole.lengths[rows])


def pack_of(tasks: Sequence[int], number: int, part: int, parts: int, dropout: bool) -> Pack:
    masks = tuple(seeds.derive("masks", task, number, part) for task in tasks) if dropout else None
    return Pack.of([batch(task, number, part, parts) for task in tasks], "cpu", masks)


def model_of(kind: str) -> Model:
    return Plain() if kind == "plain" else Encoded("bert", dropout=0.2).pack_attention().train()


def everything(model: Model) -> NDArray[Any]:
    actual: NDArray[Any] = grads([*shared_of(model)[0], *model.heads.parameters()]).numpy().copy()
    return actual


def some_steps(method: Method, step: Callable[[bool], Step], model: Model) -> Taken:
    taken = Taken([], [], [], [])
    for number in range(3):  # buffers are used again; the second step is measured
        actual = step(number == 1)
        if method.reads_after:
            method.after_step(np.array([0.9, 0.8, 0.5]) * actual.losses)
        taken.gradients.append(everything(model))
        taken.losses.append(actual.losses)
        taken.weights.append(actual.weights)
        taken.grams.append(actual.gram)
    return taken


def packed(processes: Processes, kind: str, name: str, parts: int, match_sum: bool = False) -> Taken:
    """Take steps with the packed engine."""
    model, method = model_of(kind), get_method(name)
    engine = make_engine(model, parts=parts, match_sum=match_sum, processes=processes)

    def forward(number: int, part: int = 0, tasks: Sequence[int] = range(3), recompute: bool = False) -> list[Forward]:
        return model.forwards(pack_of(tasks, number, part, parts, kind != "plain"), tasks)

    return some_steps(method, lambda measure: engine.step(method, forward, measure=measure), model)


def looped(processes: Processes, name: str, match_sum: bool = False) -> Taken:
    """Take steps with the loop engine, each process on its part of the batch."""
    model, method = Plain(), get_method(name)
    shared, last = shared_of(model)[0], list(model.last.parameters())
    engine = LoopEngine(shared, last, match_sum=match_sum, processes=processes)

    def forward(task: int, number: int) -> Forward:
        return model.forwards(pack_of([task], number, processes.rank, processes.count, False), [task])[0]

    tasks = [
        TaskLoss(lambda number, task=task: forward(task, number), list(model.heads[task].parameters()))  # type: ignore[misc]
        for task in range(3)
    ]
    return some_steps(method, lambda measure: engine.step(method, tasks, measure=measure), model)


def assert_same(actual: Taken, reference: Taken) -> None:
    for one, other in zip(actual.gradients, reference.gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
    for one, other in zip(actual.losses, reference.losses, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    for name in ("weights", "grams"):
        for one, other in zip(getattr(actual, name), getattr(reference, name), strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10 * np.abs(other).max())


def assert_equal(actual: Sequence[Taken]) -> None:
    """To the last bit."""
    for other in actual[1:]:
        for one, same in zip(actual[0].gradients, other.gradients, strict=True):
            assert one.tobytes() == same.tobytes()
        for one, same in zip(actual[0].weights, other.weights, strict=True):
            assert (one is None) == (same is None) and (one is None or one.tobytes() == same.tobytes())


@pytest.mark.parametrize(
    ("name", "count"), [*((name, 2) for name in EVERY_KIND), *((name, 4) for name in ("sum", "pcgrad", "sdmgrad"))]
)
def test_processes_take_the_steps_of_one_that_takes_as_many_parts(
    groups: dict[int, Group], name: str, count: int
) -> None:
    """Encoder, dropout masks included: 4 parts in one process, in 2 of 2 parts each, or in 4."""
    actual = groups[count].run(packed, "bert", name, 4)
    assert_same(actual[0], packed(ALONE, "bert", name, 4))
    assert_equal(actual)


@pytest.mark.parametrize("name", SOME)
def test_processes_take_the_steps_of_the_whole_batch_with_the_same_bits_every_time(
    groups: dict[int, Group], name: str
) -> None:
    reference = packed(ALONE, "plain", name, 1, True)
    actual = groups[2].run(packed, "plain", name, 2, True)
    assert_same(actual[0], reference)
    assert_equal([*actual, *groups[2].run(packed, "plain", name, 2, True)])


@pytest.mark.parametrize("name", SOME)
def test_the_loop_engine_takes_them_too(groups: dict[int, Group], name: str) -> None:
    for match_sum in (False, True):
        actual = groups[2].run(looped, name, match_sum)
        assert_same(actual[0], looped(ALONE, name, match_sum))
        assert_equal(actual)


def own_gram(processes: Processes) -> NDArray[Any]:
    """Return the Gram matrix of this process's own rows."""
    model, (rank, count) = Plain(), (processes.rank, processes.count)
    return truth(model, [batch(task, 0, rank, count) for task in range(3)]).gram


def test_the_mean_of_local_gram_matrices_is_not_the_gram_matrix(groups: dict[int, Group]) -> None:
    exact = truth(Plain(), [batch(task, 0, 0, 1) for task in range(3)]).gram
    ours = packed(ALONE, "plain", "pcgrad", 1).grams[0]
    assert ours is not None
    np.testing.assert_allclose(groups[4].run(packed, "plain", "pcgrad", 4)[0].grams[0], exact, rtol=1e-10)
    local = np.mean(groups[4].run(own_gram), axis=0)
    assert (np.diagonal(local) > 1.05 * np.diagonal(exact)).all()  # the spread between processes counts as length
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # task 1 sees its rows on one process, task 2 on the other
    halves = [rows * torch.tensor([[2.0], [0.0]]), rows * torch.tensor([[0.0], [2.0]])]
    assert not np.allclose(np.mean([gram(half) for half in halves], axis=0), gram(sum(halves) / 2))  # type: ignore[arg-type]


# Errors


def broken(processes: Processes, engine: str, name: str, where: int, what: str) -> tuple[str, bool]:
    """Take a step with a loss or gradient of task 1 that one process finds not finite; then a good one."""
    model, method = Plain(), get_method(name)
    bad = [processes.rank == where]

    def spoiled(graph: Forward, task: int) -> Forward:
        if task != 1 or not bad[0]:
            return graph
        if what == "loss":
            return Forward(graph.loss * float("nan"), graph.representation)
        loss = graph.loss * 1.0
        loss.register_hook(lambda gradient: gradient * float("inf"))
        return Forward(loss, graph.representation)

    def alone(task: int, number: int) -> Forward:
        (graph,) = model.forwards(pack_of([task], number, processes.rank, processes.count, False), [task])
        return graph if number else spoiled(graph, task)

    def together(number: int, part: int = 0, tasks: Sequence[int] = range(3), recompute: bool = False) -> list[Forward]:
        graphs = model.forwards(pack_of(tasks, number, part, processes.count, False), tasks)
        return graphs if number else [spoiled(graph, task) for task, graph in zip(tasks, graphs, strict=True)]

    names = dict(model.named_parameters())
    if engine == "loop":
        made = LoopEngine(shared_of(model)[0], list(model.last.parameters()), names=names.items(), processes=processes)
        tasks = [
            TaskLoss(lambda number, task=task: alone(task, number), list(model.heads[task].parameters()))  # type: ignore[misc]
            for task in range(3)
        ]
        take: Callable[[], Step] = lambda: made.step(method, tasks)  # noqa: E731
    else:
        other = make_engine(model, parts=processes.count, processes=processes)
        take = lambda: other.step(method, together)  # noqa: E731
    try:
        take()
    except NotFinite as error:
        bad[0] = False
        return str(error), bool(np.isfinite(take().losses).all())
    return "no error", False


@pytest.mark.parametrize("engine", ["packed", "loop"])
@pytest.mark.parametrize("name", ["sum", "uw", "pcgrad", "mgda-ub", "graddrop", "sdmgrad"])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_one_process_finds_not_finite_all_name(
    groups: dict[int, Group], engine: str, name: str, what: str
) -> None:
    for count, where in ((2, 0), (2, 1)) if name != "pcgrad" else ((2, 0), (4, 3)):
        actual = groups[count].run(broken, engine, name, where, what)
        assert len(set(actual)) == 1 and actual[0][1], actual
        assert actual[0][0].startswith(f"{what} of task 1 is "), actual[0]


def disagreeing(processes: Processes) -> str:
    processes.agree([torch.ones(3)], "ones")
    try:
        processes.agree([torch.ones(3), torch.tensor([1.0 + 1e-7 * processes.rank])], "the parameters")
    except CellError as error:
        return str(error)
    return ""


def test_a_bit_that_differs_is_noticed(groups: dict[int, Group]) -> None:
    actual = groups[2].run(disagreeing)
    assert actual == ["the 2 processes of the cell disagree on the parameters; this is a bug"] * 2
