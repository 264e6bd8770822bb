"""Parts of a batch, one after another or in several processes: the step is that of the whole batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_problems import ApartPoints, Points, gradients_of, load

from mtlbench.contract.method import Method
from mtlbench.engine.library import get_method
from mtlbench.engine.processes import ALONE, Processes, spread
from mtlbench.errors import UsageError
from mtlbench.problem.session import ProblemSession

METHODS = ("sum", "uw", "pcgrad", "moco", "db-mtl", "famo", "nash-mtl")
PARTIAL = ("gradnorm", "mgda-ub", "modo")
PROBLEMS = (Points(double=True, unlabelled=0.4), ApartPoints(double=True, unlabelled=0.4))


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """Forks of a process that has computed with several threads must not start any."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def session_of(problem: Points, method: Method, group: Processes = ALONE, **changes: Any) -> ProblemSession:
    loaded, recipe = load(problem, batch_size=24, **changes)
    return loaded.prepare(recipe, method, 0).session(range(4), group)


def three_steps(session: ProblemSession, method: Method) -> dict[str, np.ndarray[Any, Any]]:
    """Take three steps of plain descent, and return all that they measured."""
    results = []
    for step in range(3):
        result = session.step(method, step, measure=step == 1)
        gradients = gradients_of([*session.shared, *session.heads])
        with torch.no_grad():
            for parameter, gradient in zip([*session.shared, *session.heads], gradients, strict=True):
                parameter.sub_(0.1 * gradient)
        after = session.losses_after(step)
        if method.reads_after:
            method.after_step(after)
        results += [result.losses, after, torch.cat([g.flatten() for g in gradients]).numpy()]
        results += [] if result.gram is None or step != 1 else [result.gram.flatten()]
    _, outputs, _ = session.evaluate("dev", 3)
    return {"steps": np.concatenate(results), **outputs}


def assert_same(found: dict[str, np.ndarray[Any, Any]], expected: dict[str, np.ndarray[Any, Any]]) -> None:
    np.testing.assert_allclose(found.pop("steps"), expected.pop("steps"), rtol=1e-9, atol=1e-12)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5)


@pytest.mark.parametrize("update_norm", ["native", "sum"])
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
@pytest.mark.parametrize("name", METHODS)
def test_parts_one_after_another(name: str, problem: Points, update_norm: str) -> None:
    whole, parts = get_method(name), get_method(name)
    expected = three_steps(session_of(problem, whole, update_norm=update_norm), whole)
    found = three_steps(session_of(problem, parts, accumulate=4, update_norm=update_norm), parts)
    assert_same(found, expected)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_processes(problem: Points) -> None:
    names = [*METHODS, *(name for name in PARTIAL if not (problem.separate and name == "mgda-ub"))]

    def work(processes: Processes) -> list[dict[str, np.ndarray[Any, Any]]]:
        found = []
        for name in names:
            method = get_method(name)
            accumulate = 2 if name in METHODS else 1
            session = session_of(problem, method, processes, processes=2, accumulate=accumulate)
            found.append(three_steps(session, method))
            processes.agree([p.float() for p in session.model.parameters()], "the parameters")
        return found

    with spread(2, "cpu", lambda others: work(others) and None) as processes:  # type: ignore[func-returns-value]
        found = work(processes)
    for name, mine in zip(names, found, strict=True):
        method = get_method(name)
        assert_same(mine, three_steps(session_of(problem, method), method))


def test_what_parts_cannot_do_is_refused() -> None:
    for name in PARTIAL:
        with pytest.raises(UsageError, match=rf"accumulate=2 averages whole task gradients .* method {name} reads"):
            session_of(Points(), get_method(name), accumulate=2)
    for changes in ({"accumulate": 2}, {"processes": 2}):
        with pytest.raises(UsageError, match="its model has running statistics, such as BatchNorm's"):
            session_of(Points(norm=True), get_method("sum"), **changes)
