"""The page docs/own_loop.md: data-parallel training in two processes, which are started once for all tests."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import own_loop_processes
import pytest
from launches import Launcher
from own_loop_processes import CHECKS, PROCESSES

LIMIT = 150.0
"""Seconds after which processes that wait for each other are ended."""


@pytest.fixture(scope="module")
def results(launch: Launcher, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What every process found, by the check's name."""
    folder: Path = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = launch(own_loop_processes.__file__, port, folder)
    errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, errors
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(PROCESSES)]


@pytest.fixture
def both(results: list[dict[str, Any]]) -> Callable[[str], Any]:
    """A check's result, which is the same in both processes."""

    def both(name: str) -> Any:
        first, second = (result[name] for result in results)
        assert first == second
        return first

    return both


def test_every_check_has_its_test() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{name}"' in source for name in CHECKS)


def test_page(both: Any) -> None:
    result = both("page")  # the parameters' bits are among it
    assert result["plain"] < 1e-10 and result["accumulated"] < 1e-10


def test_methods_of_every_kind_see_the_joined_batch(both: Any) -> None:
    distances = both("kinds")
    assert len(distances) == 9 and max(distances.values()) < 1e-9, distances
    assert both("single_precision") < 1e-4


def test_repetition_gives_the_same_bits(both: Any) -> None:
    first, second = both("repetition")
    assert first == second


def test_representation_and_last_layer(both: Any) -> None:
    assert max(both("representation")) < 1e-10


def test_options_of_the_wrapper(both: Any) -> None:
    assert max(both("options_of_the_wrapper").values()) < 1e-9
    names, far, count = both("unused_parameters")
    assert names == [] and far < 1e-12 and count > 30


def test_surgery_inside_the_forward(both: Any) -> None:
    assert max(both("surgery_inside_the_forward")) < 1e-9


def test_hooks_run_once(both: Any) -> None:
    assert both("hooks") == {"parameter": 1, "communication": 1}
    assert 0.0 < both("compressed") < 1e-2


def test_an_overflow_in_one_process_is_one_in_all(both: Any) -> None:
    assert both("an_overflow_in_one_process") == {"gradvac": [512.0, True, True], "uw": [512.0, True, True]}


def test_what_is_not_finite_in_one_process_is_an_error_in_all(both: Any) -> None:
    assert both("a_gradient_that_is_not_finite_in_one_process") == [[True, True], [True, True]]


def test_activation_checkpoints(both: Any) -> None:
    assert both("activation_checkpoints") < 1e-9
    for message in both("reentrant_checkpoints"):
        assert message.endswith("use use_reentrant=False")


def test_what_is_refused(both: Any) -> None:
    assert both("static_graph").startswith("DistributedDataParallel with static_graph=True counts the backward passes")
    for name, message in both("unequal_seeds").items():
        what = "updates" if name == "graddrop" else "weights"
        assert message.startswith(f"the processes' methods give different {what} for the same gradients: ")
    assert both("without_a_wrapper").startswith("there are 2 processes, but no DistributedDataParallel module holds")
    assert "run all but the last under model.no_sync()" in both("accumulation_without_no_sync")
    assert both("absent_in_one_process").startswith("the processes differ in which losses this step has")
    assert "is sharded over processes (FSDP" in both("sharded")


@pytest.mark.parametrize("library", ["accelerate", "trainer", "lightning"])
def test_libraries_that_wrap_the_model(both: Any, library: str) -> None:
    far = both(library)
    if "not installed" in str(far):
        pytest.skip(f"extra 'integrations': {far}")
    assert far < 1e-5
