"""Numbers of every kind that a user may pass."""

from __future__ import annotations

import decimal
import fractions
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from mtlbench import UsageError
from mtlbench.contract.numbers import as_numbers, written

LEAF = torch.tensor([1.0, 2.0], requires_grad=True)
EYE = [[1.0, 0.0], [0.0, 1.0]]


class OnDevice(torch.Tensor):
    """A tensor that refuses NumPy until it was moved, as one on a GPU does."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.numpy, torch.Tensor.__array__):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        moved = func is torch.Tensor.to and "cpu" in args
        result = super().__torch_function__(func, types, args, kwargs or {})
        return result.as_subclass(torch.Tensor) if moved else result


def objects(*items: Any) -> Any:
    array = np.empty(len(items), dtype=object)
    for index, item in enumerate(items):  # one by one: NumPy would convert a list of tensors
        array[index] = item
    return array


ACCEPTED: dict[str, tuple[Callable[[], Any], Any]] = {
    "graph": (lambda: LEAF * 2.0, [2.0, 4.0]),
    "parameter": (lambda: torch.nn.Parameter(torch.ones(2)), [1.0, 1.0]),
    "device": (lambda: torch.tensor([1.0, 2.0]).as_subclass(OnDevice), [1.0, 2.0]),
    "list on device": (lambda: [torch.tensor(3.0).as_subclass(OnDevice), 1], [3.0, 1.0]),
    "bfloat16": (lambda: LEAF.bfloat16(), [1.0, 2.0]),
    "float16": (lambda: LEAF.half(), [1.0, 2.0]),
    "float8": (lambda: torch.ones(2).to(torch.float8_e4m3fn), [1.0, 1.0]),
    "list of losses": (lambda: [LEAF[0], LEAF[1] * 3.0], [1.0, 6.0]),
    "tuple of losses": (lambda: (LEAF[0], 0.5, np.float32(2.0)), [1.0, 0.5, 2.0]),
    "list of rows": (lambda: [LEAF, LEAF.detach()], [[1.0, 2.0], [1.0, 2.0]]),
    "nested": (lambda: [[LEAF[0], 0], [0, LEAF[0]]], EYE),
    "sparse": (lambda: torch.eye(2).to_sparse(), EYE),
    "sparse half with a graph": (lambda: torch.eye(2).half().to_sparse().requires_grad_(), EYE),
    "scipy": (lambda: scipy.sparse.eye(2), EYE),
    "negated view": (lambda: torch.tensor([1.0 + 2.0j]).conj().imag, [-2.0]),
    "integers": (lambda: torch.tensor([1, 2], dtype=torch.uint8), [1.0, 2.0]),
    "bools": (lambda: [True, False], [1.0, 0.0]),
    "objects": (lambda: objects(1, 2.5, fractions.Fraction(1, 2), decimal.Decimal("0.25")), [1.0, 2.5, 0.5, 0.25]),
    "tensors in an object array": (lambda: objects(LEAF[0], LEAF[1]), [1.0, 2.0]),
    "nothing masked": (lambda: np.ma.array([1.0, 2.0]), [1.0, 2.0]),
    "frame": (lambda: pd.DataFrame({"a": [1, 0], "b": [0.0, 1.0]}), EYE),
    "series": (lambda: pd.Series([1, 2], dtype="Int64"), [1.0, 2.0]),
    "matrix": (lambda: np.eye(2).view(np.matrix), EYE),
    "scalar": (lambda: np.float16(0.5), 0.5),
    "empty": (list, []),
    "range": (lambda: range(3), [0.0, 1.0, 2.0]),
    "large": (lambda: [10**30], [1e30]),
    "infinite": (lambda: [np.inf, -np.inf], [np.inf, -np.inf]),
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_numbers_become_float64(kind: str) -> None:
    make, expected = ACCEPTED[kind]
    actual = as_numbers(make(), "losses")
    assert type(actual) is np.ndarray and actual.dtype == np.float64
    assert actual.tolist() == expected


def endless() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "dict": (lambda: {"a": 1.0}, "is a dict; give a list of its values, in the order of the tasks"),
    "values of a dict": (lambda: {"a": 1.0}.values(), "is a dict_values; give a list of numbers"),
    "set": (lambda: {1.0, 2.0}, "is a set; give a list of numbers"),
    "generator": (lambda: (number for number in (1, 2)), "is a generator; give a list of numbers"),
    "none": (lambda: None, "is None, not a number"),
    "none inside": (lambda: [[1.0, 2.0], [1.0, None]], "[1][1] is None, not a number"),
    "none in an object array": (lambda: objects(1.0, None), "[1] is None, not a number"),
    "none beside a loss": (lambda: [LEAF[0], None], "[1] is None, not a number"),
    "text": (lambda: "abc", "is the text 'abc', not a number"),
    "texts": (lambda: [1.0, "2"], "[1] is the text '2', not a number"),
    "array of texts": (lambda: np.array(["1"]), "is of type <U1; give real numbers"),
    "bytes": (lambda: b"1", "is the text b'1', not a number"),
    "complex": (lambda: 1j, "is of type complex128; give real numbers"),
    "complex inside": (lambda: [1.0, 1j], "[1] is of type complex128; give real numbers"),
    "complex tensor": (lambda: torch.ones(2) * 1j, "is of type torch.complex64; give real numbers"),
    "dates": (lambda: np.array(["2020-01-01"], "datetime64[D]"), "is of type datetime64[D]; give real numbers"),
    "masked": (lambda: np.ma.array([1.0, 2.0], mask=[0, 1]), "has masked entries; give a number for each"),
    "frame of texts": (lambda: pd.DataFrame({"a": ["x", 1]}), "[0][0] is the text 'x', not a number"),
    "ragged": (lambda: [[1.0, 2.0], [3.0]], "is ragged: its items have the shapes (2,) and (1,)"),
    "ragged tensors": (lambda: [LEAF, LEAF[0]], "is ragged: its items have the shapes (2,) and ()"),
    "endless": (endless, "is nested too deeply, or holds itself"),
    "function": (lambda: len, "is <built-in function len>, not a number"),
    "too large": (lambda: [10**400], "cannot be read as numbers: OverflowError: int too large to convert to float"),
    "meta": (
        lambda: torch.ones(2, device="meta"),
        "cannot be read as numbers: NotImplementedError: Cannot copy out of",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_anything_else_is_named_with_its_place_in_one_line(kind: str) -> None:
    make, words = REFUSED[kind]
    with pytest.raises(UsageError) as caught:
        as_numbers(make(), "losses")
    assert str(caught.value).startswith(f"losses{words}" if words.startswith("[") else f"losses {words}")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_an_array_in_double_precision_is_not_copied() -> None:
    array = np.ones(3)
    assert as_numbers(array, "losses") is array


def test_numbers_beyond_double_precision_become_infinite_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert as_numbers(np.array([np.finfo(np.longdouble).max]), "losses").tolist() == [np.inf]


def test_many_numbers_are_not_written_out() -> None:
    assert written(np.arange(3.0)) == "[0.0, 1.0, 2.0]"
    assert written(np.arange(10_000.0).reshape(100, 100)) == "an array of shape (100, 100): 0.0, 1.0, 2.0, …"


def test_numbers_load_no_torch() -> None:
    code = "import sys, mtlbench.contract.numbers as n; n.as_numbers([[1, 2.5]], 'x'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
