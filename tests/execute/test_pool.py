"""Functions in processes of their own."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from multiprocessing import active_children

import pytest

from mtlbench.execute.pool import Died, run_in_processes
from mtlbench.host.processes import uninterrupted


def square_or_die(number: int) -> tuple[int, int]:
    """Return the square and the process; a negative number ends the process, as a crash of native code does."""
    if number < 0:
        os._exit(3)
    return number * number, os.getpid()


def test_each_job_has_a_process_and_its_death_is_a_result() -> None:
    results = dict(run_in_processes(square_or_die, [1, -1, 2, 3], 2, []))
    assert results.pop(-1) == Died(3)
    squares, processes = zip(*(result for result in results.values() if not isinstance(result, Died)), strict=True)
    assert sorted(squares) == [1, 4, 9] and len({os.getpid(), *processes}) == 4


def test_one_worker_is_this_process() -> None:
    assert list(run_in_processes(square_or_die, [2, 1], 1, [])) == [(2, (4, os.getpid())), (1, (1, os.getpid()))]


def test_processes_end_when_the_caller_stops() -> None:
    with closing(run_in_processes(sleep, [0, 600, 601], 3, [])) as results:
        next(results)
    children = [child for child in active_children() if child.is_alive()]
    for child in children:
        child.join(30.0)
    assert not any(child.is_alive() for child in children)


def sleep(seconds: int) -> None:
    """Sleep."""
    time.sleep(seconds)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_of_a_start(number: signal.Signals) -> None:
    before, reached = signal.getsignal(number), list[str]()
    signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            _signalled(number, reached)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert reached == ["the end"]


def _signalled(number: signal.Signals, reached: list[str]) -> None:
    with uninterrupted():
        signal.raise_signal(number)
        reached.append("the end")
