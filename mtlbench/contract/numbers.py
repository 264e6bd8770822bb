"""Convert numbers that a user passes, such as tensors, lists and tables, to float64 arrays."""

from __future__ import annotations

import numbers
import sys
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtlbench.errors import UsageError, said, shown

MOST_SHOWN = 64
"""Largest number of values that a message writes out."""


def as_numbers(value: Any, name: str) -> NDArray[np.float64]:
    """Return a user's numbers in float64 on the CPU, without a graph.

    Accepted are numbers, nested lists of them, NumPy arrays, torch tensors (of any real type, on any device, sparse or
    with a graph), pandas tables, and lists of all these, such as a list of losses. An array or tensor that is float64
    already is not copied.

    :param value: the numbers, in any shape. NaN and infinity are returned as they are.
    :param name: what the numbers are, for messages: ``"losses"``.
    :returns: an array of the value's shape.
    :raises UsageError: naming the place of anything that is not a real number: ``losses[1] is None, not a number``.
    """
    if type(value) is np.ndarray and value.dtype == np.float64:
        return value
    try:
        return _array(value, name)
    except UsageError:
        raise
    except RecursionError:
        raise UsageError(f"{name} is nested too deeply, or holds itself") from None
    except Exception as error:  # a tensor of a foreign kind may raise anything
        raise UsageError(f"{name} cannot be read as numbers: {said(error)}") from error


def written(values: NDArray[np.float64]) -> str:
    """Return numbers for a message: all of them, or the first ones and the shape where they are many.

    :param values: the numbers.
    """
    if values.size <= MOST_SHOWN:
        return str(values.tolist())
    first = ", ".join(str(number) for number in values.flat[:3].tolist())
    return f"an array of shape {values.shape}: {first}, …"


def _array(value: Any, name: str) -> NDArray[np.float64]:
    torch = sys.modules.get("torch")  # without an import: there is no tensor before torch is loaded
    if torch is not None and isinstance(value, torch.Tensor):
        return _tensor(value, name, torch)
    if isinstance(value, str | bytes):
        raise UsageError(f"{name} is the text {shown(value)}, not a number")
    if isinstance(value, Mapping):
        raise UsageError(f"{name} is a {type(value).__name__}; give a list of its values, in the order of the tasks")
    if isinstance(value, list | tuple):
        if all(type(item) in (int, float) for item in value):
            return np.array(value, dtype=np.float64)
        return _stacked([_array(item, f"{name}[{index}]") for index, item in enumerate(value)], name)
    if np.ma.is_masked(value):
        raise UsageError(f"{name} has masked entries; give a number for each")
    if hasattr(value, "toarray"):  # a sparse matrix of SciPy
        value = value.toarray()
    array = np.asarray(value)
    if array.dtype.kind == "O":
        return _objects(array, value, name)
    if array.dtype.kind not in "biuf":
        raise UsageError(f"{name} is of type {array.dtype}; give real numbers")
    with np.errstate(over="ignore"):  # beyond float64 is infinity, which the caller finds
        return array.astype(np.float64, copy=False)


def _tensor(value: Any, name: str, torch: Any) -> NDArray[np.float64]:
    if value.is_complex():
        raise UsageError(f"{name} is of type {value.dtype}; give real numbers")
    value = value.detach()
    if value.layout != torch.strided:
        value = value.to_dense()
    elif value.is_quantized:
        value = value.dequantize()
    array: NDArray[np.float64] = value.to("cpu").to(torch.float64).resolve_neg().numpy()
    return array


def _stacked(arrays: list[NDArray[np.float64]], name: str) -> NDArray[np.float64]:
    shapes = list(dict.fromkeys(array.shape for array in arrays))
    if len(shapes) > 1:
        raise UsageError(f"{name} is ragged: its items have the shapes {shapes[0]} and {shapes[1]}")
    return np.stack(arrays) if arrays else np.empty(0)


def _objects(array: NDArray[Any], value: Any, name: str) -> NDArray[np.float64]:
    """Convert an array of Python objects, or a single object, which NumPy makes an array without dimensions."""
    if array.ndim:
        return _array(array.tolist(), name)
    item = array.item()
    if isinstance(item, numbers.Real | Decimal):
        return np.asarray(float(item))
    if item is value and isinstance(value, Iterable):
        raise UsageError(f"{name} is a {type(value).__name__}; give a list of numbers")
    if item is not value and not isinstance(item, type(value)):
        return _array(item, name)
    raise UsageError(f"{name} is {shown(item)}, not a number")
