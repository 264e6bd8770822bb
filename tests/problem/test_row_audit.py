"""The audit of a problem's rows: what leaks, repeats and contradicts, whatever form inputs and labels have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mtlbench.contract.examples import Examples
from mtlbench.contract.problem import Target
from mtlbench.problem.row_audit import audit, row_codes
from mtlbench.problem.splits import Split, _checked

KIND, NUMBER = Target("kind", "classification", outputs=3), Target("number", "regression", outputs=2)
SIGNS = Target("signs", "multilabel", outputs=2)


def split(inputs: Any, kind: list[int], number: Any = None, signs: Any = None) -> Split:
    zeros = np.zeros((len(kind), 2))
    labels = {
        "kind": np.array(kind),
        "number": zeros if number is None else np.array(number, dtype=float),
        "signs": zeros if signs is None else np.array(signs, dtype=float),
    }
    return _checked("made", Examples(inputs, labels), (KIND, NUMBER, SIGNS))


def audited(target: Target, train: Split, dev: Split) -> dict[str, Any]:
    return dict(audit(target, train, dev, row_codes(train), row_codes(dev)))


TRAIN = np.array([[0.0, 1.0], [2.0, 3.0], [0.0, 1.0], [4.0, 5.0], [2.0, 3.0]], dtype=np.float32)
DEV = np.array([[4.0, 5.0], [9.0, 9.0], [0.0, 1.0]], dtype=np.float32)


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x,
        torch.from_numpy,
        lambda x: {"a": x[:, 0], "b": {"c": torch.from_numpy(x[:, 1:].copy())}},
        lambda x: x.T.copy().T,  # of another order in memory
    ],
)
def test_rows_are_compared_by_their_inputs(form: Any) -> None:
    train, dev = split(form(TRAIN), [0, 1, 0, 2, 2]), split(form(DEV), [2, 0, 1])
    found = audited(KIND, train, dev)
    assert found == {
        "leaked": 2,
        "repeated": 2,
        "contradicted": 1,
        "distinct": 3,
        "whole": 5,
        "whole_dev": 3,
        "rarest": 1,
    }


def test_rows_without_a_label_of_the_task_do_not_count() -> None:
    train, dev = split(TRAIN, [-1, 1, 0, -1, 1]), split(DEV, [2, 0, -1])
    found = audited(KIND, train, dev)
    assert (found["leaked"], found["repeated"], found["contradicted"]) == (0, 1, 0)
    assert found["rarest"] == 0  # no training row has class 2


def test_several_numbers_and_labels_a_row() -> None:
    numbers = [[1.0, 2.0], [0.5, 1.0], [1.0, 2.5], [3.0, 3.0], [0.5, 1.0]]
    signs = [[1, 0], [1, 0], [1, 0], [1, 0], [1, 1]]
    train, dev = split(TRAIN, [0] * 5, numbers, signs), split(DEV, [0] * 3, [[1.0, 1.5]] * 3, [[1, 1]] * 3)
    found = audited(NUMBER, train, dev)
    assert (found["contradicted"], found["distinct"], found["whole"], found["whole_dev"]) == (1, 4, 2, 0)
    assert found["rarest"] is None
    found = audited(SIGNS, train, dev)
    assert (found["contradicted"], found["rarest"]) == (1, 1)


def test_rows_that_never_repeat() -> None:
    found = audited(NUMBER, split(TRAIN[[0, 1, 3]], [0, 1, 2]), split(DEV[[1]], [0]))
    assert (found["leaked"], found["repeated"], found["contradicted"]) == (0, 0, 0)


class Files:
    """Inputs that are read on demand."""

    fingerprint = "files"

    def __getitem__(self, rows: Any) -> Any:
        raise AssertionError("an audit reads no files")


def test_inputs_that_are_read_on_demand_are_not_compared() -> None:
    train, dev = split(Files(), [0, 1, 2]), split(Files(), [0])
    assert row_codes(train) is None and row_codes(split({"a": TRAIN, "b": Files()}, [0] * 5)) is None
    assert set(audited(KIND, train, dev)) == {"distinct", "whole", "whole_dev", "rarest"}
