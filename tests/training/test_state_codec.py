"""Nested states through JSON and tensors, and back."""

from __future__ import annotations

import contextlib
import json
import math
import struct
from collections import deque
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mtlbench.plugins.registry import load_registry
from mtlbench.training.state_codec import DTYPES, NotStorable, flatten, unflatten

TYPES = [torch.complex64, torch.complex128, *DTYPES]


def there_and_back(state: Any) -> Any:
    data, tensors = flatten(state)
    return unflatten(json.loads(json.dumps(data, allow_nan=False)), tensors)


def same(one: Any, other: Any) -> bool:
    """Whether two states have the same types, order and bits; in Python 1 == 1.0 == True, and NaN is not itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float) and not isinstance(one, np.generic):
        return struct.pack("d", one) == struct.pack("d", other)
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and _bytes(one) == _bytes(other)
    if isinstance(one, np.ndarray | np.generic):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, deque) and one.maxlen != other.maxlen:
        return False
    if isinstance(one, list | tuple | deque):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    return bool(one == other)


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


floats = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("d", bits.to_bytes(8, "little"))[0])
arrays = hnp.arrays(
    st.one_of(
        hnp.boolean_dtypes(),
        hnp.integer_dtypes(endianness="="),
        hnp.unsigned_integer_dtypes(endianness="="),
        hnp.floating_dtypes(endianness="=", sizes=(16, 32, 64)),
        hnp.complex_number_dtypes(endianness="=", sizes=(64, 128)),
    ),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
tensors = arrays.map(torch.from_numpy)
scalars = arrays.filter(lambda array: array.size > 0).map(lambda array: array.reshape(-1)[0])
text = st.text(st.characters())  # lone surrogates too
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**200), 2**200), floats, text, st.binary(max_size=9)
)
states = st.recursive(
    st.one_of(leaves, arrays, scalars, tensors),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.lists(inner, max_size=3).map(lambda items: deque(items, 5)),
        st.dictionaries(st.one_of(text, st.integers()), inner, max_size=3),
    ),
    max_leaves=12,
)


@given(states)
@settings(max_examples=150, deadline=None)
def test_a_state_comes_back_to_the_last_bit(state: Any) -> None:
    assert same(there_and_back(state), state)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_every_type_of_tensor_comes_back(dtype: torch.dtype) -> None:
    size = torch.empty((), dtype=dtype).element_size()
    bits = torch.arange(6 * size, dtype=torch.uint8).reshape(6, size)
    tensor = (bits % 2 if dtype is torch.bool else bits).view(dtype).reshape(2, 3)
    for given_ in (tensor, tensor.T, tensor[:, 1:], tensor[0, 0], tensor[:0]):
        assert same(there_and_back({"x": given_})["x"], given_)


def test_views_are_stored_by_their_values() -> None:
    turned = torch.randn(2, 2, dtype=torch.complex64).conj()
    assert torch.equal(there_and_back(turned), turned)
    assert torch.equal(there_and_back(turned.imag), turned.imag)
    assert np.array_equal(there_and_back(np.arange(6)[::-2]), [5, 3, 1])
    layer = torch.nn.Linear(2, 2)
    assert torch.equal(there_and_back(layer.weight), layer.weight.detach())


def test_tensors_on_the_cpu_are_not_copied() -> None:
    tensor = torch.randn(4, 4)
    ((place, found),) = flatten({"a": [tensor]})[1].items()
    assert place == "state['a'][0]" and found.data_ptr() == tensor.data_ptr()


def test_sets_and_numbers_beyond_json() -> None:
    state = {"set": {1, "a"}, "big": 2**20_000, "nan": math.nan, "long": deque([1])}
    found = there_and_back(state)
    assert found["set"] == state["set"] and found["big"] == state["big"] and found["long"].maxlen is None


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"method": [1, object()]}, r"state['method'][1] is a builtins.object, which a checkpoint cannot hold"),
        ({"x": {(1, 2): 3}}, r"state['x'] has a key that is neither text nor a whole number"),
        ({True: 3}, r"state has a key that is neither text nor a whole number"),
        ([np.array(["a"])], r"state[0] is an array of <U1, which a checkpoint cannot hold"),
        ([np.array([1], dtype=">i4")], r"state[0] is an array of >i4"),
        ([np.longdouble(1)], r"state[0] is an array of "),
        ({3: torch.eye(2).to_sparse()}, r"state[3] is a torch.sparse_coo tensor of torch.float32 on cpu"),
        (torch.empty(1, device="meta"), r"state is a torch.strided tensor of torch.float32 on meta"),
        (np.random.default_rng(0), r"state is a numpy.random._generator.Generator"),
    ],
)
@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_anything_else_is_named_with_its_place(state: Any, message: str) -> None:
    with pytest.raises(NotStorable) as caught:
        flatten(state)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_what_holds_itself_is_named() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(NotStorable, match="holds itself"):
        flatten(endless)


json_data = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=3), st.sampled_from(["state", "cpu", "zz", "ff"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["int", "float", "tuple", "deque", "longest", "dict", "array", "tensor", "device", "set"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


@given(json_data)
@settings(max_examples=200, deadline=None)
def test_data_from_elsewhere_are_a_state_or_one_kind_of_error(data: Any) -> None:
    with contextlib.suppress(ValueError):
        unflatten(data, {"state": torch.zeros(2)})


@pytest.mark.parametrize("name", load_registry().catalogue())
def test_the_state_of_every_method_comes_back(name: str) -> None:
    state = load_registry().method(name).state_dict()
    assert same(there_and_back(state), state)
