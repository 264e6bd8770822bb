"""Two digits on a canvas: what is on it, its labels, its splits, and a step on it."""

from __future__ import annotations

import numpy as np
import pytest
from problem_steps import check_seeded, check_step
from sklearn.datasets import load_digits

from mtlbench import Data, UsageError
from mtlbench.plugins.registry import load_registry
from mtlbench.problems.digits import SCANS, Digits, overlaid, scan_pairs
from mtlbench.recipe.suite import load_suite

ALL = ("left", "right", "sum", "parity", "reconstruction")


@pytest.fixture(scope="module")
def small() -> Data:
    return Digits(rows=60, dev_rows=40).load(None)


def test_no_scan_is_in_two_splits_and_all_are_used() -> None:
    pairs = scan_pairs({"train": 20_000, "dev": 8000, "test": 8000})
    scans = {split: set(numbers.ravel().tolist()) for split, numbers in pairs.items()}
    assert {split: len(numbers) for split, numbers in scans.items()} == SCANS
    assert len(set.union(*scans.values())) == sum(SCANS.values()) == len(load_digits().target)


def test_fewer_pairs_are_the_first_of_more() -> None:
    few, many = (scan_pairs({"train": rows})["train"] for rows in (10, 1000))
    assert np.array_equal(few, many[:10])


@pytest.mark.parametrize("overlap", [0, 3, 6, 7])
def test_a_canvas_is_both_scans_and_the_darker_pixel_where_they_overlap(overlap: int) -> None:
    scans = np.random.default_rng(0).random((5, 2, 8, 8), dtype=np.float32)
    canvas, side = overlaid(scans, overlap), 16 - overlap
    assert canvas.shape == (5, side, side)
    for y in range(side):
        for x in range(side):
            candidates = [np.zeros(5, np.float32)]
            if y < 8 and x < 8:
                candidates.append(scans[:, 0, y, x])
            if y >= side - 8 and x >= side - 8:
                candidates.append(scans[:, 1, y - side + 8, x - side + 8])
            assert np.array_equal(canvas[:, y, x], np.max(candidates, axis=0))


def test_labels_and_pixels_are_those_of_the_packaged_scans(small: Data) -> None:
    packaged = load_digits()
    apart = Digits(rows=60, dev_rows=40, overlap=0).load(None)
    for split, pairs in scan_pairs({"train": 60, "dev": 40, "test": 40}).items():
        left, right = packaged.target[pairs[:, 0]], packaged.target[pairs[:, 1]]
        examples = apart.splits[split]
        assert np.array_equal(examples.inputs[:, 0, :8, :8] * 16.0, packaged.images[pairs[:, 0]])
        assert np.array_equal(examples.inputs[:, 0, 8:, 8:] * 16.0, packaged.images[pairs[:, 1]])
        for data in (apart, small):
            labels = data.splits[split].labels
            assert np.array_equal(labels["left"], left) and np.array_equal(labels["right"], right)
            assert np.array_equal(labels["sum"], left + right)
            assert np.array_equal(labels["parity"], (left % 2) != (right % 2))
            first_block = packaged.images[pairs[:, 1]][:, 2:4, 4:6].mean(axis=(1, 2)) / 16.0
            np.testing.assert_allclose(labels["reconstruction"][:, 16 + 4 + 2], first_block, rtol=1e-6)


def test_every_output_of_every_task_has_something_to_learn() -> None:
    """The training loop refuses a number that never changes, such as a pixel of the margin."""
    labels = Digits().load(None).train.labels
    assert all(np.asarray(labels[task]).std(axis=0).min() > 0.0 for task in ALL)


def test_the_fingerprint_is_the_same_each_time_and_changes_with_every_parameter_of_the_data(small: Data) -> None:
    fingerprints = [
        Digits(**{"rows": 60, "dev_rows": 40, **change}).load(None).fingerprint
        for change in ({}, {"overlap": 5}, {"rows": 61}, {"dev_rows": 41})
    ]
    assert fingerprints[0] == small.fingerprint and len(set(fingerprints)) == 4


@pytest.mark.parametrize("overlap", [0, 1, 6, 7])
@pytest.mark.parametrize("tasks", [("left", "right"), ALL])
def test_a_step(tasks: tuple[str, ...], overlap: int) -> None:
    problem = Digits(rows=60, dev_rows=40, overlap=overlap)
    check_step(problem, problem.load(None), tasks)


def test_a_step_of_the_plain_sum(small: Data) -> None:
    check_step(Digits(), small, ALL, "sum")


def test_weights_depend_on_the_seed() -> None:
    check_seeded(Digits())


def test_the_convolution_sees_every_pixel() -> None:
    import torch

    for overlap in range(8):
        problem = Digits(overlap=overlap)
        model = problem.model(problem.targets()[:1])
        for parameter in model.parameters():
            parameter.data.fill_(0.01)
        canvas = torch.ones(1, 1, 16 - overlap, 16 - overlap, requires_grad=True)
        problem.outputs(model, canvas, ["left"])["left"].sum().backward()
        assert canvas.grad is not None and bool((canvas.grad > 0.0).all())


@pytest.mark.parametrize("name", ["digits", "digits-scales"])
def test_the_suite_names_the_problem_and_its_tasks(name: str) -> None:
    suite = load_suite(name)
    assert suite.problem is not None
    problem = load_registry().problem(suite.problem)
    assert isinstance(problem, Digits) and problem == Digits()
    assert set(suite.tasks) < {target.name for target in problem.targets()}


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"overlap": 8}, "problem digits: parameter overlap=8 should be less than 8"),
        ({"overlap": -1}, "parameter overlap=-1 should be greater than or equal to 0"),
        ({"rows": "many"}, "parameter rows=many should be a valid integer"),
        ({"width": 0}, "parameter width=0 should be greater than or equal to 1"),
    ],
)
def test_bad_parameters(parameters: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Digits.make(parameters)
