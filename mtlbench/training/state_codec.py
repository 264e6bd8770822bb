"""Conversion of a nested state to JSON and named tensors, and back, to the last bit. Nothing is executed."""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Tensors = dict[str, torch.Tensor]

DTYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.uint16: "U16",
    torch.uint32: "U32",
    torch.uint64: "U64",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
}
"""Number type → its name in a safetensors file. Complex numbers are stored as pairs."""
EXACT_INTEGERS = 2**63
"""Integers below this are JSON numbers; larger ones, such as a generator's state, are written in base 16."""


class NotStorable(TypeError):
    """A state contains a value that is not a number, text, array, tensor, or container of these."""


def flatten(state: Any, root: str = "state") -> tuple[Any, Tensors]:
    """Split a state into JSON data and tensors, contiguous and on the CPU, named by their places.

    A tensor that is contiguous and on the CPU is not copied. Every container except a list becomes an object whose
    first member names its type. Values, types and shapes of tensors and arrays are restored, and devices of tensors;
    strides and graphs are not.

    :param state: numbers, texts, arrays, tensors, and containers of these.
    :param root: name of the state in places.
    :returns: the JSON data, and place → tensor.
    :raises NotStorable: naming the place, such as ``state['method']['rows'][0]``.
    """
    tensors: Tensors = {}
    try:
        return _encoded(state, root, tensors), tensors
    except RecursionError:
        raise NotStorable(f"{root} is nested too deeply, or holds itself") from None


def unflatten(data: Any, tensors: Tensors) -> Any:
    """Return the state that :func:`flatten` split.

    :param data: the JSON data.
    :param tensors: place → tensor.
    :raises ValueError: when the data are not from :func:`flatten`.
    """
    try:
        return _decoded(data, tensors)
    except Exception as error:  # a file from elsewhere: for a missing device alone, torch raises a dozen types
        raise ValueError(f"not a state: {type(error).__name__}: {error}") from None


def _encoded(value: Any, place: str, tensors: Tensors) -> Any:
    def inside(items: Any) -> list[Any]:
        return [_encoded(item, f"{place}[{index}]", tensors) for index, item in enumerate(items)]

    kind = type(value)  # the exact type: a subclass, such as np.float64 of float, would change its type
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        return value if abs(value) < EXACT_INTEGERS else {"int": hex(value)}
    if kind is float:  # JSON has finite numbers only; Python writes them so that they read back the same
        return value if math.isfinite(value) else {"float": struct.pack(">d", value).hex()}
    if kind is list:
        return inside(value)
    if kind is tuple:
        return {"tuple": inside(value)}
    if kind is deque:
        return {"deque": inside(value), "longest": value.maxlen}
    if kind is set:
        return {"set": inside(value)}
    if kind is dict:
        if not all(type(key) in (str, int) for key in value):
            raise NotStorable(f"{place} has a key that is neither text nor a whole number; a checkpoint cannot hold it")
        return {"dict": [[key, _encoded(item, f"{place}[{key!a}]", tensors)] for key, item in value.items()]}
    return _encoded_tensor(value, place, tensors)


def _encoded_tensor(value: Any, place: str, tensors: Tensors) -> Any:
    """Encode a value that is stored as a tensor: a tensor, an array, a NumPy scalar, or bytes."""
    kind = type(value)
    if kind is bytes:
        return {"bytes": _encoded_tensor(np.frombuffer(value, np.uint8), place, tensors)["array"]}
    if isinstance(value, np.generic):
        return {"scalar": _encoded_tensor(np.asarray(value), place, tensors)["array"]}
    if kind is np.ndarray:
        try:
            return {"array": _encoded_tensor(torch.from_numpy(value.copy()), place, tensors)}
        except (TypeError, ValueError):
            raise NotStorable(f"{place} is an array of {value.dtype}, which a checkpoint cannot hold") from None
    if kind not in (torch.Tensor, torch.nn.Parameter):
        raise NotStorable(f"{place} is a {kind.__module__}.{kind.__qualname__}, which a checkpoint cannot hold")
    node = {"tensor": place, "device": str(value.device)}
    if value.is_complex():
        node["complex"] = "yes"
        value = torch.view_as_real(value.resolve_conj())
    if value.dtype not in DTYPES or value.layout != torch.strided or value.is_meta:
        raise NotStorable(
            f"{place} is a {value.layout} tensor of {value.dtype} on {value.device}, which a checkpoint cannot hold"
        )
    tensors[place] = value.detach().resolve_neg().cpu().contiguous()
    return node


def _decoded(data: Any, tensors: Tensors) -> Any:
    if isinstance(data, list):
        return [_decoded(item, tensors) for item in data]
    if not isinstance(data, dict):
        return data
    decode = CONTAINERS.get(next(iter(data), ""))
    if decode is not None:
        return decode(data, lambda item: _decoded(item, tensors))
    tensor = tensors[data["tensor"]]
    return (torch.view_as_complex(tensor) if "complex" in data else tensor).to(data["device"])


Decode = Callable[[Any], Any]

CONTAINERS: dict[str, Callable[[dict[str, Any], Decode], Any]] = {
    "int": lambda node, decode: int(node["int"], 16),
    "float": lambda node, decode: struct.unpack(">d", bytes.fromhex(node["float"]))[0],
    "tuple": lambda node, decode: tuple(decode(node["tuple"])),
    "deque": lambda node, decode: deque(decode(node["deque"]), node["longest"]),
    "set": lambda node, decode: set(decode(node["set"])),
    "dict": lambda node, decode: {key: decode(item) for key, item in node["dict"]},
    "bytes": lambda node, decode: decode(node["bytes"]).numpy().tobytes(),
    "scalar": lambda node, decode: decode(node["scalar"]).numpy()[()],
    "array": lambda node, decode: decode(node["array"]).numpy(),
}
"""First member of a node → function that decodes the node."""
